/* SPDX-License-Identifier: Apache-2.0
 *
 * conv_dnnl_none.c - a build without oneDNN keeps no copies of convolution weights.
 */
#include "kernels/conv.h"

void wan_conv_forget(const void *w)
{
    (void)w;
}
