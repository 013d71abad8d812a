/* SPDX-License-Identifier: Apache-2.0
 *
 * ops_vae.c - who fills the slots of the video VAE (conv.h, vaeop.h).
 */
#include "kernels/ops_vae.h"

void wan_ops_fill_c_vae(wan_ops *o)
{
    o->conv_forward = wan_conv_forward_c;
    o->vae_norm = wan_vae_norm_c;
    o->vae_interleave = wan_vae_interleave_c;
    o->vae_from_rgb = wan_vae_from_rgb_c;
    o->vae_to_rgb = wan_vae_to_rgb_c;
    o->vae_to_cfirst = wan_vae_to_cfirst_c;
    o->vae_to_clast = wan_vae_to_clast_c;
}
