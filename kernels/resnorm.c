/* SPDX-License-Identifier: Apache-2.0
 *
 * resnorm.c - reference: the two ops, one after the other.
 */
#include "kernels/resnorm.h"

#include "kernels/layernorm.h"
#include "kernels/residual.h"

int wan_resnorm_forward_c(wan_dev *d, const wan_resnorm *a, wan_real *out, wan_buf u,
                          wan_real *mean, wan_real *rstd, const wan_real *x, wan_buf y)
{
    WAN_TRY(wan_residual_forward_c(d, out, x, y, a->gate, a->stride, a->pack, a->D));
    if (a->affine)
        return wan_ln_affine_forward_c(d, u, mean, rstd, out, a->gain, a->shift, a->pack->S, a->D,
                                       a->eps);
    return wan_ln_mod_forward_c(d, u, mean, rstd, out, a->gain, a->shift, a->stride, a->pack, a->D,
                                a->eps);
}

int wan_resnorm_backward_c(wan_dev *d, const wan_resnorm *a, const wan_resnorm_grad *g,
                           wan_real *dx, wan_buf dy, wan_buf du, const wan_real *out,
                           const wan_real *mean, const wan_real *rstd, wan_buf y)
{
    if (a->affine)
        WAN_TRY(wan_ln_affine_backward_c(d, dx, g->gain, g->shift, du, out, mean, rstd, a->gain,
                                         a->pack->S, a->D));
    else
        WAN_TRY(wan_ln_mod_backward_c(d, dx, g->gain, g->shift, g->stride, du, out, mean, rstd,
                                      a->gain, a->stride, a->pack, a->D));
    return wan_residual_backward_c(d, dy, g->gate, g->stride, dx, y, a->gate, a->stride, a->pack,
                                   a->D);
}
