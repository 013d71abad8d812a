/* SPDX-License-Identifier: Apache-2.0
 *
 * cost.h - what a call of the pipeline will take, before it takes it: memory of its phases, and time by
 * the rate that a product of the transformer's own width reaches on the device.
 */
#ifndef WAN_MODEL_COST_H
#define WAN_MODEL_COST_H

#include <stdio.h>

#include "lib/model/sample/pipeline.h"

typedef struct wan_cost {
    int64_t videos, frames, tokens; /* in all; tokens of the largest video */
    double weights, work;           /* transformer, bytes of a rank on the device */
    double vae;                     /* decoder, bytes beside its weights */
    double text;                    /* layers of the text encoder on a GPU at once; 0: on a CPU */
    int beside;                     /* videos are decoded while the next ones are sampled */
    double latents;                 /* bytes of host memory, all videos */
    double free_bytes, total_bytes; /* of the device */
    int passes, calls;              /* of the model in a call of it; calls for a video */
    int together;                   /* the passes are one pack */
    double flops;                   /* of the transformer, all videos */
    double rate;                    /* FLOP/s of a rank, measured */
    int ranks;
} wan_cost;

/* p: open.  Takes about a second on the device; no weights are read. */
int wan_cost_measure(wan_cost *out, const wan_pipeline *p, wan_dev *d) WAN_MUST_CHECK;
void wan_cost_print(const wan_cost *c, FILE *f);

#endif
