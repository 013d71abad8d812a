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

int wan_debug_micro(wan_train *t, const wan_step_sample *v, const int64_t *index, int n)
{
    int64_t row = 0;
    for (int i = 0; i < n; i++) {
        const int64_t *l = v[i].latent;
        float *one = wan_malloc((size_t)(l[0] * l[1] * l[2] * l[3]), sizeof *one, "prediction");
        t->dump->pred[index[i]] = one;
        memcpy(t->dump->latent[index[i]], l, sizeof t->dump->latent[0]);
        if (!one)
            return -1;
        WAN_TRY(wan_step_pred(t->step, one, l, row));
        row += t->step->tokens[i];
    }
    return 0;
}

/* Declares (pass 0) or writes (pass 1) every tensor. */
static int each_tensor(wan_train *t, const wan_batch *b, wan_st_writer *w, int pass, float *host,
                       const float *loss, const float *objective)
{
    const int64_t one[1] = { 1 }, batch[1] = { b->n };
    const wan_params *ps = &t->store->params;
    char name[128];
    for (int64_t i = 0; i < b->n; i++) {
        if (!t->dump->pred[i])
            continue;
        snprintf(name, sizeof name, "pred.%lld", (long long)i);
        WAN_TRY(pass ? wan_st_put(w, name, t->dump->pred[i], WAN_F32)
                     : wan_st_declare(w, name, WAN_F32, t->dump->latent[i], 4));
    }
    WAN_TRY(pass ? wan_st_put(w, "each", loss, WAN_F32)
                 : wan_st_declare(w, "each", WAN_F32, batch, 1));
    WAN_TRY(pass ? wan_st_put(w, "loss", objective, WAN_F32)
                 : wan_st_declare(w, "loss", WAN_F32, one, 1));
    for (int i = 0; i < ps->n; i++) {
        const wan_param *p = &ps->v[i];
        snprintf(name, sizeof name, "grad.%s", p->name);
        if (!pass) {
            WAN_TRY(wan_st_declare(w, name, WAN_F32, p->shape, p->rank));
            continue;
        }
        WAN_TRY(wan_store_get_grad(t->store, i, host));
        WAN_TRY(wan_st_put(w, name, host, WAN_F32));
    }
    return 0;
}

int wan_debug_write(wan_train *t, const wan_batch *b, double objective)
{
    wan_st_writer *w = NULL;
    float total = (float)objective, *loss = NULL, *host = NULL;
    int rc = -1;
    if (t->comm->rank == 0) {
        loss = wan_malloc((size_t)b->n, sizeof *loss, "losses");
        host = wan_malloc((size_t)wan_store_largest(t->store), sizeof *host, "gradients");
        if (!loss || !host)
            goto done;
        for (int64_t i = 0; i < b->n; i++)
            loss[i] = (float)t->losses[i];
        WAN_GOTO(wan_st_create(&w, t->c->v.debug_dump), done);
        WAN_GOTO(each_tensor(t, b, w, 0, host, loss, &total), done);
        WAN_GOTO(each_tensor(t, b, w, 1, host, loss, &total), done);
        WAN_GOTO(wan_st_finish(&w), done);
    }
    rc = 0;
done:
    if (w)
        wan_st_abandon(&w);
    free(loss);
    free(host);
    wan_debug_close(t);
    return rc;
}
