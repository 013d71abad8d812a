/* SPDX-License-Identifier: Apache-2.0
 *
 * waycast.c - see waycast.h.
 */
#include "lib/dist/waycast.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/dist/group.h"

/* Adds the ways of rank `from` to those of all. */
static int cast(wan_ways *w, wan_comm *c, int from)
{
    wan_group *world = wan_group_world(c);
    char *text = NULL;
    size_t bytes = 0;
    int rc = c->rank == from ? wan_ways_text(w, &text, &bytes) : 0;
    int64_t n = rc < 0 ? -1 : (int64_t)bytes;
    if (wan_group_broadcast(world, NULL, &n, 1, WAN_I64, from) < 0 || n < 0) {
        free(text);
        return rc < 0 ? -1 : wan_err("rank %d has no ways", from);
    }
    if (!text)
        text = wan_calloc((size_t)n + 1, 1, "ways");
    rc = text ? wan_group_broadcast(world, NULL, text, (size_t)n, WAN_U8, from) : -1;
    if (rc == 0)
        rc = wan_ways_parse(w, text, "ways of a rank");
    free(text);
    return rc;
}

/* rc of all. */
static int agree(wan_comm *c, int rc)
{
    double failed = rc < 0;
    char *why = rc < 0 ? strdup(wan_err_text()) : NULL;
    rc = wan_comm_sum_f64(c, &failed, 1);
    if (rc == 0 && failed > 0)
        rc = wan_err("%s", why ? why : "rank 0 has failed: see what it says");
    free(why);
    return rc;
}

int wan_waycast_read(wan_ways *w, wan_comm *c, const char *path)
{
    WAN_TRY(agree(c, path && c->rank == 0 ? wan_ways_read(w, path) : 0));
    return c->size > 1 ? cast(w, c, 0) : 0;
}

int wan_waycast_write(wan_ways *w, wan_comm *c, const char *path)
{
    int rc = 0;
    for (int r = 0; r < c->size && c->size > 1 && rc == 0; r++)
        rc = cast(w, c, r);
    if (rc == 0 && path && c->rank == 0)
        rc = wan_ways_write(w, path);
    return agree(c, rc);
}
