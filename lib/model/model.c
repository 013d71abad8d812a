/* SPDX-License-Identifier: Apache-2.0
 *
 * model.c - see model.h.
 */
#include "lib/model/model.h"

#include <stdio.h>
#include <string.h>

#include "lib/model/march.h"

enum { MOST = 16 };
static const wan_model *table[MOST] = { &wan_net_model, &wan_dit_model };

const wan_model *wan_model_at(int i)
{
    return i >= 0 && i < MOST ? table[i] : NULL;
}

const wan_model *wan_model_find(const char *type)
{
    for (int i = 0; wan_model_at(i); i++)
        if (!strcmp(table[i]->type, type))
            return table[i];
    return NULL;
}

int wan_model_register(const wan_model *m)
{
    int n = 0;
    if (wan_model_find(m->type))
        return wan_err("model type \"%s\" is there already", m->type);
    if (m->config_size > WAN_ARCH_BYTES)
        return wan_err("model type \"%s\": a configuration of %zu bytes, at most %d", m->type,
                       m->config_size, WAN_ARCH_BYTES);
    while (n < MOST && table[n])
        n++;
    if (n == MOST)
        return wan_err("more than %d model types", MOST);
    table[n] = m;
    return 0;
}

void wan_model_arch(wan_arch *out, const wan_model *m, const void *c)
{
    if (m->config_size > sizeof out->c)
        WAN_BUG("configuration of model type %s", m->type);
    memset(out, 0, sizeof *out);
    out->model = m;
    memcpy(out->c, c, m->config_size);
}

void wan_model_sizes(wan_sizes *out, const wan_arch *arch)
{
    memset(out, 0, sizeof *out);
    arch->model->sizes(out, arch->c);
}

int wan_model_check(const wan_arch *arch)
{
    return arch->model->check ? arch->model->check(arch->c) : 0;
}

void wan_model_describe(const wan_arch *arch, char *text, size_t size)
{
    if (arch->model->describe)
        arch->model->describe(arch->c, text, size);
    else
        snprintf(text, size, "%s", arch->model->type);
}

int64_t wan_model_grid(int64_t grid[3], const wan_sizes *z, const int64_t latent[4])
{
    int fits = latent[0] == z->in_channels;
    for (int k = 0; k < 3; k++) {
        grid[k] = latent[k + 1] / z->patch[k];
        fits = fits && latent[k + 1] >= z->patch[k] && latent[k + 1] % z->patch[k] == 0;
    }
    if (!fits)
        return wan_err("a latent of [%lld, %lld, %lld, %lld] does not fit a model of %d channels "
                       "with patches of %dx%dx%d",
                       (long long)latent[0], (long long)latent[1], (long long)latent[2],
                       (long long)latent[3], z->in_channels, z->patch[0], z->patch[1], z->patch[2]);
    return grid[0] * grid[1] * grid[2];
}

int wan_model_store(wan_store **out, wan_dev *d, const wan_arch *arch, const wan_slice *slice,
                    wan_dtype compute, int train)
{
    wan_params p;
    *out = NULL;
    WAN_TRY(arch->model->params(&p, arch->c));
    return wan_store_new(out, d, &p, slice, compute, train);
}

int wan_model_acts_plan(wan_acts_bytes *out, const wan_arch *arch, const wan_acts_options *o)
{
    memset(out, 0, sizeof *out);
    return arch->model->acts_plan(out, arch->c, o);
}

int wan_model_acts(wan_acts **out, wan_dev *d, const wan_arch *arch, const wan_acts_options *o,
                   wan_acts *share)
{
    const wan_capacity *cap = &o->cap;
    *out = NULL;
    if (cap->tokens < 1 || cap->samples < 1 || cap->text_rows < 1)
        return wan_err("room for %lld tokens, %lld samples, %lld text rows: each must be at least "
                       "1",
                       (long long)cap->tokens, (long long)cap->samples, (long long)cap->text_rows);
    WAN_TRY(arch->model->acts_new(out, d, arch->c, o, share));
    (*out)->model = arch->model;
    return 0;
}

void wan_model_acts_free(wan_acts **a)
{
    if (*a)
        (*a)->model->acts_free(a);
}

int wan_model_fill(wan_acts *a, const wan_micro *in, const wan_context *ctx)
{
    a->filled = a->done = 0;
    WAN_TRY(wan_tapes_shape(a->tapes, ctx ? NULL : in));
    WAN_TRY(a->model->fill(a, in, ctx));
    a->seen = &a->held;
    a->filled = 1;
    return 0;
}

int wan_model_context(wan_context **out, const wan_acts *a, wan_store *s, wan_buf text,
                      const int64_t *text_len, int n)
{
    *out = NULL;
    return a->model->context_new ? a->model->context_new(out, a, s, text, text_len, n) : 0;
}

void wan_model_context_free(const wan_model *m, wan_context **ctx)
{
    if (*ctx)
        m->context_free(ctx);
}

static int call(wan_hook *hook, void *arg, int part)
{
    return hook ? hook(arg, part) : 0;
}

int wan_model_forward(wan_acts *a, wan_store *s, int first, int end, const wan_hooks *hooks)
{
    static const wan_hooks none = { 0 };
    const wan_hooks *h = hooks ? hooks : &none;
    if (!a->filled)
        return wan_err("a forward of acts that were not filled");
    for (int k = first; k < end; k++) {
        WAN_TRY(wan_store_enter(s, k));
        WAN_TRY(call(h->then, h->arg, k + 1));
        WAN_TRY(call(h->before, h->arg, k));
        WAN_TRY(wan_stash_forward(a->stash, k));
        WAN_TRY(wan_tapes_part(a, s, k, 0));
        WAN_TRY(call(h->after, h->arg, k));
        a->done++;
    }
    return 0;
}

int wan_model_back_begin(wan_acts *a)
{
    if (!a->train)
        return wan_err("a backward in a model that is not trained");
    return a->model->backward_begin ? a->model->backward_begin(a) : 0;
}

/* A part backward; forward, again. */
static int back(wan_acts *a, wan_store *s, int part, const wan_hooks *h)
{
    WAN_TRY(call(h->back_before, h->arg, part));
    WAN_TRY(wan_stash_backward(a->stash, part));
    WAN_TRY(wan_tapes_part(a, s, part, 1));
    s->part[part].fresh = 0;
    return call(h->back_after, h->arg, part);
}

static int again(wan_acts *a, wan_store *s, int part, const wan_hooks *h)
{
    WAN_TRY(call(h->again, h->arg, part));
    return wan_tapes_part(a, s, part, 0);
}

static wan_march march_of(const wan_acts *a, const wan_store *s, int first, int end)
{
    const int64_t group = wan_capacity_grouped(&a->cap) ? a->cap.recompute_group : 0;
    return wan_march_back(first, end, s->params.parts, a->slice.first, (int)group);
}

int wan_model_back_parts(wan_acts *a, wan_store *s, int first, int end, const wan_hooks *hooks)
{
    static const wan_hooks none = { 0 };
    const wan_hooks *h = hooks ? hooks : &none;
    if (!a->train || !s->train)
        return wan_err("a backward in a model that is not trained");
    if (a->done < end - first)
        return wan_err("a backward without the forward of the same micro-batch");
    wan_march m = march_of(a, s, first, end);
    if (m.first > m.base && wan_march_group(&m, m.first - 1) == 0 && m.group > 1)
        return wan_err("a backward of blocks from the middle of a group that is recomputed");
    while (wan_march_next(&m)) {
        WAN_TRY(call(h->then, h->arg, wan_march_then(&m)));
        WAN_TRY(m.again ? again(a, s, m.part, h) : back(a, s, m.part, h));
    }
    return 0;
}

int wan_model_backward(wan_acts *a, wan_store *s, int first, int end, const wan_hooks *hooks)
{
    WAN_TRY(wan_model_back_begin(a));
    return wan_model_back_parts(a, s, first, end, hooks);
}
