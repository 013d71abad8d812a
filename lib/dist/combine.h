/* SPDX-License-Identifier: Apache-2.0
 *
 * combine.h - copies of a vector to one, in their order.
 */
#ifndef WAN_DIST_COMBINE_H
#define WAN_DIST_COMBINE_H

#include "lib/dist/group.h"

/* out [n] = copy[0] + copy[1] + ... (or the maximum, NaN where any is); out may be one of them.  bf16
 * is added in float32 and rounded once.  -1: a type without sums. */
int wan_combine_copies(void *out, const void *const *copy, int copies, size_t n, wan_dtype t,
                       wan_group_op op) WAN_MUST_CHECK;
int wan_combine_type(wan_dtype t)
    WAN_MUST_CHECK; /* 0, or -1 with a sentence: no sums of this type */

#endif
