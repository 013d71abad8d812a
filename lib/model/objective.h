/* SPDX-License-Identifier: Apache-2.0
 *
 * objective.h - the table of objectives: what a sample is made into, and what the model's answer is
 * compared with.  The trainer sees numbers per sample and knows nothing else of it.
 *
 *     input  = in[0] x0 + in[1] eps           what the model is given, with `t`
 *     target = target[0] x0 + target[1] eps   what it should answer
 *     loss   = weight * mean over the sample of (answer - target)^2
 *
 * Flow matching (flow.h) and EDM, preconditioning included, are of this form: what multiplies the
 * model's answer is divided out of the target and put into the weight.
 */
#ifndef WAN_MODEL_OBJECTIVE_H
#define WAN_MODEL_OBJECTIVE_H

#include <stdint.h>

#include "lib/base/err.h"
#include "lib/model/field.h"

/* Place of a sample in the run; a draw is a function of it and the seed alone. */
typedef struct wan_draw_at {
    uint64_t seed, step;
    uint64_t position;    /* global position of the sample in the run */
    int64_t index, batch; /* its place in the global batch of `batch` samples (for strata) */
    int eval;             /* the fixed noise levels of a validation instead of random ones */
} wan_draw_at;

typedef struct wan_draw {
    float sigma;             /* noise level */
    float t;                 /* what the model is given */
    double in[2], target[2]; /* factors of x0 and eps */
    double weight;           /* of the sample's loss */
    int drop;                /* without its caption */
    int bin;                 /* 0..WAN_SIGMA_BINS-1: for the loss per noise level */
} wan_draw;

enum { WAN_SIGMA_BINS = 10, WAN_OBJECTIVE_BYTES = 256 };

typedef struct wan_objective {
    const char *name;
    size_t size;             /* of its settings, <= WAN_OBJECTIVE_BYTES */
    const wan_field *fields; /* ends with key NULL */
    int (*check)(const void *settings);
    wan_draw (*draw)(const void *settings, const wan_draw_at *at);
    /* a noise level that was prescribed */
    wan_draw (*at_sigma)(const void *settings, float sigma);
} wan_objective;

extern const wan_objective wan_flow_objective; /* flow.h */
extern const wan_objective wan_edm_objective;  /* edm.h */

const wan_objective *wan_objective_find(const char *name); /* NULL: none of that name */
int wan_objective_register(const wan_objective *o) WAN_MUST_CHECK;

#endif
