/* SPDX-License-Identifier: Apache-2.0
 *
 * slots.h - the memory of a micro-batch in a model of blocks, laid out once: what its forward keeps
 * for its backward in one allocation, what only works in another, which acts may share.
 *
 * A block's activations are slots, listed once by the model.  The same walk runs twice: without
 * memory it only counts, with memory it hands out addresses.
 */
#ifndef WAN_MODEL_SLOTS_H
#define WAN_MODEL_SLOTS_H

#include "lib/model/acts.h"

/* Rows and width are letters, whose extents the model knows.
 *   type   r WAN_REAL, c the compute type, i int32
 *   keep   0: one per block in every recompute mode; 1: unless `full`; 2, 4, 5: only with `none`, or where
 *          WAN_REDO_NORMS, _QK, _ACT are spared; 3: never (a temporary)
 *   alias  when the model is not trained all blocks share one set, and this slot is that one */
typedef struct wan_slot {
    char rows, width, type;
    int keep, alias;
} wan_slot;

typedef struct wan_slots {
    const wan_slot *slot; /* [n] */
    int n, stream;        /* stream: the slot that is a block's input, and what the last hands on */
    const void *arg;      /* of extent: the elements that a letter stands for */
    int64_t (*extent)(const void *arg, char letter);
    wan_dtype compute;
    int train;
    const wan_capacity *cap; /* how blocks are recomputed */
    int layers, first, end;  /* blocks in all; parts that run here */
} wan_slots;

/* base NULL: only count. */
typedef struct wan_slots_arena {
    char *base;
    int64_t used;
} wan_slots_arena;

/* Which blocks keep their slots in rooms, which are the first bytes of keep (stash.h); blocks 0: none do. */
wan_stash_plan wan_slots_stash(const wan_slots *s);
void *wan_slots_take(wan_slots_arena *a, int64_t rows, int64_t width, wan_dtype t);
/* One operand outside the blocks: rows, width and type in three letters. */
wan_buf wan_slots_once(const wan_slots *s, wan_slots_arena *a, const char *letters);
/* Every slot of every block that runs here into table [(layers+1) * n], whose last row has only the
 * stream; table NULL: only count.  keep: what lives from forward to backward; work: the rest. */
void wan_slots_lay(const wan_slots *s, wan_slots_arena *keep, wan_slots_arena *work, void **table);
/* Slot i of block l as an operand. */
static inline wan_buf wan_slots_buf(const wan_slots *s, void *const *table, int l, int i)
{
    wan_dtype t = s->slot[i].type == 'c' ? s->compute : s->slot[i].type == 'r' ? WAN_REAL : WAN_I32;
    return wan_buf_of(table[l * s->n + i], t);
}

#endif
