/* SPDX-License-Identifier: Apache-2.0
 *
 * events.h - the metrics of a run as an event file that TensorBoard reads: records of TFRecord (length
 * and data, each with a masked CRC32C) that hold messages of tensorflow/core/util/event.proto, the few
 * fields of it that scalars need written by hand.
 *
 *     wan_events *e;
 *     WAN_TRY(wan_events_open(&e, "logs", step));
 *     WAN_TRY(wan_events_write(e, &report));
 *     WAN_TRY(wan_events_close(&e));
 */
#ifndef WAN_TRAIN_EVENTS_H
#define WAN_TRAIN_EVENTS_H

#include "lib/train/train.h"

typedef struct wan_events wan_events;

/* Makes DIR/events.out.tfevents.TIME.HOST.PID.N (and DIR).  A run that goes on after `step` (0: from
 * the start) makes another file, which takes the later steps of those before it off the curves. */
int wan_events_open(wan_events **out, const char *dir, int64_t step) WAN_MUST_CHECK;
/* The scalars of a step, on disk when it returns. */
int wan_events_write(wan_events *e, const wan_report *r) WAN_MUST_CHECK;
int wan_events_close(wan_events **e) WAN_MUST_CHECK; /* NULL-safe */

#endif
