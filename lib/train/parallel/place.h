/* SPDX-License-Identifier: Apache-2.0
 *
 * place.h - where a rank runs: its number among the ranks of its machine, and its device.
 */
#ifndef WAN_TRAIN_PLACE_H
#define WAN_TRAIN_PLACE_H

#include "kernels/device.h"
#include "lib/dist/comm.h"

/* Opens the device of this rank; collective.  Where the ranks of a machine are several, "cuda" gives
 * each a GPU of its own: the one with its local number, or the only one its launcher lets it see.
 * -1 with a sentence where two ranks would share one.  "auto" does the same if it works for every
 * rank of the run, and takes the CPU on all otherwise.  Any other spec is as wan_dev_open says. */
int wan_place_device(wan_dev **out, wan_comm *c, const char *spec, int flags) WAN_MUST_CHECK;

#endif
