/* SPDX-License-Identifier: Apache-2.0
 *
 * deal.h - cutting a global batch into micro-batches and dealing these to ranks.
 *
 * A micro-batch is one pack: samples laid end to end.  They are filled first-fit decreasing by
 * tokens, within consecutive windows of the batch, and do not depend on the number of ranks unless
 * there are fewer than ranks: then the costliest are halved until every rank has work or every one is
 * one sample.  They go to ranks longest processing time first by cost.  Ties are broken by position,
 * so the outcome is a function of the arguments.
 */
#ifndef WAN_TRAIN_DEAL_H
#define WAN_TRAIN_DEAL_H

#include <stdint.h>

#include "lib/base/err.h"

typedef struct wan_deal {
    int64_t n; /* samples */
    int64_t micros;
    int64_t *item;  /* [n] indices into the batch, micro by micro, ascending inside of each */
    int64_t *start; /* [micros+1] */
    int *rank;      /* [micros] */
    int ranks;
    double *load; /* [ranks] cost of what each has */
} wan_deal;

/* tokens [n]: each >= 1 and <= capacity.  window 0: the whole batch.  cost of a sample of S tokens:
 * S * (1 + quad * S). */
int wan_deal_new(wan_deal *out, const int64_t *tokens, int64_t n, int64_t capacity, int64_t window,
                 int ranks, double quad) WAN_MUST_CHECK;
/* The largest sum of costs that a rank got, over the mean: 1 where all have the same.  rank (may be NULL):
 * the first that has it. */
double wan_deal_imbalance(const wan_deal *p, int *rank);
void wan_deal_free(wan_deal *p);

#endif
