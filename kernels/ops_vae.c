/* SPDX-License-Identifier: Apache-2.0
 *
 * ops_vae.c - the reference functions of the video VAE's slots.
 */
#include "kernels/ops_vae.h"

void wan_ops_fill_c_vae(wan_ops *o)
{
    (void)o;
}
