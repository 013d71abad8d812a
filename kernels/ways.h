/* SPDX-License-Identifier: Apache-2.0
 *
 * ways.h - which of several ways is taken for a shape: measured once, and kept as text beside the run, so that
 * whoever goes on with it or repeats it sums in the same order.
 *
 *     wan_ways *w;
 *     WAN_TRY(wan_ways_new(&w));
 *     WAN_TRY(wan_ways_read(w, "RUN/ways.txt"));        // nothing there: none
 *     dev->ways = w;                                     // ops look there for shapes that are new to them
 *     w->trying = 1;                                     // ... and measure those that it does not have
 *     ... a step ...
 *     w->trying = 0, w->tried++;                         // others may be there now
 *     WAN_TRY(wan_ways_write(w, "RUN/ways.txt"));
 *
 * The file, lines ascending by kind and shape, columns divided by tabs:
 *
 *     wan-ways 1
 *     KIND <tab> SHAPE <tab> WAY
 *
 * KIND names who chooses and all that its choice depends on beside the shape: its version, the chip.  WAY is for
 * that one alone; what it cannot use it measures again.  Not locked: the thread that drives the device.
 */
#ifndef WAN_KERNELS_WAYS_H
#define WAN_KERNELS_WAYS_H

#include <stddef.h>

#include "lib/base/err.h"

/* At most so many are kept: more are not noted.  Bytes of a word with its end. */
enum { WAN_WAYS_MOST = 4096, WAN_WAYS_WORD = 192 };

typedef struct wan_ways {
    int trying; /* shapes that are not here are measured, and noted */
    int tried;  /* what was chosen before this changed is chosen again */
    int n;
    struct wan_way *v; /* [n], ascending */
    int room;
} wan_ways;

int wan_ways_new(wan_ways **out) WAN_MUST_CHECK;
void wan_ways_free(wan_ways **w); /* NULL-safe */
/* The way of a shape, or NULL; until the next note.  w may be NULL. */
const char *wan_ways_find(const wan_ways *w, const char *kind, const char *shape);
/* Way i of n. */
void wan_ways_get(const wan_ways *w, int i, const char **kind, const char **shape,
                  const char **way);
/* In place of what was there.  -1: a word that is empty, too long, or has control characters. */
int wan_ways_note(wan_ways *w, const char *kind, const char *shape, const char *way) WAN_MUST_CHECK;
/* Adds those of a file; 0 too where there is none. */
int wan_ways_read(wan_ways *w, const char *path) WAN_MUST_CHECK;
int wan_ways_write(const wan_ways *w, const char *path) WAN_MUST_CHECK;
/* The same in memory: malloc'ed text, ended by 0; name is for messages. */
int wan_ways_text(const wan_ways *w, char **text, size_t *bytes) WAN_MUST_CHECK;
int wan_ways_parse(wan_ways *w, const char *text, const char *name) WAN_MUST_CHECK;

#endif
