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
#include "lib/model/block/dense.h"
#include "lib/model/block/lengths.h"
#include "lib/model/model.h"

enum { CHANNELS = 2, WIDTH = 4 * CHANNELS }; /* of a latent, of a token's row */
typedef struct toy_config {
    int hidden;
} toy_config;

typedef struct toy_acts {
    wan_acts a; /* first */
    toy_config c;
    wan_lengths tok;
    wan_buf x, h, u, du; /* [S, WIDTH], [S, hidden] */
} toy_acts;

static int toy_params(wan_params *out, const void *config)
{
    const toy_config *c = config;
    wan_param w = { .rank = 2, .cut = -1, .role = WAN_ROLE_REPLICATED, .init = WAN_INIT_XAVIER };
    wan_param b = { .rank = 1, .cut = -1, .role = WAN_ROLE_BIAS };
    *out = (wan_params){ 0 };
    w.gemm = w.decays = 1;
    for (int i = 0; i < 2; i++) {
        w.part = b.part = 2 * i;
        w.shape[i] = c->hidden;
        w.shape[1 - i] = WIDTH;
        b.shape[0] = w.shape[0];
        snprintf(w.name, sizeof w.name, "%s.weight", i ? "out" : "in");
        snprintf(b.name, sizeof b.name, "%s.bias", i ? "out" : "in");
        WAN_TRY(wan_params_add(out, &w));
        WAN_TRY(wan_params_add(out, &b));
    }
    return 0;
}

static void toy_sizes(wan_sizes *z, const void *config)
{
    *z = (wan_sizes){ .parts = 3, .patch = { 1, 2, 2 }, .text_dim = 8, .text_len = 4 };
    z->in_channels = z->out_channels = CHANNELS;
    z->in_width = z->out_width = WIDTH;
    z->in_order = WAN_PATCH_HWC; /* WAN's: the other way */
    z->out_order = WAN_PATCH_CHW;
    z->head_dim = 1;
    z->width = ((const toy_config *)config)->hidden;
}

static double toy_flops(const void *config, int n, const int64_t *tokens)
{
    double one = 4.0 * WIDTH * ((const toy_config *)config)->hidden;
    return n ? one * (double)tokens[0] + toy_flops(config, n - 1, tokens + 1) : 0;
}

static int toy_plan(wan_acts_bytes *out, const void *config, const wan_acts_options *o)
{
    int64_t one = o->cap.tokens * ((const toy_config *)config)->hidden * (int64_t)sizeof(wan_real);
    *out = (wan_acts_bytes){ 2 * one, one };
    return 0;
}

static void toy_free(wan_acts **pa)
{
    toy_acts *t = (toy_acts *)*pa;
    wan_dev_free(t->a.d, t->h.p);
    wan_lengths_release(t->a.d, &t->tok);
    free(t);
    *pa = NULL;
}

static int toy_new(wan_acts **out, wan_dev *d, const void *c, const wan_acts_options *o,
                   wan_acts *share)
{
    toy_acts *t = wan_calloc(1, sizeof *t, "toy");
    wan_acts_bytes b;
    (void)share;
    if (!t || toy_plan(&b, c, o) < 0)
        return -1;
    t->c = *(const toy_config *)c;
    t->a =
        (wan_acts){ .c = &t->c, .d = d, .compute = o->compute, .train = o->train, .cap = o->cap };
    t->h = WAN_RBUF(wan_dev_alloc(d, (size_t)(b.kept + b.work), "toy"));
    t->u = wan_buf_at(t->h, o->cap.tokens * t->c.hidden);
    t->du = wan_buf_at(t->u, o->cap.tokens * t->c.hidden);
    *out = &t->a;
    if (t->h.p && wan_lengths_reserve(d, &t->tok, o->cap.samples, o->cap.tokens) == 0)
        return 0;
    toy_free(out);
    return -1;
}

static int toy_fill(wan_acts *a, const wan_micro *in, const wan_context *ctx)
{
    toy_acts *t = (toy_acts *)a;
    int64_t tokens[16];
    (void)ctx;
    for (int i = 0; i < in->n && i < 16; i++)
        tokens[i] = in->grid[i][0] * in->grid[i][1] * in->grid[i][2];
    WAN_TRY(wan_lengths_set(a->d, &t->tok, tokens, in->n));
    t->x = in->rows;
    a->held = t->tok.pack;
    return 0;
}

static int toy_forward(wan_acts *a, wan_store *s, int part)
{
    toy_acts *t = (toy_acts *)a;
    int64_t S = a->held.S;
    wan_dense w;
    if (part == 1)
        return a->d->ops->act_forward(a->d, t->u, t->h, S * t->c.hidden, WAN_ACT_SILU);
    wan_dense_bind(&w, s, part, 1);
    return part ? wan_dense_forward(a->d, &w, WAN_RBUF(a->pred), t->u, S)
                : wan_dense_forward(a->d, &w, t->h, t->x, S);
}

static int toy_backward(wan_acts *a, wan_store *s, int part)
{
    toy_acts *t = (toy_acts *)a;
    int64_t S = a->held.S;
    wan_dense w;
    if (part == 1)
        return a->d->ops->act_backward(a->d, t->du, t->du, t->h, S * t->c.hidden, WAN_ACT_SILU);
    wan_dense_bind(&w, s, part, 1);
    return part ? wan_dense_backward(a->d, &w, t->du, a->dpred, t->u, S, 0)
                : wan_dense_wgrad(a->d, &w, t->du, t->x, S);
}

static const wan_json_key toy_keys[] = {
    { "hidden", offsetof(toy_config, hidden), .def = 8, .write = 1 }, { NULL }
};
static const wan_layout toy_layout = { .class_name = "Toy", .version = "1", .keys = toy_keys };
static const wan_field toy_fields[] = { { "model.ffn_hidden_size", offsetof(toy_config, hidden),
                                          WAN_FIELD_INT },
                                        { NULL, 0, WAN_FIELD_INT } };
static const toy_config toy_small = { 8 };
static const wan_preset toy_presets[] = { { "small", &toy_small }, { NULL, NULL } };
static const char *const toy_files[] = { "transformer", "diffusion_pytorch_model" };

static const wan_model toy_model = { .type = "toy",
                                     .objective = "flow",
                                     .files = toy_files,
                                     .config_size = sizeof(toy_config),
                                     .layout = { &toy_layout },
                                     .fields = toy_fields,
                                     .presets = toy_presets,
                                     .params = toy_params,
                                     .sizes = toy_sizes,
                                     .flops = toy_flops,
                                     .acts_plan = toy_plan,
                                     .acts_new = toy_new,
                                     .acts_free = toy_free,
                                     .fill = toy_fill,
                                     .forward = toy_forward,
                                     .backward = toy_backward };

#endif
