/* SPDX-License-Identifier: Apache-2.0
 *
 * step.h - forward and backward of one micro-batch: from clean latents, text rows and draws to
 * losses and gradients, for any model and objective.  Free of files, JSON and MPI.
 *
 *     wan_step *s;
 *     wan_step_new(&s, dev, &arch, store, &capacity, batch);
 *     wan_store_zero_grad(store);
 *     for each micro-batch: wan_step_run(s, samples, n, at, 1, NULL);
 *     wan_step_losses(s, loss, batch);
 *
 *   input  = in[0] x0 + in[1] eps;   target = target[0] x0 + target[1] eps       (objective.h)
 *   loss[i] = mean over sample i of (pred - target)^2
 *   objective = sum over micro-batches and samples of coef[i] loss[i]
 *
 * With coef = weight / B (mean over the B samples of the global batch), or weight S_i / S (mean over
 * its S tokens), micro-batches and ranks only divide the work: their gradients add up to the batch's.
 */
#ifndef WAN_TRAIN_STEP_H
#define WAN_TRAIN_STEP_H

#include "lib/base/rng.h"
#include "lib/model/model.h"
#include "lib/model/objective.h"
#include "lib/model/wing/cp.h"

typedef struct wan_step_sample {
    int64_t latent[4];  /* C, T', h, w: whole patches */
    const float *x0;    /* host [C, T', h, w], normalised latent */
    const float *noise; /* host, same shape; NULL: elements 0.. of `stream`, in latent order */
    wan_rng stream;
    const float *text; /* host [text_rows, text_dim] */
    int64_t text_rows; /* 0: no caption */
    wan_draw draw;
    double coef; /* factor of this sample's loss in the objective */
} wan_step_sample;

typedef struct wan_step {
    wan_arch arch;
    wan_sizes z;
    wan_dev *d;
    wan_store *store; /* caller's */
    wan_acts *acts;
    wan_capacity cap; /* of whole micro-batches */
    int64_t batch;
    int share, shares; /* which part of every sample's tokens is run here */
    wan_cp *cp;        /* caller's; NULL: the whole */
    /* device */
    wan_real *latent, *noise;        /* one sample, latent order */
    void *rows;                      /* [S, in_width] in the compute type, the model's order */
    wan_real *target, *pred, *dpred; /* [S, out_width], in the order of the model */
    void *rows1;                     /* one whole sample, where only a share of it is run */
    wan_real *target1;
    void *text;            /* [text_rows, text_dim] in the compute type */
    wan_real *coef, *loss; /* [samples], [batch] */
    /* host */
    void *text_host;
    int64_t (*grid)[3];
    int64_t *text_len, *tokens; /* tokens of whole samples */
    int64_t *first, *held;      /* ... and which of them are run here */
    double *part;               /* [batch]: part of each kept loss that is this share's */
    wan_real *t, *coef_host;
} wan_step;

/* Whether a model can be trained by this: -1 when its answer has another shape than its input. */
int wan_step_check(const wan_sizes *z) WAN_MUST_CHECK;
/* batch: losses that are kept until they are read.  Reserves the activations too.  A model whose
 * answer has not the shape of what it is given is refused: the objectives compare the two. */
int wan_step_new(wan_step **out, wan_dev *d, const wan_arch *arch, wan_store *store,
                 const wan_capacity *cap, int64_t batch) WAN_MUST_CHECK;
/* The same for part `share` of `shares` of every sample's tokens, of cp (NULL for the whole).  Losses
 * are then this part's share of the sample's. */
int wan_step_new_share(wan_step **out, wan_dev *d, const wan_arch *arch, wan_store *store,
                       const wan_capacity *cap, int64_t batch, int share, int shares, wan_cp *cp)
    WAN_MUST_CHECK;
/* What the axes put in place of ops (acts.h). */
void wan_step_wing(wan_step *s, const wan_wing *wing);
void wan_step_free(wan_step **s);
/* Bytes of device memory beside the model's. */
int64_t wan_step_bytes(const wan_arch *arch, wan_dtype compute, const wan_capacity *cap,
                       int shares);
/* Runs a micro-batch; its losses become number at.. of those kept.  train: adds to the gradients; hooks
 * (may be NULL) are called around every part. */
int wan_step_run(wan_step *s, const wan_step_sample *v, int n, int64_t at, int train,
                 const wan_hooks *hooks) WAN_MUST_CHECK;
/* Waits for the device; loss: host [n], unweighted. */
int wan_step_losses(wan_step *s, float *loss, int64_t n) WAN_MUST_CHECK;
/* Prediction for a sample of the last one, whose first row is `row`, to host [C, T', h, w]. */
int wan_step_pred(wan_step *s, float *pred, const int64_t latent[4], int64_t row) WAN_MUST_CHECK;

#endif
