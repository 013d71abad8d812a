/* SPDX-License-Identifier: Apache-2.0
 *
 * optim.h - AdamW over the flat vector of a parameter store, with the clip by global norm.
 *
 *     wan_optim *o;
 *     wan_optim_new(&o, store, beta1, beta2, eps, no_decay_1d);
 *     wan_ranks_norm(ranks, store, o->sumsq, &norm);   // or wan_optim_norm(o, &norm) of one rank
 *     wan_optim_step(o, lr, weight_decay, max_norm);
 *
 * fp32 masters and moments; the bf16 copy that GEMMs read is written in the same pass.
 */
#ifndef WAN_TRAIN_OPTIM_H
#define WAN_TRAIN_OPTIM_H

#include "lib/model/reel.h"
#include "lib/model/store.h"

typedef struct wan_optim {
    wan_store *s;
    wan_real *exp_avg, *exp_avg_sq; /* device [store->total], or in host memory (WAN_TRAIN_FAR) */
    double *sumsq;                  /* device [2]: as clip_coef reads it (adamw.h) */
    wan_real *coef;                 /* device [1] */
    wan_real *
        row; /* device [2][WAN_ADAMW_ROW]: the numbers of the step, for what decays and for what does not */
    int64_t step; /* updates made */
    double beta1, beta2, eps;
    int no_decay_1d;  /* norms, biases and modulation tables keep their size */
    wan_reel reel[2]; /* of updates: with the norm of one rank, and without */
} wan_optim;

int wan_optim_new(wan_optim **out, wan_store *s, double beta1, double beta2, double eps,
                  int no_decay_1d) WAN_MUST_CHECK;
void wan_optim_free(wan_optim **o);
/* Bytes of device memory for a store whose flat vector has n elements. */
int64_t wan_optim_bytes(int64_t n);
/* Norm of the gradient; not finite when any element is not. */
int wan_optim_norm(wan_optim *o, double *norm) WAN_MUST_CHECK;
/* Puts the norm of one rank into sumsq and waits for nothing; also [n], device: must be finite, too. */
int wan_optim_norm_begin(wan_optim *o, const wan_real *also, int64_t n) WAN_MUST_CHECK;
/* One update, after the norm has been put into sumsq.  max_norm 0: not clipped.  Where what
 * stands there is not finite nothing changes but `step`. */
int wan_optim_step(wan_optim *o, double lr, double weight_decay, double max_norm) WAN_MUST_CHECK;
/* Both: the norm of one rank, and the update by it. */
int wan_optim_norm_step(wan_optim *o, const wan_real *also, int64_t n, double lr,
                        double weight_decay, double max_norm) WAN_MUST_CHECK;
/* From here on updates are recorded (reel.h): norm, clip factor and all of AdamW are one call to the device; where the
 * moments lie in host memory, norm and clip factor alone. */
void wan_optim_record(wan_optim *o);
/* Updates that were done from a recording so far. */
int64_t wan_optim_replays(const wan_optim *o);
/* The first parameter of whose gradient this rank has a value that is not finite; store->params.n: none. */
int wan_optim_find_bad(wan_optim *o);

#endif
