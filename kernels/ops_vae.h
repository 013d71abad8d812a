/* SPDX-License-Identifier: Apache-2.0
 *
 * ops_vae.h - the functions of the video VAE's slots (conv.h, vaeop.h), by provider.
 */
#ifndef WAN_KERNELS_OPS_VAE_H
#define WAN_KERNELS_OPS_VAE_H

#include "kernels/ops.h"

void wan_ops_fill_c_vae(wan_ops *o);
void wan_ops_fill_simd_vae(wan_ops *o); /* vaeop_simd.c */
void wan_ops_fill_dnnl_vae(wan_ops *o); /* conv_dnnl.c */

#endif
