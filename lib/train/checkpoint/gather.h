/* SPDX-License-Identifier: Apache-2.0
 *
 * gather.h - the tensors of a checkpoint, put together on rank 0 from what the ranks hold.
 *
 * All ranks go through one list of tensors in one order: rank 0 asks for them one by one while it
 * writes, the others give.  When rank 0 fails it takes the rest of the list all the same, so that
 * nobody waits for it.  No rank holds more than its own share and one tensor.
 */
#ifndef WAN_TRAIN_GATHER_H
#define WAN_TRAIN_GATHER_H

#include "lib/train/parallel/ranks.h"

typedef struct wan_gather {
    wan_ranks *r;
    const wan_store *s;
    float *held, *whole; /* host */
    struct {
        const wan_real *x; /* flat vector laid out as the store's */
        int i;             /* parameter */
    } * item;
    int64_t n, at;
} wan_gather;

/* The list: the weights in the order in which they are written (by name), then the parameters of each
 * of the n vectors in the order of the table. */
int wan_gather_open(wan_gather *g, wan_ranks *r, const wan_store *s, const wan_real *const *vector,
                    int n) WAN_MUST_CHECK;
void wan_gather_close(wan_gather *g);
/* Rank 0: the next tensor, which must be parameter i, in g->whole. */
int wan_gather_next(wan_gather *g, int i) WAN_MUST_CHECK;
/* The rest of the list: all of it on the other ranks, what is left of it on rank 0. */
int wan_gather_rest(wan_gather *g) WAN_MUST_CHECK;

#endif
