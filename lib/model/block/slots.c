/* SPDX-License-Identifier: Apache-2.0
 *
 * slots.c - see slots.h.
 */
#include "lib/model/block/slots.h"

enum { ALIGN = 256 };

void *wan_slots_take(wan_slots_arena *a, int64_t rows, int64_t width, wan_dtype t)
{
    void *p = a->base ? a->base + a->used : NULL;
    a->used += (rows * width * (int64_t)wan_dtype_size(t) + ALIGN - 1) / ALIGN * ALIGN;
    return p;
}

static wan_buf take(const wan_slots *s, wan_slots_arena *a, char rows, char width, char type)
{
    wan_dtype t = type == 'c' ? s->compute : type == 'r' ? WAN_REAL : WAN_I32;
    return wan_buf_of(wan_slots_take(a, s->extent(s->arg, rows), s->extent(s->arg, width), t), t);
}

wan_buf wan_slots_once(const wan_slots *s, wan_slots_arena *a, const char *letters)
{
    return take(s, a, letters[0], letters[1], letters[2]);
}

static void *take_slot(const wan_slots *s, wan_slots_arena *a, int i)
{
    return take(s, a, s->slot[i].rows, s->slot[i].width, s->slot[i].type).p;
}

/* Bytes of slot i, or of the widest that takes its place. */
static int64_t widest(const wan_slots *s, int i)
{
    int64_t most = 0;
    for (int k = 0; k < s->n; k++) {
        wan_slots_arena one = { 0 };
        if (s->slot[k].alias == i)
            take_slot(s, &one, k);
        most = one.used > most ? one.used : most;
    }
    return most;
}

/* One set for all blocks; slots with an alias have none of their own. */
static void lay_shared(const wan_slots *s, wan_slots_arena *a, void **table)
{
    for (int i = 0; i < s->n; i++) {
        if (s->slot[i].alias != i)
            continue;
        void *p = a->base ? a->base + a->used : NULL;
        a->used += widest(s, i);
        for (int l = 0; table && l <= s->layers; l++)
            table[l * s->n + i] = p;
    }
    for (int i = 0; table && i < s->n; i++)
        for (int l = 0; l < s->layers; l++)
            table[l * s->n + i] = table[s->slot[i].alias];
}

/* Whether block l runs here. */
static int runs(const wan_slots *s, int l)
{
    return l + 1 >= s->first && l + 1 < s->end;
}

/* Whether slot i is kept in a block under this mode. */
static int kept(const wan_slots *s, enum wan_recompute mode, int i)
{
    static const int redo[] = { 0, 0, WAN_REDO_NORMS, 0, WAN_REDO_QK, WAN_REDO_ACT };
    const int keep = s->slot[i].keep;
    if (keep < 2)
        return keep == 0 || mode != WAN_RECOMPUTE_FULL;
    return redo[keep] && (mode == WAN_RECOMPUTE_NONE ||
                          (mode == WAN_RECOMPUTE_SELECTIVE && s->cap->spared & redo[keep]));
}

/* Place of block l in its group. */
static int64_t place(const wan_slots *s, int l)
{
    return wan_capacity_grouped(s->cap) ? wan_capacity_place(s->first, l) % s->cap->recompute_group
                                        : 0;
}

static int kept_here(const wan_slots *s, int l, int i)
{
    if (place(s, l))
        return 0;
    return kept(s, wan_capacity_recompute(s->cap, s->first, l), i);
}

/* What block l keeps. */
static void lay_block(const wan_slots *s, wan_slots_arena *a, void **table, int l)
{
    for (int i = 0; i < s->n; i++)
        if (kept_here(s, l, i)) {
            void *p = take_slot(s, a, i);
            if (table)
                table[l * s->n + i] = p;
        }
}

wan_stash_plan wan_slots_stash(const wan_slots *s)
{
    wan_stash_plan p = { .first = s->first > 1 ? s->first : 1 };
    for (int l = 0; l < s->layers && s->train; l++) {
        wan_slots_arena one = { 0 };
        if (!runs(s, l) || wan_capacity_place(s->first, l) >= s->cap->away)
            continue;
        lay_block(s, &one, NULL, l);
        p.bytes = one.used > p.bytes ? one.used : p.bytes;
        p.blocks++;
    }
    return p.blocks > WAN_STASH_ROOMS ? p : (wan_stash_plan){ 0 };
}

static void lay_kept(const wan_slots *s, wan_slots_arena *keep, void **table)
{
    const wan_stash_plan away = wan_slots_stash(s);
    wan_slots_arena rooms = *keep;
    keep->used += away.blocks ? WAN_STASH_ROOMS * away.bytes : 0;
    for (int l = 0; l < s->layers; l++) {
        const int k = l + 1 - away.first;
        wan_slots_arena room = { rooms.base, rooms.used + k % WAN_STASH_ROOMS * away.bytes };
        if (runs(s, l))
            lay_block(s, k < away.blocks ? &room : keep, table, l);
    }
    int next = s->end - 1; /* what the last block hands on: to the head, or to the next stage */
    void *out = take_slot(s, keep, s->stream);
    if (table)
        table[(next < s->layers ? next : s->layers) * s->n + s->stream] = out;
}

/* One memory for all blocks that do not keep slot i, or those at this place of their groups; also where none runs:
 * ranges of a rank share it. */
static void lay_passing(const wan_slots *s, wan_slots_arena *work, void **table, int i, int64_t at)
{
    if (at == 0 && kept(s, s->cap->recompute, i))
        return;
    void *p = take_slot(s, work, i);
    for (int l = 0; table && l < s->layers; l++)
        if (runs(s, l) && place(s, l) == at && !kept_here(s, l, i))
            table[l * s->n + i] = p;
}

/* Blocks of the largest group. */
static int64_t places(const wan_slots *s)
{
    const int64_t n = wan_capacity_grouped(s->cap) ? s->cap->recompute_group : 1;
    return n < s->layers ? n : s->layers;
}

static void lay_trained(const wan_slots *s, wan_slots_arena *keep, wan_slots_arena *work,
                        void **table)
{
    lay_kept(s, keep, table);
    for (int64_t at = 0; at < places(s); at++)
        for (int i = 0; i < s->n; i++)
            lay_passing(s, work, table, i, at);
}

void wan_slots_lay(const wan_slots *s, wan_slots_arena *keep, wan_slots_arena *work, void **table)
{
    if (s->train)
        lay_trained(s, keep, work, table);
    else
        lay_shared(s, work, table);
}
