/* SPDX-License-Identifier: Apache-2.0
 *
 * ops_vae.h - the reference functions of the video VAE's slots (conv.h, vaeop.h).
 */
#ifndef WAN_KERNELS_OPS_VAE_H
#define WAN_KERNELS_OPS_VAE_H

#include "kernels/ops.h"

void wan_ops_fill_c_vae(wan_ops *o);

#endif
