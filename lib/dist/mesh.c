/* SPDX-License-Identifier: Apache-2.0
 *
 * mesh.c - see mesh.h.
 */
#include "lib/dist/mesh.h"

#include <stdlib.h>
#include <string.h>

static const char *const names[WAN_AXES] = { "pipeline parallel", "data parallel replicas",
                                             "sharded data parallel", "context parallel",
                                             "tensor parallel" };

int wan_mesh_new(wan_mesh *m, const int size[WAN_AXES], int rank, int ranks)
{
    int others = 1;
    memset(m, 0, sizeof *m);
    for (int i = 0; i < WAN_AXES; i++) {
        m->size[i] = size[i];
        if (i == WAN_DP_REPLICATE)
            continue;
        if (size[i] != 1)
            return wan_err("%s size %d: this version trains with data parallel replicas only; set "
                           "it to 1",
                           names[i], size[i]);
        others *= size[i];
    }
    if (m->size[WAN_DP_REPLICATE] == 0)
        m->size[WAN_DP_REPLICATE] = ranks / others;
    if (m->size[WAN_DP_REPLICATE] * others != ranks)
        return wan_err("the mesh has %d places, but %d rank%s started (mpirun -n %d)",
                       m->size[WAN_DP_REPLICATE] * others, ranks, ranks == 1 ? " was" : "s were",
                       m->size[WAN_DP_REPLICATE] * others);
    for (int i = WAN_AXES - 1, r = rank; i >= 0; i--) {
        m->at[i] = r % m->size[i];
        r /= m->size[i];
    }
    m->dp = m->size[WAN_DP_REPLICATE] * m->size[WAN_DP_SHARD];
    m->dp_rank = m->at[WAN_DP_REPLICATE] * m->size[WAN_DP_SHARD] + m->at[WAN_DP_SHARD];
    return 0;
}
