/* SPDX-License-Identifier: Apache-2.0
 *
 * layernorm.h - LayerNorm over the last axis, modulated per sample or with an affine weight.
 *
 *   xhat = (x - mean) * rstd,  rstd = 1/sqrt(var + eps)  (biased variance, two passes)
 *   mod:    y = xhat * (1 + scale[i]) + shift[i],   i = sample of the token
 *   affine: y = xhat * w + b
 * backward (wan-model(7), Backward): g = dy*(1+scale) or dy*w
 *   dx += rstd (g - <g> - xhat <g*xhat>)   always accumulates: dx is the residual's gradient
 *   dscale[i] += sum_tokens dy*xhat, dshift[i] += sum_tokens dy;  dw, db likewise over all tokens
 *
 * x, dx [S, D] WAN_REAL; y, dy [S, D] any; mean, rstd [S].  scale, shift, dscale, dshift point at
 * the row of sample 0; sample i's row is `stride` elements (not bytes) further per sample, so they
 * may point into a modulation block [n, 6, D] (stride 6*D).
 */
#ifndef WAN_KERNELS_LAYERNORM_H
#define WAN_KERNELS_LAYERNORM_H

#include "kernels/device.h"

typedef int wan_ln_mod_forward_fn(wan_dev *d, wan_buf y, wan_real *mean, wan_real *rstd,
                                  const wan_real *x, const wan_real *scale, const wan_real *shift,
                                  int64_t stride, const wan_pack *pack, int64_t D, double eps)
    WAN_MUST_CHECK;
typedef int wan_ln_mod_backward_fn(wan_dev *d, wan_real *dx, wan_real *dscale, wan_real *dshift,
                                   int64_t dstride, wan_buf dy, const wan_real *x,
                                   const wan_real *mean, const wan_real *rstd,
                                   const wan_real *scale, int64_t stride, const wan_pack *pack,
                                   int64_t D) WAN_MUST_CHECK;
typedef int wan_ln_affine_forward_fn(wan_dev *d, wan_buf y, wan_real *mean, wan_real *rstd,
                                     const wan_real *x, const wan_real *w, const wan_real *b,
                                     int64_t S, int64_t D, double eps) WAN_MUST_CHECK;
typedef int wan_ln_affine_backward_fn(wan_dev *d, wan_real *dx, wan_real *dw, wan_real *db,
                                      wan_buf dy, const wan_real *x, const wan_real *mean,
                                      const wan_real *rstd, const wan_real *w, int64_t S, int64_t D)
    WAN_MUST_CHECK;

wan_ln_mod_forward_fn wan_ln_mod_forward_c, wan_ln_mod_forward_simd, wan_ln_mod_forward_cuda;
wan_ln_mod_backward_fn wan_ln_mod_backward_c, wan_ln_mod_backward_simd, wan_ln_mod_backward_cuda;
wan_ln_affine_forward_fn wan_ln_affine_forward_c, wan_ln_affine_forward_simd,
    wan_ln_affine_forward_cuda;
wan_ln_affine_backward_fn wan_ln_affine_backward_c, wan_ln_affine_backward_simd,
    wan_ln_affine_backward_cuda;

#endif
