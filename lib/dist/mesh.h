/* SPDX-License-Identifier: Apache-2.0
 *
 * mesh.h - how the ranks of a run are laid out: pp x dp_replicate x dp_shard x cp x tp, tp changing
 * fastest, so that ranks which talk most are neighbours.
 *
 *     wan_mesh m;
 *     WAN_TRY(wan_mesh_open(&m, comm, size));
 *     WAN_TRY(wan_group_all_reduce(m.group[WAN_TP], ...));   // a group of one where the axis is 1
 *     wan_mesh_close(&m);
 */
#ifndef WAN_DIST_MESH_H
#define WAN_DIST_MESH_H

#include "lib/dist/group.h"

enum wan_axis {
    WAN_PP,           /* pipeline stages */
    WAN_DP_REPLICATE, /* full copies of the weights */
    WAN_DP_SHARD,     /* parts of one copy (FSDP, ZeRO) */
    WAN_CP,           /* parts of every sample's tokens */
    WAN_TP,           /* parts of every product */
    WAN_AXES,
    /* groups over several axes */
    WAN_DP = WAN_AXES, /* dp_replicate x dp_shard: ranks that read other samples */
    WAN_DP_CP,         /* dp x cp: sums of gradients and losses */
    WAN_FSDP,          /* dp_shard x cp: ranks that share one copy of the weights */
    WAN_CP_TP,         /* cp x tp: ranks that work on the same samples of a stage */
    WAN_PP_TP,         /* pp x tp: ranks that hold one model together */
    WAN_WORLD,         /* all */
    WAN_MESH_GROUPS
};

typedef struct wan_mesh {
    int size[WAN_AXES];
    int at[WAN_AXES]; /* this rank's coordinates */
    int dp, dp_rank;  /* data parallel ranks and ours: dp_replicate x dp_shard */
    /* [WAN_MESH_GROUPS]: members in the order of their coordinates; NULL before wan_mesh_open */
    wan_group *group[WAN_MESH_GROUPS];
} wan_mesh;

/* The place of `rank` of `ranks`, by arithmetic alone.  pp, cp and tp are as given and their product
 * must divide `ranks`; what is left is data parallel, so that a configuration written for another number
 * of ranks stays good:
 *     dp_replicate 0, dp_shard 1     replicas only
 *     dp_replicate 0, dp_shard S     S shards, or as many up to S as divide what is left (0: all of it)
 *     dp_replicate R                 R replicas, or as many up to R as divide it, of as many shards as
 *                                    remain; where R x S fits neither, S counts
 * -1 with a sentence when there are too few ranks, or not a multiple. */
int wan_mesh_new(wan_mesh *m, const int size[WAN_AXES], int rank, int ranks) WAN_MUST_CHECK;
/* The same for the ranks of c, with the groups.  Ranks of one machine become neighbours, in whatever
 * order the launcher has numbered them.  Collective. */
int wan_mesh_open(wan_mesh *m, wan_comm *c, const int size[WAN_AXES]) WAN_MUST_CHECK;
void wan_mesh_close(wan_mesh *m);
/* "pp 2 x dp 4 (2 x 2 shards) x cp 1 x tp 2" into text [80] */
void wan_mesh_text(const wan_mesh *m, char text[80]);

#endif
