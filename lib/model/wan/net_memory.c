/* SPDX-License-Identifier: Apache-2.0
 *
 * net_memory.c - all activation memory of a transformer, laid out once in one allocation.
 *
 * The same walk runs twice: without memory it only counts (wan_net_plan), with memory it hands out
 * addresses (wan_net_reserve).
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
    wan_net_capacity cap;
    wan_dtype compute;
    int train;
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
    int64_t D = wan_net_width(s->c);
    switch (letter) {
    case 'D': return D;
    case 'E': return 6 * D;
    case 'B': return 2 * D;
    case 'F': return s->c->ffn;
    case 'H': return s->c->heads;
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

/* One set for all blocks; slots with an alias have none of their own. */
static void lay_shared(const shape *s, arena *a, void **slot)
{
    for (int i = 0; i < WAN_NET_N_SLOTS; i++) {
        if (slots[i].alias != i)
            continue;
        void *p = take_slot(s, a, i);
        for (int l = 0; slot && l <= s->c->layers; l++)
            slot[l * WAN_NET_N_SLOTS + i] = p;
    }
    for (int i = 0; slot && i < WAN_NET_N_SLOTS; i++)
        for (int l = 0; l < s->c->layers; l++)
            slot[l * WAN_NET_N_SLOTS + i] = slot[slots[i].alias];
}

/* Kept slots one per block, the others one for all. */
static void lay_trained(const shape *s, arena *keep, arena *work, void **slot)
{
    int level = s->cap.recompute == WAN_RECOMPUTE_NONE        ? 2
                : s->cap.recompute == WAN_RECOMPUTE_SELECTIVE ? 1
                                                              : 0;
    for (int l = 0; l < s->c->layers; l++)
        for (int i = 0; i < WAN_NET_N_SLOTS; i++)
            if (slots[i].keep <= level) {
                void *p = take_slot(s, keep, i);
                if (slot)
                    slot[l * WAN_NET_N_SLOTS + i] = p;
            }
    for (int i = 0; i < WAN_NET_N_SLOTS; i++)
        if (slots[i].keep > level) {
            void *p = take_slot(s, work, i);
            for (int l = 0; slot && l < s->c->layers; l++)
                slot[l * WAN_NET_N_SLOTS + i] = p;
        }
    void *end = take_slot(s, keep, WAN_NET_XIN); /* what the last block hands to the head */
    if (slot)
        slot[s->c->layers * WAN_NET_N_SLOTS + WAN_NET_XIN] = end;
}

static wan_buf once(const shape *s, arena *a, const char *rwt, int train)
{
    wan_dtype t = type_of(s, rwt[2]);
    if (train && !s->train)
        return wan_buf_of(NULL, t);
    return wan_buf_of(take(a, rows_of(s, rwt[0]), width_of(s, rwt[1]), t), t);
}

/* keep: what lives from forward to backward; work: the rest.  slot and p NULL: only count. */
static void lay(const shape *s, arena *keep, arena *work, void **slot, wan_net_priv *p)
{
    if (s->train)
        lay_trained(s, keep, work, slot);
    else
        lay_shared(s, work, slot);
    wan_net_priv dummy;
    if (!p)
        p = &dummy;
#define X(field, rows, width, type, train) p->field = once(s, work, #rows #width #type, train);
    WAN_NET_ONCE(X)
#undef X
    p->rope = take(work, s->cap.tokens, s->c->head_dim, WAN_REAL);
}

static int check(const wan_net_config *c, const wan_net_capacity *cap)
{
    WAN_TRY(wan_net_config_check(c));
    if (cap->tokens < 1 || cap->samples < 1 || cap->text_rows < 1)
        return wan_err("transformer: room for %lld tokens, %lld samples, %lld text rows: each must "
                       "be at least 1",
                       (long long)cap->tokens, (long long)cap->samples, (long long)cap->text_rows);
    if (cap->tokens > INT32_MAX || cap->text_rows > INT32_MAX || cap->samples > INT32_MAX - 1)
        return wan_err("transformer: a pack of more than 2^31 tokens");
    return 0;
}

int wan_net_plan(wan_net_bytes *out, const wan_net_config *c, wan_dtype compute, int flags,
                 const wan_net_capacity *cap)
{
    *out = (wan_net_bytes){ 0 };
    WAN_TRY(check(c, cap));
    wan_params p;
    WAN_TRY(wan_net_params(&p, c));
    int train = (flags & WAN_NET_TRAIN) != 0, full = train || compute == WAN_REAL;
    int64_t real = (int64_t)sizeof(wan_real);
    out->weights = (full ? p.total : p.total - p.n_gemm) * real;
    if (compute == WAN_BF16)
        out->weights += p.n_gemm * 2;
    out->grads = train ? p.total * real : 0;
    wan_params_free(&p);
    shape s = { c, *cap, compute, train };
    arena keep = { 0 }, work = { 0 };
    lay(&s, &keep, &work, NULL, NULL);
    out->activations = keep.used;
    out->workspace = work.used;
    return 0;
}

wan_buf wan_net_slot_buf(const wan_net *m, int l, enum wan_net_slot i)
{
    return wan_buf_of(wan_net_p(m)->slot[l * WAN_NET_N_SLOTS + (int)i],
                      slots[i].type == 'r' ? WAN_REAL : m->compute);
}

wan_real *wan_net_slot_real(const wan_net *m, int l, enum wan_net_slot i)
{
    return wan_net_p(m)->slot[l * WAN_NET_N_SLOTS + (int)i];
}

void wan_net_release(wan_net *m)
{
    wan_net_priv *p = wan_net_p(m);
    wan_dev_free(m->d, p->mem);
    wan_net_pack_release(m->d, &p->tok);
    wan_net_pack_release(m->d, &p->txt);
    free(p->slot);
    free(p->rope_host);
    free(p->host);
    free(p->grid);
    free(p->len);
    p->mem = NULL;
    p->slot = NULL;
    p->rope_host = p->host = NULL;
    p->grid = NULL;
    p->len = NULL;
    p->n_grid = 0;
    p->forward_done = 0;
}

static int reserve_host(wan_net *m, const wan_net_capacity *cap)
{
    wan_net_priv *p = wan_net_p(m);
    int64_t stage = cap->text_rows > cap->samples ? cap->text_rows : cap->samples;
    p->slot = wan_calloc((size_t)(m->c.layers + 1) * WAN_NET_N_SLOTS, sizeof *p->slot, "slots");
    size_t angles = (size_t)(cap->tokens * m->c.head_dim);
    p->rope_host = wan_malloc(angles, sizeof(wan_real), "RoPE table");
    p->host = wan_malloc((size_t)stage, sizeof(wan_real), "staging");
    p->grid = wan_calloc((size_t)cap->samples, sizeof *p->grid, "grids");
    p->len = wan_calloc((size_t)cap->samples, sizeof *p->len, "lengths");
    if (!p->slot || !p->rope_host || !p->host || !p->grid || !p->len)
        return -1;
    WAN_TRY(wan_net_pack_reserve(m->d, &p->tok, cap->samples, cap->tokens));
    return wan_net_pack_reserve(m->d, &p->txt, cap->samples, cap->text_rows);
}

int wan_net_reserve(wan_net *m, const wan_net_capacity *cap)
{
    wan_net_priv *p = wan_net_p(m);
    wan_net_release(m);
    WAN_TRY(check(&m->c, cap));
    shape s = { &m->c, *cap, m->compute, (m->flags & WAN_NET_TRAIN) != 0 };
    arena keep = { 0 }, work = { 0 };
    lay(&s, &keep, &work, NULL, NULL);
    p->mem = wan_dev_alloc(m->d, (size_t)(keep.used + work.used), "activations");
    if (!p->mem || reserve_host(m, cap) < 0) {
        wan_net_release(m);
        return -1;
    }
    work = (arena){ (char *)p->mem + keep.used, 0 };
    keep = (arena){ p->mem, 0 };
    lay(&s, &keep, &work, p->slot, p);
    p->cap = *cap;
    return 0;
}
