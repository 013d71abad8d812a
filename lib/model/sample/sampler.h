/* SPDX-License-Identifier: Apache-2.0
 *
 * sampler.h - sigma schedules and flow-matching ODE solvers (wan-model(7), Sampling).  Host
 * scalars only; vectors live on the device and are combined by the op `lincomb`.
 *
 *     wan_sampler_new(&s, dev, "unipc", "diffusers", 50, 5.0, numel);
 *     for (i = 0; i < 50; i++) {
 *         v = model(x, wan_sampler_timestep(s, i));
 *         wan_sampler_step(s, i, x, v);                 // x becomes the next sample
 *     }
 */
#ifndef WAN_MODEL_SAMPLER_H
#define WAN_MODEL_SAMPLER_H

#include "kernels/ops.h"

typedef struct wan_sampler wan_sampler;

/* solver: "unipc", "dpm++", "euler"; schedule: "official", "diffusers".  steps 1..1000, shift > 0.
 * numel: elements of the latent. */
int wan_sampler_new(wan_sampler **out, wan_dev *d, const char *solver, const char *schedule,
                    int steps, double shift, int64_t numel) WAN_MUST_CHECK;
void wan_sampler_free(wan_sampler **s);
float wan_sampler_sigma(const wan_sampler *s, int i);     /* i = 0..steps; [steps] is 0 */
double wan_sampler_timestep(const wan_sampler *s, int i); /* what the model is given */
/* x [numel] device WAN_REAL: sample at sigma_i in, at sigma_{i+1} out.  v: velocity at x. */
int wan_sampler_step(wan_sampler *s, int i, wan_real *x, const wan_real *v) WAN_MUST_CHECK;
/* The lists alone, for tests and --dump: sigma [steps+1], timestep [steps]. */
int wan_sampler_schedule(const char *solver, const char *schedule, int steps, double shift,
                         float *sigma, double *timestep) WAN_MUST_CHECK;

#endif
