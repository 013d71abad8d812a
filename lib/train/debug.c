/* SPDX-License-Identifier: Apache-2.0
 *
 * debug.c - debug.dump=FILE: the first step of the run as safetensors: pred.K [C, T', h, w]
 * of the samples of rank 0, each [B] (unweighted losses), loss [1] (the objective), and grad.NAME of
 * every parameter, summed over micro-batches and ranks, not clipped.  Rank 0 writes.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/rec/tensor/safetensors.h"
#include "lib/train/train_priv.h"

struct wan_debug_dump {
    float **pred;         /* [batch], NULL for samples of other ranks */
    int64_t (*latent)[4]; /* [batch] shapes */
};

int wan_debug_open(wan_train *t)
{
    size_t n = (size_t)t->c->v.global_batch;
    t->dump = wan_calloc(1, sizeof *t->dump, "dump");
    if (!t->dump)
        return -1;
    t->dump->pred = wan_calloc(n, sizeof *t->dump->pred, "dump");
    t->dump->latent = wan_calloc(n, sizeof *t->dump->latent, "dump");
    return t->dump->pred && t->dump->latent ? 0 : -1;
}

void wan_debug_close(wan_train *t)
{
    if (!t->dump)
        return;
    for (int64_t i = 0; t->dump->pred && i < t->c->v.global_batch; i++)
        free(t->dump->pred[i]);
    free(t->dump->pred);
    free(t->dump->latent);
    free(t->dump);
    t->dump = NULL;
}

int wan_debug_micro(wan_train *t, const wan_loaded *p, const int64_t *index)
{
    int64_t row = 0;
    if (t->step->shares > 1 || !wan_ranks_counts(&t->ranks)) /* rank 0 has no whole prediction */
        return 0;
    for (int i = 0; i < p->n; i++) {
        const int64_t *l = p->sample[i].info.latent;
        float *one = wan_malloc((size_t)(l[0] * l[1] * l[2] * l[3]), sizeof *one, "prediction");
        t->dump->pred[index[i]] = one;
        memcpy(t->dump->latent[index[i]], l, sizeof t->dump->latent[0]);
        if (!one)
            return -1;
        WAN_TRY(wan_step_pred(t->step, one, l, row));
        row += l[1] * l[2] * l[3] * l[0] / t->z.out_width;
    }
    return 0;
}

static int declare(wan_train *t, const wan_batch *b, wan_st_writer *w)
{
    const int64_t one[1] = { 1 }, batch[1] = { b->n };
    const wan_params *ps = &t->store->params;
    char name[128];
    for (int64_t i = 0; i < b->n; i++) {
        if (!t->dump->pred[i])
            continue;
        snprintf(name, sizeof name, "pred.%lld", (long long)i);
        WAN_TRY(wan_st_declare(w, name, WAN_F32, t->dump->latent[i], 4));
    }
    WAN_TRY(wan_st_declare(w, "each", WAN_F32, batch, 1));
    WAN_TRY(wan_st_declare(w, "loss", WAN_F32, one, 1));
    for (int i = 0; i < ps->n; i++) {
        snprintf(name, sizeof name, "grad.%s", ps->v[i].name);
        WAN_TRY(wan_st_declare(w, name, WAN_F32, ps->v[i].shape, ps->v[i].rank));
    }
    return 0;
}

/* The predictions and losses; loss [n]. */
static int put_losses(wan_train *t, const wan_batch *b, wan_st_writer *w, double objective,
                      float *loss)
{
    float total = (float)objective;
    char name[128];
    for (int64_t i = 0; i < b->n; i++) {
        loss[i] = (float)t->losses[i];
        snprintf(name, sizeof name, "pred.%lld", (long long)i);
        if (t->dump->pred[i])
            WAN_TRY(wan_st_put(w, name, t->dump->pred[i], WAN_F32));
    }
    WAN_TRY(wan_st_put(w, "each", loss, WAN_F32));
    return wan_st_put(w, "loss", &total, WAN_F32);
}

/* Every gradient, put together on rank 0; w NULL on the others. */
static int put_grads(wan_train *t, wan_st_writer *w)
{
    const wan_params *ps = &t->store->params;
    int64_t most = 1;
    char name[128];
    for (int i = 0; i < ps->n; i++)
        most = ps->v[i].count > most ? ps->v[i].count : most;
    float *held = wan_malloc((size_t)most, sizeof *held, "gradients");
    float *whole = wan_malloc(w ? (size_t)most : 1, sizeof *whole, "gradients");
    int rc = held && whole ? 0 : -1;
    for (int i = 0; i < ps->n && rc == 0; i++) {
        rc = wan_ranks_collect(&t->ranks, t->store, i, t->store->grad, held, whole);
        snprintf(name, sizeof name, "grad.%s", ps->v[i].name);
        if (rc == 0 && w)
            rc = wan_st_put(w, name, whole, WAN_F32);
    }
    free(held);
    free(whole);
    return rc;
}

int wan_debug_write(wan_train *t, const wan_batch *b, double objective)
{
    wan_st_writer *w = NULL;
    float *loss = NULL;
    int rc = -1;
    if (t->comm->rank == 0) {
        loss = wan_malloc((size_t)b->n, sizeof *loss, "losses");
        if (!loss)
            goto done;
        WAN_GOTO(wan_st_create(&w, t->c->v.debug_dump), done);
        WAN_GOTO(declare(t, b, w), done);
        WAN_GOTO(put_losses(t, b, w, objective, loss), done);
    }
    rc = put_grads(t, w);
    if (rc == 0 && w)
        rc = wan_st_finish(&w);
done:
    if (w)
        wan_st_abandon(&w);
    free(loss);
    wan_debug_close(t);
    return rc;
}
