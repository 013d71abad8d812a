/* SPDX-License-Identifier: Apache-2.0
 *
 * tune.c - see tune.h.
 */
#include "lib/train/tune.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/ways.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/dist/waycast.h"

/* Where they are kept, malloc'ed; NULL: nowhere, or out of memory. */
static char *path_of(const wan_train *t)
{
    return wan_train_saves(t) ? wan_path_join(t->c->v.save, WAN_TUNE_FILE) : NULL;
}

/* Whether every self-attention that was measured took two passes for its backward: those that come take them, too,
 * and no scores have to be kept (kernels/space.h). */
static int two_passes(const wan_ways *w)
{
    int n = 0;
    for (int i = 0; i < w->n; i++) {
        const char *kind, *shape, *way;
        long long q, k;
        wan_ways_get(w, i, &kind, &shape, &way);
        if (strncmp(kind, "attention-backward", strlen("attention-backward")) ||
            sscanf(shape, "%*d x %lld x %lld", &q, &k) != 2 || q != k)
            continue;
        if (strncmp(way, "two-passes", strlen("two-passes")))
            return 0;
        n++;
    }
    return n > 0;
}

int wan_tune_open(wan_train *t)
{
    char *path = path_of(t);
    if (wan_ways_new(&t->ways) < 0 || t->opt.rehearse) {
        free(path);
        return t->ways ? 0 : -1;
    }
    const int rc = wan_waycast_read(t->ways, t->comm, path);
    free(path);
    WAN_TRY(rc);
    t->dev->ways = t->ways;
    if (two_passes(t->ways))
        t->dev->flags |= WAN_DEV_TWO_PASSES;
    return 0;
}

int wan_tune_begin(wan_train *t)
{
    t->ways->trying =
        t->c->v.autotune && t->dev->kind == WAN_DEV_CUDA && !t->dump && t->ways->n == 0;
    return t->ways->trying;
}

int wan_tune_end(wan_train *t)
{
    char *path = path_of(t);
    t->ways->trying = 0;
    t->ways->tried++;
    int rc = wan_train_settle(t, path && t->comm->rank == 0 ? wan_mkdirs(t->c->v.save) : 0);
    rc = rc == 0 ? wan_waycast_write(t->ways, t->comm, path) : rc;
    if (rc == 0 && path && t->comm->rank == 0)
        wan_info("%d shapes measured, their ways are in %s", t->ways->n, path);
    free(path);
    return rc;
}

void wan_tune_close(wan_train *t)
{
    wan_ways_free(&t->ways);
}
