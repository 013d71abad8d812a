/* SPDX-License-Identifier: Apache-2.0
 *
 * dit_memory.c - the memory of a micro-batch in the DiT (slots.h).
 */
#include <stdlib.h>

#include "lib/base/file.h"
#include "lib/model/dit/dit_priv.h"

static const wan_slot slots[WAN_DIT_N_SLOTS] = {
#define X(name, rows, width, type, keep, alias)                                                    \
    [WAN_DIT_##name] = { #rows[0], #width[0], #type[0], keep, WAN_DIT_##alias },
    WAN_DIT_SLOTS(X)
#undef X
};

static int64_t extent(const void *arg, char letter)
{
    const wan_dit_acts *a = arg;
    const wan_dit_config *c = &a->c;
    switch (letter) {
    case 'S': return a->base.cap.tokens;
    case 'O': return wan_seq_most(&a->base.slice, a->base.cap.tokens);
    case 'R': return a->base.cap.text_rows;
    case 'N': return a->base.cap.samples;
    case 'J': return a->base.cap.samples + 1;
    case 'D': return a->z.D;
    case 'M': return WAN_DIT_ROWS * a->z.D;
    case 'A': return a->z.A;
    case 'F': return a->z.F;
    case 'H': return a->z.H;
    case 'T': return c->text_dim;
    case 'Q': return c->fps_dim;
    case 'L': return c->adaln_dim;
    case 'P': return (int64_t)c->in_ch * c->patch_h * c->patch_w;
    case 'C': return WAN_DIT_CHUNKS;
    default: return 1;
    }
}

/* keep: what lives from forward to backward; work: the rest. */
static void lay(wan_dit_acts *a, wan_slots_arena *keep, wan_slots_arena *work)
{
    const wan_slots *s = &a->slots;
    wan_slots_lay(s, keep, work, a->slot);
#define X(field, rows, width, type, only_trained, kept)                                            \
    if (s->train || !only_trained)                                                                 \
        a->field = wan_slots_once(s, kept ? keep : work, #rows #width #type);
    WAN_DIT_ONCE(X)
#undef X
    a->table = wan_slots_take(keep, WAN_DIT_SIDE, a->z.D, WAN_REAL);
}

/* Everything of a but its memory. */
static int shape(wan_dit_acts *a, wan_dev *d, const void *c, const wan_acts_options *o)
{
    const wan_capacity *cap = &o->cap;
    *a = (wan_dit_acts){ .c = *(const wan_dit_config *)c };
    WAN_TRY(wan_dit_config_check(&a->c));
    if (cap->tokens > INT32_MAX / a->c.heads || cap->text_rows > INT32_MAX / a->c.heads ||
        cap->samples > INT32_MAX - 1)
        return wan_err("DiT: a pack of more than 2^31 heads of tokens");
    a->base = (wan_acts){ .c = &a->c,
                          .d = d,
                          .compute = o->compute,
                          .train = o->train,
                          .cap = o->cap,
                          .slice = o->slice ? *o->slice
                                            : (wan_slice){ .ranks = 1, .end = a->c.layers + 2 } };
    a->slots = (wan_slots){ .slot = slots,
                            .n = WAN_DIT_N_SLOTS,
                            .stream = WAN_DIT_XIN,
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

int wan_dit_acts_plan(wan_acts_bytes *out, const void *c, const wan_acts_options *o)
{
    wan_dit_acts a;
    wan_slots_arena keep = { 0 }, work = { 0 };
    WAN_TRY(shape(&a, NULL, c, o));
    lay(&a, &keep, &work);
    const wan_stash_plan away = wan_slots_stash(&a.slots);
    *out = (wan_acts_bytes){ keep.used, work.used, wan_stash_bytes(&away) };
    return 0;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int reserve_host(wan_dit_acts *a, const wan_capacity *cap)
{
    size_t stage = (size_t)larger(cap->text_rows, cap->samples * a->z.D);
    size_t n = (size_t)cap->samples;
    a->slot = wan_calloc((size_t)(a->c.layers + 1) * WAN_DIT_N_SLOTS, sizeof *a->slot, "slots");
    a->chunk_host =
        wan_malloc((size_t)cap->tokens, WAN_DIT_CHUNKS * sizeof *a->chunk_host, "positions");
    a->host = wan_malloc(stage, sizeof *a->host, "staging");
    a->grid = wan_calloc(n, sizeof *a->grid, "grids");
    a->from = wan_calloc(n, sizeof *a->from, "grids");
    a->len = wan_calloc(n, sizeof *a->len, "lengths");
    if (!a->slot || !a->chunk_host || !a->host || !a->grid || !a->from || !a->len)
        return -1;
    WAN_TRY(wan_lengths_reserve(a->base.d, &a->tok, cap->samples, cap->tokens));
    if (a->base.slice.spread)
        WAN_TRY(wan_lengths_reserve(a->base.d, &a->own, cap->samples, cap->tokens));
    return wan_lengths_reserve(a->base.d, &a->txt, cap->samples, cap->text_rows);
}

static int build(wan_dit_acts *a, const wan_acts_options *o, wan_dit_acts *share)
{
    wan_dev *d = a->base.d;
    wan_slots_arena keep = { 0 }, work = { 0 };
    lay(a, &keep, &work);
    a->shared = share != NULL;
    a->mem = wan_dev_alloc(d, (size_t)keep.used, "activations");
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
    return wan_dit_constants(a);
}

int wan_dit_acts_new(wan_acts **out, wan_dev *d, const void *c, const wan_acts_options *o,
                     wan_acts *share)
{
    wan_dit_acts *a = wan_calloc(1, sizeof *a, "activations");
    *out = NULL;
    if (!a)
        return -1;
    if (shape(a, d, c, o) < 0) {
        free(a);
        return -1;
    }
    *out = &a->base;
    if (build(a, o, share ? wan_dit_of(share) : NULL) < 0)
        wan_dit_acts_free(out);
    return *out ? 0 : -1;
}

void wan_dit_acts_free(wan_acts **pa)
{
    wan_dit_acts *a = wan_dit_of(*pa);
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
    free(a->chunk_host);
    free(a->host);
    free(a->grid);
    free(a->from);
    free(a->len);
    free(a);
    *pa = NULL;
}
