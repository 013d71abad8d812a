/* SPDX-License-Identifier: Apache-2.0
 *
 * comm_dry.h - a communicator of many ranks of which one is here: no call goes anywhere.  Each is counted
 * as any other, and takes as long on a clock as links of given rates would.
 *
 *     wan_comm_dry_open(&c, rank, size);
 *     wan_group_world(c), wan_mesh_open(&m, c, size) ...     as always
 *     wan_comm_dry_run(c, &links, &clock);                   // from now on calls take time
 *
 * Every other rank is taken to say what this one says: an all-gather in host memory gets this rank's row
 * from all, a sum is left as it is, what would be received is left as it is.
 *
 * A call waits for its link, which is free when the call before it is done, and then takes
 *
 *     all-reduce 2 (n-1)/n B / rate, reduce-scatter and all-gather (n-1)/n B / rate, others B / rate
 *
 * for n ranks and B bytes (group.h), behind a latency for every doubling of n.  Ranks of one machine use
 * the near rate; a group over several machines the far one times its members in a machine, at most the
 * near one.  Sending and receiving do not stand in each other's way.  A wait lets the clock run to the
 * end of its call.
 */
#ifndef WAN_DIST_COMM_DRY_H
#define WAN_DIST_COMM_DRY_H

#include "lib/dist/traffic.h"

typedef struct wan_dry_links {
    int per_machine;                  /* ranks of a machine, neighbours in the world */
    double near, far;                 /* bytes/s of a rank, in one direction; 0: no time */
    double near_latency, far_latency; /* seconds */
} wan_dry_links;

int wan_comm_dry_open(wan_comm **out, int rank, int size) WAN_MUST_CHECK;
/* clock: the device's, borrowed. */
void wan_comm_dry_run(wan_comm *c, const wan_dry_links *links, double *clock);
/* Seconds on that clock, by group and kind; calls and bytes of those between machines (the near ones are
 * the rest of wan_traffic_read). */
const wan_traffic *wan_comm_dry_waited(const wan_comm *c);
const wan_traffic *wan_comm_dry_far(const wan_comm *c);
/* Whether c is one. */
int wan_comm_dry_is(const wan_comm *c);

#endif
