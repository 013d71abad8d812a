/* SPDX-License-Identifier: Apache-2.0
 *
 * act_simd.c - activations in loops the compiler vectorises.
 *
 * gelu_tanh(z) = z sigmoid(2u) with u = sqrt(2/pi) (z + 0.044715 z^3), because
 * (1 + tanh u)/2 = sigmoid(2u): one exponential, and no cancellation for negative z.
 */
#include "kernels/act.h"
#include "kernels/act_wide_simd.h"
#include "kernels/cpu.h"
#include "kernels/linear_simd.h"
#include "kernels/rows.h"

enum { CHUNK = 512 }; /* elements between conversions: stays in the first-level cache */

static int64_t chunk(int64_t n, int64_t i)
{
    return n - i < CHUNK ? n - i : CHUNK;
}

static inline float gelu_low(float z)
{
    return z < -WAN_ACT_FAR ? 0 : z;
}

static inline float gelu_gate(float z)
{
    float t =
        z * (-2 * WAN_F_LOG2E * WAN_ACT_K - 2 * WAN_F_LOG2E * WAN_ACT_K * WAN_ACT_A * (z * z));
    return 1.0f / (1.0f + wan_f_exp2_soft(t > 126.0f ? 126.0f : t));
}

/* ---- 32 elements at a time, where the CPU has AVX512-BF16 */

#ifdef __x86_64__
static int wide(enum wan_act act)
{
    return act == WAN_ACT_GELU_TANH && wan_cpu_isa() >= WAN_CPU_BF16;
}

WAN_WIDE_INLINE __m512 value(__m512 x, int fine)
{
    return fine ? wan_act_wide_value(x, 1) : wan_act_wide_value(x, 0);
}

WAN_WIDE_INLINE __m512 slope(__m512 x, int fine)
{
    return fine ? wan_act_wide_slope(x, 1) : wan_act_wide_slope(x, 0);
}

/* n < 32 elements from i on, and zeros behind them. */
static void load_last(float t[32], wan_buf x, int64_t i, int64_t n)
{
    float tmp[32];
    memset(t, 0, 32 * sizeof *t);
    memcpy(t, wan_row_load(x, i, n, tmp), (size_t)n * sizeof *t);
}

/* The n elements from i on; the last ones in the same way as all others: what becomes of one does not depend on
 * where it stands, nor a sample on those beside it. */
WAN_WIDE static void wide_values(wan_buf y, wan_buf x, int64_t i, int64_t n, int fine)
{
    int64_t j = 0;
    for (; j + 32 <= n; j += 32)
        wan_wide_store(y, i + j, value(wan_wide_load(x, i + j), fine),
                       value(wan_wide_load(x, i + j + 16), fine));
    if (j == n)
        return;
    float t[32];
    load_last(t, x, i + j, n - j);
    for (int k = 0; k < 32; k += 16)
        _mm512_storeu_ps(t + k, value(_mm512_loadu_ps(t + k), fine));
    wan_row_store(y, i + j, n - j, t);
}

WAN_WIDE static void wide_slopes(wan_buf dx, wan_buf dy, wan_buf x, int64_t i, int64_t n, int fine)
{
    int64_t j = 0;
    for (; j + 32 <= n; j += 32) {
        __m512 d[2];
        for (int k = 0; k < 2; k++)
            d[k] = _mm512_mul_ps(slope(wan_wide_load(x, i + j + 16 * k), fine),
                                 wan_wide_load(dy, i + j + 16 * k));
        wan_wide_store(dx, i + j, d[0], d[1]);
    }
    if (j == n)
        return;
    float t[32], g[32];
    load_last(t, x, i + j, n - j);
    load_last(g, dy, i + j, n - j);
    for (int k = 0; k < 32; k += 16)
        _mm512_storeu_ps(
            t + k, _mm512_mul_ps(slope(_mm512_loadu_ps(t + k), fine), _mm512_loadu_ps(g + k)));
    wan_row_store(dx, i + j, n - j, t);
}
#else
#define wide(act) 0
#define wide_values(y, x, i, n, fine) ((void)(fine))
#define wide_slopes(dx, dy, x, i, n, fine) ((void)(fine))
#endif

/* ---- any CPU */

/* Of a multiple of 16 elements, so that no loop has a rest in other instructions, which the compiler may round in
 * another way.  y may equal x: "omp simd" says that no element depends on another. */
static void values(float *y, const float *x, int64_t n, enum wan_act act)
{
    if (act == WAN_ACT_GELU_TANH)
#pragma omp simd
        for (int64_t j = 0; j < n; j++)
            y[j] = gelu_low(x[j]) * gelu_gate(x[j]);
    else if (act == WAN_ACT_SILU)
#pragma omp simd
        for (int64_t j = 0; j < n; j++)
            y[j] = x[j] * wan_f_sigmoid(x[j]);
    else
        for (int64_t j = 0; j < n; j++)
            y[j] = wan_act_value(x[j], act);
}

/* s[j] = act'(x[j]) */
static void slopes(float *s, const float *x, int64_t n, enum wan_act act)
{
    if (act == WAN_ACT_GELU_TANH)
#pragma omp simd
        for (int64_t j = 0; j < n; j++) {
            float g = gelu_gate(x[j]), h = gelu_low(x[j]), z = h > WAN_ACT_FAR ? WAN_ACT_FAR : h;
            s[j] = g + z * g * (1 - g) * (2 * WAN_ACT_K) * (1 + 3 * WAN_ACT_A * z * z);
        }
    else if (act == WAN_ACT_SILU)
#pragma omp simd
        for (int64_t j = 0; j < n; j++) {
            float g = wan_f_sigmoid(x[j]);
            s[j] = g * (1 + x[j] * (1 - g));
        }
    else
        for (int64_t j = 0; j < n; j++)
            s[j] = wan_act_slope(x[j], act);
}

/* fn of any number of elements: the last ones with zeros behind them. */
static void in_sixteens(void (*fn)(float *, const float *, int64_t, enum wan_act), float *y,
                        const float *x, int64_t n, enum wan_act act)
{
    const int64_t whole = n / 16 * 16;
    fn(y, x, whole, act);
    if (whole == n)
        return;
    float t[16] = { 0 };
    memcpy(t, x + whole, (size_t)(n - whole) * sizeof *t);
    fn(t, t, 16, act);
    memcpy(y + whole, t, (size_t)(n - whole) * sizeof *t);
}

void wan_act_values(float *y, const float *x, int64_t n, enum wan_act act, int fine)
{
    if (wide(act))
        wide_values(wan_buf_of(y, WAN_F32), wan_buf_of((float *)(uintptr_t)x, WAN_F32), 0, n, fine);
    else
        in_sixteens(values, y, x, n, act);
}

void wan_act_times_slope(float *g, wan_buf x, int64_t n, enum wan_act act, int fine)
{
    float tx[CHUNK], s[CHUNK];
    const wan_buf b = wan_buf_of(g, WAN_F32);
    for (int64_t i = 0; i < n; i += CHUNK) {
        const int64_t m = chunk(n, i);
        if (wide(act)) {
            wide_slopes(b, b, x, i, m, fine);
            continue;
        }
        in_sixteens(slopes, s, wan_row_load(x, i, m, tx), m, act);
        for (int64_t j = 0; j < m; j++)
            g[i + j] *= s[j];
    }
}

int wan_act_forward_simd(wan_dev *d, wan_buf y, wan_buf x, int64_t n, enum wan_act act)
{
    (void)d;
    WAN_ROWS_CHECK("act_forward", y, x);
#pragma omp parallel for if (n > WAN_ROWS_PARALLEL)
    for (int64_t i = 0; i < n; i += CHUNK) {
        float tx[CHUNK], ty[CHUNK];
        const int64_t m = chunk(n, i);
        if (wide(act)) {
            wide_values(y, x, i, m, y.t == WAN_F32);
            continue;
        }
        wan_act_values(ty, wan_row_load(x, i, m, tx), m, act, 1);
        wan_row_store(y, i, m, ty);
    }
    return 0;
}

int wan_act_backward_simd(wan_dev *d, wan_buf dx, wan_buf dy, wan_buf x, int64_t n,
                          enum wan_act act)
{
    (void)d;
    WAN_ROWS_CHECK("act_backward", dx, dy, x);
#pragma omp parallel for if (n > WAN_ROWS_PARALLEL)
    for (int64_t i = 0; i < n; i += CHUNK) {
        float tx[CHUNK], tg[CHUNK], s[CHUNK];
        const int64_t m = chunk(n, i);
        if (wide(act)) {
            wide_slopes(dx, dy, x, i, m, dx.t == WAN_F32);
            continue;
        }
        const float *g = wan_row_load(dy, i, m, tg);
        in_sixteens(slopes, s, wan_row_load(x, i, m, tx), m, act);
        for (int64_t j = 0; j < m; j++)
            s[j] *= g[j];
        wan_row_store(dx, i, m, s);
    }
    return 0;
}

int wan_act_gated_simd(wan_dev *d, wan_buf y, wan_buf a, wan_buf b, int64_t n, enum wan_act act)
{
    (void)d;
    WAN_ROWS_CHECK("act_gated", y, a, b);
#pragma omp parallel for if (n > WAN_ROWS_PARALLEL)
    for (int64_t i = 0; i < n; i += CHUNK) {
        float ta[CHUNK], tb[CHUNK], to[CHUNK];
        const float *q = wan_row_load(b, i, chunk(n, i), tb);
        wan_act_values(to, wan_row_load(a, i, chunk(n, i), ta), chunk(n, i), act, 1);
        for (int64_t j = 0; j < chunk(n, i); j++)
            to[j] *= q[j];
        wan_row_store(y, i, chunk(n, i), to);
    }
    return 0;
}
