/* SPDX-License-Identifier: Apache-2.0
 *
 * step.h - forward and backward of one pack: from clean latents, text rows and sigmas to losses and
 * gradients (wan-model(7), Objective).  Free of files, JSON and MPI.
 *
 *     wan_step *s;
 *     wan_step_new(&s, model, &capacity, batch);
 *     wan_net_zero_grad(model);
 *     for each pack: wan_step_run(s, samples, n, at, 1, NULL, NULL);
 *     wan_step_losses(s, loss, batch);
 *
 *   xt = (1 - sigma) x0 + sigma eps;   v = eps - x0;   loss[i] = mean over sample i of (pred - v)^2
 *   objective = sum over packs and samples of coef[i] loss[i]
 *
 * With coef = weight / B (mean over the B samples of the global batch), or weight S_i / S (mean over
 * its S tokens), packs and ranks only divide the work: gradients of packs add up to the batch's.
 */
#ifndef WAN_TRAIN_STEP_H
#define WAN_TRAIN_STEP_H

#include "lib/base/rng.h"
#include "lib/model/wan/net.h"

typedef struct wan_step_sample {
    int64_t latent[4];  /* C, T', h, w; h and w even */
    const float *x0;    /* host [C, T', h, w], normalised latent */
    const float *noise; /* host, same shape; NULL: elements 0.. of `stream`, in latent order */
    wan_rng stream;
    const float *text; /* host [text_rows, text_dim] */
    int64_t text_rows; /* 0: no caption */
    float sigma, t;    /* t = 1000 sigma */
    double coef;       /* factor of this sample's loss in the objective */
} wan_step_sample;

typedef struct wan_step {
    wan_net *m;
    wan_net_capacity cap;
    int64_t F, batch;
    /* device */
    wan_real *latent, *noise, *noisy;  /* one sample, latent order */
    wan_real *x0, *eps, *pred, *dpred; /* [S, F], order (ph, pw, c) */
    void *rows;                        /* [S, F] in the model's compute type, order (c, ph, pw) */
    void *text;                        /* [text_rows, text_dim] in the compute type */
    wan_real *coef, *loss;             /* [samples], [batch] */
    /* host */
    void *text_host;
    int64_t (*grid)[3];
    int64_t *text_len, *tokens;
    wan_real *t, *coef_host;
} wan_step;

/* batch: losses that are kept until they are read.  Reserves the model's memory too. */
int wan_step_new(wan_step **out, wan_net *m, const wan_net_capacity *cap, int64_t batch)
    WAN_MUST_CHECK;
void wan_step_free(wan_step **s);
/* Bytes of device memory beside the model's. */
int64_t wan_step_bytes(const wan_net_config *c, wan_dtype compute, const wan_net_capacity *cap);
/* Runs a pack; its losses become number at.. of those kept.  train: adds to the gradients and calls
 * on_grad (may be NULL) as wan_net_backward does. */
int wan_step_run(wan_step *s, const wan_step_sample *v, int n, int64_t at, int train,
                 wan_net_on_grad *on_grad, void *arg) WAN_MUST_CHECK;
/* Waits for the device; loss: host [n], unweighted. */
int wan_step_losses(wan_step *s, float *loss, int64_t n) WAN_MUST_CHECK;
/* Prediction for a sample of the last pack, whose first row is `row`, to host [C, T', h, w]. */
int wan_step_pred(wan_step *s, float *pred, const int64_t latent[4], int64_t row) WAN_MUST_CHECK;

#endif
