/* SPDX-License-Identifier: Apache-2.0
 *
 * net.c - making a transformer, and its parameters in and out.
 */
#include "lib/model/wan/net.h"

#include <stdlib.h>

#include "lib/base/file.h"
#include "lib/model/wan/net_priv.h"

static wan_param *param(wan_net *m, const char *prefix, int b, const char *suffix)
{
    char name[sizeof m->params.v->name];
    if (b < 0)
        snprintf(name, sizeof name, "%s%s", prefix, suffix);
    else
        snprintf(name, sizeof name, "blocks.%d.%s%s", b, prefix, suffix);
    int i = wan_params_find(&m->params, name);
    if (i < 0)
        WAN_BUG("no parameter %s", name);
    return &m->params.v[i];
}

int wan_net_full(const wan_net *m)
{
    return (m->flags & WAN_NET_TRAIN) || m->compute == WAN_REAL;
}

/* The full-precision copy of q, where there is one. */
static wan_real *master_of(const wan_net *m, const wan_param *q)
{
    return m->master + q->offset - (wan_net_full(m) ? 0 : m->params.n_gemm);
}

static wan_net_vector bind_vector(wan_net *m, const char *name, int b)
{
    wan_param *q = param(m, name, b, "");
    return (wan_net_vector){ master_of(m, q), m->grad ? m->grad + q->offset : NULL };
}

static wan_net_linear bind_linear(wan_net *m, const char *name, int b)
{
    wan_param *q = param(m, name, b, ".weight");
    wan_param *bias = param(m, name, b, ".bias");
    wan_net_linear l = { .N = q->shape[0], .K = q->count / q->shape[0] };
    if (q->is_gemm && m->compute == WAN_BF16)
        l.w = wan_buf_of(m->shadow + q->offset, WAN_BF16);
    else
        l.w = WAN_RBUF(master_of(m, q));
    l.b = master_of(m, bias);
    if (m->grad) {
        l.dw = m->grad + q->offset;
        l.db = m->grad + bias->offset;
    }
    return l;
}

static void bind(wan_net *m)
{
    wan_net_priv *p = wan_net_p(m);
    wan_net_ends *e = &p->ends;
    e->patch = bind_linear(m, "patch_embedding", -1);
    e->text1 = bind_linear(m, "condition_embedder.text_embedder.linear_1", -1);
    e->text2 = bind_linear(m, "condition_embedder.text_embedder.linear_2", -1);
    e->time1 = bind_linear(m, "condition_embedder.time_embedder.linear_1", -1);
    e->time2 = bind_linear(m, "condition_embedder.time_embedder.linear_2", -1);
    e->proj = bind_linear(m, "condition_embedder.time_proj", -1);
    e->head = bind_linear(m, "proj_out", -1);
    e->mod = bind_vector(m, "scale_shift_table", -1);
    for (int b = 0; b < m->c.layers; b++) {
        wan_net_block *k = &p->block[b];
        k->q = bind_linear(m, "attn1.to_q", b);
        k->k = bind_linear(m, "attn1.to_k", b);
        k->v = bind_linear(m, "attn1.to_v", b);
        k->o = bind_linear(m, "attn1.to_out.0", b);
        k->cq = bind_linear(m, "attn2.to_q", b);
        k->ck = bind_linear(m, "attn2.to_k", b);
        k->cv = bind_linear(m, "attn2.to_v", b);
        k->co = bind_linear(m, "attn2.to_out.0", b);
        k->f1 = bind_linear(m, "ffn.net.0.proj", b);
        k->f2 = bind_linear(m, "ffn.net.2", b);
        k->nq = bind_vector(m, "attn1.norm_q.weight", b);
        k->nk = bind_vector(m, "attn1.norm_k.weight", b);
        k->cnq = bind_vector(m, "attn2.norm_q.weight", b);
        k->cnk = bind_vector(m, "attn2.norm_k.weight", b);
        k->lnw = bind_vector(m, "norm2.weight", b);
        k->lnb = bind_vector(m, "norm2.bias", b);
        k->mod = bind_vector(m, "scale_shift_table", b);
    }
}

/* Device memory of n elements, zeroed: the gaps between tensors must be zero and stay so. */
static void *zeroed(wan_dev *d, int64_t n, size_t size, const char *what)
{
    void *p = wan_dev_alloc(d, (size_t)n * size, what);
    if (p && wan_dev_zero(d, p, (size_t)n * size) < 0) {
        wan_dev_free(d, p);
        return NULL;
    }
    return p;
}

int wan_net_new(wan_net **out, wan_dev *d, const wan_net_config *c, wan_dtype compute, int flags)
{
    *out = NULL;
    if (compute != WAN_REAL && compute != WAN_BF16)
        return wan_err("transformer: cannot compute in %s", wan_dtype_name(compute));
    wan_net *m = wan_calloc(1, sizeof *m, "transformer");
    wan_net_priv *p = wan_calloc(1, sizeof *p, "transformer");
    if (!m || !p) {
        free(m);
        free(p);
        return -1;
    }
    *m = (wan_net){ .c = *c, .d = d, .compute = compute, .flags = flags, .priv = p };
    WAN_GOTO(wan_net_params(&m->params, c), fail);
    int64_t total = m->params.total, n_gemm = m->params.n_gemm;
    p->block = wan_calloc((size_t)c->layers, sizeof *p->block, "transformer blocks");
    m->master = zeroed(d, wan_net_full(m) ? total : total - n_gemm, sizeof(wan_real), "weights");
    if (!p->block || !m->master)
        goto fail;
    if (compute == WAN_BF16 && !(m->shadow = zeroed(d, n_gemm, 2, "bf16 weights")))
        goto fail;
    if ((flags & WAN_NET_TRAIN) && !(m->grad = zeroed(d, total, sizeof(wan_real), "gradients")))
        goto fail;
    bind(m);
    *out = m;
    return 0;
fail:
    wan_net_free(&m);
    return -1;
}

void wan_net_free(wan_net **mp)
{
    wan_net *m = *mp;
    if (!m)
        return;
    wan_net_release(m);
    wan_dev_free(m->d, m->master);
    wan_dev_free(m->d, m->shadow);
    wan_dev_free(m->d, m->grad);
    free(wan_net_p(m)->block);
    free(m->priv);
    wan_params_free(&m->params);
    free(m);
    *mp = NULL;
}

int wan_net_set(wan_net *m, int i, const float *host)
{
    const wan_param *q = &m->params.v[i];
    int has_shadow = q->is_gemm && m->compute == WAN_BF16;
    void *tmp = wan_malloc((size_t)q->count, sizeof(wan_real), q->name);
    if (!tmp)
        return -1;
    int rc = 0;
    if (!q->is_gemm || wan_net_full(m)) {
        rc = wan_convert(tmp, WAN_REAL, host, WAN_F32, (size_t)q->count);
        if (rc == 0)
            rc = wan_dev_write(m->d, master_of(m, q), tmp, (size_t)q->count * sizeof(wan_real));
    }
    if (rc == 0 && has_shadow) {
        rc = wan_convert(tmp, WAN_BF16, host, WAN_F32, (size_t)q->count);
        if (rc == 0)
            rc = wan_dev_write(m->d, m->shadow + q->offset, tmp, (size_t)q->count * 2);
    }
    free(tmp);
    return rc;
}

/* count elements of type t on the device to host floats. */
static int fetch(wan_dev *d, float *host, const void *dev, wan_dtype t, int64_t count)
{
    size_t bytes = (size_t)count * wan_dtype_size(t);
    if (t == WAN_F32)
        return wan_dev_read(d, host, dev, bytes);
    void *tmp = wan_malloc((size_t)count, wan_dtype_size(t), "a tensor");
    if (!tmp)
        return -1;
    int rc = wan_dev_read(d, tmp, dev, bytes);
    if (rc == 0)
        rc = wan_convert(host, WAN_F32, tmp, t, (size_t)count);
    free(tmp);
    return rc;
}

int wan_net_get(const wan_net *m, int i, float *host)
{
    const wan_param *q = &m->params.v[i];
    if (q->is_gemm && !wan_net_full(m))
        return fetch(m->d, host, m->shadow + q->offset, WAN_BF16, q->count);
    return fetch(m->d, host, master_of(m, q), WAN_REAL, q->count);
}

int wan_net_get_grad(const wan_net *m, int i, float *host)
{
    const wan_param *q = &m->params.v[i];
    if (!m->grad)
        return wan_err("transformer: no gradients in a model that is not trained");
    return fetch(m->d, host, m->grad + q->offset, WAN_REAL, q->count);
}

int wan_net_refresh_shadow(wan_net *m)
{
    if (!m->shadow || !wan_net_full(m))
        return 0;
    return m->d->ops->cast(m->d, wan_buf_of(m->shadow, WAN_BF16), WAN_RBUF(m->master),
                           m->params.n_gemm);
}

int wan_net_zero_grad(wan_net *m)
{
    if (!m->grad)
        return wan_err("transformer: no gradients in a model that is not trained");
    return wan_dev_zero(m->d, m->grad, (size_t)m->params.total * sizeof(wan_real));
}
