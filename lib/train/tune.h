/* SPDX-License-Identifier: Apache-2.0
 *
 * tune.h - the ways of a run (kernels/ways.h): read from its folder by rank 0 for all, measured in front of its
 * first step where that is asked for (train.autotune), and kept there.
 *
 *     WAN_TRY(wan_tune_open(t));                  // the device is open
 *     if (wan_tune_begin(t)) {                    // shapes are measured from here on
 *         ... a step without an update ...
 *         WAN_TRY(wan_tune_end(t));               // every rank has what any of them found
 *     }
 */
#ifndef WAN_TRAIN_TUNE_H
#define WAN_TRAIN_TUNE_H

#include "lib/train/train_priv.h"

#define WAN_TUNE_FILE "ways.txt"

int wan_tune_open(wan_train *t) WAN_MUST_CHECK;
int wan_tune_begin(wan_train *t);
int wan_tune_end(wan_train *t) WAN_MUST_CHECK;
void wan_tune_close(wan_train *t);

#endif
