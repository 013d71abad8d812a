/* SPDX-License-Identifier: Apache-2.0
 *
 * step.c - see step.h.
 */
#include "lib/train/step.h"

#include <stdlib.h>

#include "lib/base/file.h"

static int64_t features(const wan_net_config *c)
{
    return (int64_t)c->in_ch * c->patch_h * c->patch_w;
}

int64_t wan_step_bytes(const wan_net_config *c, wan_dtype compute, const wan_net_capacity *cap)
{
    int64_t row = features(c), e = (int64_t)wan_dtype_size(compute);
    return cap->tokens * row * (7 * (int64_t)sizeof(wan_real) + e) +
           cap->text_rows * c->text_dim * e;
}

static int alloc_device(wan_step *s)
{
    wan_dev *d = s->m->d;
    size_t one = (size_t)(s->cap.tokens * s->F) * sizeof(wan_real);
    size_t e = wan_dtype_size(s->m->compute);
    wan_real **bufs[] = { &s->latent, &s->noise, &s->noisy, &s->x0, &s->eps, &s->pred, &s->dpred };
    for (size_t i = 0; i < sizeof bufs / sizeof bufs[0]; i++)
        if (!(*bufs[i] = wan_dev_alloc(d, one, "rows of a pack")))
            return -1;
    size_t text = (size_t)((s->cap.text_rows + 1) * s->m->c.text_dim);
    s->rows = wan_dev_alloc(d, (size_t)(s->cap.tokens * s->F) * e, "rows of a pack");
    s->text = wan_dev_alloc(d, text * e, "text of a pack");
    s->text_host = wan_calloc(text, e, "text of a pack");
    s->coef = wan_dev_alloc(d, (size_t)s->cap.samples * sizeof(wan_real), "loss factors");
    s->loss = wan_dev_alloc(d, (size_t)s->batch * sizeof(wan_real), "losses");
    return s->rows && s->text && s->text_host && s->coef && s->loss ? 0 : -1;
}

int wan_step_new(wan_step **out, wan_net *m, const wan_net_capacity *cap, int64_t batch)
{
    wan_step *s = wan_calloc(1, sizeof *s, "training step");
    size_t n = (size_t)cap->samples;
    *out = NULL;
    if (!s)
        return -1;
    s->m = m;
    s->cap = *cap;
    s->F = features(&m->c);
    s->batch = batch;
    s->grid = wan_calloc(n, sizeof *s->grid, "grids");
    s->text_len = wan_calloc(n, sizeof *s->text_len, "text lengths");
    s->tokens = wan_calloc(n, sizeof *s->tokens, "lengths");
    s->t = wan_calloc(n, sizeof *s->t, "timesteps");
    s->coef_host = wan_calloc(n, sizeof *s->coef_host, "loss factors");
    if (!s->grid || !s->text_len || !s->tokens || !s->t || !s->coef_host ||
        wan_net_reserve(m, cap) < 0 || alloc_device(s) < 0) {
        wan_step_free(&s);
        return -1;
    }
    *out = s;
    return 0;
}

void wan_step_free(wan_step **ps)
{
    wan_step *s = *ps;
    if (!s)
        return;
    void *device[] = { s->latent, s->noise, s->noisy, s->x0,   s->eps, s->pred,
                       s->dpred,  s->rows,  s->text,  s->coef, s->loss };
    for (size_t i = 0; i < sizeof device / sizeof device[0]; i++)
        wan_dev_free(s->m->d, device[i]);
    free(s->text_host);
    free(s->grid);
    free(s->text_len);
    free(s->tokens);
    free(s->t);
    free(s->coef_host);
    free(s);
    *ps = NULL;
}

/* Checks the shapes of a pack against the model and the reserve; totals into tokens and text. */
static int measure(wan_step *s, const wan_step_sample *v, int n, int64_t *tokens, int64_t *text)
{
    const wan_net_config *c = &s->m->c;
    *tokens = *text = 0;
    if (n < 1 || n > s->cap.samples)
        return wan_err("a pack of %d samples; room for %lld", n, (long long)s->cap.samples);
    for (int i = 0; i < n; i++) {
        const int64_t *l = v[i].latent;
        if (l[0] != c->in_ch || l[1] < 1 || l[2] % c->patch_h || l[3] % c->patch_w)
            return wan_err("latent [%lld, %lld, %lld, %lld] does not fit a model of %d channels "
                           "with patches 1x%dx%d",
                           (long long)l[0], (long long)l[1], (long long)l[2], (long long)l[3],
                           c->in_ch, c->patch_h, c->patch_w);
        s->grid[i][0] = l[1];
        s->grid[i][1] = l[2] / c->patch_h;
        s->grid[i][2] = l[3] / c->patch_w;
        s->tokens[i] = s->grid[i][0] * s->grid[i][1] * s->grid[i][2];
        s->text_len[i] = v[i].text_rows;
        s->t[i] = (wan_real)v[i].t;
        s->coef_host[i] = (wan_real)(v[i].coef / ((double)s->tokens[i] * (double)s->F));
        *tokens += s->tokens[i];
        *text += v[i].text_rows;
    }
    if (*tokens > s->cap.tokens || *text > s->cap.text_rows)
        return wan_err("a pack of %lld tokens and %lld text rows; room for %lld and %lld",
                       (long long)*tokens, (long long)*text, (long long)s->cap.tokens,
                       (long long)s->cap.text_rows);
    return 0;
}

/* One sample onto the device: its rows of x0, eps and the noisy input. */
static int put_sample(wan_step *s, const wan_step_sample *v, int64_t row)
{
    wan_dev *d = s->m->d;
    const int64_t *l = v->latent;
    int64_t n = l[0] * l[1] * l[2] * l[3];
    size_t bytes = (size_t)n * sizeof(wan_real);
    double c[2] = { 1.0f - v->sigma, v->sigma };
    const wan_real *x[2] = { s->latent, s->noise };
    wan_buf rows = wan_buf_at(wan_buf_of(s->rows, s->m->compute), row * s->F);
    WAN_TRY(wan_dev_write(d, s->latent, v->x0, bytes));
    if (v->noise)
        WAN_TRY(wan_dev_write(d, s->noise, v->noise, bytes));
    else
        WAN_TRY(d->ops->randn(d, WAN_RBUF(s->noise), &v->stream, 0, n));
    WAN_TRY(d->ops->lincomb(d, s->noisy, 2, c, x, n));
    WAN_TRY(d->ops->patchify(d, rows, s->noisy, l[0], l[1], l[2], l[3], WAN_PATCH_CHW));
    WAN_TRY(d->ops->patchify(d, WAN_RBUF(s->x0 + row * s->F), s->latent, l[0], l[1], l[2], l[3],
                             WAN_PATCH_HWC));
    return d->ops->patchify(d, WAN_RBUF(s->eps + row * s->F), s->noise, l[0], l[1], l[2], l[3],
                            WAN_PATCH_HWC);
}

static int put_pack(wan_step *s, const wan_step_sample *v, int n)
{
    wan_dtype type = s->m->compute;
    int64_t row = 0, text = 0, width = s->m->c.text_dim;
    for (int i = 0; i < n; i++) {
        WAN_TRY(put_sample(s, &v[i], row));
        if (v[i].text_rows)
            WAN_TRY(wan_convert(wan_buf_at(wan_buf_of(s->text_host, type), text * width).p, type,
                                v[i].text, WAN_F32, (size_t)(v[i].text_rows * width)));
        row += s->tokens[i];
        text += v[i].text_rows;
    }
    if (text)
        WAN_TRY(wan_dev_write(s->m->d, s->text, s->text_host,
                              (size_t)(text * width) * wan_dtype_size(type)));
    return wan_dev_write(s->m->d, s->coef, s->coef_host, (size_t)n * sizeof(wan_real));
}

int wan_step_run(wan_step *s, const wan_step_sample *v, int n, int64_t at, int train,
                 wan_net_on_grad *on_grad, void *arg)
{
    wan_dev *d = s->m->d;
    int64_t tokens, text;
    wan_pack pack;
    WAN_TRY(measure(s, v, n, &tokens, &text));
    if (at < 0 || at + n > s->batch)
        WAN_BUG("losses %lld..%lld of %lld", (long long)at, (long long)at + n, (long long)s->batch);
    WAN_TRY(put_pack(s, v, n));
    wan_net_input in = { .n = n,
                         .grid = (const int64_t(*)[3])s->grid,
                         .rows = wan_buf_of(s->rows, s->m->compute),
                         .t = s->t,
                         .text = wan_buf_of(s->text, s->m->compute),
                         .text_len = s->text_len };
    WAN_TRY(wan_net_forward(s->m, &in, s->pred));
    WAN_TRY(wan_pack_new(d, &pack, s->tokens, n));
    wan_buf dpred = WAN_RBUF(train ? s->dpred : NULL);
    int rc =
        d->ops->flow_loss(d, s->loss + at, dpred, s->pred, s->x0, s->eps, s->coef, &pack, s->F);
    if (rc == 0 && train)
        rc = wan_net_backward(s->m, &in, dpred, on_grad, arg);
    wan_pack_free(d, &pack);
    return rc;
}

int wan_step_losses(wan_step *s, float *loss, int64_t n)
{
    return n ? wan_dev_read(s->m->d, loss, s->loss, (size_t)n * sizeof *loss) : 0;
}

int wan_step_pred(wan_step *s, float *pred, const int64_t l[4], int64_t row)
{
    wan_dev *d = s->m->d;
    int64_t n = l[0] * l[1] * l[2] * l[3];
    WAN_TRY(d->ops->unpatchify(d, s->noisy, WAN_RBUF(s->pred + row * s->F), l[0], l[1], l[2], l[3],
                               WAN_PATCH_HWC));
    return wan_dev_read(d, pred, s->noisy, (size_t)n * sizeof *pred);
}
