/* SPDX-License-Identifier: Apache-2.0
 *
 * rundir.h - the folder of a training run: its steps, and how another one comes into it.
 *
 *     RUN/latest_checkpointed_iteration.txt    the newest step
 *     RUN/iter_0001000/                        a finished step
 *     RUN/.iter_0001000.tmp/                   one that is being made
 *     RUN/.iter_0001000.old/                   a finished one, aside while another takes its place
 *     RUN/.iter_0001000.gone/                  one that is being removed
 *
 *     WAN_TRY(wan_rundir_next(&tmp, run, step));     // and fill tmp
 *     WAN_TRY(wan_rundir_replace(run, step));        // tmp is the step now
 *     WAN_TRY(wan_rundir_point(run, step));
 *     WAN_TRY(wan_rundir_prune(run, step, keep));
 *
 * Killed at any moment, the run has every step that it had, or the new one in its place.
 */
#ifndef WAN_MODEL_RUNDIR_H
#define WAN_MODEL_RUNDIR_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

#define WAN_RUNDIR_POINTER "latest_checkpointed_iteration.txt"
#define WAN_RUNDIR_MAX_STEP 999999999999999 /* 15 digits */

/* RUN/iter_%07d, malloc'ed; NULL: out of memory. */
char *wan_rundir_name(const char *run, int64_t step);
/* The finished steps, ascending, malloc'ed; none when there is no such folder. */
int wan_rundir_list(int64_t **steps, size_t *n, const char *run) WAN_MUST_CHECK;
/* Whether the folder is a run: it has a pointer or steps.  1, 0, -1. */
int wan_rundir_is(const char *run) WAN_MUST_CHECK;
/* The step that the pointer names, without a pointer the highest: 1; or 0: there is none. */
int wan_rundir_newest(int64_t *step, const char *run) WAN_MUST_CHECK;
/* The folder of a step (-1: the newest): 1 with a malloc'ed *path; 0: the run holds no step at all,
 * or there is no such folder; -1: trouble, or a step that was asked for and is not there. */
int wan_rundir_find(char **path, const char *run, int64_t step) WAN_MUST_CHECK;

/* An empty folder to make a step in, malloc'ed *tmp; the run's own folder is made where needed. */
int wan_rundir_next(char **tmp, const char *run, int64_t step) WAN_MUST_CHECK;
/* Its name, for others who write into it; malloc'ed. */
char *wan_rundir_unfinished(const char *run, int64_t step);
/* That folder, filled and synced, becomes the step; one that was there is removed. */
int wan_rundir_replace(const char *run, int64_t step) WAN_MUST_CHECK;
int wan_rundir_point(const char *run, int64_t step) WAN_MUST_CHECK;
/* Removes the steps below `step` but the keep - 1 highest of them; keep 0: none. */
int wan_rundir_prune(const char *run, int64_t step, int64_t keep) WAN_MUST_CHECK;
/* The same at the end of a run, and its pointer, where a kill left none. */
int wan_rundir_end(const char *run, int64_t step, int64_t keep) WAN_MUST_CHECK;
/* Clears up after a killed run: puts a step back that was aside, removes what was unfinished. */
int wan_rundir_sweep(const char *run) WAN_MUST_CHECK;
/* Takes the run for this process, so that no other trains or imports into it: *hold is to be closed, -1
 * where the file system knows no locks.  The lock is on the folder, which is made where needed, and
 * goes with the process.  Held by another: an error. */
int wan_rundir_hold(int *hold, const char *run) WAN_MUST_CHECK;
/* Whether the folder is still the one that is held: not so where its file system was taken away, and
 * what is at its name now is another.  -1 with a sentence; 0, also when nothing is held (-1). */
int wan_rundir_held(int hold, const char *run) WAN_MUST_CHECK;
/* Whether a step of so many bytes can be written, without a trace: asked before long work. */
int wan_rundir_probe(const char *run, int64_t bytes) WAN_MUST_CHECK;

#endif
