/* SPDX-License-Identifier: Apache-2.0
 *
 * vae_share.c - one clip on several ranks: who makes which rows, and how they come together.
 */
#include <stdlib.h>

#include "lib/base/file.h"
#include "lib/model/vae/vae_net.h"

int wan_vae_share(wan_vae *v, wan_group *g)
{
    v->share = g && g->size > 1 ? g : NULL;
    wan_vae_layout_free(&v->enc);
    wan_vae_layout_free(&v->dec);
    wan_where_close(&v->where);
    return v->share ? wan_where_open(&v->where, v->d) : 0;
}

int wan_vae_share_ranks(const wan_vae *v, int64_t h, int fewer)
{
    int64_t n = v->share ? v->share->size : 1;
    return (int)(n <= h ? n : fewer ? h : 1);
}

int wan_vae_share_rows(const vae_net *n, wan_real *out, const wan_real *part, int64_t row)
{
    size_t *count = wan_malloc((size_t)n->ranks, sizeof *count, "ranks");
    if (!count)
        return -1;
    for (int r = 0; r < n->ranks; r++) {
        int64_t first, end;
        wan_vae_layout_rows(n, r, &first, &end);
        count[r] = (size_t)((end - first) * row);
    }
    int rc = wan_group_all_gather_v(n->share, n->where, out, part, count, WAN_REAL);
    free(count);
    return rc;
}
