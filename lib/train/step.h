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
#include "lib/train/parallel/pp_split.h"

typedef struct wan_step_sample {
    int64_t latent[4];  /* C, T', h, w: whole patches */
    const float *x0;    /* host [C, T', h, w], normalised latent */
    const float *noise; /* host, same shape; NULL: elements 0.. of `stream`, in latent order */
    wan_rng stream;
    const float *text; /* host [text_rows, text_dim]; NULL: a rehearsal, nothing reads them */
    int64_t text_rows; /* 0: no caption */
    wan_draw draw;
    double coef; /* factor of this sample's loss in the objective */
} wan_step_sample;

/* One micro-batch in a range of parts, from its load to the end of its backward. */
typedef struct wan_step_seat {
    wan_acts *acts;
    int first, end; /* parts */
    int n;          /* samples; 0: free */
    int64_t at;     /* number of its first loss */
    /* device */
    void *rows;              /* [S, in_width] in the compute type, where part 0 is run */
    wan_real *target, *coef; /* [S, out_width], [samples], where the last part is run */
    wan_real *dpred;         /* [S, out_width] */
    int64_t *tokens;         /* host [samples]: of whole samples */
} wan_step_seat;

typedef struct wan_step_options {
    wan_capacity cap;  /* of whole micro-batches */
    int64_t batch;     /* losses that are kept until they are read */
    int share, shares; /* which part of every sample's tokens is run here; 0 of 0: the whole */
    wan_cp *cp;        /* of the shares; NULL: the whole */
    wan_wing wing;     /* what the axes put in place of ops (acts.h) */
    const wan_pp_range *range; /* the parts that are run here, ascending */
    int ranges;                /* 0: the whole model, one micro-batch at a time */
} wan_step_options;

typedef struct wan_step {
    wan_arch arch;
    wan_sizes z;
    wan_dev *d;
    wan_store *store;    /* caller's */
    wan_step_seat *seat; /* [seats], range by range */
    int seats;
    wan_capacity cap; /* of whole micro-batches */
    int64_t batch;
    int share, shares;
    wan_cp *cp; /* caller's */
    /* device, needed only while a micro-batch is loaded, or its loss is made */
    wan_real *latent, *noise; /* one sample, latent order */
    void *rows1; /* one whole sample, where only a share of it, or only its target, is run */
    wan_real *target1;
    void *text;     /* [text_rows, text_dim] in the compute type */
    wan_real *pred; /* [S, out_width], in the order of the model; where the last part is run */
    wan_real *loss; /* [batch] */
    /* host */
    void *text_host;
    int64_t (*grid)[3];
    int64_t *text_len;
    int64_t *first, *held; /* which tokens of each sample are run here */
    double *part;          /* [batch]: part of each kept loss that is this share's */
    wan_real *t, *coef_host;
} wan_step;

/* Whether a model can be trained by this: -1 when its answer has another shape than its input. */
int wan_step_check(const wan_sizes *z) WAN_MUST_CHECK;
/* batch: losses that are kept until they are read.  Reserves the activations too.  A model whose
 * answer has not the shape of what it is given is refused: the objectives compare the two. */
int wan_step_new(wan_step **out, wan_dev *d, const wan_arch *arch, wan_store *store,
                 const wan_capacity *cap, int64_t batch) WAN_MUST_CHECK;
/* The same with a share of every sample's tokens, or for some of the parts.  Losses are then this
 * share's part of the sample's. */
int wan_step_open(wan_step **out, wan_dev *d, const wan_arch *arch, wan_store *store,
                  const wan_step_options *o) WAN_MUST_CHECK;
void wan_step_free(wan_step **s);
/* Bytes of device memory beside the model's. */
int64_t wan_step_bytes(const wan_arch *arch, wan_dtype compute, const wan_step_options *o);

/* From here on parts are recorded (tapes.h), where the device can. */
int wan_step_record(wan_step *s) WAN_MUST_CHECK;
/* Parts that were done from a recording so far. */
int64_t wan_step_replays(const wan_step *s);

/* Puts a micro-batch into a free seat; its losses become number at.. of those kept. */
int wan_step_load(wan_step *s, wan_step_seat *q, const wan_step_sample *v, int n, int64_t at)
    WAN_MUST_CHECK;
/* The parts of the seat; with the last of them the losses, and for `train` their gradient. */
int wan_step_forward(wan_step *s, wan_step_seat *q, int train, const wan_hooks *hooks)
    WAN_MUST_CHECK;
/* Adds to the gradients; what the parts behind have handed back is there already, on top of
 * wan_model_back_begin. */
int wan_step_backward(wan_step *s, wan_step_seat *q, const wan_hooks *hooks) WAN_MUST_CHECK;
/* All of it for a whole model, in its first seat: hooks (may be NULL) are called around every part. */
int wan_step_run(wan_step *s, const wan_step_sample *v, int n, int64_t at, int train,
                 const wan_hooks *hooks) WAN_MUST_CHECK;
/* Waits for the device; loss: host [n], unweighted. */
int wan_step_losses(wan_step *s, float *loss, int64_t n) WAN_MUST_CHECK;
/* Prediction for a sample of the last forward, whose first row is `row`, to host [C, T', h, w]. */
int wan_step_pred(wan_step *s, float *pred, const int64_t latent[4], int64_t row) WAN_MUST_CHECK;

#endif
