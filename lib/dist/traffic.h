/* SPDX-License-Identifier: Apache-2.0
 *
 * traffic.h - what this rank has said to others so far, by group and kind of call, and how long it stood
 * still for it.
 *
 *     wan_traffic before, now;
 *     wan_traffic_read(&before, comm);
 *     ... a step ...
 *     wan_traffic_read(&now, comm);
 *     wan_traffic_since(&now, &before);     // the calls of the step
 */
#ifndef WAN_DIST_TRAFFIC_H
#define WAN_DIST_TRAFFIC_H

#include "lib/dist/group.h"

/* A rank of a pipeline has four groups for each of its up to 16 pieces (pp.h). */
enum { WAN_TRAFFIC_LINES = 128 };

typedef struct wan_traffic_line {
    char group[WAN_GROUP_NAME];
    wan_group_kind kind;
    wan_group_counter count; /* calls, bytes and seconds as group.h counts them */
} wan_traffic_line;

typedef struct wan_traffic {
    int n;
    wan_traffic_line line[WAN_TRAFFIC_LINES];
} wan_traffic;

/* Groups that have one name are one; those of a single rank say nothing and are left out.  In the order
 * in which the groups were made. */
void wan_traffic_read(wan_traffic *t, const wan_comm *c);
/* Takes off what had been counted before; lines without a call go. */
void wan_traffic_since(wan_traffic *t, const wan_traffic *before);
/* Seconds of all lines. */
double wan_traffic_seconds(const wan_traffic *t);
/* Adds calls to the line of a group and kind, which is made where there is none. */
void wan_traffic_add(wan_traffic *t, const char *group, wan_group_kind kind, int64_t calls,
                     int64_t bytes, double seconds);

#endif
