/* SPDX-License-Identifier: Apache-2.0
 *
 * take.h - a recording of work in which ranks call each other (wan_wing): what the wing is asked for ends one
 * stretch of the recording and begins the next; it is not recorded but asked for again, by the same arguments, each
 * time between the two.
 *
 *     wan_take *t;
 *     WAN_TRY(wan_take_record(&t, acts, fn, arg));   // fn(arg) asks the device for work, which is not done
 *     WAN_TRY(wan_take_play(t, acts));               // now it is
 *     wan_take_drop(&t, dev);
 */
#ifndef WAN_MODEL_TAKE_H
#define WAN_MODEL_TAKE_H

#include "lib/model/acts.h"

typedef struct wan_take wan_take;
typedef int wan_take_fn(void *arg);

/* *out NULL on failure: nothing was done, here or on other ranks. */
int wan_take_record(wan_take **out, wan_acts *a, wan_take_fn *fn, void *arg) WAN_MUST_CHECK;
int wan_take_play(const wan_take *t, wan_acts *a) WAN_MUST_CHECK;
void wan_take_drop(wan_take **t, wan_dev *d); /* NULL-safe */

#endif
