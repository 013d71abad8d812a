/* SPDX-License-Identifier: Apache-2.0
 *
 * torchrun.h - training steps against a PyTorch loop (tests/reference): the same latents, noise,
 * sigmas and text; AdamW, clip, warm-up, loss weights, accumulation over packs.
 *
 * Sample k of step n is latent (4 n + k) % POOL with its text, noise row (5 n + k) % noises.
 */
#ifndef WAN_TESTS_TORCHRUN_H
#define WAN_TESTS_TORCHRUN_H

#include "lib/model/files/modelio.h"
#include "lib/train/optim.h"
#include "lib/train/schedule.h"
#include "lib/train/step.h"
#include "tests/tap.h"

enum { BATCH = 4, POOL = 8 };

typedef struct torchrun {
    const char *dir;
    const wan_objective *objective;
    const void *settings;
    int steps, noises;
    float *x0[POOL], *text[POOL], *noise, *sigma, *loss, *norm;
    int64_t shape[POOL][4], rows[POOL], width;
} torchrun;

static wan_st *torchrun_file(const torchrun *r, const char *name)
{
    char path[512];
    wan_st *st;
    snprintf(path, sizeof path, "%s/%s", r->dir, name);
    if (wan_st_open(&st, path) == 0)
        return st;
    printf("Bail out! %s\n", wan_err_text());
    exit(1);
}

static float *whole(wan_st *st, const char *name, int64_t *shape)
{
    wan_st_tensor *x = wan_st_find(st, name);
    float *host = x ? malloc((size_t)(x->count + 1) * sizeof *host) : NULL;
    if (!host || wan_st_load(st, name, x->shape, x->rank, host, WAN_F32) < 0) {
        printf("Bail out! %s: %s\n", name, wan_err_text());
        exit(1);
    }
    memcpy(shape, x->shape, (size_t)x->rank * sizeof *shape);
    return host;
}

static void torchrun_open(torchrun *r)
{
    wan_st *in = torchrun_file(r, "in.safetensors"), *out = torchrun_file(r, "out.safetensors");
    int64_t shape[WAN_MAX_RANK];
    char name[32];
    for (int i = 0; i < POOL; i++) {
        snprintf(name, sizeof name, "x0.%d", i);
        r->x0[i] = whole(in, name, r->shape[i]);
        snprintf(name, sizeof name, "text.%d", i);
        r->text[i] = whole(in, name, shape);
        r->rows[i] = shape[0];
    }
    r->noise = whole(in, "noise", shape);
    r->width = shape[1];
    r->sigma = whole(in, "sigma", shape);
    r->loss = whole(out, "loss", shape);
    r->norm = whole(out, "grad_norm", shape);
    wan_st_close(&in);
    wan_st_close(&out);
}

static void torchrun_close(torchrun *r)
{
    for (int i = 0; i < POOL; i++) {
        free(r->x0[i]);
        free(r->text[i]);
    }
    free(r->noise);
    free(r->sigma);
    free(r->loss);
    free(r->norm);
}

static wan_step_sample torchrun_sample(const torchrun *r, int step, int k)
{
    int i = (step * BATCH + k) % POOL, j = (step * 5 + k) % r->noises;
    wan_step_sample s = { .x0 = r->x0[i],
                          .noise = r->noise + j * r->width,
                          .text = r->text[i],
                          .text_rows = r->rows[i],
                          .draw = r->objective->at_sigma(r->settings, r->sigma[step * BATCH + k]) };
    s.coef = s.draw.weight / BATCH;
    memcpy(s.latent, r->shape[i], sizeof s.latent);
    return s;
}

/* One optimizer step in packs of `micro` samples; loss and norm before the update. */
static int torchrun_step(const torchrun *r, wan_step *s, wan_optim *o, int n, int micro,
                         double *loss, double *norm)
{
    const wan_schedule warm = { .style = WAN_LR_CONSTANT, .max = 1e-3, .warmup = 20 };
    float each[BATCH];
    WAN_TRY(wan_store_zero_grad(s->store));
    for (int at = 0; at < BATCH; at += micro) {
        wan_step_sample v[BATCH];
        for (int k = 0; k < micro; k++)
            v[k] = torchrun_sample(r, n, at + k);
        WAN_TRY(wan_step_run(s, v, micro, at, 1, NULL));
    }
    WAN_TRY(wan_step_losses(s, each, BATCH));
    *loss = 0;
    for (int k = 0; k < BATCH; k++)
        *loss += torchrun_sample(r, n, k).draw.weight * (double)each[k] / BATCH;
    WAN_TRY(wan_optim_norm(o, norm));
    return wan_optim_step(o, wan_schedule_lr(&warm, n), 0.1, 1.0);
}

typedef struct torchmodel {
    wan_dev *d;
    wan_store *m;
    wan_optim *o;
    wan_step *s;
} torchmodel;

/* Products in `compute`; eight: those of blocks in eight bits. */
static int torchmodel_open_as(torchmodel *t, const torchrun *r, const char *device,
                              wan_dtype compute, int eight)
{
    wan_arch arch;
    char path[512];
    const wan_capacity cap = { .tokens = 64, .samples = BATCH, .text_rows = 128 };
    *t = (torchmodel){ 0 };
    snprintf(path, sizeof path, "%s/transformer", r->dir);
    WAN_TRY(wan_dev_open(&t->d, device, 0));
    WAN_TRY(wan_modelio_config(&arch, path));
    WAN_TRY(wan_model_store(&t->m, t->d, &arch, NULL, compute, 1));
    t->m->eight = eight;
    WAN_TRY(wan_modelio_load(t->m, path));
    WAN_TRY(wan_optim_new(&t->o, t->m, 0.9, 0.95, 1e-8, 0));
    return wan_step_new(&t->s, t->d, &arch, t->m, &cap, BATCH);
}

static int torchmodel_open(torchmodel *t, const torchrun *r, const char *device)
{
    return torchmodel_open_as(t, r, device, WAN_F32, 0);
}

static void torchmodel_close(torchmodel *t)
{
    wan_step_free(&t->s);
    wan_optim_free(&t->o);
    wan_store_free(&t->m);
    wan_dev_close(&t->d);
}

/* All steps on a device: 1e-5 over the first 20, 1e-3 to the end.  The model is left open. */
static int against_torch(torchmodel *t, const torchrun *r, const char *device)
{
    double e20 = 0, all = 0, en = 0;
    if (!ok(torchmodel_open(t, r, device) == 0, "%s: the model opens", device)) {
        printf("# %s\n", wan_err_text());
        return -1;
    }
    for (int n = 0; n < r->steps; n++) {
        double loss, norm;
        if (torchrun_step(r, t->s, t->o, n, 2, &loss, &norm) < 0)
            return ok(0, "%s: step %d: %s", device, n, wan_err_text()), -1;
        double e = fabs(loss - (double)r->loss[n]) / (double)r->loss[n];
        all = worse(all, e);
        if (n < 20) {
            e20 = worse(e20, e);
            en = worse(en, fabs(norm - (double)r->norm[n]) / (double)r->norm[n]);
        }
    }
    ok_err(e20, 1e-5, "%s: loss of 20 steps against PyTorch", device);
    ok_err(all, 1e-3, "%s: loss of %d steps against PyTorch", device, r->steps);
    ok_err(en, 1e-5, "%s: gradient norm of 20 steps against PyTorch", device);
    return 0;
}

#endif
