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

/* Where they are kept, malloc'ed; NULL: nowhere, or out of memory. */
static char *path_of(const wan_train *t)
{
    return wan_train_saves(t) ? wan_path_join(t->c->v.save, WAN_TUNE_FILE) : NULL;
}

/* Adds the ways of rank `from` to those of all. */
static int share(wan_train *t, int from)
{
    wan_group *world = wan_group_world(t->comm);
    char *text = NULL;
    size_t bytes = 0;
    int rc = t->comm->rank == from ? wan_ways_text(t->ways, &text, &bytes) : 0;
    int64_t n = rc < 0 ? -1 : (int64_t)bytes;
    if (wan_group_broadcast(world, NULL, &n, 1, WAN_I64, from) < 0 || n < 0) {
        free(text);
        return rc < 0 ? -1 : wan_err("rank %d has no ways", from);
    }
    if (!text)
        text = wan_calloc((size_t)n + 1, 1, "ways");
    rc = text ? wan_group_broadcast(world, NULL, text, (size_t)n, WAN_U8, from) : -1;
    if (rc == 0)
        rc = wan_ways_parse(t->ways, text, WAN_TUNE_FILE);
    free(text);
    return rc;
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
    int rc = 0;
    if (wan_ways_new(&t->ways) < 0 || t->opt.rehearse) {
        free(path);
        return t->ways ? 0 : -1;
    }
    if (path && t->comm->rank == 0)
        rc = wan_ways_read(t->ways, path);
    free(path);
    WAN_TRY(wan_train_settle(t, rc));
    if (t->comm->size > 1)
        WAN_TRY(share(t, 0));
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
    int rc = 0;
    t->ways->trying = 0;
    t->ways->tried++;
    for (int r = 0; r < t->comm->size && t->comm->size > 1 && rc == 0; r++)
        rc = share(t, r);
    if (rc == 0 && path && t->comm->rank == 0) {
        rc = wan_mkdirs(t->c->v.save);
        rc = rc == 0 ? wan_ways_write(t->ways, path) : rc;
        if (rc == 0)
            wan_info("%d shapes measured, their ways are in %s", t->ways->n, path);
    }
    free(path);
    return wan_train_settle(t, rc);
}

void wan_tune_close(wan_train *t)
{
    wan_ways_free(&t->ways);
}
