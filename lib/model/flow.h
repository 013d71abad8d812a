/* SPDX-License-Identifier: Apache-2.0
 *
 * flow.h - flow matching, an objective: sigma, loss weight, caption dropout of a training sample
 * (wan-model(7), Sigma and Corrections).
 *
 *   xt = (1 - sigma) x0 + sigma eps;   the model answers the velocity eps - x0
 *
 * Every draw is a function of (seed, step, global position of the sample) alone, so the same sample
 * gets the same numbers on any number of ranks, in any pack, and after any resume.
 *
 *   u ~ the distribution, cut to the u that give sigma in [sigma_min, sigma_max] (renormalised)
 *   sigma = s u / (1 + (s - 1) u);   timestep = 1000 sigma;   weight = 1 + s sigma
 *
 * u is drawn by inverting the distribution function, which makes the cut exact and lets strata be
 * taken in probability.  With mix_uniform > 0 each sample tosses its own coin between the
 * distribution and the uniform one; the coin's odds are those of the cut mixture.
 */
#ifndef WAN_MODEL_FLOW_H
#define WAN_MODEL_FLOW_H

#include "lib/model/objective.h"

/* distribution of u */
enum wan_flow_dist { WAN_FLOW_UNIFORM, WAN_FLOW_LOGIT_NORMAL, WAN_FLOW_LOGNORM, WAN_FLOW_MODE };

typedef struct wan_flow {
    enum wan_flow_dist dist;
    double logit_mean, logit_std; /* LOGIT_NORMAL; LOGNORM is (0, 1) */
    double shift;                 /* s > 0 */
    double mix_uniform;           /* [0, 1] */
    double sigma_min, sigma_max;  /* 0 <= min < max <= 1 */
    double dropout;               /* part of the samples without their caption */
    int weighting;                /* 0: weight 1 */
    int stratify;                 /* the batch takes one u from each of B equally likely strata */
} wan_flow;

/* -1 when the numbers are out of range or the cut leaves no probability. */
int wan_flow_check(const wan_flow *f) WAN_MUST_CHECK;
/* The draw of a sample (objective.h); t is 1000 sigma. */
wan_draw wan_flow_draw(const void *flow, const wan_draw_at *at);
/* Distribution function and its inverse of u before the cut, without the uniform mixture. */
double wan_flow_cdf(const wan_flow *f, double u);
double wan_flow_quantile(const wan_flow *f, double q);
/* sigma of u, and back. */
double wan_flow_sigma(const wan_flow *f, double u);
double wan_flow_u(const wan_flow *f, double sigma);
/* Weight of a sample in the loss at this sigma, without the mean. */
double wan_flow_weight(const wan_flow *f, double sigma);

#endif
