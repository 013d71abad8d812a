/* SPDX-License-Identifier: Apache-2.0
 *
 * pp_split.h - a model cut into pieces for the stages of a pipeline.
 *
 *     2 ranks, 2 pieces each:   | piece 0 | piece 1 | piece 2 | piece 3 |
 *                                 rank 0    rank 1    rank 0    rank 1
 *
 * A piece is some parts in a row.  The costliest piece costs as little as can be; among such cuts the
 * evenest is taken.
 */
#ifndef WAN_TRAIN_PP_SPLIT_H
#define WAN_TRAIN_PP_SPLIT_H

#include "lib/model/model.h"

enum { WAN_PP_PIECES = 256 };

/* How many micro-batches can be alive in parts [first, end). */
typedef struct wan_pp_range {
    int first, end, seats;
} wan_pp_range;

typedef struct wan_pp_split {
    int ranks, pieces;            /* piece k belongs to rank k % ranks */
    int seats[WAN_PP_PIECES];     /* micro-batches that are alive at once in a piece */
    int start[WAN_PP_PIECES + 1]; /* piece k is parts [start[k], start[k + 1]) */
} wan_pp_split;

/* `each` pieces for each of the ranks, balanced for samples of so many tokens, for at most `most`
 * micro-batches a step. */
int wan_pp_split_make(wan_pp_split *s, const wan_arch *arch, int ranks, int each, int64_t tokens,
                      int64_t most) WAN_MUST_CHECK;
/* The rank that holds a part. */
int wan_pp_split_owner(const wan_pp_split *s, int part);
/* The parts of a rank into first, end and gaps of its slice. */
void wan_pp_split_slice(const wan_pp_split *s, int rank, wan_slice *slice);
/* The pieces of a rank into v [pieces / ranks]; their number. */
int wan_pp_split_ranges(const wan_pp_split *s, int rank, wan_pp_range *v);

#endif
