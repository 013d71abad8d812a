/* SPDX-License-Identifier: Apache-2.0
 *
 * vaeop.c - reference of the small VAE ops (vaeop.h).
 */
#include "kernels/vaeop.h"

#include "kernels/ops.h"

static inline wan_real get(wan_buf b, int64_t i)
{
    if (b.t == WAN_REAL)
        return ((const wan_real *)b.p)[i];
    const uint16_t h = ((const uint16_t *)b.p)[i];
    return WAN_C(b.t == WAN_F16 ? wan_f16_to_f32(h) : wan_bf16_to_f32(h));
}

static inline void put(wan_buf b, int64_t i, wan_real v)
{
    if (b.t == WAN_REAL)
        ((wan_real *)b.p)[i] = v;
    else
        ((uint16_t *)b.p)[i] =
            b.t == WAN_F16 ? wan_f32_to_f16((float)v) : wan_f32_to_bf16((float)v);
}

int wan_vae_norm_c(wan_dev *d, wan_buf y, wan_buf x, const wan_real *gamma, int64_t P, int64_t C,
                   enum wan_act act)
{
    (void)d;
    wan_real root = wan_r_sqrt(WAN_C(C));
#pragma omp parallel for
    for (int64_t p = 0; p < P; p++) {
        wan_real sum = 0;
        for (int64_t c = 0; c < C; c++)
            sum += get(x, p * C + c) * get(x, p * C + c);
        wan_real norm = wan_r_sqrt(sum);
        wan_real inv = root / (norm > WAN_C(1e-12) ? norm : WAN_C(1e-12));
        for (int64_t c = 0; c < C; c++) {
            wan_real v = get(x, p * C + c) * inv * gamma[c];
            put(y, p * C + c, act == WAN_ACT_SILU ? v / (1 + wan_r_exp(-v)) : v);
        }
    }
    return 0;
}

int wan_vae_interleave_c(wan_dev *d, wan_buf y, wan_buf x, int64_t T, int64_t P, int64_t C)
{
    (void)d;
    if (x.t != y.t)
        return wan_err("vae_interleave: operand and result must have one type");
    int64_t row = C * (int64_t)wan_dtype_size(x.t);
#pragma omp parallel for
    for (int64_t i = 0; i < T * P; i++) {
        int64_t t = i / P, p = i % P;
        const char *src = (const char *)x.p + i * 2 * row;
        memcpy((char *)y.p + ((2 * t) * P + p) * row, src, (size_t)row);
        memcpy((char *)y.p + ((2 * t + 1) * P + p) * row, src + row, (size_t)row);
    }
    return 0;
}

int wan_vae_from_rgb_c(wan_dev *d, wan_buf y, const uint8_t *rgb, int64_t P)
{
    (void)d;
#pragma omp parallel for
    for (int64_t i = 0; i < 3 * P; i++)
        put(y, i, WAN_C(rgb[i]) / WAN_C(255) * 2 - 1);
    return 0;
}

int wan_vae_to_rgb_c(wan_dev *d, uint8_t *rgb, wan_buf x, int64_t P)
{
    (void)d;
#pragma omp parallel for
    for (int64_t i = 0; i < 3 * P; i++) {
        wan_real v = get(x, i);
        v = v > 1 ? 1 : v >= -1 ? v : -1; /* NaN becomes -1 */
        rgb[i] = (uint8_t)((v + 1) / 2 * 255);
    }
    return 0;
}

int wan_vae_to_cfirst_c(wan_dev *d, wan_real *y, wan_buf x, const wan_real *a, const wan_real *b,
                        int64_t T, int64_t P, int64_t C)
{
    (void)d;
#pragma omp parallel for
    for (int64_t i = 0; i < C * T; i++) {
        int64_t c = i / T, t = i % T;
        for (int64_t p = 0; p < P; p++)
            y[i * P + p] = get(x, (t * P + p) * C + c) * (a ? a[c] : 1) + (b ? b[c] : 0);
    }
    return 0;
}

int wan_vae_to_clast_c(wan_dev *d, wan_buf y, const wan_real *x, const wan_real *a,
                       const wan_real *b, int64_t T, int64_t P, int64_t C)
{
    (void)d;
#pragma omp parallel for
    for (int64_t i = 0; i < C * T; i++) {
        int64_t c = i / T, t = i % T;
        for (int64_t p = 0; p < P; p++)
            put(y, (t * P + p) * C + c, x[i * P + p] * (a ? a[c] : 1) + (b ? b[c] : 0));
    }
    return 0;
}
