/* SPDX-License-Identifier: Apache-2.0
 *
 * dit_border.c - what blocks of the DiT leave for blocks that run elsewhere: the residual stream and
 * silu(cond), with the sums of their gradients on the way back.  Text is everywhere.
 */
#include "lib/model/dit/dit_priv.h"

int wan_dit_border(const void *config, const wan_acts *acts, int part, int back,
                   wan_border v[WAN_MODEL_BORDERS])
{
    const wan_dit_config *c = config;
    const wan_dit_acts *a = (const wan_dit_acts *)acts;
    int64_t D = wan_dit_width(c);
    int n = part <= c->layers ? 2 : 1; /* the head is not conditioned */
    v[0] = (wan_border){ .rows = 'S', .width = D };
    v[1] = (wan_border){ .rows = 'N', .width = D };
    if (!a)
        return n;
    v[0].n = a->stream->S * D;
    v[0].buf = back ? wan_seq_at(acts, a->dx, a->tok.pack.S, D)
                    : wan_dit_slot_buf(a, part - 1, WAN_DIT_XIN);
    v[1].n = a->tok.pack.n * D;
    v[1].buf = back ? a->dsc : a->sc;
    return n;
}
