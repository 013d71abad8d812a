/* SPDX-License-Identifier: Apache-2.0
 *
 * watch.h - whether the other ranks live: a thread that needs nothing of the one that computes.
 *
 *     wan_watch_new(&w, dead);                  // before MPI starts; beats in memory of this machine
 *     ... while MPI starts: wan_watch_start_check(w)
 *     wan_watch_connect(w, rank, size, identity, share, arg);
 *     ... wan_watch_note(w, ...) at every call, wan_watch_lost(w, ...) while waiting
 *     wan_watch_free(&w);
 *
 * Until the ranks are connected, those of one machine see each other's beats in a shared file that
 * lies in the launcher's folder.  Then every rank holds one TCP connection to rank 0 and sends a beat
 * with its last call over it several times in `dead` seconds; rank 0 answers, and tells all when a
 * connection closes (at once) or stays silent (`dead` seconds).  Silence is counted in turns of the
 * watching thread, none longer than half a second, so a machine that was suspended or is overloaded
 * does not accuse the others.
 */
#ifndef WAN_DIST_WATCH_H
#define WAN_DIST_WATCH_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

enum { WAN_WATCH_TEXT = 384 };

typedef struct wan_watch wan_watch;

/* Copies `bytes` of rank 0's x to all ranks. */
typedef int wan_watch_share_fn(void *arg, void *x, int bytes);
/* Called by the watching thread while the caller does not come to hear of it: why is the sentence to
 * print, or NULL when that is another's task; end: the process should end now. */
typedef void wan_watch_lost_fn(const char *why, int end);

int wan_watch_new(wan_watch **out, double dead) WAN_MUST_CHECK;
/* Says goodbye, so that nobody takes the end of this process for a failure. */
void wan_watch_free(wan_watch **w);

/* -1 with a sentence when a process of this machine that belongs to the run has not come, or has
 * stopped, for `dead` seconds.  To be called several times a second while MPI starts. */
int wan_watch_start_check(wan_watch *w) WAN_MUST_CHECK;
/* identity: what must be the same on all ranks (versions).  Collective; -1 with a sentence that names
 * the rank that did not come or differs. */
int wan_watch_connect(wan_watch *w, int rank, int size, const char *identity,
                      wan_watch_share_fn *share, void *arg) WAN_MUST_CHECK;

/* This rank's last call: name [16] of its group, a word that lives for ever, when (wan_now), and whether
 * the rank waits in it.  By one thread at a time; costs a few stores. */
void wan_watch_note(wan_watch *w, const char name[16], const char *kind, int64_t number,
                    size_t bytes, double now, int waiting);
/* 1 and the sentence in why when a rank is lost, or wan_watch_doom was called. */
int wan_watch_lost(wan_watch *w, char why[WAN_WATCH_TEXT]);
/* The caller fails with that sentence now.  Returns the seconds that it should wait before it does, so
 * that one rank speaks for all; the launcher ends the others meanwhile. */
double wan_watch_noticed(wan_watch *w);
/* This rank has failed for a reason of its own, perhaps while its caller computes. */
void wan_watch_doom(wan_watch *w, const char *why);
/* When the caller has not failed by itself, because it computes or stands still in a library: the thread
 * calls fn to print after a moment, and to end the process after `grace` seconds. */
void wan_watch_on_lost(wan_watch *w, wan_watch_lost_fn *fn, double grace);
/* What the thread looks after besides, several times in `dead` seconds: fn returns 1 and a sentence where this
 * rank has failed, as with wan_watch_doom; lost: a rank is lost, and it is called a last time, to end calls that
 * else never would. */
typedef int wan_watch_tend_fn(void *arg, int lost, char why[WAN_WATCH_TEXT]);
void wan_watch_tend(wan_watch *w, wan_watch_tend_fn *fn, void *arg);
/* "on HOST; its last call ..." of a rank, as rank 0 knows it; waits at most 2 s for the answer. */
void wan_watch_ask(wan_watch *w, int rank, char text[WAN_WATCH_TEXT]);

#endif
