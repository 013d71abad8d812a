/* SPDX-License-Identifier: Apache-2.0
 *
 * layernorm_simd.c - LayerNorm: a seam without its residual.
 */
#include "kernels/layernorm.h"

#include "kernels/rows.h"
#include "kernels/seam_simd.h"

static const wan_buf none = WAN_BUF_NONE;

int wan_ln_mod_forward_simd(wan_dev *d, wan_buf y, float *mean, float *rstd, const float *x,
                            const float *scale, const float *shift, int64_t stride,
                            const wan_pack *pack, int64_t D, double eps)
{
    WAN_ROWS_CHECK("ln_mod_forward", y);
    const wan_resnorm a = {
        .pack = pack, .D = D, .eps = eps, .gain = scale, .shift = shift, .stride = stride
    };
    return wan_seam_forward(d, &a, NULL, y, mean, rstd, x, none);
}

int wan_ln_mod_backward_simd(wan_dev *d, float *dx, float *dscale, float *dshift, int64_t dstride,
                             wan_buf dy, const float *x, const float *mean, const float *rstd,
                             const float *scale, int64_t stride, const wan_pack *pack, int64_t D)
{
    WAN_ROWS_CHECK("ln_mod_backward", dy);
    const wan_resnorm a = { .pack = pack, .D = D, .gain = scale, .stride = stride };
    const wan_resnorm_grad g = { .gain = dscale, .shift = dshift, .stride = dstride };
    return wan_seam_backward(d, &a, &g, dx, none, dy, x, mean, rstd, none);
}

/* All tokens as one sample: an affine norm does not ask whose they are. */
static wan_pack whole(int64_t S, int32_t cu[2])
{
    cu[0] = 0;
    cu[1] = (int32_t)S;
    return (wan_pack){ .n = 1, .S = S, .max_len = S, .cu = cu, .cu_host = cu };
}

int wan_ln_affine_forward_simd(wan_dev *d, wan_buf y, float *mean, float *rstd, const float *x,
                               const float *w, const float *b, int64_t S, int64_t D, double eps)
{
    int32_t cu[2];
    WAN_ROWS_CHECK("ln_affine_forward", y);
    const wan_pack p = whole(S, cu);
    const wan_resnorm a = { .pack = &p, .D = D, .eps = eps, .gain = w, .shift = b, .affine = 1 };
    return wan_seam_forward(d, &a, NULL, y, mean, rstd, x, none);
}

int wan_ln_affine_backward_simd(wan_dev *d, float *dx, float *dw, float *db, wan_buf dy,
                                const float *x, const float *mean, const float *rstd,
                                const float *w, int64_t S, int64_t D)
{
    int32_t cu[2];
    WAN_ROWS_CHECK("ln_affine_backward", dy);
    const wan_pack p = whole(S, cu);
    const wan_resnorm a = { .pack = &p, .D = D, .gain = w, .affine = 1 };
    const wan_resnorm_grad g = { .gain = dw, .shift = db };
    return wan_seam_backward(d, &a, &g, dx, none, dy, x, mean, rstd, none);
}
