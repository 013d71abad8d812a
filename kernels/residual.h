/* SPDX-License-Identifier: Apache-2.0
 *
 * residual.h - gated residual add.
 *
 *   out = x + y * gate[i]   (gate NULL: out = x + y);  out may equal x
 * backward, from dout (which also stays the gradient of x):
 *   dy = dout * gate[i];  dgate[i] += sum_{tokens of i} dout * y
 *
 * x, out, dout [S, D] WAN_REAL; y, dy [S, D] any.  gate and dgate: row of sample 0, `stride`
 * elements per sample (see layernorm.h).
 */
#ifndef WAN_KERNELS_RESIDUAL_H
#define WAN_KERNELS_RESIDUAL_H

#include "kernels/device.h"

typedef int wan_residual_forward_fn(wan_dev *d, wan_real *out, const wan_real *x, wan_buf y,
                                    const wan_real *gate, int64_t stride, const wan_pack *pack,
                                    int64_t D) WAN_MUST_CHECK;
typedef int wan_residual_backward_fn(wan_dev *d, wan_buf dy, wan_real *dgate, int64_t dstride,
                                     const wan_real *dout, wan_buf y, const wan_real *gate,
                                     int64_t stride, const wan_pack *pack, int64_t D)
    WAN_MUST_CHECK;

wan_residual_forward_fn wan_residual_forward_c, wan_residual_forward_simd,
    wan_residual_forward_cuda;
wan_residual_backward_fn wan_residual_backward_c, wan_residual_backward_simd,
    wan_residual_backward_cuda;

#endif
