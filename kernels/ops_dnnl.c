/* SPDX-License-Identifier: Apache-2.0
 *
 * ops_dnnl.c - slots served by oneDNN and the kernels around it.
 */
#include "kernels/ops_vae.h"

void wan_ops_fill_dnnl(wan_ops *o)
{
    wan_ops_fill_dnnl_vae(o);
}
