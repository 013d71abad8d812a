/* SPDX-License-Identifier: Apache-2.0
 *
 * ops_dnnl_none.c - a build without oneDNN: the slots keep what they have.
 */
#include "kernels/ops.h"

void wan_ops_fill_dnnl(wan_ops *o)
{
    (void)o;
}
