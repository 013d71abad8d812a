/* SPDX-License-Identifier: Apache-2.0
 *
 * rmsnorm.h - RMSNorm over the full width (all heads together), optionally followed by RoPE.
 *
 *   rstd = 1/sqrt(mean_D(x^2) + eps),  n = x*rstd*w,  y = rope ? R(s) n : n
 *   R(s) rotates each pair (2j, 2j+1) inside every head by the angle of token s:
 *       y[2j] = n[2j] c - n[2j+1] s,  y[2j+1] = n[2j] s + n[2j+1] c
 * backward: dn = R^T dy; dw += sum_tokens dn*x*rstd; h = dn*w; dx = rstd (h - xhat <h*xhat>)
 *   dx is overwritten and may equal dy.
 *
 * x, y, dx, dy [S, D] any type, row stride D; rope [S, head_dim/2, 2] (cos, sin) or NULL; D =
 * heads*head_dim; rstd [S].  head_dim is unused without rope.
 */
#ifndef WAN_KERNELS_RMSNORM_H
#define WAN_KERNELS_RMSNORM_H

#include "kernels/device.h"

typedef int wan_rmsnorm_forward_fn(wan_dev *d, wan_buf y, wan_real *rstd, wan_buf x,
                                   const wan_real *w, const wan_real *rope, int64_t S, int64_t D,
                                   int64_t head_dim, double eps) WAN_MUST_CHECK;
typedef int wan_rmsnorm_backward_fn(wan_dev *d, wan_buf dx, wan_real *dw, wan_buf dy, wan_buf x,
                                    const wan_real *rstd, const wan_real *w, const wan_real *rope,
                                    int64_t S, int64_t D, int64_t head_dim) WAN_MUST_CHECK;

wan_rmsnorm_forward_fn wan_rmsnorm_forward_c, wan_rmsnorm_forward_cuda;
wan_rmsnorm_backward_fn wan_rmsnorm_backward_c, wan_rmsnorm_backward_cuda;

#endif
