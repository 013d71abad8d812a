/* SPDX-License-Identifier: Apache-2.0
 *
 * waycast.h - ways (kernels/ways.h) that several ranks have: read and written by rank 0 for all.
 *
 *     WAN_TRY(wan_waycast_read(w, comm, path));
 *     ... shapes are measured, on every rank its own ...
 *     WAN_TRY(wan_waycast_write(w, comm, path));
 */
#ifndef WAN_DIST_WAYCAST_H
#define WAN_DIST_WAYCAST_H

#include "kernels/ways.h"
#include "lib/dist/comm.h"

/* Adds those of a file to those of every rank; path NULL, or nothing there: none.  Collective; a failure of one is one
 * of all. */
int wan_waycast_read(wan_ways *w, wan_comm *c, const char *path) WAN_MUST_CHECK;
/* Every rank gets what any of them has, a later rank's in place of an earlier one's; then rank 0 writes the file.
 * path NULL: none.  Collective. */
int wan_waycast_write(wan_ways *w, wan_comm *c, const char *path) WAN_MUST_CHECK;

#endif
