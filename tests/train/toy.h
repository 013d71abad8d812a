/* SPDX-License-Identifier: Apache-2.0
 *
 * toy.h - a second model, as small as one can be: a row of the table and nothing else.
 *
 *     h = x w1^T + b1      part 0
 *     u = silu(h)          part 1, a block without parameters
 *     y = u w2^T + b2      part 2
 *
 * It looks neither at the text nor at the timestep.
 */
#ifndef WAN_TESTS_TOY_H
#define WAN_TESTS_TOY_H

#include <stdio.h>
#include <stdlib.h>

#include "lib/base/file.h"
#include "lib/model/model.h"

typedef struct toy_config {
    int hidden, channels;
} toy_config;

typedef struct toy_acts {
    wan_acts a;
    toy_config c;
    int64_t S, H, W; /* rows, hidden width, width of a row in and out */
    wan_buf x, h, u, du;
    int64_t *tokens;
} toy_acts;

static int toy_check(const void *config)
{
    const toy_config *c = config;
    return c->hidden > 0 && c->channels > 0 ? 0 : wan_err("toy: nothing of nothing");
}

static int toy_params(wan_params *out, const void *config)
{
    const toy_config *c = config;
    int64_t H = c->hidden, W = 4 * c->channels;
    const wan_param p[4] = {
        { .name = "in.weight",
          .rank = 2,
          .shape = { H, W },
          .part = 0,
          .role = WAN_ROLE_EMBEDDING,
          .cut = -1,
          .init = WAN_INIT_XAVIER,
          .gemm = 1,
          .decays = 1 },
        { .name = "in.bias",
          .rank = 1,
          .shape = { H },
          .part = 0,
          .role = WAN_ROLE_BIAS,
          .cut = -1 },
        { .name = "out.weight",
          .rank = 2,
          .shape = { W, H },
          .part = 2,
          .cut = -1,
          .role = WAN_ROLE_REPLICATED,
          .init = WAN_INIT_XAVIER,
          .gemm = 1,
          .decays = 1 },
        { .name = "out.bias",
          .rank = 1,
          .shape = { W },
          .part = 2,
          .role = WAN_ROLE_BIAS,
          .cut = -1 },
    };
    *out = (wan_params){ 0 };
    for (int i = 0; i < 4; i++)
        WAN_TRY(wan_params_add(out, &p[i]));
    return 0;
}

static void toy_sizes(wan_sizes *z, const void *config)
{
    const toy_config *c = config;
    *z = (wan_sizes){ .parts = 3,
                      .in_channels = c->channels,
                      .out_channels = c->channels,
                      .patch = { 1, 2, 2 },
                      .in_width = 4 * c->channels,
                      .out_width = 4 * c->channels,
                      .in_order = WAN_PATCH_HWC, /* WAN's: the other */
                      .out_order = WAN_PATCH_CHW,
                      .head_dim = 1,
                      .width = c->hidden,
                      .text_dim = 8,
                      .text_len = 4 };
}

static void toy_describe(const void *config, char *text, size_t size)
{
    snprintf(text, size, "a toy of width %d", ((const toy_config *)config)->hidden);
}

static double toy_flops(const void *config, int n, const int64_t *tokens)
{
    const toy_config *c = config;
    double f = 0;
    for (int i = 0; i < n; i++)
        f += (double)tokens[i] * 16 * c->channels * c->hidden;
    return f;
}

static int toy_plan(wan_acts_bytes *out, const void *config, const wan_acts_options *o)
{
    const toy_config *c = config;
    int64_t row = c->hidden * (int64_t)sizeof(wan_real);
    *out = (wan_acts_bytes){ 2 * o->cap.tokens * row, o->train ? o->cap.tokens * row : 0 };
    return 0;
}

static void toy_free(wan_acts **pa)
{
    toy_acts *t = (toy_acts *)*pa;
    wan_dev_free(t->a.d, t->h.p);
    wan_dev_free(t->a.d, t->u.p);
    wan_dev_free(t->a.d, t->du.p);
    wan_pack_free(t->a.d, &t->a.held);
    free(t->tokens);
    free(t);
    *pa = NULL;
}

static int toy_new(wan_acts **out, wan_dev *d, const void *config, const wan_acts_options *o,
                   wan_acts *share)
{
    const toy_config *c = config;
    toy_acts *t = wan_calloc(1, sizeof *t, "toy");
    size_t bytes = (size_t)(o->cap.tokens * c->hidden) * sizeof(wan_real);
    (void)share;
    if (!t)
        return -1;
    t->a = (wan_acts){ .model = wan_model_find("toy"),
                       .d = d,
                       .compute = o->compute,
                       .train = o->train,
                       .cap = o->cap };
    t->c = *c;
    t->a.c = &t->c;
    t->H = c->hidden;
    t->W = 4 * c->channels;
    t->h = WAN_RBUF(wan_dev_alloc(d, bytes, "toy"));
    t->u = WAN_RBUF(wan_dev_alloc(d, bytes, "toy"));
    t->du = WAN_RBUF(o->train ? wan_dev_alloc(d, bytes, "toy") : NULL);
    t->tokens = wan_calloc((size_t)o->cap.samples, sizeof *t->tokens, "toy");
    *out = &t->a;
    if (t->h.p && t->u.p && (t->du.p || !o->train) && t->tokens)
        return 0;
    toy_free(out);
    return -1;
}

static int toy_fill(wan_acts *a, const wan_micro *in, const wan_context *ctx)
{
    toy_acts *t = (toy_acts *)a;
    (void)ctx;
    t->S = 0;
    t->x = in->rows;
    for (int i = 0; i < in->n; i++)
        t->S += t->tokens[i] = in->grid[i][0] * in->grid[i][1] * in->grid[i][2];
    wan_pack_free(a->d, &a->held);
    return wan_pack_new(a->d, &a->held, t->tokens, in->n);
}

static int toy_forward(wan_acts *a, wan_store *s, int part)
{
    toy_acts *t = (toy_acts *)a;
    const wan_ops *k = a->d->ops;
    const wan_buf none = { 0 };
    if (part == 0)
        return k->linear_forward(a->d, t->h, none, t->x, wan_store_w(s, 0), wan_store_r(s, 1), t->S,
                                 t->H, t->W, WAN_ACT_NONE);
    if (part == 1)
        return k->act_forward(a->d, t->u, t->h, t->S * t->H, WAN_ACT_SILU);
    return k->linear_forward(a->d, WAN_RBUF(a->pred), none, t->u, wan_store_w(s, 2),
                             wan_store_r(s, 3), t->S, t->W, t->H, WAN_ACT_NONE);
}

static int toy_begin(wan_acts *a)
{
    (void)a;
    return 0;
}

static int toy_backward(wan_acts *a, wan_store *s, int part)
{
    toy_acts *t = (toy_acts *)a;
    const wan_ops *k = a->d->ops;
    if (part == 2) {
        WAN_TRY(k->linear_wgrad(a->d, wan_store_g(s, 2), wan_store_g(s, 3), a->dpred, t->u, t->S,
                                t->W, t->H, 1));
        return k->linear_dgrad(a->d, t->du, a->dpred, wan_store_w(s, 2), t->S, t->W, t->H, 0);
    }
    if (part == 1)
        return k->act_backward(a->d, t->du, t->du, t->h, t->S * t->H, WAN_ACT_SILU);
    return k->linear_wgrad(a->d, wan_store_g(s, 0), wan_store_g(s, 1), t->du, t->x, t->S, t->H,
                           t->W, 1);
}

static int toy_context(wan_context **out, const wan_acts *a, wan_store *s, wan_buf text,
                       const int64_t *text_len, int n)
{
    (void)a, (void)s, (void)text, (void)text_len, (void)n;
    *out = wan_calloc(1, 1, "toy");
    return *out ? 0 : -1;
}

static void toy_context_free(wan_context **ctx)
{
    free(*ctx);
    *ctx = NULL;
}

static const wan_json_key toy_keys[] = {
    { .name = "hidden",
      .offset = offsetof(toy_config, hidden),
      .def = 8,
      .write = WAN_JSON_ALWAYS },
    { .name = "channels", .offset = offsetof(toy_config, channels), .def = 2 },
    { .name = NULL },
};
static const wan_layout toy_layout = { .class_name = "Toy", .version = "1", .keys = toy_keys };
static const wan_field toy_fields[] = {
    { "model.ffn_hidden_size", offsetof(toy_config, hidden), WAN_FIELD_INT },
    { "model.in_channels", offsetof(toy_config, channels), WAN_FIELD_INT },
    { NULL, 0, WAN_FIELD_INT },
};
static const toy_config toy_small = { 8, 2 };
static const wan_preset toy_presets[] = { { "small", &toy_small }, { NULL, NULL } };
static const char *const toy_files[] = { "transformer", "diffusion_pytorch_model" };

static const wan_model toy_model = { .type = "toy",
                                     .objective = "flow",
                                     .files = toy_files,
                                     .config_size = sizeof(toy_config),
                                     .layout = { &toy_layout },
                                     .fields = toy_fields,
                                     .presets = toy_presets,
                                     .check = toy_check,
                                     .params = toy_params,
                                     .sizes = toy_sizes,
                                     .describe = toy_describe,
                                     .flops = toy_flops,
                                     .acts_plan = toy_plan,
                                     .acts_new = toy_new,
                                     .acts_free = toy_free,
                                     .fill = toy_fill,
                                     .forward = toy_forward,
                                     .backward_begin = toy_begin,
                                     .backward = toy_backward,
                                     .context_new = toy_context,
                                     .context_free = toy_context_free };

#endif
