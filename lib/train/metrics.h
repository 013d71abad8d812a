/* SPDX-License-Identifier: Apache-2.0
 *
 * metrics.h - the file of metrics: one JSON object per step, in the order of steps.
 */
#ifndef WAN_TRAIN_METRICS_H
#define WAN_TRAIN_METRICS_H

#include <stdio.h>

#include "lib/train/train.h"

/* Opens path for the lines of a run that goes on after `step` (0: from the start).  What a regular
 * file holds of later steps, which the run makes anew, or a last line that was cut off, is dropped:
 * *dropped counts it.  A file that holds anything but metrics is refused and left as it is. */
int wan_metrics_open(FILE **out, const char *path, int64_t step, int64_t *dropped) WAN_MUST_CHECK;
/* The line of a step; errors show in ferror(f). */
void wan_metrics_write(FILE *f, const wan_report *r);

#endif
