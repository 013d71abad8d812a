/* SPDX-License-Identifier: Apache-2.0
 *
 * widths.c - see widths.h.
 */
#include "lib/model/block/widths.h"

int wan_widths_of(wan_widths *z, int heads, int head_dim, int ffn, const wan_slice *s)
{
    int64_t width = (int64_t)heads * head_dim;
    *z = (wan_widths){ width, width, ffn, heads };
    if (!s || s->ranks == 1)
        return 0;
    z->A = wan_store_share(NULL, s, width, head_dim);
    z->F = wan_store_share(NULL, s, ffn, 1);
    z->H = z->A / head_dim;
    if (z->H < 1 || z->F < 1)
        return wan_err("%d heads on %d tensor parallel ranks: a rank would have none", heads,
                       s->ranks);
    return 0;
}
