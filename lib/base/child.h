/* SPDX-License-Identifier: Apache-2.0
 *
 * child.h - work on one file of unknown origin, in a process of its own that can do nothing else.
 *
 *     wan_child *c;
 *     wan_child_open(&c, sizeof(facts));                  // memory that both see
 *     wan_child_start(c, &limits, "clip.mp4", work, arg); // work(arg, room) runs there
 *     while (wan_child_wait(&c, 1, -1) == 0) ...          // here other things can be done
 *     if (wan_child_result(c) < 0) ...                    // why it failed, in one sentence
 *     if (wan_child_receive(c, data, n) < 0) ...          // what it gave to wan_child_send
 *     wan_child_close(&c);
 *
 * The child sees its parent's memory as it was, by copy; what it finds goes into the room, and, where it
 * is large, through a pipe.  Open are only the file, as descriptor 0, and standard error; standard output
 * is /dev/null.  What comes was made by a process that may have been led astray: the parent copies it
 * and checks the copy as it checks a file.
 */
#ifndef WAN_BASE_CHILD_H
#define WAN_BASE_CHILD_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

enum wan_child_filter { WAN_FILTER_AUTO, WAN_FILTER_REQUIRE, WAN_FILTER_OFF };

typedef struct wan_child_limits {
    int64_t memory;  /* bytes of its own; 0: as the parent */
    int64_t seconds; /* of CPU time; 0: as the parent */
    double patience; /* seconds without wan_child_beat until it is taken to hang; 0: for ever */
    enum wan_child_filter
        filter; /* of system calls: where there is one, or else not at all, or none */
} wan_child_limits;

typedef struct wan_child wan_child;
/* Runs in the child: 0, or -1 with wan_err's sentence.  Never returns to where it was started. */
typedef int wan_child_fn(void *arg, void *room);

/* A place for children, one after the other.  room: bytes that both see, zero at first. */
int wan_child_open(wan_child **out, size_t room) WAN_MUST_CHECK;
void *wan_child_room(wan_child *c);
/* No other thread may run.  The file is opened by the child, so that one that is not there is the
 * child's failure. */
int wan_child_start(wan_child *c, const wan_child_limits *l, const char *path, wan_child_fn *fn,
                    void *arg) WAN_MUST_CHECK;
/* In the child: it goes on. */
void wan_child_beat(void);
/* In the child: when fn has returned 0 these n bytes go to the parent, from where they are, behind those of
 * a call before; at most six calls. */
void wan_child_send(const void *data, size_t n);
/* In the child, before fn returns: these n bytes go to the parent now; waits until it takes them.  Large ones are not
 * copied: they stay as they are until WAN_CHILD_BEHIND bytes more have been streamed.  -1. */
#define WAN_CHILD_BEHIND (1 << 20)
int wan_child_stream(const void *data, size_t n) WAN_MUST_CHECK;
/* Waits until one of the n has done its work or says something, at most so many seconds (-1: any); NULL
 * entries and those that are done are passed over.  1 one is done or speaks, 0 none (yet). */
int wan_child_wait(wan_child *const *c, size_t n, double seconds);
int wan_child_runs(const wan_child *c);
/* Whether something of wan_child_stream was there to be received when it was last waited for. */
int wan_child_speaks(const wan_child *c);
/* Of one that is done: 0 or -1, and then why: its own sentence, or "PATH: " and how it was stopped. */
int wan_child_result(wan_child *c) WAN_MUST_CHECK;
/* Then, or when it speaks, the next n bytes of what it sends; until then they stay its own. */
int wan_child_receive(wan_child *c, void *data, size_t n) WAN_MUST_CHECK;
/* Ends it, whatever it does. */
void wan_child_stop(wan_child *c);
/* Why there was no filter of system calls; NULL: there was one, or none was wanted. */
const char *wan_child_unfiltered(const wan_child *c);
void wan_child_close(wan_child **c); /* stops it */

#endif
