/* SPDX-License-Identifier: Apache-2.0
 *
 * pack.h - cutting a global batch into packs (micro-batches) and dealing the packs to ranks.
 *
 * Packs are filled first-fit decreasing by tokens, within consecutive windows of the batch, and do
 * not depend on the number of ranks unless there are fewer packs than ranks: then the costliest
 * packs are halved until every rank has work or every pack is one sample.  Packs go to ranks longest
 * processing time first by cost.  Ties are broken by position, so the outcome is a function of the
 * arguments.
 */
#ifndef WAN_TRAIN_PACK_H
#define WAN_TRAIN_PACK_H

#include <stdint.h>

#include "lib/base/err.h"

typedef struct wan_packing {
    int64_t n; /* samples */
    int64_t packs;
    int64_t *item;  /* [n] indices into the batch, pack by pack, ascending inside a pack */
    int64_t *start; /* [packs+1] */
    int *rank;      /* [packs] */
} wan_packing;

/* tokens [n]: each >= 1 and <= capacity.  window 0: the whole batch.  cost of a sample of S tokens:
 * S * (1 + quad * S). */
int wan_packing_new(wan_packing *out, const int64_t *tokens, int64_t n, int64_t capacity,
                    int64_t window, int ranks, double quad) WAN_MUST_CHECK;
void wan_packing_free(wan_packing *p);

#endif
