/* SPDX-License-Identifier: Apache-2.0
 *
 * mesh.c - see mesh.h.
 */
#include "lib/dist/mesh.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/dist/transport.h"

enum { MESH_HOST = 128 };

/* The group's name and axes. */
static const struct {
    const char *name;
    unsigned axes;
} groups[WAN_MESH_GROUPS] = {
    [WAN_PP] = { "pp", 1 << WAN_PP },
    [WAN_DP_REPLICATE] = { "dp_replicate", 1 << WAN_DP_REPLICATE },
    [WAN_DP_SHARD] = { "dp_shard", 1 << WAN_DP_SHARD },
    [WAN_CP] = { "cp", 1 << WAN_CP },
    [WAN_TP] = { "tp", 1 << WAN_TP },
    [WAN_DP] = { "dp", 1 << WAN_DP_REPLICATE | 1 << WAN_DP_SHARD },
    [WAN_DP_CP] = { "dp_cp", 1 << WAN_DP_REPLICATE | 1 << WAN_DP_SHARD | 1 << WAN_CP },
    [WAN_FSDP] = { "fsdp", 1 << WAN_DP_SHARD | 1 << WAN_CP },
    [WAN_CP_TP] = { "cp_tp", 1 << WAN_CP | 1 << WAN_TP },
    [WAN_PP_TP] = { "pp_tp", 1 << WAN_PP | 1 << WAN_TP },
    [WAN_WORLD] = { "world", (1 << WAN_AXES) - 1 },
};

/* The largest divisor of n that is not above k >= 1. */
static int divisor(int n, int k)
{
    k = k < n ? k : n;
    while (n % k)
        k--;
    return k;
}

/* Data parallel ranks to replicas and shards. */
static void divide(int *replicas, int *shards, int dp)
{
    int r = *replicas, s = *shards;
    if (r > 0 && s > 0 && (int64_t)r * s == dp)
        return;
    if (r > 0 && s <= 1)
        s = dp / divisor(dp, r);
    else
        s = s > 0 ? divisor(dp, s) : dp;
    *shards = s;
    *replicas = dp / s;
}

static void place(wan_mesh *m, int rank)
{
    for (int i = WAN_AXES - 1, r = rank; i >= 0; i--) {
        m->at[i] = r % m->size[i];
        r /= m->size[i];
    }
}

int wan_mesh_new(wan_mesh *m, const int size[WAN_AXES], int rank, int ranks)
{
    memset(m, 0, sizeof *m);
    memcpy(m->size, size, sizeof m->size);
    int64_t others = (int64_t)size[WAN_PP] * size[WAN_CP] * size[WAN_TP];
    if (ranks % others)
        return wan_err(
            "pipeline %d x context %d x tensor parallel %d take a multiple of %lld ranks, but "
            "%d %s started (mpirun -n %lld)",
            size[WAN_PP], size[WAN_CP], size[WAN_TP], (long long)others, ranks,
            ranks == 1 ? "was" : "were", (long long)others);
    m->dp = (int)(ranks / others);
    divide(&m->size[WAN_DP_REPLICATE], &m->size[WAN_DP_SHARD], m->dp);
    place(m, rank);
    m->dp_rank = m->at[WAN_DP_REPLICATE] * m->size[WAN_DP_SHARD] + m->at[WAN_DP_SHARD];
    return 0;
}

static int all_one(const void *arg, int rank)
{
    (void)arg;
    (void)rank;
    return 0;
}

/* The world with the ranks of a machine side by side, machines in the order of their first ranks. */
static int order_world(wan_comm *c, wan_group **out)
{
    char host[MESH_HOST] = "",
         (*all)[MESH_HOST] = wan_calloc((size_t)c->size, sizeof *all, "host names");
    if (!all)
        return -1;
    gethostname(host, sizeof host - 1);
    int rc = wan_group_all_gather(wan_group_world(c), NULL, all, host, sizeof host, WAN_U8),
        first = 0;
    while (rc == 0 && memcmp(all[first], all[c->rank], sizeof host))
        first++;
    free(all);
    return rc < 0 ? -1 : wan_group_split(wan_group_world(c), 0, first, groups[WAN_WORLD].name, out);
}

/* Ranks that differ in the group's axes alone have one colour: their place in the others. */
static int color(const wan_mesh *m, unsigned axes)
{
    int at = 0;
    for (int i = 0; i < WAN_AXES; i++)
        if (!(axes >> i & 1))
            at = at * m->size[i] + m->at[i];
    return at;
}

/* The same of any rank, for a group of the mesh. */
typedef struct shade {
    const wan_mesh *m;
    unsigned axes;
} shade;

static int color_of(const void *arg, int rank)
{
    const shade *s = arg;
    wan_mesh at = *s->m;
    place(&at, rank);
    return color(&at, s->axes);
}

int wan_mesh_open(wan_mesh *m, wan_comm *c, const int size[WAN_AXES])
{
    wan_group *world;
    memset(m, 0, sizeof *m);
    if (c->t->alone)
        WAN_TRY(
            wan_group_split_by(wan_group_world(c), all_one, NULL, groups[WAN_WORLD].name, &world));
    else
        WAN_TRY(order_world(c, &world));
    if (wan_mesh_new(m, size, world->rank, world->size) < 0) {
        wan_group_free(&world);
        return -1;
    }
    m->group[WAN_WORLD] = world;
    for (int i = 0; i < WAN_WORLD; i++)
        if (wan_group_split_by(world, color_of, &(shade){ m, groups[i].axes }, groups[i].name,
                               &m->group[i]) < 0) {
            wan_mesh_close(m);
            return -1;
        }
    return 0;
}

void wan_mesh_close(wan_mesh *m)
{
    for (int i = 0; i < WAN_MESH_GROUPS; i++)
        wan_group_free(&m->group[i]);
}

void wan_mesh_text(const wan_mesh *m, char text[80])
{
    char shards[32] = "";
    if (m->size[WAN_DP_SHARD] > 1)
        snprintf(shards, sizeof shards, " (%d x %d shards)", m->size[WAN_DP_REPLICATE],
                 m->size[WAN_DP_SHARD]);
    snprintf(text, 80, "pp %d x dp %d%s x cp %d x tp %d", m->size[WAN_PP], m->dp, shards,
             m->size[WAN_CP], m->size[WAN_TP]);
}
