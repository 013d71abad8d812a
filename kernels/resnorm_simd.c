/* SPDX-License-Identifier: Apache-2.0
 *
 * resnorm_simd.c - gated residual and LayerNorm in one pass over the rows.
 */
#include "kernels/rows.h"
#include "kernels/seam_simd.h"

int wan_resnorm_forward_simd(wan_dev *d, const wan_resnorm *a, float *out, wan_buf u, float *mean,
                             float *rstd, const float *x, wan_buf y)
{
    WAN_ROWS_CHECK("resnorm_forward", u, y);
    return wan_seam_forward(d, a, out, u, mean, rstd, x, y);
}

int wan_resnorm_backward_simd(wan_dev *d, const wan_resnorm *a, const wan_resnorm_grad *g,
                              float *dx, wan_buf dy, wan_buf du, const float *out,
                              const float *mean, const float *rstd, wan_buf y)
{
    WAN_ROWS_CHECK("resnorm_backward", dy, du, a->gate ? y : du);
    return wan_seam_backward(d, a, g, dx, dy, du, out, mean, rstd, y);
}
