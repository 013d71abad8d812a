/* SPDX-License-Identifier: Apache-2.0
 *
 * rmsnorm.h - RMSNorm over the full width (all heads together), optionally followed by RoPE.
 *
 *   rstd = 1/sqrt(sum_width(x^2)/width + eps),  n = x*rstd*w,  y = rope ? R(s) n : n
 *   R(s) rotates each pair (2j, 2j+1) inside every head by the angle of token s (rope.h):
 *       y[2j] = n[2j] c - n[2j+1] s,  y[2j+1] = n[2j] s + n[2j+1] c
 * backward: dn = R^T dy; dw += sum_tokens dn*x*rstd; h = dn*w;
 *           dx = rstd (h - x rstd^2/width sum_width(h*x))
 *
 * x, y, dx, dy [S, D] of any type, rows ldx, ldy, lddx, ldy elements apart, so that they may be
 * columns of a wider matrix; w, dw [D]; rstd [S].  y may equal x and dx may equal dy when their
 * strides agree.  dw is added to, all else is overwritten.
 *
 * Where the columns of a norm are divided over ranks, each holds D of `width` columns (whole heads)
 * and the two sums of a row go through the ranks; the fused ops are these in a row, bit for bit:
 *   forward:  rms_sumsq: sum[s] = sum over own columns of x^2;  [add up over ranks];
 *             rms_apply: rstd from sum, then y;  with sum NULL rstd is given (kept from before)
 *   backward: rms_dot: dot[s] = sum over own columns of h*x, and dw;  [add up over ranks];
 *             rms_dx: dx from dot
 * sum, dot [S].
 */
#ifndef WAN_KERNELS_RMSNORM_H
#define WAN_KERNELS_RMSNORM_H

#include "kernels/device.h"
#include "kernels/rope.h"

typedef struct wan_rms {
    int64_t S, D;         /* tokens; columns held here */
    int64_t width;        /* columns of the norm: D where they are not divided */
    int64_t ldx, ldy;     /* row strides of x; of y and dy */
    int64_t lddx;         /* of dx */
    const wan_rope *rope; /* NULL: none */
    double eps;
} wan_rms;

/* Rows that lie close together, none divided, no rotation. */
static inline wan_rms wan_rms_of(int64_t S, int64_t D, double eps)
{
    wan_rms a = { S, D, D, D, D, D, NULL, eps };
    return a;
}

typedef int wan_rmsnorm_forward_fn(wan_dev *d, const wan_rms *a, wan_buf y, wan_real *rstd,
                                   wan_buf x, const wan_real *w) WAN_MUST_CHECK;
typedef int wan_rmsnorm_backward_fn(wan_dev *d, const wan_rms *a, wan_buf dx, wan_real *dw,
                                    wan_buf dy, wan_buf x, const wan_real *rstd, const wan_real *w)
    WAN_MUST_CHECK;
typedef int wan_rms_sumsq_fn(wan_dev *d, const wan_rms *a, wan_real *sum, wan_buf x) WAN_MUST_CHECK;
typedef int wan_rms_apply_fn(wan_dev *d, const wan_rms *a, wan_buf y, wan_real *rstd,
                             const wan_real *sum, wan_buf x, const wan_real *w) WAN_MUST_CHECK;
typedef int wan_rms_dot_fn(wan_dev *d, const wan_rms *a, wan_real *dot, wan_real *dw, wan_buf dy,
                           wan_buf x, const wan_real *rstd, const wan_real *w) WAN_MUST_CHECK;
typedef int wan_rms_dx_fn(wan_dev *d, const wan_rms *a, wan_buf dx, const wan_real *dot, wan_buf dy,
                          wan_buf x, const wan_real *rstd, const wan_real *w) WAN_MUST_CHECK;

wan_rmsnorm_forward_fn wan_rmsnorm_forward_c, wan_rmsnorm_forward_simd, wan_rmsnorm_forward_cuda;
wan_rmsnorm_backward_fn wan_rmsnorm_backward_c, wan_rmsnorm_backward_simd,
    wan_rmsnorm_backward_cuda;
wan_rms_sumsq_fn wan_rms_sumsq_c, wan_rms_sumsq_simd, wan_rms_sumsq_cuda;
wan_rms_apply_fn wan_rms_apply_c, wan_rms_apply_simd, wan_rms_apply_cuda;
wan_rms_dot_fn wan_rms_dot_c, wan_rms_dot_simd, wan_rms_dot_cuda;
wan_rms_dx_fn wan_rms_dx_c, wan_rms_dx_simd, wan_rms_dx_cuda;

#endif
