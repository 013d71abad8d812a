/* SPDX-License-Identifier: Apache-2.0
 *
 * edm.h - EDM, an objective (Karras et al. 2022, arXiv 2206.00364, table 1; wan-model(7), EDM).
 *
 *   x_sigma = s_d x0 + sigma eps,   s_d = 0.5;  ln sigma ~ N(mean, std^2)
 *   D(x) = c_skip x + c_out F(c_in x, c_noise);   loss = weight |s_d x0 - D|^2
 *   c_skip = s_d^2 / (sigma^2 + s_d^2)       c_out = sigma s_d / sqrt(sigma^2 + s_d^2)
 *   c_in   = 1 / sqrt(sigma^2 + s_d^2)       c_noise = ln(sigma) / 4
 *   weight = (sigma^2 + s_d^2) / (sigma s_d)^2 = 1 / c_out^2
 *
 * With c_out divided out of the answer F and put into the weight (objective.h) everything is linear in
 * x0 and eps, and the weight is 1.  With r = sqrt(sigma^2 + s_d^2):
 *
 *   in = (s_d, sigma) / r;   target = (sigma, -s_d) / r;   t = c_noise
 *
 * Draws depend on (seed, step, global position of the sample) alone.
 */
#ifndef WAN_MODEL_EDM_H
#define WAN_MODEL_EDM_H

#include "lib/model/objective.h"

#define WAN_EDM_DATA 0.5 /* s_d */

typedef struct wan_edm {
    double mean, std; /* of ln sigma */
    double dropout;   /* part of the samples without their caption */
    int stratify;     /* the batch takes one sigma from each of B equally likely strata */
} wan_edm;

/* c_skip, c_out, c_in and c_noise at a noise level. */
typedef struct wan_edm_scaling {
    double skip, out, in, noise;
} wan_edm_scaling;
wan_edm_scaling wan_edm_scale(double sigma);

#endif
