/* SPDX-License-Identifier: Apache-2.0
 *
 * pp_order.h - what every pipeline rank does one after the other in a step.
 *
 *     rank 0  F0 F1 F2 B0 F3 B1 B2 B3      3 ranks, one piece each, 4 micro-batches
 *     rank 1     F0 F1 B0 F2 B1 F3 B2 B3
 *     rank 2        F0 B0 F1 B1 F2 B2 F3 B3
 *
 * With one piece for each rank this is 1F1B (Narayanan et al., PipeDream-2BW, 2021), with several the
 * interleaved schedule (Narayanan et al., Efficient Large-Scale Language Model Training, 2021), in which
 * micro-batches go through a rank's pieces in groups of as many as there are ranks.  A group that is
 * not full keeps the order of a full one; otherwise ranks would wait for each other in a circle.
 */
#ifndef WAN_TRAIN_PP_ORDER_H
#define WAN_TRAIN_PP_ORDER_H

#include <stdint.h>

#include "lib/base/err.h"

/* A rank's pieces of the model are rank, rank + ranks, ... */
typedef struct wan_pp_act {
    int back, piece; /* forward or backward of a piece */
    int64_t micro;   /* of this micro-batch */
} wan_pp_act;

typedef struct wan_pp_order {
    wan_pp_act *v; /* [n] */
    int64_t n;
} wan_pp_order;

/* train 0: forwards alone. */
int wan_pp_order_make(wan_pp_order *o, int ranks, int each, int rank, int64_t micros, int train)
    WAN_MUST_CHECK;
void wan_pp_order_free(wan_pp_order *o);
/* How many micro-batches are alive at once in each piece of a rank, seats [each], of at most `most`. */
int wan_pp_order_seats(int *seats, int ranks, int each, int rank, int64_t most) WAN_MUST_CHECK;

#endif
