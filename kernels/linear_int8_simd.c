/* SPDX-License-Identifier: Apache-2.0
 *
 * linear_int8_simd.c - dense layer with weights in blocks, in products of bytes (AVX512-VNNI).
 *
 * 32 neighbours of a row of x become integers of -127 to 127 and one scale, 32 neighbours of a row of the
 * weights likewise (Q8_0 is that already).  A block's product is exact in integers; scaled by both, it is added
 * in fp32 in the order of the blocks, whatever the shape and the threads.  The instruction takes bytes
 * without a sign from one side: weights are stored as w + 128, and sums begin at -128 times the sum of x.
 */
#include <stdlib.h>

#include "kernels/linear_simd.h"

#include "kernels/cpu.h"
#include "kernels/rows.h"
#include "kernels/tile.h"

#ifdef __x86_64__
#include <immintrin.h>

#define VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))
#define INLINE static inline __attribute__((always_inline))

enum {
    BLOCK = 32,                   /* values that share a scale */
    PANEL = 16,                   /* columns of w in one register */
    W_BYTES = PANEL * BLOCK,      /* of a block of a panel: [unit of 4 values][column] */
    W_UNIT = W_BYTES + PANEL * 4, /* and its scales */
    X_UNIT = BLOCK + 8,           /* a block of a row of x: values, scale, where its sums begin */
    GROUP = 4,                    /* rows of x at a time */
    ROWS = 192,
    COLS = 192,
    DEPTH = 12 /* blocks at a time: three panels of them fit the first cache */
};

int wan_linear_int8(void)
{
    const char *asked = getenv("WAN_CPU_INT8");
    return (!asked || strcmp(asked, "0") != 0) && wan_cpu_isa() != WAN_CPU_AMX &&
           __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni");
}

typedef struct job {
    int64_t M, N, K, blocks, panels;
    wan_buf x, w, y;
    const float *bias;
    enum wan_act act;
    uint8_t *xs, *ws; /* x and w as bytes */
} job;

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* ---- x */

/* The largest magnitude; of bits, so that a NaN counts as the largest. */
INLINE VNNI float largest(__m512 a, __m512 b)
{
    const __m512i sign = _mm512_set1_epi32(0x7fffffff);
    __m512i m = _mm512_max_epu32(_mm512_and_si512(_mm512_castps_si512(a), sign),
                                 _mm512_and_si512(_mm512_castps_si512(b), sign));
    uint32_t bits = _mm512_reduce_max_epu32(m);
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* Bytes of 32 values, rounded to nearest, and their scale; 0 for all of a block without values. */
INLINE VNNI __m256i bytes_of(float *scale, __m512 a, __m512 b)
{
    float most = largest(a, b);
    __m512 to = _mm512_set1_ps(most > 0 ? 127 / most : 0);
    *scale = most / 127;
    __m128i lo = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(a, to)));
    __m128i hi = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(b, to)));
    return _mm256_set_m128i(hi, lo);
}

INLINE VNNI __m512 widened(const uint16_t *p)
{
    __m512i v = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(v, 16));
}

VNNI static void x_row(uint8_t *dst, const uint16_t *src, int64_t blocks)
{
    const __m256i ones = _mm256_set1_epi8(1);
    for (int64_t b = 0; b < blocks; b++, dst += X_UNIT, src += BLOCK) {
        float scale;
        __m256i v = bytes_of(&scale, widened(src), widened(src + 16));
        __m256i four = _mm256_dpbusd_epi32(_mm256_setzero_si256(), ones, v);
        __m512i all = _mm512_zextsi256_si512(four);
        int32_t begin = -128 * _mm512_reduce_add_epi32(all);
        _mm256_storeu_si256((__m256i *)(void *)dst, v);
        memcpy(dst + BLOCK, &scale, 4);
        memcpy(dst + BLOCK + 4, &begin, 4);
    }
}

/* ---- w */

/* Row i of a panel from its values, one block after the other. */
VNNI static void w_row(uint8_t *dst, int i, const float *v, int64_t blocks)
{
    for (int64_t b = 0; b < blocks; b++, dst += W_UNIT, v += BLOCK) {
        float scale;
        uint32_t four[8];
        __m256i q = bytes_of(&scale, _mm512_loadu_ps(v), _mm512_loadu_ps(v + 16));
        q = _mm256_xor_si256(q, _mm256_set1_epi8(-128));
        memcpy(four, &q, sizeof four);
        for (int u = 0; u < 8; u++)
            memcpy(dst + (u * PANEL + i) * 4, &four[u], 4);
        memcpy(dst + W_BYTES + i * 4, &scale, 4);
    }
}

/* The same of Q8_0, whose blocks are what is wanted. */
VNNI static void w_row_q8_0(uint8_t *dst, int i, const uint8_t *w, int64_t blocks)
{
    for (int64_t b = 0; b < blocks; b++, dst += W_UNIT, w += 34) {
        uint32_t four[8];
        uint16_t half;
        memcpy(&half, w, 2);
        memcpy(four, w + 2, sizeof four);
        float scale = wan_f16_to_f32(half);
        for (int u = 0; u < 8; u++) {
            four[u] ^= 0x80808080;
            memcpy(dst + (u * PANEL + i) * 4, &four[u], 4);
        }
        memcpy(dst + W_BYTES + i * 4, &scale, 4);
    }
}

enum { WIDE = 512 }; /* values unpacked at a time */

static void w_panel(const job *j, int64_t p)
{
    const wan_quant q = wan_quant_of(j->w.t);
    const int64_t ld = (int64_t)wan_quant_span(j->w.t, j->K);
    uint8_t *dst = j->ws + p * j->blocks * W_UNIT;
    float v[WIDE];
    int64_t n = least(j->N - p * PANEL, PANEL);
    if (n < PANEL)
        memset(dst, 0, (size_t)(j->blocks * W_UNIT));
    for (int64_t i = 0; i < n; i++) {
        const uint8_t *w = (const uint8_t *)j->w.p + (p * PANEL + i) * ld;
        for (int64_t line = 0; p + 1 < j->panels && line < ld; line += 64)
            __builtin_prefetch(w + PANEL * ld + line, 0, 2);
        if (q == WAN_Q8_0) {
            w_row_q8_0(dst, (int)i, w, j->blocks);
            continue;
        }
        for (int64_t k = 0; k < j->K; k += WIDE) {
            int64_t m = least(j->K - k, WIDE);
            wan_quant_decode(v, w + wan_quant_span(j->w.t, k), q, (size_t)m);
            w_row(dst + k / BLOCK * W_UNIT, (int)i, v, m / BLOCK);
        }
    }
}

/* ---- the product */

/* C [GROUP, 16 panels] (+)= `blocks` blocks of GROUP rows of x, `ld` bytes apart, times panels `ldw` apart. */
INLINE VNNI void group(float *C, const uint8_t *x, int64_t ld, const uint8_t *w, int64_t ldw,
                       int64_t blocks, int add, const int panels)
{
    __m512 acc[GROUP][3];
    for (int i = 0; i < GROUP; i++)
        for (int p = 0; p < panels; p++)
            acc[i][p] = add ? _mm512_loadu_ps(C + i * COLS + p * PANEL) : _mm512_setzero_ps();
    for (int64_t b = 0; b < blocks; b++, x += X_UNIT, w += W_UNIT) {
        __m512i sum[GROUP][3];
        for (int i = 0; i < GROUP; i++) {
            int32_t begin;
            memcpy(&begin, x + i * ld + BLOCK + 4, 4);
            for (int p = 0; p < panels; p++)
                sum[i][p] = _mm512_set1_epi32(begin);
        }
        for (int u = 0; u < 8; u++) {
            __m512i c[3];
            for (int p = 0; p < panels; p++)
                c[p] = _mm512_loadu_si512(w + p * ldw + u * 64);
            for (int i = 0; i < GROUP; i++) {
                int32_t four;
                memcpy(&four, x + i * ld + u * 4, 4);
                __m512i a = _mm512_set1_epi32(four);
                for (int p = 0; p < panels; p++)
                    sum[i][p] = _mm512_dpbusd_epi32(sum[i][p], c[p], a);
            }
        }
        for (int i = 0; i < GROUP; i++) {
            float scale;
            memcpy(&scale, x + i * ld + BLOCK, 4);
            for (int p = 0; p < panels; p++) {
                __m512 s =
                    _mm512_mul_ps(_mm512_loadu_ps(w + p * ldw + W_BYTES), _mm512_set1_ps(scale));
                acc[i][p] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[i][p]), s, acc[i][p]);
            }
        }
    }
    for (int i = 0; i < GROUP; i++)
        for (int p = 0; p < panels; p++)
            _mm512_storeu_ps(C + i * COLS + p * PANEL, acc[i][p]);
}

/* Part g of `groups` of the blocks of n panels, on their way to the cache. */
INLINE VNNI void expect(const uint8_t *w, int64_t ldw, int64_t n, int64_t blocks, int64_t g,
                        int64_t groups)
{
    const int64_t lines = blocks * W_UNIT / 64, to = (g + 1) * n * lines / groups;
    for (int64_t i = g * n * lines / groups; i < to; i++)
        __builtin_prefetch(w + i / lines * ldw + i % lines * 64, 0, 2);
}

/* C [m, 16 panels], m a multiple of GROUP. */
VNNI static void multiply(float *C, const uint8_t *x, int64_t ld, const uint8_t *w, int64_t ldw,
                          int64_t m, int64_t panels, int64_t blocks, int add)
{
    for (int64_t p = 0, n; p < panels; p += n) {
        n = panels - p == 1 ? 1 : panels - p == 2 || panels - p == 4 ? 2 : 3;
        for (int64_t i = 0; i < m; i += GROUP) {
            float *c = C + i * COLS + p * PANEL;
            expect(w + (p + n) * ldw, ldw, n, blocks, i / GROUP, m / GROUP);
            if (n == 3)
                group(c, x + i * ld, ld, w + p * ldw, ldw, blocks, add, 3);
            else if (n == 2)
                group(c, x + i * ld, ld, w + p * ldw, ldw, blocks, add, 2);
            else
                group(c, x + i * ld, ld, w + p * ldw, ldw, blocks, add, 1);
        }
    }
}

static void finish_row(const job *j, float *row, int64_t m, int64_t n0, int64_t n)
{
    for (int64_t i = 0; j->bias && i < n; i++)
        row[i] += j->bias[n0 + i];
    if (j->act != WAN_ACT_NONE)
        wan_act_values(row, row, n, j->act, 1);
    wan_row_store(j->y, m * j->N + n0, n, row);
}

/* Rows [m0, m0 + rows), columns [n0, n1); C [ROWS, COLS]. */
static void task(const job *j, int64_t m0, int64_t rows, int64_t n0, int64_t n1, float *C)
{
    const int64_t ld = j->blocks * X_UNIT, ldw = j->blocks * W_UNIT;
    int64_t m = least(j->M - m0, rows);
    for (int64_t c = n0; c < n1; c += COLS) {
        int64_t n = least(n1 - c, COLS), panels = (n + PANEL - 1) / PANEL;
        for (int64_t b = 0; b < j->blocks; b += DEPTH)
            multiply(C, j->xs + m0 * ld + b * X_UNIT, ld, j->ws + c / PANEL * ldw + b * W_UNIT, ldw,
                     wan_tile_up(m, GROUP), panels, least(j->blocks - b, DEPTH), b > 0);
        for (int64_t i = 0; i < m; i++)
            finish_row(j, C + i * COLS, m0 + i, c, n);
    }
}

static int run(wan_dev *d, job *j, wan_linear_cut cut)
{
    const int64_t M = wan_tile_up(j->M, GROUP);
    size_t xs = (size_t)wan_tile_up(M * j->blocks * X_UNIT, 64);
    size_t ws = (size_t)(j->panels * j->blocks * W_UNIT), tile = ROWS * COLS * sizeof(float);
    char *p = (char *)wan_dev_scratch(d, xs + ws + tile * (size_t)wan_rows_threads());
    if (!p)
        return -1;
    j->xs = (uint8_t *)p;
    j->ws = (uint8_t *)p + xs;
    float *C = (float *)(void *)(p + xs + ws);
    int64_t mb = (j->M + cut.rows - 1) / cut.rows, cb = (j->N + cut.columns - 1) / cut.columns;
    const int64_t row = j->blocks * X_UNIT;
    memset(j->xs + j->M * row, 0, (size_t)((M - j->M) * row));
#pragma omp parallel if (j->M * j->N * j->K > 1 << 16)
    {
#pragma omp for schedule(dynamic, 8) nowait
        for (int64_t m = 0; m < j->M; m++)
            x_row(j->xs + m * row, (const uint16_t *)j->x.p + m * j->K, j->blocks);
#pragma omp for schedule(dynamic)
        for (int64_t b = 0; b < j->panels; b++)
            w_panel(j, b);
#pragma omp for schedule(dynamic)
        for (int64_t b = 0; b < mb * cb; b++)
            task(j, b / cb * cut.rows, cut.rows, b % cb * cut.columns,
                 least((b % cb + 1) * cut.columns, j->N), C + ROWS * COLS * wan_rows_thread());
    }
    return 0;
}
#else
int wan_linear_int8(void)
{
    return 0;
}

typedef struct job {
    int64_t M, N, K, blocks, panels;
    wan_buf x, w, y;
    const float *bias;
    enum wan_act act;
} job;

static int run(wan_dev *d, job *j, wan_linear_cut cut)
{
    (void)d, (void)j, (void)cut;
    WAN_BUG("AVX512-VNNI kernel on a machine without it");
}
#endif

int wan_linear_int8_forward(wan_dev *d, wan_linear_cut cut, wan_buf y, wan_buf x, wan_buf w,
                            const wan_real *b, int64_t M, int64_t N, int64_t K, enum wan_act act)
{
    job j = { .M = M,
              .N = N,
              .K = K,
              .blocks = K / 32,
              .panels = (N + 15) / 16,
              .x = x,
              .w = w,
              .y = y,
              .bias = b,
              .act = act };
    return run(d, &j, cut);
}
