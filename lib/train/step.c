/* SPDX-License-Identifier: Apache-2.0
 *
 * step.c - see step.h.
 */
#include "lib/train/step.h"

#include <stdlib.h>

#include "lib/base/file.h"

int64_t wan_step_bytes(const wan_arch *arch, wan_dtype compute, const wan_capacity *cap, int shares)
{
    wan_sizes z;
    int64_t real = (int64_t)sizeof(wan_real), e = (int64_t)wan_dtype_size(compute);
    int64_t held = wan_cp_capacity(cap, shares).tokens, one = shares > 1 ? cap->tokens : 0;
    wan_model_sizes(&z, arch);
    return cap->tokens * z.in_width * 2 * real + held * (z.in_width * e + z.out_width * 3 * real) +
           one * (z.in_width * e + z.out_width * real) + cap->text_rows * z.text_dim * e;
}

static int take(wan_step *s, void *p, int64_t rows, int64_t width, size_t size)
{
    void *got = wan_dev_alloc(s->d, (size_t)(rows * width) * size, "rows of a micro-batch");
    *(void **)p = got;
    return got ? 0 : -1;
}

static int alloc_device(wan_step *s)
{
    int64_t all = s->cap.tokens, held = wan_cp_capacity(&s->cap, s->shares).tokens;
    int64_t in = s->z.in_width, out = s->z.out_width, text = s->cap.text_rows + 1;
    size_t e = wan_dtype_size(s->store->compute), real = sizeof(wan_real);
    WAN_TRY(take(s, &s->latent, all, in, real));
    WAN_TRY(take(s, &s->noise, all, in, real));
    WAN_TRY(take(s, &s->rows, held, in, e));
    WAN_TRY(take(s, &s->target, held, out, real));
    WAN_TRY(take(s, &s->pred, held, out, real));
    WAN_TRY(take(s, &s->dpred, held, out, real));
    if (s->shares > 1) {
        WAN_TRY(take(s, &s->rows1, all, in, e));
        WAN_TRY(take(s, &s->target1, all, out, real));
    }
    WAN_TRY(take(s, &s->text, text, s->z.text_dim, e));
    WAN_TRY(take(s, &s->coef, s->cap.samples, 1, real));
    return take(s, &s->loss, s->batch, 1, real);
}

static int alloc_host(wan_step *s)
{
    size_t n = (size_t)s->cap.samples;
    size_t text = (size_t)((s->cap.text_rows + 1) * s->z.text_dim);
    s->text_host = wan_calloc(text, wan_dtype_size(s->store->compute), "text of a micro-batch");
    s->grid = wan_calloc(n, sizeof *s->grid, "grids");
    s->text_len = wan_calloc(n, sizeof *s->text_len, "text lengths");
    s->tokens = wan_calloc(n, sizeof *s->tokens, "lengths");
    s->first = wan_calloc(n, sizeof *s->first, "lengths");
    s->held = wan_calloc(n, sizeof *s->held, "lengths");
    s->part = wan_calloc((size_t)s->batch, sizeof *s->part, "losses");
    s->t = wan_calloc(n, sizeof *s->t, "timesteps");
    s->coef_host = wan_calloc(n, sizeof *s->coef_host, "loss factors");
    return s->text_host && s->grid && s->text_len && s->tokens && s->first && s->held && s->part &&
                   s->t && s->coef_host
               ? 0
               : -1;
}

int wan_step_check(const wan_sizes *z)
{
    if (z->in_channels == z->out_channels && z->in_width == z->out_width)
        return 0;
    return wan_err("the model makes %d channels of %d: it must answer with as many as it is given "
                   "(model.in_channels, model.out_channels)",
                   z->out_channels, z->in_channels);
}

static int build(wan_step *s)
{
    wan_acts_options o = { .compute = s->store->compute,
                           .train = s->store->train,
                           .cap = wan_cp_capacity(&s->cap, s->shares),
                           .slice = &s->store->slice };
    WAN_TRY(wan_step_check(&s->z));
    WAN_TRY(wan_model_acts(&s->acts, s->d, &s->arch, &o, NULL));
    WAN_TRY(alloc_host(s));
    return alloc_device(s);
}

int wan_step_new(wan_step **out, wan_dev *d, const wan_arch *arch, wan_store *store,
                 const wan_capacity *cap, int64_t batch)
{
    return wan_step_new_share(out, d, arch, store, cap, batch, 0, 1, NULL);
}

int wan_step_new_share(wan_step **out, wan_dev *d, const wan_arch *arch, wan_store *store,
                       const wan_capacity *cap, int64_t batch, int share, int shares, wan_cp *cp)
{
    wan_step *s = wan_calloc(1, sizeof *s, "training step");
    *out = NULL;
    if (!s)
        return -1;
    s->arch = *arch;
    wan_model_sizes(&s->z, arch);
    s->d = d;
    s->store = store;
    s->cap = *cap;
    s->batch = batch;
    s->share = share;
    s->shares = shares;
    s->cp = cp;
    if (build(s) < 0) {
        wan_step_free(&s);
        return -1;
    }
    *out = s;
    return 0;
}

void wan_step_wing(wan_step *s, const wan_wing *wing)
{
    s->acts->wing = *wing;
}

void wan_step_free(wan_step **ps)
{
    wan_step *s = *ps;
    if (!s)
        return;
    void *device[] = { s->latent, s->noise,   s->target, s->pred, s->dpred, s->rows,
                       s->rows1,  s->target1, s->text,   s->coef, s->loss };
    for (size_t i = 0; i < sizeof device / sizeof device[0]; i++)
        wan_dev_free(s->d, device[i]);
    wan_model_acts_free(&s->acts);
    free(s->text_host);
    free(s->grid);
    free(s->text_len);
    free(s->tokens);
    free(s->first);
    free(s->held);
    free(s->part);
    free(s->t);
    free(s->coef_host);
    free(s);
    *ps = NULL;
}

/* Checks the shapes of a micro-batch against the model and the reserve; totals into tokens and text. */
static int measure(wan_step *s, const wan_step_sample *v, int n, int64_t *tokens, int64_t *text)
{
    *tokens = *text = 0;
    if (n < 1 || n > s->cap.samples)
        return wan_err("a micro-batch of %d samples; room for %lld", n, (long long)s->cap.samples);
    for (int i = 0; i < n; i++) {
        s->tokens[i] = wan_model_grid(s->grid[i], &s->z, v[i].latent);
        WAN_TRY(s->tokens[i]);
        s->held[i] = wan_cp_share(&s->first[i], s->tokens[i], s->share, s->shares);
        s->text_len[i] = v[i].text_rows;
        s->t[i] = (wan_real)v[i].draw.t;
        s->coef_host[i] = (wan_real)(v[i].coef / ((double)s->tokens[i] * (double)s->z.out_width));
        *tokens += s->tokens[i];
        *text += v[i].text_rows;
    }
    if (*tokens > s->cap.tokens || *text > s->cap.text_rows)
        return wan_err("a micro-batch of %lld tokens and %lld text rows; room for %lld and %lld",
                       (long long)*tokens, (long long)*text, (long long)s->cap.tokens,
                       (long long)s->cap.text_rows);
    return 0;
}

/* One sample onto the device: its rows of the input and of the target. */
static int put_sample(wan_step *s, const wan_step_sample *v, int64_t row)
{
    wan_dev *d = s->d;
    const int64_t *l = v->latent;
    int64_t n = l[0] * l[1] * l[2] * l[3];
    size_t bytes = (size_t)n * sizeof(wan_real);
    wan_noise a = { l[0],
                    l[1],
                    l[2],
                    l[3],
                    { v->draw.in[0], v->draw.in[1] },
                    { v->draw.target[0], v->draw.target[1] },
                    s->z.in_order,
                    s->z.out_order };
    wan_buf rows = wan_buf_at(wan_buf_of(s->rows, s->store->compute), row * s->z.in_width);
    wan_real *target = s->target + row * s->z.out_width;
    if (s->shares > 1) {
        rows = wan_buf_of(s->rows1, s->store->compute);
        target = s->target1;
    }
    WAN_TRY(wan_dev_write(d, s->latent, v->x0, bytes));
    if (v->noise)
        WAN_TRY(wan_dev_write(d, s->noise, v->noise, bytes));
    return d->ops->noise_patch(d, &a, rows, target, s->latent, v->noise ? s->noise : NULL,
                               &v->stream);
}

/* The share of sample i that is run here, from the whole sample. */
static int put_share(wan_step *s, int i, int64_t row)
{
    wan_dtype type = s->store->compute;
    int64_t in = s->z.in_width, out = s->z.out_width;
    size_t n = (size_t)s->held[i], e = wan_dtype_size(type);
    WAN_TRY(wan_dev_copy(s->d, wan_buf_at(wan_buf_of(s->rows, type), row * in).p,
                         wan_buf_at(wan_buf_of(s->rows1, type), s->first[i] * in).p,
                         n * (size_t)in * e));
    return wan_dev_copy(s->d, s->target + row * out, s->target1 + s->first[i] * out,
                        n * (size_t)out * sizeof(wan_real));
}

static int put_samples(wan_step *s, const wan_step_sample *v, int n)
{
    wan_dtype type = s->store->compute;
    int64_t row = 0, text = 0, width = s->z.text_dim;
    for (int i = 0; i < n; i++) {
        WAN_TRY(put_sample(s, &v[i], row));
        if (s->shares > 1)
            WAN_TRY(put_share(s, i, row));
        if (v[i].text_rows)
            WAN_TRY(wan_convert(wan_buf_at(wan_buf_of(s->text_host, type), text * width).p, type,
                                v[i].text, WAN_F32, (size_t)(v[i].text_rows * width)));
        row += s->held[i];
        text += v[i].text_rows;
    }
    if (text)
        WAN_TRY(wan_dev_write(s->d, s->text, s->text_host,
                              (size_t)(text * width) * wan_dtype_size(type)));
    return wan_dev_write(s->d, s->coef, s->coef_host, (size_t)n * sizeof(wan_real));
}

int wan_step_run(wan_step *s, const wan_step_sample *v, int n, int64_t at, int train,
                 const wan_hooks *hooks)
{
    wan_dev *d = s->d;
    int64_t tokens, text;
    WAN_TRY(measure(s, v, n, &tokens, &text));
    if (at < 0 || at + n > s->batch)
        WAN_BUG("losses %lld..%lld of %lld", (long long)at, (long long)at + n, (long long)s->batch);
    for (int i = 0; i < n; i++)
        s->part[at + i] = (double)s->held[i] / (double)s->tokens[i];
    if (s->cp)
        WAN_TRY(wan_cp_set(s->cp, s->tokens, n));
    WAN_TRY(put_samples(s, v, n));
    wan_micro in = { .n = n,
                     .grid = (const int64_t(*)[3])s->grid,
                     .rows = wan_buf_of(s->rows, s->store->compute),
                     .t = s->t,
                     .text = wan_buf_of(s->text, s->store->compute),
                     .text_len = s->text_len };
    if (s->shares > 1) {
        in.first = s->first;
        in.tokens = s->held;
    }
    WAN_TRY(wan_model_fill(s->acts, &in, NULL));
    s->acts->pred = s->pred;
    s->acts->dpred = WAN_RBUF(train ? s->dpred : NULL);
    WAN_TRY(wan_model_forward(s->acts, s->store, 0, s->z.parts, hooks));
    WAN_TRY(d->ops->mse_loss(d, s->loss + at, s->acts->dpred, s->pred, s->target, s->coef,
                             &s->acts->held, s->z.out_width));
    return train ? wan_model_backward(s->acts, s->store, 0, s->z.parts, hooks) : 0;
}

int wan_step_losses(wan_step *s, float *loss, int64_t n)
{
    if (!n)
        return 0;
    WAN_TRY(wan_dev_read(s->d, loss, s->loss, (size_t)n * sizeof *loss));
    for (int64_t i = 0; i < n && s->shares > 1; i++)
        loss[i] = (float)(loss[i] * s->part[i]);
    return 0;
}

int wan_step_pred(wan_step *s, float *pred, const int64_t l[4], int64_t row)
{
    wan_dev *d = s->d;
    int64_t n = l[0] * l[1] * l[2] * l[3];
    WAN_TRY(d->ops->unpatchify(d, s->latent, WAN_RBUF(s->pred + row * s->z.out_width), l[0], l[1],
                               l[2], l[3], s->z.out_order));
    return wan_dev_read(d, pred, s->latent, (size_t)n * sizeof *pred);
}
