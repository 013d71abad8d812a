/* SPDX-License-Identifier: Apache-2.0
 *
 * comm.h - the ranks of a run: how they are brought together, and how long they wait for each other.
 * What they say to each other is in group.h.
 *
 *     wan_comm *c;
 *     WAN_TRY(wan_comm_open(&c, "auto", 30, 1800));
 *     WAN_TRY(wan_group_all_reduce(wan_group_world(c), NULL, loss, n, WAN_F64, WAN_SUM));
 *     wan_comm_close(&c);
 *
 * A rank that gives no sign of life for `dead` seconds, or that is alive but `late` seconds behind,
 * makes every call fail with a sentence naming it.
 */
#ifndef WAN_DIST_COMM_H
#define WAN_DIST_COMM_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

typedef struct wan_call *wan_group_req; /* NULL: done */

typedef struct wan_comm {
    int rank, size;
    const struct wan_transport *t;
    struct wan_group *world;
    struct wan_group *groups; /* all that there are, in the order of their making */
    int next_id;              /* of groups */
    int at_once;              /* the call that starts is waited for at once */
    struct wan_watch *watch;  /* over the other ranks; NULL: alone */
    void *impl;
} wan_comm;

/* transport: "self", "mpi", "nccl" (device memory by NCCL; ranks brought together as by auto), or
 * "auto": mpi where a launcher (mpirun, srun) started the process.
 * dead, late: seconds to wait for a rank that gives no sign of life, and for one that does. */
int wan_comm_open(wan_comm **out, const char *transport, double dead, double late) WAN_MUST_CHECK;
/* Waits for all ranks to come here.  After a failed call, do not: exit instead, which makes the
 * launcher end the others. */
void wan_comm_close(wan_comm **c);

/* What a thread of the communicator calls when a rank is lost (or the ranks disagree) while the caller
 * computes and so does not come to hear of it: why is the sentence to print, or NULL when another rank
 * says it; end: the process should end now, with a status that is not 0.  Without it, the next call
 * fails. */
typedef void wan_comm_lost_fn(const char *why, int end);
void wan_comm_on_lost(wan_comm *c, wan_comm_lost_fn *fn);

/* This rank among those with the same host name, and how many they are.  Collective: it asks the
 * ranks, because launchers do not agree on a variable. */
int wan_comm_local(wan_comm *c, int *rank, int *ranks) WAN_MUST_CHECK;
/* How many host names there are, of as many ranks as their launcher gave each.  Collective. */
int wan_comm_machines(wan_comm *c, int *machines) WAN_MUST_CHECK;

/* Calls of the world in host memory, as group.h says. */
int wan_comm_sum_f64(wan_comm *c, double *x, size_t n) WAN_MUST_CHECK;
/* all [size][bytes] gets x of every rank, on every rank. */
int wan_comm_gather(wan_comm *c, const void *x, size_t bytes, void *all) WAN_MUST_CHECK;

#endif
