/* SPDX-License-Identifier: Apache-2.0
 *
 * resnorm.h - gated residual and the LayerNorm behind it: the seam between two branches of a block.
 *
 *   forward: residual_forward (residual.h), then ln_mod_forward or ln_affine_forward (layernorm.h)
 *     out = x + y * gate[i];  u = (out - mean) * rstd * (1 + gain[i]) + shift[i], or affine: ... * gain + shift
 *   backward: ln_mod_backward or ln_affine_backward, then residual_backward
 *     dx += LayerNorm's, from du;  dy = dx * gate[i];  dgate[i] += sum_{tokens of i} dx * y;
 *     dgain, dshift += as dscale, dshift or dw, db
 *
 * One pass over the rows where these are two or three.  x, out, dx [S, D] WAN_REAL, out may equal x; in
 * backward dx comes as the gradient of out from elsewhere and leaves as that of x too.  y, u, du, dy
 * [S, D] any; dy may equal y or du.  mean, rstd [S].
 */
#ifndef WAN_KERNELS_RESNORM_H
#define WAN_KERNELS_RESNORM_H

#include "kernels/device.h"

typedef struct wan_resnorm {
    const wan_pack *pack;
    int64_t D;
    double eps;
    const wan_real *gate; /* row of sample 0; NULL: 1, and backward reads no y and gives no dgate */
    const wan_real *gain, *shift; /* rows of sample 0; affine: the only ones */
    int64_t stride;               /* elements from one sample's row to the next, of all three */
    int affine;
} wan_resnorm;

/* Where gradients of gate, gain and shift are added. */
typedef struct wan_resnorm_grad {
    wan_real *gate, *gain, *shift;
    int64_t stride;
} wan_resnorm_grad;

typedef int wan_resnorm_forward_fn(wan_dev *d, const wan_resnorm *a, wan_real *out, wan_buf u,
                                   wan_real *mean, wan_real *rstd, const wan_real *x, wan_buf y)
    WAN_MUST_CHECK;
/* out, mean, rstd: what forward gave. */
typedef int wan_resnorm_backward_fn(wan_dev *d, const wan_resnorm *a, const wan_resnorm_grad *g,
                                    wan_real *dx, wan_buf dy, wan_buf du, const wan_real *out,
                                    const wan_real *mean, const wan_real *rstd, wan_buf y)
    WAN_MUST_CHECK;

wan_resnorm_forward_fn wan_resnorm_forward_c, wan_resnorm_forward_simd, wan_resnorm_forward_cuda;
wan_resnorm_backward_fn wan_resnorm_backward_c, wan_resnorm_backward_simd,
    wan_resnorm_backward_cuda;

#endif
