/* SPDX-License-Identifier: Apache-2.0
 *
 * act_simd.c - activations in loops the compiler vectorises.
 *
 * gelu_tanh(z) = z sigmoid(2u) with u = sqrt(2/pi) (z + 0.044715 z^3), because
 * (1 + tanh u)/2 = sigmoid(2u): one exponential, and no cancellation for negative z.
 */
#include "kernels/act.h"
#include "kernels/act_math.h"
#include "kernels/linear_simd.h"
#include "kernels/math_simd.h"
#include "kernels/rows.h"

enum { CHUNK = 512 }; /* elements between conversions: stays in the first-level cache */

static int64_t chunk(int64_t n, int64_t i)
{
    return n - i < CHUNK ? n - i : CHUNK;
}

/* Beyond FAR gelu is 0 or z, to the last bit; there z would overflow in its cube, or undo a gate that is
 * not quite 0. */
#define FAR 10.5f

static inline float gelu_low(float z)
{
    return z < -FAR ? 0 : z;
}

static inline float gelu_gate(float z)
{
    float t =
        z * (-2 * WAN_F_LOG2E * WAN_ACT_K - 2 * WAN_F_LOG2E * WAN_ACT_K * WAN_ACT_A * (z * z));
    return 1.0f / (1.0f + wan_f_exp2_soft(t > 126.0f ? 126.0f : t));
}

/* y may equal x: "omp simd" says that no element depends on another. */
void wan_act_values(float *y, const float *x, int64_t n, enum wan_act act)
{
    if (act == WAN_ACT_GELU_TANH) {
#pragma omp simd
        for (int64_t j = 0; j < n; j++)
            y[j] = gelu_low(x[j]) * gelu_gate(x[j]);
    } else if (act == WAN_ACT_SILU) {
#pragma omp simd
        for (int64_t j = 0; j < n; j++)
            y[j] = x[j] * wan_f_sigmoid(x[j]);
    } else {
        for (int64_t j = 0; j < n; j++)
            y[j] = wan_act_value(x[j], act);
    }
}

/* s[j] = act'(x[j]) */
static void slopes(float *restrict s, const float *restrict x, int64_t n, enum wan_act act)
{
    if (act == WAN_ACT_GELU_TANH)
        for (int64_t j = 0; j < n; j++) {
            float g = gelu_gate(x[j]), h = gelu_low(x[j]), z = h > FAR ? FAR : h;
            s[j] = g + z * g * (1 - g) * (2 * WAN_ACT_K) * (1 + 3 * WAN_ACT_A * z * z);
        }
    else if (act == WAN_ACT_SILU)
        for (int64_t j = 0; j < n; j++) {
            float g = wan_f_sigmoid(x[j]);
            s[j] = g * (1 + x[j] * (1 - g));
        }
    else
        for (int64_t j = 0; j < n; j++)
            s[j] = wan_act_slope(x[j], act);
}

int wan_act_forward_simd(wan_dev *d, wan_buf y, wan_buf x, int64_t n, enum wan_act act)
{
    (void)d;
    WAN_ROWS_CHECK("act_forward", y, x);
#pragma omp parallel for if (n > WAN_ROWS_PARALLEL)
    for (int64_t i = 0; i < n; i += CHUNK) {
        float tx[CHUNK], ty[CHUNK];
        wan_act_values(ty, wan_row_load(x, i, chunk(n, i), tx), chunk(n, i), act);
        wan_row_store(y, i, chunk(n, i), ty);
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
        const float *g = wan_row_load(dy, i, chunk(n, i), tg);
        slopes(s, wan_row_load(x, i, chunk(n, i), tx), chunk(n, i), act);
        for (int64_t j = 0; j < chunk(n, i); j++)
            s[j] *= g[j];
        wan_row_store(dx, i, chunk(n, i), s);
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
        wan_act_values(to, wan_row_load(a, i, chunk(n, i), ta), chunk(n, i), act);
        for (int64_t j = 0; j < chunk(n, i); j++)
            to[j] *= q[j];
        wan_row_store(y, i, chunk(n, i), to);
    }
    return 0;
}
