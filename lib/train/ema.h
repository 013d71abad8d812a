/* SPDX-License-Identifier: Apache-2.0
 *
 * ema.h - the exponential moving average of the weights, which samples better than the weights of any one
 * step.
 *
 *     wan_ema_new(&e, store, decay);          // of the weights that the store has now
 *     ... after every update: wan_ema_update(e, updates);
 *     wan_ema_swap(e);  validate;  wan_ema_swap(e);
 *
 *   ema = b ema + (1 - b) master,   b = min(decay, (1 + n) / (10 + n)) after update n
 *
 * so that a short run averages over a part of itself (Polyak and Juditsky, 1992; the start as diffusers'
 * EMAModel has it).  Laid out as the store's masters, on this rank's shard of them, in fp32.
 */
#ifndef WAN_TRAIN_EMA_H
#define WAN_TRAIN_EMA_H

#include "lib/model/store.h"

typedef struct wan_ema {
    wan_store *s;
    wan_real *x; /* device [store->total] */
    double decay;
} wan_ema;

int wan_ema_new(wan_ema **out, wan_store *s, double decay) WAN_MUST_CHECK;
void wan_ema_free(wan_ema **e); /* NULL-safe */
/* n: updates made, this one included. */
int wan_ema_update(wan_ema *e, int64_t n) WAN_MUST_CHECK;
/* Average and masters change places, copies that products read included. */
int wan_ema_swap(wan_ema *e) WAN_MUST_CHECK;

#endif
