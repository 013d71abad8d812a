/* SPDX-License-Identifier: Apache-2.0
 *
 * generate.h - one latent video from noise: the solver's loop with classifier-free guidance.
 *
 *     wan_model_context(&cond, acts, ...);  wan_model_context(&uncond, acts, ...);
 *     wan_generate(store, acts, arch, &options, latent, cond, uncond);   // noise in, latent out
 */
#ifndef WAN_MODEL_GENERATE_H
#define WAN_MODEL_GENERATE_H

#include "lib/model/model.h"
#include "lib/model/sample/sampler.h"
#include "lib/model/sample/share.h"

/* After step i (from 0), host [C, T, h, w] where they are wanted, else NULL: the latent; the clean one
 * that the step's answer points to.  A negative return stops. */
typedef int wan_generate_step(void *arg, int i, const float *latent, const float *clean);

typedef struct wan_generate_options {
    wan_sampler_options sampler; /* resolved for the model's objective */
    int64_t T, h, w;             /* latent frames and sides; h and w even */
    wan_generate_step *on_step;  /* may be NULL */
    void *arg;
    int want_latent, want_clean; /* what on_step gets */
    int together;                /* both passes of guidance are one pack */
    wan_share *share;            /* of several ranks; NULL: alone */
    /* the second pass under a prompt is recorded on the device, and done again by one call for each pass that
     * follows (wan_dev_record): the same bytes.  Not with share, nor with weights that come and go */
    int graphs;
    int trial; /* the passes of the first call alone, for what they measure; latent and sampler stay */
} wan_generate_options;

/* latent: host [channels, T, h, w], noise in, result out.  a has room for its tokens.  With
 * options.together cond holds both prompts, that of guidance second, a has room for two samples, and
 * share and uncond are NULL: the same sums, of rows in one pack.  Else uncond may be
 * NULL: then guidance plays no part and one pass is made per call of the model, else the answer is
 * uncond + guidance (cond - uncond) from two.  A result that is not finite is an error.
 * Collective over the ranks of o->share, where a has its wing and room for this rank's tokens. */
int wan_generate(wan_store *s, wan_acts *a, const wan_arch *arch, const wan_generate_options *o,
                 float *latent, const wan_context *cond, const wan_context *uncond) WAN_MUST_CHECK;

#endif
