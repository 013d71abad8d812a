/* SPDX-License-Identifier: Apache-2.0
 *
 * resnorm.cu - the two ops on CUDA, one after the other.
 */
#include "kernels/cuda_util.cuh"

/* ---- launchers */

extern "C" int wan_resnorm_forward_cuda(wan_dev *d, const wan_resnorm *a, float *out, wan_buf u,
                                        float *mean, float *rstd, const float *x, wan_buf y)
{
    WAN_TRY(wan_residual_forward_cuda(d, out, x, y, a->gate, a->stride, a->pack, a->D));
    if (a->affine)
        return wan_ln_affine_forward_cuda(d, u, mean, rstd, out, a->gain, a->shift, a->pack->S,
                                          a->D, a->eps);
    return wan_ln_mod_forward_cuda(d, u, mean, rstd, out, a->gain, a->shift, a->stride, a->pack,
                                   a->D, a->eps);
}

extern "C" int wan_resnorm_backward_cuda(wan_dev *d, const wan_resnorm *a,
                                         const wan_resnorm_grad *g, float *dx, wan_buf dy,
                                         wan_buf du, const float *out, const float *mean,
                                         const float *rstd, wan_buf y)
{
    if (a->affine)
        WAN_TRY(wan_ln_affine_backward_cuda(d, dx, g->gain, g->shift, du, out, mean, rstd, a->gain,
                                            a->pack->S, a->D));
    else
        WAN_TRY(wan_ln_mod_backward_cuda(d, dx, g->gain, g->shift, g->stride, du, out, mean, rstd,
                                         a->gain, a->stride, a->pack, a->D));
    return wan_residual_backward_cuda(d, dy, g->gate, g->stride, dx, y, a->gate, a->stride, a->pack,
                                      a->D);
}
