/* SPDX-License-Identifier: Apache-2.0
 *
 * mesh.h - how the ranks of a run are laid out: pp x dp_replicate x dp_shard x cp x tp, tp changing
 * fastest.  Only dp_replicate does something yet; larger values of the others are refused.
 */
#ifndef WAN_DIST_MESH_H
#define WAN_DIST_MESH_H

#include "lib/base/err.h"

enum wan_axis { WAN_PP, WAN_DP_REPLICATE, WAN_DP_SHARD, WAN_CP, WAN_TP, WAN_AXES };

typedef struct wan_mesh {
    int size[WAN_AXES];
    int at[WAN_AXES]; /* this rank's coordinates */
    int dp, dp_rank;  /* data parallel ranks and ours: dp_replicate x dp_shard */
} wan_mesh;

/* size[WAN_DP_REPLICATE] 0: whatever is left of `ranks`.  -1 with a sentence when the product is not
 * the number of ranks, or an axis is not supported. */
int wan_mesh_new(wan_mesh *m, const int size[WAN_AXES], int rank, int ranks) WAN_MUST_CHECK;

#endif
