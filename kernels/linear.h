/* SPDX-License-Identifier: Apache-2.0
 *
 * linear.h - dense layer.  w is [N, K] as PyTorch's Linear stores it.
 *
 * forward   z = x w^T + b,  y = act(z)          x [M, K], y [M, N], b [N] or NULL
 * dgrad     dx = dy w (+ dx when accumulate)    dy [M, N]
 * dgrad_act dx = (dy w) * act'(z)               z [M, K]: what the layer in front applied act to
 * wgrad     dw = dy^T x, db = sum_m dy (each += when accumulate); dw [N, K], db [N] or NULL
 *
 * In the forward pass on the CPU w may be blocks of few bits (lib/base/quant.h), rows of whole blocks: it is
 * unpacked to what x is, bf16 or WAN_REAL, as the tiles are filled.
 * x, w, y, z, dy, dx are else WAN_REAL or WAN_BF16, each on its own; sums are in WAN_REAL.  pre: z is
 * stored there (type pre.t) when pre.p is not NULL, for act_backward.  No operand may overlap an
 * output.  The order of summation is fixed for given shapes.
 *
 * Layers of one input whose weights (and biases) lie one after the other are one product: q, k and v
 * with N = 3 D and y [M, 3 D], in both directions.  What follows takes columns of y by row strides
 * (rmsnorm.h, attention.h); the norms' backward brings dq and dk back into columns of dy.
 */
#ifndef WAN_KERNELS_LINEAR_H
#define WAN_KERNELS_LINEAR_H

#include "kernels/device.h"

typedef int wan_linear_forward_fn(wan_dev *d, wan_buf y, wan_buf pre, wan_buf x, wan_buf w,
                                  const wan_real *b, int64_t M, int64_t N, int64_t K,
                                  enum wan_act act) WAN_MUST_CHECK;
typedef int wan_linear_dgrad_fn(wan_dev *d, wan_buf dx, wan_buf dy, wan_buf w, int64_t M, int64_t N,
                                int64_t K, int accumulate) WAN_MUST_CHECK;
typedef int wan_linear_dgrad_act_fn(wan_dev *d, wan_buf dx, wan_buf dy, wan_buf w, wan_buf z,
                                    int64_t M, int64_t N, int64_t K, enum wan_act act)
    WAN_MUST_CHECK;
typedef int wan_linear_wgrad_fn(wan_dev *d, wan_real *dw, wan_real *db, wan_buf dy, wan_buf x,
                                int64_t M, int64_t N, int64_t K, int accumulate) WAN_MUST_CHECK;

wan_linear_forward_fn wan_linear_forward_c, wan_linear_forward_dnnl, wan_linear_forward_cuda;
wan_linear_dgrad_fn wan_linear_dgrad_c, wan_linear_dgrad_dnnl, wan_linear_dgrad_cuda;
wan_linear_dgrad_act_fn wan_linear_dgrad_act_c, wan_linear_dgrad_act_dnnl,
    wan_linear_dgrad_act_cuda;
wan_linear_wgrad_fn wan_linear_wgrad_c, wan_linear_wgrad_dnnl, wan_linear_wgrad_cuda;

#endif
