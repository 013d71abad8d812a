/* SPDX-License-Identifier: Apache-2.0
 *
 * rows.h - reading and writing runs of elements of any operand type, for the C kernels.
 *
 * A kernel computes on wan_real rows.  wan_row_load returns the row itself when it already is
 * WAN_REAL, else a converted copy in tmp; wan_row_open and wan_row_close do the same for outputs.
 * All loops are plain so that the compiler vectorises them.
 */
#ifndef WAN_KERNELS_ROWS_H
#define WAN_KERNELS_ROWS_H

#include <string.h>

#ifdef _OPENMP
#include <omp.h>
#endif

#include "kernels/device.h"
#include "lib/base/quant.h"

/* Below this much work (elements, roughly) a parallel region costs more than it saves. */
#define WAN_ROWS_PARALLEL 16384
/* Elements converted at a time by elementwise kernels; also the unit of work of a thread. */
#define WAN_ROWS_CHUNK 2048

static inline int wan_rows_threads(void)
{
#ifdef _OPENMP
    return omp_get_max_threads();
#else
    return 1;
#endif
}

static inline int wan_rows_thread(void)
{
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}

/* -1 when one of the operands is neither WAN_REAL nor WAN_BF16, nor, of the VAE's ops (half), WAN_F16. */
static inline int wan_rows_check_types(const char *op, const wan_buf *b, int n, int half)
{
    for (int i = 0; i < n; i++)
        if (b[i].t != WAN_REAL && b[i].t != WAN_BF16 && !(half && b[i].t == WAN_F16))
            return wan_err("%s: operand of type %s", op, wan_dtype_name(b[i].t));
    return 0;
}
static inline int wan_rows_check(const char *op, const wan_buf *b, int n)
{
    return wan_rows_check_types(op, b, n, 0);
}
/* The same for weights [N, K], which may be blocks. */
static inline int wan_rows_check_weights(const char *op, wan_buf w, int64_t K)
{
    wan_quant q = wan_quant_of(w.t);
    if (q && K % (int64_t)wan_quant_values(q))
        return wan_err("%s: rows of %lld weights are no whole blocks of %s", op, (long long)K,
                       wan_quant_name(q));
    return q ? 0 : wan_rows_check(op, &w, 1);
}
#define WAN_ROWS_CHECK(op, ...)                                                                    \
    WAN_TRY(wan_rows_check(op, (wan_buf[]){ __VA_ARGS__ },                                         \
                           (int)(sizeof((wan_buf[]){ __VA_ARGS__ }) / sizeof(wan_buf))))

#define WAN_ROWS_CHECK_HALF(op, ...)                                                               \
    WAN_TRY(wan_rows_check_types(op, (wan_buf[]){ __VA_ARGS__ },                                   \
                                 (int)(sizeof((wan_buf[]){ __VA_ARGS__ }) / sizeof(wan_buf)), 1))

/* Scratch of `per_thread` elements for every thread; NULL: out of memory (error recorded).
 * Rounded up so that two threads never share a cache line. */
static inline int64_t wan_rows_stride(int64_t per_thread)
{
    return (per_thread + 15) / 16 * 16 + 16;
}

static inline wan_real *wan_rows_scratch(wan_dev *d, int64_t per_thread)
{
    size_t n = (size_t)wan_rows_stride(per_thread) * (size_t)wan_rows_threads();
    return (wan_real *)wan_dev_scratch(d, n * sizeof(wan_real));
}

static inline wan_real *wan_rows_mine(wan_real *scratch, int64_t per_thread)
{
    return scratch + wan_rows_stride(per_thread) * wan_rows_thread();
}

/* o [n] <- row [n] as wan_f32_to_bf16 rounds (rows_simd.c). */
void wan_rows_narrow(uint16_t *o, const float *row, int64_t n);

/* n elements of b from `off`; tmp [n] is used only for bf16. */
static inline const wan_real *wan_row_load(wan_buf b, int64_t off, int64_t n, wan_real *tmp)
{
    if (b.t == WAN_REAL)
        return (const wan_real *)b.p + off;
    const uint16_t *s = (const uint16_t *)b.p + off;
    if (b.t == WAN_F16)
        for (int64_t i = 0; i < n; i++)
            tmp[i] = wan_f16_to_f32(s[i]);
    else
        for (int64_t i = 0; i < n; i++)
            tmp[i] = wan_bf16_to_f32(s[i]);
    return tmp;
}

/* Where to write a row of b: in place, or tmp, which wan_row_close then converts. */
static inline wan_real *wan_row_open(wan_buf b, int64_t off, wan_real *tmp)
{
    return b.t == WAN_REAL ? (wan_real *)b.p + off : tmp;
}

static inline void wan_row_close(wan_buf b, int64_t off, int64_t n, const wan_real *row)
{
    if (b.t == WAN_REAL)
        return;
    uint16_t *o = (uint16_t *)b.p + off;
    if (b.t == WAN_F16) {
        for (int64_t i = 0; i < n; i++)
            o[i] = wan_f32_to_f16((float)row[i]);
        return;
    }
#ifdef WAN_REAL_F64
    for (int64_t i = 0; i < n; i++)
        o[i] = wan_f32_to_bf16((float)row[i]);
#else
    wan_rows_narrow(o, row, n);
#endif
}

static inline void wan_row_store(wan_buf b, int64_t off, int64_t n, const wan_real *row)
{
    if (b.t == WAN_REAL)
        memcpy((wan_real *)b.p + off, row, (size_t)n * sizeof *row);
    else
        wan_row_close(b, off, n, row);
}

/* Lanes of a sum, in a fixed order: vectorises, and more of them than one addition takes cycles. */
enum { WAN_ROW_LANES = 64 };

static inline wan_real wan_row_lanes(wan_real s[WAN_ROW_LANES])
{
    for (int w = WAN_ROW_LANES / 2; w; w /= 2)
        for (int j = 0; j < w; j++)
            s[j] += s[j + w];
    return s[0];
}

/* sum_i a[i] b[i] */
static inline wan_real wan_row_dot(const wan_real *a, const wan_real *b, int64_t n)
{
    wan_real s[WAN_ROW_LANES] = { 0 };
    int64_t i = 0;
    for (; i + WAN_ROW_LANES <= n; i += WAN_ROW_LANES)
        for (int j = 0; j < WAN_ROW_LANES; j++)
            s[j] += a[i + j] * b[i + j];
    for (int j = 0; i < n; i++, j++)
        s[j] += a[i] * b[i];
    return wan_row_lanes(s);
}

static inline wan_real wan_row_sum(const wan_real *a, int64_t n)
{
    wan_real s[WAN_ROW_LANES] = { 0 };
    int64_t i = 0;
    for (; i + WAN_ROW_LANES <= n; i += WAN_ROW_LANES)
        for (int j = 0; j < WAN_ROW_LANES; j++)
            s[j] += a[i + j];
    for (int j = 0; i < n; i++, j++)
        s[j] += a[i];
    return wan_row_lanes(s);
}

/* y += a x */
static inline void wan_row_axpy(wan_real *restrict y, wan_real a, const wan_real *restrict x,
                                int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] += a * x[i];
}

/* The sample's row in a per-sample vector: base + i*stride, NULL stays NULL. */
static inline const wan_real *wan_row_at(const wan_real *base, int64_t i, int64_t stride)
{
    return base ? base + i * stride : NULL;
}

#endif
