/* SPDX-License-Identifier: Apache-2.0
 *
 * rehearse.h - one training step of one rank of a cluster that is not there: the trainer itself, on a
 * device that computes nothing (device_dry.h) and a communicator of which this rank alone is here
 * (comm_dry.h).  What it allocates, computes and says to others is what the real rank would; only the
 * time is a model's, of the rates in wan_cluster.
 *
 *     wan_rehearsal r;
 *     WAN_TRY(wan_rehearse(&r, config, &cluster, 128, 0, 0));
 */
#ifndef WAN_TRAIN_REHEARSE_H
#define WAN_TRAIN_REHEARSE_H

#include "kernels/device_dry.h"
#include "lib/train/planner/cluster.h"
#include "lib/train/train.h"

enum wan_memory_class {
    WAN_MEMORY_WEIGHTS,
    WAN_MEMORY_GRADS,
    WAN_MEMORY_OPTIMIZER,
    WAN_MEMORY_ACTS,
    WAN_MEMORY_BUFFERS, /* work space, rows of a micro-batch, rows of other ranks */
    WAN_MEMORY_DRIVER,  /* recordings, at most */
    WAN_MEMORY_CLASSES
};
const char *wan_rehearse_class(enum wan_memory_class c);

typedef struct wan_rehearsal {
    wan_plan plan;
    wan_mesh mesh;                     /* sizes and this rank's place; no groups */
    int64_t bytes[WAN_MEMORY_CLASSES]; /* on the device, after the step */
    wan_traffic traffic, far, waited;  /* of the step; between machines; seconds of the clock */
    wan_dry work;                      /* FLOPs, bytes and seconds of the step */
    double model_flops;                /* of the step on all ranks, without recompute */
    int64_t tokens;                    /* of the step, all ranks */
} wan_rehearsal;

/* c: finished; unchanged after.  The cluster has so many ranks; the data are those of c, or mock.  trial:
 * the step is only run where its memory fits (wan_rehearse_fits). */
int wan_rehearse(wan_rehearsal *out, wan_config *c, const wan_cluster *m, int ranks, int rank,
                 int trial) WAN_MUST_CHECK;
int wan_rehearse_fits(const wan_rehearsal *r, const wan_cluster *m);
int64_t wan_rehearse_total(const wan_rehearsal *r);

#endif
