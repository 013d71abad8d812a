/* SPDX-License-Identifier: Apache-2.0
 *
 * tapes.h - parts of a model that are done again from a recording (wan_dev_record), where micro-batches of the same
 * shape come again: the same ops on the same memory with the same numbers, so the same bytes.
 *
 * What ranks ask each other for inside of a part stands between stretches of its recording (take.h).
 *
 * A shape is run the first time that it comes: plans are made and work space grows.  The second time each part is
 * recorded as it comes up, forward and backward, and done from there on by one call.  What happens around parts
 * (hooks, stash, what crosses a border) is never part of a recording, and what is laid into acts by fill is read
 * by it.  The work of a part is what its functions ask the device for: they leave nothing on the host.
 */
#ifndef WAN_MODEL_TAPES_H
#define WAN_MODEL_TAPES_H

#include "kernels/device.h"

struct wan_acts;
struct wan_micro;
struct wan_store;

/* Shapes that are recorded: the first that come again; further ones are run.  Shapes that are remembered until
 * they do. */
enum { WAN_TAPES_SHAPES = 8, WAN_TAPES_REMEMBERED = 64 };

typedef struct wan_tapes wan_tapes;

/* For acts of a model of so many parts. */
int wan_tapes_new(wan_tapes **out, wan_dev *d, int parts) WAN_MUST_CHECK;
void wan_tapes_free(wan_tapes **t); /* NULL-safe; waits for the device */
/* What acts are filled with from here on; t may be NULL.  in NULL: something that is not recorded. */
int wan_tapes_shape(wan_tapes *t, const struct wan_micro *in) WAN_MUST_CHECK;
/* Forward (back 0) or backward of a part, from its tape where a->tapes has one or is to have one. */
int wan_tapes_part(struct wan_acts *a, struct wan_store *s, int part, int back) WAN_MUST_CHECK;
/* Parts that were done from tapes so far. */
int64_t wan_tapes_replays(const wan_tapes *t);

#endif
