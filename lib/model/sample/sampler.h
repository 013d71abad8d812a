/* SPDX-License-Identifier: Apache-2.0
 *
 * sampler.h - solvers of the sampling ODE, by the objective that a model was trained with: a table of
 * kinds (wan-model(7), Sampling).  Host scalars only; vectors live on the device and are combined by
 * the op `lincomb`.
 *
 *     wan_sampler_options o = { .steps = 50 };              // the rest: defaults
 *     WAN_TRY(wan_sampler_resolve(&o, "flow"));
 *     wan_sampler_new(&s, dev, "flow", &o, numel);
 *     wan_sampler_start(s, x);                              // x: standard normal noise in
 *     for (i = 0; i < o.steps; i++)
 *         for (call = 0; call < wan_sampler_calls(s, i); call++) {
 *             wan_sampler_ask(s, i, call, x, &in, &t);
 *             answer = model(in, t)
 *             wan_sampler_answer(s, i, call, x, answer);    // after the last call: the next sample
 *         }
 *     latent = wan_sampler_unit(s) * x
 */
#ifndef WAN_MODEL_SAMPLER_H
#define WAN_MODEL_SAMPLER_H

#include "kernels/ops.h"

/* 0 and NULL: the kind's own.  What another kind has is refused. */
typedef struct wan_sampler_options {
    const char *solver;
    int steps; /* 1..1000 */
    double guidance;
    int guided; /* guidance was given: it may be 0 */
    /* flow: "unipc" (the default), "dpm++", "euler" */
    const char *schedule; /* "diffusers" (the default), "official" */
    double shift;         /* > 0; 5 */
    /* edm: "heun" (the default), "euler"; sigma_i between sigma_max and sigma_min */
    double sigma_min, sigma_max, rho; /* 0.002, 80, 7 */
} wan_sampler_options;

typedef struct wan_sampler wan_sampler;

/* Puts the defaults of models trained with `objective` where nothing was given. */
int wan_sampler_resolve(wan_sampler_options *o, const char *objective) WAN_MUST_CHECK;
/* o: resolved.  numel: elements of the latent. */
int wan_sampler_new(wan_sampler **out, wan_dev *d, const char *objective,
                    const wan_sampler_options *o, int64_t numel) WAN_MUST_CHECK;
void wan_sampler_free(wan_sampler **s); /* NULL-safe */

/* x [numel] device WAN_REAL: standard normal noise in, the first sample out. */
int wan_sampler_start(wan_sampler *s, wan_real *x) WAN_MUST_CHECK;
/* How often step i asks the model. */
int wan_sampler_calls(const wan_sampler *s, int i);
/* What the model is given: *in [numel] belongs to the sampler or is x; *t conditions it. */
int wan_sampler_ask(wan_sampler *s, int i, int call, const wan_real *x, const wan_real **in,
                    double *t) WAN_MUST_CHECK;
/* answer [numel]: the model's.  Steps and calls come in order; step 0 begins again. */
int wan_sampler_answer(wan_sampler *s, int i, int call, wan_real *x, const wan_real *answer)
    WAN_MUST_CHECK;
/* The sample without noise that the answer to the first call of step i points to, before
 * wan_sampler_answer has it; out [numel]. */
int wan_sampler_clean(const wan_sampler *s, int i, const wan_real *x, const wan_real *answer,
                      wan_real *out) WAN_MUST_CHECK;
/* The latent is this times the sample. */
double wan_sampler_unit(const wan_sampler *s);
double wan_sampler_sigma(const wan_sampler *s, int i); /* i = 0..steps; [steps] is 0 */

/* The lists of flow matching alone, for tests and --dump: sigma [steps+1], timestep [steps]. */
int wan_sampler_schedule(const char *solver, const char *schedule, int steps, double shift,
                         float *sigma, double *timestep) WAN_MUST_CHECK;

#endif
