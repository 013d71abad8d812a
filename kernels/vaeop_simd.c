/* SPDX-License-Identifier: Apache-2.0
 *
 * vaeop_simd.c - VAE norm and SiLU in plain loops that the compiler vectorises.
 */
#include "kernels/math_simd.h"
#include "kernels/ops_vae.h"
#include "kernels/rows.h"

static void norm_row(float *restrict y, const float *restrict x, const float *restrict gamma,
                     float root, int64_t C, int silu)
{
    float norm = __builtin_sqrtf(wan_row_dot(x, x, C));
    float inv = root / (norm > 1e-12f ? norm : 1e-12f);
    if (silu) {
        for (int64_t c = 0; c < C; c++) {
            float v = x[c] * inv * gamma[c];
            y[c] = v / (1.0f + wan_f_exp_soft(-v));
        }
    } else {
        for (int64_t c = 0; c < C; c++)
            y[c] = x[c] * inv * gamma[c];
    }
}

static int vae_norm_simd(wan_dev *d, wan_buf y, wan_buf x, const wan_real *gamma, int64_t P,
                         int64_t C, enum wan_act act)
{
    WAN_ROWS_CHECK_HALF("vae_norm", x, y);
    wan_real *scratch = wan_rows_scratch(d, 2 * C);
    if (!scratch)
        return -1;
    float root = __builtin_sqrtf((float)C);
#pragma omp parallel for schedule(static) if (P * C > WAN_ROWS_PARALLEL)
    for (int64_t p = 0; p < P; p++) {
        float *in = wan_rows_mine(scratch, 2 * C), *out = in + C;
        norm_row(out, wan_row_load(x, p * C, C, in), gamma, root, C, act == WAN_ACT_SILU);
        wan_row_store(y, p * C, C, out);
    }
    return 0;
}

void wan_ops_fill_simd_vae(wan_ops *o)
{
    o->conv_forward = wan_conv_forward_simd;
    o->vae_norm = vae_norm_simd;
}
