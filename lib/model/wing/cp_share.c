/* SPDX-License-Identifier: Apache-2.0
 *
 * cp_share.c - see cp_share.h.
 */
#include "lib/model/wing/cp_share.h"

int64_t wan_cp_share(int64_t *first, int64_t n, int rank, int ranks)
{
    int64_t each = n / ranks, more = n % ranks;
    *first = each * rank + (rank < more ? rank : more);
    return each + (rank < more);
}

wan_capacity wan_cp_capacity(const wan_capacity *cap, int ranks)
{
    wan_capacity c = *cap;
    if (ranks > 1) {
        int64_t most = cap->tokens / ranks + cap->samples; /* each sample may have one more */
        c.tokens = most < cap->tokens ? most : cap->tokens;
    }
    return c;
}
