/* SPDX-License-Identifier: Apache-2.0
 *
 * ops_simd.c - slots whose vectorised C is faster than the reference on every CPU.
 */
#include "kernels/ops.h"

void wan_ops_fill_simd(wan_ops *o)
{
    (void)o;
}
