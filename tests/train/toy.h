/* SPDX-License-Identifier: Apache-2.0
 *
 * toy.h - a second model, as small as one can be: a row of the table and nothing else.
 *
 *     h = x w1^T + b1        part 0
 *     y = h w2^T + b2        part 1
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
typedef struct toy_acts {
    wan_acts a; /* first */
    int hidden;
    wan_lengths tok;
    wan_buf x, h, dh; /* [S, WIDTH], [S, hidden] */
} toy_acts;

static int toy_params(wan_params *out, const void *hidden)
{
    wan_param w = { .rank = 2, .cut = -1, .init = WAN_INIT_XAVIER, .gemm = 1, .decays = 1 };
    wan_param b = { .rank = 1, .cut = -1, .role = WAN_ROLE_BIAS };
    *out = (wan_params){ 0 };
    for (int i = 0; i < 2; i++) {
        w.part = b.part = i;
        w.shape[i] = *(const int *)hidden;
        b.shape[0] = w.shape[0] = i ? WIDTH : w.shape[0];
        w.shape[1] = i ? w.shape[1] : WIDTH;
        snprintf(w.name, sizeof w.name, "%s.weight", i ? "out" : "in");
        snprintf(b.name, sizeof b.name, "%s.bias", i ? "out" : "in");
        WAN_TRY(wan_params_add(out, &w));
        WAN_TRY(wan_params_add(out, &b));
    }
    return 0;
}

static void toy_sizes(wan_sizes *z, const void *hidden)
{
    *z = (wan_sizes){
        .parts = 2, .patch = { 1, 2, 2 }, .head_dim = 1, .text_dim = 8, .text_len = 4
    };
    z->in_channels = z->out_channels = CHANNELS;
    z->in_width = z->out_width = WIDTH;
    z->in_order = WAN_PATCH_HWC; /* out: CHW.  WAN's: the other way */
    z->width = *(const int *)hidden;
}

static double toy_flops(const void *hidden, int n, const int64_t *tokens)
{
    double one = 4.0 * WIDTH * *(const int *)hidden;
    return n ? one * (double)tokens[0] + toy_flops(hidden, n - 1, tokens + 1) : 0;
}

static int toy_plan(wan_acts_bytes *out, const void *hidden, const wan_acts_options *o)
{
    out->kept = out->work = o->cap.tokens * *(const int *)hidden * (int64_t)sizeof(wan_real);
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

static int toy_new(wan_acts **out, wan_dev *d, const void *hidden, const wan_acts_options *o,
                   wan_acts *share)
{
    toy_acts *t = wan_calloc(1, sizeof *t, "toy");
    wan_acts_bytes b;
    (void)share;
    if (!t || toy_plan(&b, hidden, o) < 0)
        return -1;
    t->hidden = *(const int *)hidden;
    t->a = (wan_acts){
        .c = &t->hidden, .d = d, .compute = o->compute, .train = o->train, .cap = o->cap
    };
    t->h = WAN_RBUF(wan_dev_alloc(d, (size_t)(b.kept + b.work), "toy"));
    t->dh = wan_buf_at(t->h, o->cap.tokens * t->hidden);
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
    wan_dense w;
    wan_dense_bind(&w, s, 2 * part, 1);
    return wan_dense_forward(a->d, &w, part ? WAN_RBUF(a->pred) : t->h, part ? t->h : t->x,
                             a->held.S);
}

static int toy_backward(wan_acts *a, wan_store *s, int part)
{
    toy_acts *t = (toy_acts *)a;
    wan_dense w;
    wan_dense_bind(&w, s, 2 * part, 1);
    return part ? wan_dense_backward(a->d, &w, t->dh, a->dpred, t->h, a->held.S, 0)
                : wan_dense_wgrad(a->d, &w, t->dh, t->x, a->held.S);
}

static const int toy_small = 8;
static const wan_json_key toy_keys[] = { { "hidden", .def = 8, .write = 1 }, { NULL } };
static const wan_layout toy_layout = { .class_name = "Toy", .version = "1", .keys = toy_keys };
static const wan_field toy_fields[] = { { "model.ffn_hidden_size", 0, WAN_FIELD_INT }, { NULL } };
static const wan_preset toy_presets[] = { { "small", &toy_small }, { NULL } };
static const char *const toy_files[] = { "transformer", "diffusion_pytorch_model" };
/* clang-format off */
static const wan_model toy_model = {
    .type = "toy", .objective = "flow", .files = toy_files, .config_size = sizeof(int),
    .layout = { &toy_layout }, .fields = toy_fields, .presets = toy_presets,
    .params = toy_params, .sizes = toy_sizes, .flops = toy_flops,
    .acts_plan = toy_plan, .acts_new = toy_new, .acts_free = toy_free,
    .fill = toy_fill, .forward = toy_forward, .backward = toy_backward
};
/* clang-format on */

#endif
