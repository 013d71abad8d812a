/* SPDX-License-Identifier: Apache-2.0
 *
 * residual_simd.c - the gated residual: a seam without its norm.
 */
#include "kernels/residual.h"

#include "kernels/rows.h"
#include "kernels/seam_simd.h"

static const wan_buf none = WAN_BUF_NONE;

int wan_residual_forward_simd(wan_dev *d, float *out, const float *x, wan_buf y, const float *gate,
                              int64_t stride, const wan_pack *pack, int64_t D)
{
    WAN_ROWS_CHECK("residual_forward", y);
    const wan_resnorm a = { .pack = pack, .D = D, .gate = gate, .stride = stride };
    return wan_seam_forward(d, &a, out, none, NULL, NULL, x, y);
}

int wan_residual_backward_simd(wan_dev *d, wan_buf dy, float *dgate, int64_t dstride,
                               const float *dout, wan_buf y, const float *gate, int64_t stride,
                               const wan_pack *pack, int64_t D)
{
    WAN_ROWS_CHECK("residual_backward", dy, gate ? y : dy);
    const wan_resnorm a = { .pack = pack, .D = D, .gate = gate, .stride = stride };
    const wan_resnorm_grad g = { .gate = dgate, .stride = dstride };
    return wan_seam_backward(d, &a, &g, (float *)(uintptr_t)dout, dy, none, NULL, NULL, NULL, y);
}
