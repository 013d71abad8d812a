/* SPDX-License-Identifier: Apache-2.0
 *
 * sampler_priv.h - what the sampler*.c share: a kind of sampler, and the head of each.
 */
#ifndef WAN_MODEL_SAMPLER_PRIV_H
#define WAN_MODEL_SAMPLER_PRIV_H

#include "lib/model/sample/sampler.h"

enum { WAN_SAMPLER_MAX = 1000 }; /* steps */

typedef struct wan_sampler_kind {
    const char *objective;
    wan_sampler_options defaults;
    const char *solvers[4]; /* up to NULL */
    int (*open)(wan_sampler **out, wan_dev *d, const wan_sampler_options *o, int64_t numel);
    void (*free)(wan_sampler *s); /* what it holds beside itself */
    int (*start)(wan_sampler *s, wan_real *x);
    int (*calls)(const wan_sampler *s, int i);
    int (*ask)(wan_sampler *s, int i, int call, const wan_real *x, const wan_real **in, double *t);
    int (*answer)(wan_sampler *s, int i, int call, wan_real *x, const wan_real *answer);
    int (*clean)(const wan_sampler *s, int i, const wan_real *x, const wan_real *answer,
                 wan_real *out);
    double (*sigma)(const wan_sampler *s, int i);
} wan_sampler_kind;

extern const wan_sampler_kind wan_sampler_flow, wan_sampler_edm;

/* The head of every kind's state. */
struct wan_sampler {
    const wan_sampler_kind *kind;
    wan_dev *d;
    int steps;
    int64_t numel;
    double unit;
    int step, call; /* what must come now */
};

#endif
