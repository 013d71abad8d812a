/* SPDX-License-Identifier: Apache-2.0
 *
 * ops_dnnl.c - slots served by oneDNN and the kernels around it.
 */
#include "kernels/ops_vae.h"

void wan_ops_fill_dnnl(wan_ops *o)
{
    wan_ops_fill_dnnl_vae(o);
    o->linear_forward = wan_linear_forward_dnnl;
    o->linear_dgrad = wan_linear_dgrad_dnnl;
    o->linear_dgrad_act = wan_linear_dgrad_act_dnnl;
    o->linear_wgrad = wan_linear_wgrad_dnnl;
}
