/* SPDX-License-Identifier: Apache-2.0
 *
 * pp_order.h - what every pipeline rank does one after the other in a step.
 *
 * The order is that of a simulated run: whoever is free takes the oldest backward that has what it
 * needs, else the forward of its deepest piece that has; a piece holds at most `seats` micro-batches,
 * and nothing is taken that a receiver must first make room for.  With one piece for each rank this
 * is 1F1B (Narayanan et al., PipeDream-2BW, 2021), with several the interleaved schedule (Narayanan
 * et al., Efficient Large-Scale Language Model Training, 2021), but for any number of micro-batches
 * of any sizes.  An order that ran once runs again: no rank waits for one that waits for it.
 */
#ifndef WAN_TRAIN_PP_ORDER_H
#define WAN_TRAIN_PP_ORDER_H

#include "lib/train/parallel/pp_split.h"

typedef struct wan_pp_act {
    int back, piece; /* forward or backward of this piece of the model */
    int64_t micro;   /* of this micro-batch */
} wan_pp_act;

typedef struct wan_pp_order {
    wan_pp_act *v; /* [n] */
    int64_t n;
    double busy, span; /* units of cost that the rank works, until all are done */
} wan_pp_order;

/* For `rank`; cost [micros]: of a forward of one piece, a backward costs twice that.  train 0:
 * forwards alone. */
int wan_pp_order_make(wan_pp_order *o, const wan_pp_split *s, int rank, const double *cost,
                      int64_t micros, int train) WAN_MUST_CHECK;
void wan_pp_order_free(wan_pp_order *o);

#endif
