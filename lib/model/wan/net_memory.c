/* SPDX-License-Identifier: Apache-2.0
 *
 * net_memory.c - the memory of a micro-batch in the WAN transformer, laid out once: what its forward
 * keeps for its backward in one allocation, what only works in another, which acts may share.
 *
 * The same walk runs twice: without memory it only counts, with memory it hands out addresses.
 */
#include <stdlib.h>

#include "lib/base/file.h"
#include "lib/model/wan/net_priv.h"

enum { ALIGN = 256 };

typedef struct arena {
    char *base; /* NULL: only count */
    int64_t used;
} arena;

/* What the walk depends on. */
typedef struct shape {
    const wan_net_config *c;
    wan_net_widths z;
    wan_capacity cap;
    wan_dtype compute;
    int train;
    int first, end; /* parts */
} shape;

static void *take(arena *a, int64_t rows, int64_t width, wan_dtype t)
{
    void *p = a->base ? a->base + a->used : NULL;
    a->used += (rows * width * (int64_t)wan_dtype_size(t) + ALIGN - 1) / ALIGN * ALIGN;
    return p;
}

static int64_t rows_of(const shape *s, char letter)
{
    return letter == 'S' ? s->cap.tokens : letter == 'R' ? s->cap.text_rows : s->cap.samples;
}

static int64_t width_of(const shape *s, char letter)
{
    switch (letter) {
    case 'D': return s->z.D;
    case 'E': return 6 * s->z.D;
    case 'B': return 2 * s->z.D;
    case 'A': return s->z.A;
    case 'F': return s->z.F;
    case 'H': return s->z.H;
    case 'T': return s->c->text_dim;
    case 'Q': return s->c->freq_dim;
    case 'P': return (int64_t)s->c->in_ch * s->c->patch_h * s->c->patch_w;
    default: return 1;
    }
}

typedef struct slot_info {
    char rows, width, type;
    int keep, alias;
} slot_info;

static const slot_info slots[WAN_NET_N_SLOTS] = {
#define X(name, rows, width, type, keep, alias)                                                    \
    [WAN_NET_##name] = { #rows[0], #width[0], #type[0], keep, WAN_NET_##alias },
    WAN_NET_SLOTS(X)
#undef X
};

static wan_dtype type_of(const shape *s, char letter)
{
    return letter == 'r' ? WAN_REAL : s->compute;
}

static void *take_slot(const shape *s, arena *a, int i)
{
    return take(a, rows_of(s, slots[i].rows), width_of(s, slots[i].width),
                type_of(s, slots[i].type));
}

/* Bytes of slot i, or of the widest that takes its place. */
static int64_t widest(const shape *s, int i)
{
    int64_t most = 0;
    for (int k = 0; k < WAN_NET_N_SLOTS; k++) {
        arena one = { 0 };
        if (slots[k].alias == i)
            take_slot(s, &one, k);
        most = one.used > most ? one.used : most;
    }
    return most;
}

/* One set for all blocks; slots with an alias have none of their own. */
static void lay_shared(const shape *s, arena *a, void **slot)
{
    for (int i = 0; i < WAN_NET_N_SLOTS; i++) {
        if (slots[i].alias != i)
            continue;
        void *p = a->base ? a->base + a->used : NULL;
        a->used += widest(s, i);
        for (int l = 0; slot && l <= s->c->layers; l++)
            slot[l * WAN_NET_N_SLOTS + i] = p;
    }
    for (int i = 0; slot && i < WAN_NET_N_SLOTS; i++)
        for (int l = 0; l < s->c->layers; l++)
            slot[l * WAN_NET_N_SLOTS + i] = slot[slots[i].alias];
}

/* Whether block l runs here. */
static int runs(const shape *s, int l)
{
    return l + 1 >= s->first && l + 1 < s->end;
}

static void lay_kept(const shape *s, arena *keep, void **slot, int level)
{
    for (int l = 0; l < s->c->layers; l++)
        for (int i = 0; i < WAN_NET_N_SLOTS && runs(s, l); i++)
            if (slots[i].keep <= level) {
                void *p = take_slot(s, keep, i);
                if (slot)
                    slot[l * WAN_NET_N_SLOTS + i] = p;
            }
    int next = s->end - 1; /* what the last block hands on: to the head, or to the next stage */
    void *out = take_slot(s, keep, WAN_NET_XIN);
    if (slot)
        slot[(next < s->c->layers ? next : s->c->layers) * WAN_NET_N_SLOTS + WAN_NET_XIN] = out;
}

/* Kept slots one per block that runs here, the others one for all. */
static void lay_trained(const shape *s, arena *keep, arena *work, void **slot)
{
    int level = s->cap.recompute == WAN_RECOMPUTE_NONE        ? 2
                : s->cap.recompute == WAN_RECOMPUTE_SELECTIVE ? 1
                                                              : 0;
    lay_kept(s, keep, slot, level);
    for (int i = 0; i < WAN_NET_N_SLOTS; i++)
        if (slots[i].keep > level) {
            void *p = take_slot(s, work, i);
            for (int l = 0; slot && l < s->c->layers; l++)
                slot[l * WAN_NET_N_SLOTS + i] = p;
        }
}

static wan_buf once(const shape *s, arena *a, const char *rwt, int train)
{
    wan_dtype t = type_of(s, rwt[2]);
    if (train && !s->train)
        return wan_buf_of(NULL, t);
    return wan_buf_of(take(a, rows_of(s, rwt[0]), width_of(s, rwt[1]), t), t);
}

/* keep: what lives from forward to backward; work: the rest.  slot and p NULL: only count. */
static void lay(const shape *s, arena *keep, arena *work, void **slot, wan_net_acts *p)
{
    if (s->train)
        lay_trained(s, keep, work, slot);
    else
        lay_shared(s, work, slot);
    wan_net_acts dummy;
    if (!p)
        p = &dummy;
#define X(field, rows, width, type, train, kept)                                                   \
    p->field = once(s, kept ? keep : work, #rows #width #type, train);
    WAN_NET_ONCE(X)
#undef X
    int hd = s->c->head_dim, side = 2 * (hd / 6); /* columns of a head for rows, and for columns */
    p->pos = take(keep, s->cap.tokens, 3, WAN_I32);
    p->rope = (wan_rope){ .pos = p->pos,
                          .table = take(keep, WAN_NET_ROPE_MAX, hd, WAN_REAL),
                          .P = WAN_NET_ROPE_MAX,
                          .axis = { hd - 2 * side, side, side } };
}

static int shape_of(shape *s, const wan_net_config *c, const wan_acts_options *o)
{
    const wan_capacity *cap = &o->cap;
    WAN_TRY(wan_net_config_check(c));
    if (cap->tokens > INT32_MAX || cap->text_rows > INT32_MAX || cap->samples > INT32_MAX - 1)
        return wan_err("transformer: a pack of more than 2^31 tokens");
    *s = (shape){
        .c = c, .cap = *cap, .compute = o->compute, .train = o->train, .end = c->layers + 2
    };
    if (o->slice) {
        s->first = o->slice->first;
        s->end = o->slice->end;
    }
    return wan_net_widths_of(&s->z, c, o->slice);
}

int wan_net_acts_plan(wan_acts_bytes *out, const void *c, const wan_acts_options *o)
{
    shape s;
    arena keep = { 0 }, work = { 0 };
    *out = (wan_acts_bytes){ 0 };
    WAN_TRY(shape_of(&s, c, o));
    lay(&s, &keep, &work, NULL, NULL);
    *out = (wan_acts_bytes){ keep.used, work.used };
    return 0;
}

wan_buf wan_net_slot_buf(const wan_net_acts *a, int l, enum wan_net_slot i)
{
    return wan_buf_of(a->slot[l * WAN_NET_N_SLOTS + (int)i],
                      slots[i].type == 'r' ? WAN_REAL : a->base.compute);
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
    WAN_TRY(wan_net_lengths_reserve(a->base.d, &a->tok, cap->samples, cap->tokens));
    return wan_net_lengths_reserve(a->base.d, &a->txt, cap->samples, cap->text_rows);
}

static int build(wan_net_acts *a, const wan_acts_options *o, wan_net_acts *share)
{
    wan_dev *d = a->base.d;
    arena keep = { 0 }, work = { 0 };
    shape s;
    WAN_TRY(shape_of(&s, &a->c, o));
    a->z = s.z;
    a->first = s.first;
    a->end = s.end;
    lay(&s, &keep, &work, NULL, NULL);
    a->shared = share != NULL;
    a->mem = wan_dev_alloc(d, (size_t)(keep.used ? keep.used : 1), "activations");
    a->work = share ? share->work : wan_dev_alloc(d, (size_t)work.used, "work space");
    if (!a->mem || !a->work)
        return -1;
    WAN_TRY(reserve_host(a, &o->cap));
    keep = (arena){ a->mem, 0 };
    work = (arena){ a->work, 0 };
    lay(&s, &keep, &work, a->slot, a);
    return wan_net_rope_make(a);
}

int wan_net_acts_new(wan_acts **out, wan_dev *d, const void *c, const wan_acts_options *o,
                     wan_acts *share)
{
    wan_net_acts *a = wan_calloc(1, sizeof *a, "activations");
    *out = NULL;
    if (!a)
        return -1;
    a->c = *(const wan_net_config *)c;
    a->base = (wan_acts){ .model = &wan_net_model,
                          .c = &a->c,
                          .d = d,
                          .compute = o->compute,
                          .train = o->train,
                          .cap = o->cap };
    *out = &a->base;
    if (build(a, o, share ? wan_net_of(share) : NULL) < 0)
        wan_net_acts_free(out);
    return *out ? 0 : -1;
}

void wan_net_acts_free(wan_acts **pa)
{
    wan_net_acts *a = wan_net_of(*pa);
    wan_dev *d = a->base.d;
    wan_dev_free(d, a->mem);
    if (!a->shared)
        wan_dev_free(d, a->work);
    wan_net_lengths_release(d, &a->tok);
    wan_net_lengths_release(d, &a->txt);
    free(a->slot);
    free(a->pos_host);
    free(a->host);
    free(a->grid);
    free(a->len);
    free(a);
    *pa = NULL;
}
