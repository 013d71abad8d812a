/* SPDX-License-Identifier: Apache-2.0
 *
 * step.c - see step.h.
 */
#include "lib/train/step.h"

#include <stdlib.h>

#include "lib/base/file.h"

/* One range, one seat: the whole model. */
static wan_pp_range whole(const wan_sizes *z)
{
    return (wan_pp_range){ 0, z->parts, 1 };
}

static int shares_of(const wan_step_options *o)
{
    return o->shares > 1 ? o->shares : 1;
}

/* Bytes of one seat beside its acts. */
static int64_t seat_bytes(const wan_sizes *z, const wan_pp_range *r, int64_t held, int64_t samples,
                          wan_dtype compute)
{
    int64_t real = (int64_t)sizeof(wan_real), bytes = 0;
    if (r->first == 0)
        bytes += held * z->in_width * (int64_t)wan_dtype_size(compute);
    if (r->end == z->parts)
        bytes += (held * z->out_width * 2 + samples) * real;
    return bytes;
}

int64_t wan_step_bytes(const wan_arch *arch, wan_dtype compute, const wan_step_options *o)
{
    const wan_capacity *cap = &o->cap;
    int64_t real = (int64_t)sizeof(wan_real), e = (int64_t)wan_dtype_size(compute);
    int64_t held = wan_cp_capacity(cap, shares_of(o)).tokens;
    wan_sizes z;
    wan_model_sizes(&z, arch);
    wan_pp_range all = whole(&z);
    const wan_pp_range *r = o->ranges ? o->range : &all;
    int n = o->ranges ? o->ranges : 1, split = shares_of(o) > 1;
    int64_t bytes = cap->tokens * z.in_width * 2 * real + cap->text_rows * z.text_dim * e +
                    held * z.out_width * real + o->batch * real;
    for (int i = 0; i < n; i++)
        bytes += r[i].seats * seat_bytes(&z, &r[i], held, cap->samples, compute);
    if (split)
        bytes += cap->tokens * z.out_width * real;
    if (split || r[n - 1].first > 0)
        bytes += cap->tokens * z.in_width * e;
    return bytes;
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
    WAN_TRY(take(s, &s->pred, held, out, real));
    const wan_step_seat *last = &s->seat[s->seats - 1];
    if (s->shares > 1 || !last->rows)
        WAN_TRY(take(s, &s->rows1, all, in, e));
    if (s->shares > 1)
        WAN_TRY(take(s, &s->target1, all, out, real));
    WAN_TRY(take(s, &s->text, text, s->z.text_dim, e));
    return take(s, &s->loss, s->batch, 1, real);
}

static int alloc_host(wan_step *s)
{
    size_t n = (size_t)s->cap.samples;
    size_t text = (size_t)((s->cap.text_rows + 1) * s->z.text_dim);
    s->text_host = wan_calloc(text, wan_dtype_size(s->store->compute), "text of a micro-batch");
    s->grid = wan_calloc(n, sizeof *s->grid, "grids");
    s->text_len = wan_calloc(n, sizeof *s->text_len, "text lengths");
    s->first = wan_calloc(n, sizeof *s->first, "lengths");
    s->held = wan_calloc(n, sizeof *s->held, "lengths");
    s->part = wan_calloc((size_t)s->batch, sizeof *s->part, "losses");
    s->t = wan_calloc(n, sizeof *s->t, "timesteps");
    s->coef_host = wan_calloc(n, sizeof *s->coef_host, "loss factors");
    return s->text_host && s->grid && s->text_len && s->first && s->held && s->part && s->t &&
                   s->coef_host
               ? 0
               : -1;
}

/* One more seat for parts [first, end); all work in the memory of the first. */
static int add_seat(wan_step *s, const wan_pp_range *r, const wan_wing *wing)
{
    wan_step_seat *q = &s->seat[s->seats];
    wan_slice slice = s->store->slice;
    wan_capacity cap = wan_cp_capacity(&s->cap, s->shares);
    slice.first = r->first;
    slice.end = r->end;
    slice.gaps = 0;
    const wan_acts_options o = {
        .compute = s->store->compute, .train = s->store->train, .cap = cap, .slice = &slice
    };
    s->seats++;
    q->first = r->first;
    q->end = r->end;
    WAN_TRY(wan_model_acts(&q->acts, s->d, &s->arch, &o, s->seats > 1 ? s->seat->acts : NULL));
    q->acts->wing = *wing;
    q->tokens = wan_calloc((size_t)cap.samples, sizeof *q->tokens, "lengths");
    if (!q->tokens)
        return -1;
    if (r->first == 0)
        WAN_TRY(take(s, &q->rows, cap.tokens, s->z.in_width, wan_dtype_size(o.compute)));
    if (r->end < s->z.parts)
        return 0;
    WAN_TRY(take(s, &q->target, cap.tokens, s->z.out_width, sizeof(wan_real)));
    WAN_TRY(take(s, &q->dpred, cap.tokens, s->z.out_width, sizeof(wan_real)));
    return take(s, &q->coef, cap.samples, 1, sizeof(wan_real));
}

static int add_seats(wan_step *s, const wan_step_options *o)
{
    const wan_pp_range all = whole(&s->z), *r = o->ranges ? o->range : &all;
    int n = o->ranges ? o->ranges : 1, total = 0;
    for (int i = 0; i < n; i++)
        total += r[i].seats;
    s->seat = wan_calloc((size_t)total, sizeof *s->seat, "micro-batches");
    if (!s->seat)
        return -1;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < r[i].seats; k++)
            WAN_TRY(add_seat(s, &r[i], &o->wing));
    return 0;
}

int wan_step_check(const wan_sizes *z)
{
    if (z->in_channels == z->out_channels && z->in_width == z->out_width)
        return 0;
    return wan_err("the model makes %d channels of %d: it must answer with as many as it is given "
                   "(model.in_channels, model.out_channels)",
                   z->out_channels, z->in_channels);
}

static int build(wan_step *s, const wan_step_options *o)
{
    WAN_TRY(wan_step_check(&s->z));
    WAN_TRY(add_seats(s, o));
    WAN_TRY(alloc_host(s));
    return alloc_device(s);
}

int wan_step_new(wan_step **out, wan_dev *d, const wan_arch *arch, wan_store *store,
                 const wan_capacity *cap, int64_t batch)
{
    const wan_step_options o = { .cap = *cap, .batch = batch };
    return wan_step_open(out, d, arch, store, &o);
}

int wan_step_open(wan_step **out, wan_dev *d, const wan_arch *arch, wan_store *store,
                  const wan_step_options *o)
{
    wan_step *s = wan_calloc(1, sizeof *s, "training step");
    *out = NULL;
    if (!s)
        return -1;
    s->arch = *arch;
    wan_model_sizes(&s->z, arch);
    s->d = d;
    s->store = store;
    s->cap = o->cap;
    s->batch = o->batch;
    s->share = o->share;
    s->shares = shares_of(o);
    s->cp = o->cp;
    if (build(s, o) < 0) {
        wan_step_free(&s);
        return -1;
    }
    *out = s;
    return 0;
}

static void free_seat(wan_dev *d, wan_step_seat *q)
{
    wan_dev_free(d, q->rows);
    wan_dev_free(d, q->target);
    wan_dev_free(d, q->coef);
    wan_dev_free(d, q->dpred);
    free(q->tokens);
    if (q->acts)
        wan_tapes_free(&q->acts->tapes);
    wan_model_acts_free(&q->acts);
}

void wan_step_free(wan_step **ps)
{
    wan_step *s = *ps;
    if (!s)
        return;
    void *device[] = { s->latent, s->noise, s->pred, s->rows1, s->target1, s->text, s->loss };
    for (size_t i = 0; i < sizeof device / sizeof device[0]; i++)
        wan_dev_free(s->d, device[i]);
    while (s->seats > 0) /* the first lends its work space to the others */
        free_seat(s->d, &s->seat[--s->seats]);
    free(s->seat);
    free(s->text_host);
    free(s->grid);
    free(s->text_len);
    free(s->first);
    free(s->held);
    free(s->part);
    free(s->t);
    free(s->coef_host);
    free(s);
    *ps = NULL;
}

int wan_step_record(wan_step *s)
{
    for (int i = 0; i < s->seats && wan_dev_records(s->d); i++) {
        wan_acts *a = s->seat[i].acts;
        if (!a->tapes)
            WAN_TRY(wan_tapes_new(&a->tapes, s->d, s->z.parts));
    }
    return 0;
}

int64_t wan_step_replays(const wan_step *s)
{
    int64_t n = 0;
    for (int i = 0; i < s->seats; i++)
        n += s->seat[i].acts->tapes ? wan_tapes_replays(s->seat[i].acts->tapes) : 0;
    return n;
}

/* Checks the shapes of a micro-batch against the model and the reserve; totals into tokens and text. */
static int measure(wan_step *s, wan_step_seat *q, const wan_step_sample *v, int n, int64_t *tokens,
                   int64_t *text)
{
    *tokens = *text = 0;
    if (n < 1 || n > s->cap.samples)
        return wan_err("a micro-batch of %d samples; room for %lld", n, (long long)s->cap.samples);
    for (int i = 0; i < n; i++) {
        q->tokens[i] = wan_model_grid(s->grid[i], &s->z, v[i].latent);
        WAN_TRY(q->tokens[i]);
        s->held[i] = wan_cp_share(&s->first[i], q->tokens[i], s->share, s->shares);
        s->text_len[i] = v[i].text_rows;
        s->t[i] = (wan_real)v[i].draw.t;
        s->coef_host[i] = (wan_real)(v[i].coef / ((double)q->tokens[i] * (double)s->z.out_width));
        *tokens += q->tokens[i];
        *text += v[i].text_rows;
    }
    if (*tokens > s->cap.tokens || *text > s->cap.text_rows)
        return wan_err("a micro-batch of %lld tokens and %lld text rows; room for %lld and %lld",
                       (long long)*tokens, (long long)*text, (long long)s->cap.tokens,
                       (long long)s->cap.text_rows);
    return 0;
}

/* One sample onto the device: its rows of the input and of the target, those that are run here. */
static int put_sample(wan_step *s, wan_step_seat *q, const wan_step_sample *v, int64_t row)
{
    wan_dev *d = s->d;
    const wan_dtype type = s->store->compute;
    const int64_t *l = v->latent;
    const int shared = s->shares > 1;
    size_t bytes = (size_t)(l[0] * l[1] * l[2] * l[3]) * sizeof(wan_real);
    const wan_noise a = { l[0],
                          l[1],
                          l[2],
                          l[3],
                          { v->draw.in[0], v->draw.in[1] },
                          { v->draw.target[0], v->draw.target[1] },
                          s->z.in_order,
                          s->z.out_order };
    wan_buf rows = wan_buf_of(s->rows1, type);
    wan_real *target = shared ? s->target1 : q->target;
    if (!shared && q->rows)
        rows = wan_buf_at(wan_buf_of(q->rows, type), row * s->z.in_width);
    if (!shared && target)
        target += row * s->z.out_width;
    WAN_TRY(wan_dev_write(d, s->latent, v->x0, bytes));
    if (v->noise)
        WAN_TRY(wan_dev_write(d, s->noise, v->noise, bytes));
    return d->ops->noise_patch(d, &a, rows, target, s->latent, v->noise ? s->noise : NULL,
                               &v->stream);
}

/* The share of sample i that is run here, from the whole sample. */
static int put_share(wan_step *s, wan_step_seat *q, int i, int64_t row)
{
    wan_dtype type = s->store->compute;
    int64_t in = s->z.in_width, out = s->z.out_width;
    size_t n = (size_t)s->held[i], e = wan_dtype_size(type);
    if (q->rows)
        WAN_TRY(wan_dev_copy(s->d, wan_buf_at(wan_buf_of(q->rows, type), row * in).p,
                             wan_buf_at(wan_buf_of(s->rows1, type), s->first[i] * in).p,
                             n * (size_t)in * e));
    if (!q->target)
        return 0;
    return wan_dev_copy(s->d, q->target + row * out, s->target1 + s->first[i] * out,
                        n * (size_t)out * sizeof(wan_real));
}

static int put_samples(wan_step *s, wan_step_seat *q, const wan_step_sample *v, int n)
{
    wan_dtype type = s->store->compute;
    int64_t row = 0, text = 0, width = s->z.text_dim;
    for (int i = 0; i < n; i++) {
        if (q->rows || q->target)
            WAN_TRY(put_sample(s, q, &v[i], row));
        if (s->shares > 1)
            WAN_TRY(put_share(s, q, i, row));
        if (v[i].text_rows && v[i].text)
            WAN_TRY(wan_convert(wan_buf_at(wan_buf_of(s->text_host, type), text * width).p, type,
                                v[i].text, WAN_F32, (size_t)(v[i].text_rows * width)));
        row += s->held[i];
        text += v[i].text_rows;
    }
    if (text)
        WAN_TRY(wan_dev_write(s->d, s->text, s->text_host,
                              (size_t)(text * width) * wan_dtype_size(type)));
    return q->coef ? wan_dev_write(s->d, q->coef, s->coef_host, (size_t)n * sizeof(wan_real)) : 0;
}

int wan_step_load(wan_step *s, wan_step_seat *q, const wan_step_sample *v, int n, int64_t at)
{
    int64_t tokens, text;
    WAN_TRY(measure(s, q, v, n, &tokens, &text));
    if (at < 0 || at + n > s->batch)
        WAN_BUG("losses %lld..%lld of %lld", (long long)at, (long long)at + n, (long long)s->batch);
    for (int i = 0; i < n; i++)
        s->part[at + i] = (double)s->held[i] / (double)q->tokens[i];
    q->n = n;
    q->at = at;
    WAN_TRY(put_samples(s, q, v, n));
    wan_micro in = { .n = n,
                     .grid = (const int64_t(*)[3])s->grid,
                     .rows = wan_buf_of(q->rows ? q->rows : s->rows1, s->store->compute),
                     .t = s->t,
                     .text = wan_buf_of(s->text, s->store->compute),
                     .text_len = s->text_len };
    if (s->shares > 1) {
        in.first = s->first;
        in.tokens = s->held;
    }
    return wan_model_fill(q->acts, &in, NULL);
}

int wan_step_forward(wan_step *s, wan_step_seat *q, int train, const wan_hooks *hooks)
{
    wan_acts *a = q->acts;
    if (s->cp)
        WAN_TRY(wan_cp_set(s->cp, q->tokens, q->n));
    a->pred = s->pred;
    a->dpred = WAN_RBUF(train ? q->dpred : NULL);
    WAN_TRY(wan_model_forward(a, s->store, q->first, q->end, hooks));
    if (q->end < s->z.parts)
        return 0;
    return s->d->ops->mse_loss(s->d, s->loss + q->at, a->dpred, s->pred, q->target, q->coef,
                               &a->held, s->z.out_width);
}

int wan_step_backward(wan_step *s, wan_step_seat *q, const wan_hooks *hooks)
{
    if (s->cp)
        WAN_TRY(wan_cp_set(s->cp, q->tokens, q->n));
    return wan_model_back_parts(q->acts, s->store, q->first, q->end, hooks);
}

int wan_step_run(wan_step *s, const wan_step_sample *v, int n, int64_t at, int train,
                 const wan_hooks *hooks)
{
    wan_step_seat *q = s->seat;
    WAN_TRY(wan_step_load(s, q, v, n, at));
    WAN_TRY(wan_step_forward(s, q, train, hooks));
    if (!train)
        return 0;
    WAN_TRY(wan_model_back_begin(q->acts));
    return wan_step_backward(s, q, hooks);
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
