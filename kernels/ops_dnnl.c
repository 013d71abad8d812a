/* SPDX-License-Identifier: Apache-2.0
 *
 * ops_dnnl.c - slots served by oneDNN and the kernels around it.
 */
#include "kernels/ops.h"

void wan_ops_fill_dnnl(wan_ops *o)
{
    (void)o;
}
