/* SPDX-License-Identifier: Apache-2.0
 *
 * net_border.c - what blocks of the WAN transformer leave for blocks that run elsewhere: the residual
 * stream, and what part 0 makes of time and text, with the sums of its gradients on the way back.
 */
#include "lib/model/wan/net_priv.h"

/* A border without a micro-batch: rows and their width. */
static wan_border row(char rows, int64_t width, int narrow)
{
    return (wan_border){ .rows = rows, .width = width, .narrow = narrow };
}

static wan_border fill(wan_border b, const wan_net_acts *a, wan_buf buf)
{
    b.buf = buf;
    b.n = b.width * (b.rows == 'S' ? a->stream->S : b.rows == 'R' ? a->txt.pack.S : a->tok.pack.n);
    return b;
}

int wan_net_border(const void *config, const wan_acts *acts, int part, int back,
                   wan_border v[WAN_MODEL_BORDERS])
{
    const wan_net_config *c = config;
    const wan_net_acts *a = (const wan_net_acts *)acts;
    int64_t D = wan_net_width(c);
    int n = part <= c->layers ? 4 : 2; /* the head reads neither e0 nor text */
    v[0] = row('S', D, 0);
    v[1] = row('N', D, 0);
    v[2] = row('N', 6 * D, 0);
    v[3] = row('R', D, !back);
    if (!a)
        return n;
    const wan_buf down[] = { wan_net_slot_buf(a, part - 1, WAN_NET_XIN), a->e, a->e0, a->ctx_rows };
    const wan_buf up[] = { wan_seq_at(acts, a->dx, a->tok.pack.S, D), a->de, a->de0, a->dctx };
    for (int i = 0; i < n; i++)
        v[i] = fill(v[i], a, back ? up[i] : down[i]);
    return n;
}
