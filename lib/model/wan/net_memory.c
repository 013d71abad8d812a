/* SPDX-License-Identifier: Apache-2.0
 *
 * net_memory.c - the memory of a micro-batch in the WAN transformer (slots.h).
 */
#include <stdlib.h>

#include "lib/base/file.h"
#include "lib/model/wan/net_priv.h"

static const wan_slot slots[WAN_NET_N_SLOTS] = {
#define X(name, rows, width, type, keep, alias)                                                    \
    [WAN_NET_##name] = { #rows[0], #width[0], #type[0], keep, WAN_NET_##alias },
    WAN_NET_SLOTS(X)
#undef X
};

static int64_t extent(const void *arg, char letter)
{
    const wan_net_acts *a = arg;
    const wan_net_config *c = &a->c;
    switch (letter) {
    case 'S': return a->base.cap.tokens;
    case 'O': return wan_seq_most(&a->base.slice, a->base.cap.tokens);
    case 'R': return a->base.cap.text_rows;
    case 'N': return a->base.cap.samples;
    case 'M': return a->base.cap.samples + 1;
    case 'D': return a->z.D;
    case 'E': return 6 * a->z.D;
    case 'B': return 2 * a->z.D;
    case 'A': return a->z.A;
    case 'W': return 3 * a->z.A;
    case 'G': return a->z.F > a->z.A ? a->z.F : a->z.A;
    case 'F': return a->z.F;
    case 'H': return a->z.H;
    case 'T': return c->text_dim;
    case 'Q': return c->freq_dim;
    case '2': return 2;
    case 'P': return (int64_t)c->in_ch * c->patch_h * c->patch_w;
    default: return 1;
    }
}

/* keep: what lives from forward to backward; work: the rest. */
static void lay(wan_net_acts *a, wan_slots_arena *keep, wan_slots_arena *work)
{
    const wan_slots *s = &a->slots;
    wan_slots_lay(s, keep, work, a->slot);
#define X(field, rows, width, type, only_trained, kept)                                            \
    if (s->train || !only_trained)                                                                 \
        a->field = wan_slots_once(s, kept ? keep : work, #rows #width #type);
    WAN_NET_ONCE(X)
#undef X
    int hd = a->c.head_dim, side = 2 * (hd / 6); /* columns of a head for rows, and for columns */
    a->pos = wan_slots_take(keep, a->base.cap.tokens, 3, WAN_I32);
    a->rope = (wan_rope){ .pos = a->pos,
                          .table = wan_slots_take(keep, WAN_NET_ROPE_MAX, hd, WAN_REAL),
                          .P = WAN_NET_ROPE_MAX,
                          .axis = { hd - 2 * side, side, side } };
}

/* Everything of a but its memory. */
static int shape(wan_net_acts *a, wan_dev *d, const void *c, const wan_acts_options *o)
{
    const wan_capacity *cap = &o->cap;
    *a = (wan_net_acts){ .c = *(const wan_net_config *)c };
    WAN_TRY(wan_net_config_check(&a->c));
    if (cap->tokens > INT32_MAX || cap->text_rows > INT32_MAX || cap->samples > INT32_MAX - 1)
        return wan_err("transformer: a pack of more than 2^31 tokens");
    a->base = (wan_acts){ .c = &a->c,
                          .d = d,
                          .compute = o->compute,
                          .train = o->train,
                          .cap = o->cap,
                          .slice = o->slice ? *o->slice
                                            : (wan_slice){ .ranks = 1, .end = a->c.layers + 2 } };
    a->slots = (wan_slots){ .slot = slots,
                            .n = WAN_NET_N_SLOTS,
                            .stream = WAN_NET_XIN,
                            .arg = a,
                            .extent = extent,
                            .compute = o->compute,
                            .train = o->train,
                            .cap = &a->base.cap,
                            .layers = a->c.layers,
                            .first = o->slice ? o->slice->first : 0,
                            .end = o->slice ? o->slice->end : a->c.layers + 2 };
    return wan_widths_of(&a->z, a->c.heads, a->c.head_dim, a->c.ffn, o->slice);
}

int wan_net_acts_plan(wan_acts_bytes *out, const void *c, const wan_acts_options *o)
{
    wan_net_acts a;
    wan_slots_arena keep = { 0 }, work = { 0 };
    WAN_TRY(shape(&a, NULL, c, o));
    lay(&a, &keep, &work);
    const wan_stash_plan away = wan_slots_stash(&a.slots);
    *out = (wan_acts_bytes){ keep.used, work.used, wan_stash_bytes(&away) };
    return 0;
}

wan_buf wan_net_slot_buf(const wan_net_acts *a, int l, enum wan_net_slot i)
{
    return wan_slots_buf(&a->slots, a->slot, l, (int)i);
}

wan_real *wan_net_slot_real(const wan_net_acts *a, int l, enum wan_net_slot i)
{
    return a->slot[l * WAN_NET_N_SLOTS + (int)i];
}

static int reserve_host(wan_net_acts *a, const wan_capacity *cap)
{
    int64_t stage = cap->text_rows > cap->samples ? cap->text_rows : cap->samples;
    a->slot = wan_calloc((size_t)(a->c.layers + 1) * WAN_NET_N_SLOTS, sizeof *a->slot, "slots");
    a->pos_host = wan_malloc((size_t)cap->tokens, 3 * sizeof *a->pos_host, "positions");
    a->host = wan_malloc((size_t)stage, sizeof(wan_real), "staging");
    a->grid = wan_calloc((size_t)cap->samples, sizeof *a->grid, "grids");
    a->len = wan_calloc((size_t)cap->samples, sizeof *a->len, "lengths");
    if (!a->slot || !a->pos_host || !a->host || !a->grid || !a->len)
        return -1;
    WAN_TRY(wan_lengths_reserve(a->base.d, &a->tok, cap->samples, cap->tokens));
    if (a->base.slice.spread)
        WAN_TRY(wan_lengths_reserve(a->base.d, &a->own, cap->samples, cap->tokens));
    return wan_lengths_reserve(a->base.d, &a->txt, cap->samples, cap->text_rows);
}

static int build(wan_net_acts *a, const wan_acts_options *o, wan_net_acts *share)
{
    wan_dev *d = a->base.d;
    wan_slots_arena keep = { 0 }, work = { 0 };
    lay(a, &keep, &work);
    a->shared = share != NULL;
    a->mem = wan_dev_alloc(d, (size_t)(keep.used ? keep.used : 1), "activations");
    a->work = share ? share->work : wan_dev_alloc(d, (size_t)work.used, "work space");
    if (!a->mem || !a->work)
        return -1;
    WAN_TRY(reserve_host(a, &o->cap));
    keep = (wan_slots_arena){ a->mem, 0 };
    work = (wan_slots_arena){ a->work, 0 };
    lay(a, &keep, &work);
    const wan_stash_plan away = wan_slots_stash(&a->slots);
    if (away.blocks)
        WAN_TRY(wan_stash_new(&a->base.stash, d, a->mem, &away));
    return wan_net_rope_make(a);
}

int wan_net_acts_new(wan_acts **out, wan_dev *d, const void *c, const wan_acts_options *o,
                     wan_acts *share)
{
    wan_net_acts *a = wan_calloc(1, sizeof *a, "activations");
    *out = NULL;
    if (!a)
        return -1;
    if (shape(a, d, c, o) < 0) {
        free(a);
        return -1;
    }
    *out = &a->base;
    if (build(a, o, share ? wan_net_of(share) : NULL) < 0)
        wan_net_acts_free(out);
    return *out ? 0 : -1;
}

void wan_net_acts_free(wan_acts **pa)
{
    wan_net_acts *a = wan_net_of(*pa);
    wan_dev *d = a->base.d;
    wan_stash_free(&a->base.stash);
    wan_dev_free(d, a->mem);
    if (!a->shared)
        wan_dev_free(d, a->work);
    wan_lengths_release(d, &a->tok);
    if (a->base.slice.spread)
        wan_lengths_release(d, &a->own);
    wan_lengths_release(d, &a->txt);
    free(a->slot);
    free(a->pos_host);
    free(a->host);
    free(a->grid);
    free(a->len);
    free(a);
    *pa = NULL;
}
