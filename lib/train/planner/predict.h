/* SPDX-License-Identifier: Apache-2.0
 *
 * predict.h - what a configuration takes on a cluster that is not there, and which layout is fastest.
 *
 *     WAN_TRY(wan_predict(&p, config, &cluster, 128, 0));
 *     wan_predict_print(&p, &cluster, stdout);
 *     WAN_TRY(wan_predict_search(config, &cluster, 128, stdout));
 *
 * One rank of every pipeline stage rehearses a step (rehearse.h): the data parallel rank with the most
 * FLOPs, the tensor and context parallel ones with the largest share.  The step takes
 *
 *     T (1 + (p - 1) / (v m))     T: the slowest stage, p stages of v pieces, m micro-batches
 */
#ifndef WAN_TRAIN_PREDICT_H
#define WAN_TRAIN_PREDICT_H

#include "lib/train/planner/rehearse.h"

typedef struct wan_prediction {
    wan_rehearsal first;       /* rank 0 */
    wan_rehearsal slow, large; /* the stage that takes longest; that needs most memory */
    double flops;              /* of the step, as all ranks compute them (recompute included) */
    double bubble;             /* seconds of the step that a stage waits for others */
    double seconds;            /* of a step */
    double tflops;             /* of the model, for each rank and second */
    int fits;
} wan_prediction;

/* trial: where a stage does not fit, nothing but `fits` is known. */
int wan_predict(wan_prediction *out, wan_config *c, const wan_cluster *m, int ranks, int trial)
    WAN_MUST_CHECK;
void wan_predict_print(const wan_prediction *p, const wan_cluster *m, FILE *f);
/* Powers of two: tensor and sequence parallel up to 8 in a machine, context parallel up to 32, pipelines up to 16, of at most 32 ranks together, the
 * rest data parallel with nothing shared out, ZeRO-1, FSDP over all or in a machine; of each the least
 * recomputing that fits.  Those that fit by time, the fastest one in full. */
int wan_predict_search(wan_config *c, const wan_cluster *m, int ranks, FILE *f) WAN_MUST_CHECK;

#endif
