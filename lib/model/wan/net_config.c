/* SPDX-License-Identifier: Apache-2.0
 *
 * net_config.c - the transformer's sizes, its parameter table under both namings (wan-model(7),
 * Parameters) and its FLOPs.
 */
#include <stdio.h>
#include <string.h>

#include "lib/model/wan/net_priv.h"

int wan_net_config_check(const wan_net_config *c)
{
    const struct {
        const char *name;
        int64_t value, hi;
    } size[] = {
        { "heads", c->heads, 1024 },          { "head_dim", c->head_dim, 1024 },
        { "layers", c->layers, 1024 },        { "ffn", c->ffn, 1 << 20 },
        { "in_ch", c->in_ch, 4096 },          { "out_ch", c->out_ch, 4096 },
        { "text_dim", c->text_dim, 1 << 20 }, { "text_len", c->text_len, 1 << 16 },
        { "freq_dim", c->freq_dim, 1 << 16 },
    };
    for (size_t i = 0; i < sizeof size / sizeof *size; i++)
        if (size[i].value < 1 || size[i].value > size[i].hi)
            return wan_err("transformer: %s is %lld, must be 1..%lld", size[i].name,
                           (long long)size[i].value, (long long)size[i].hi);
    if (c->head_dim % 2 || c->head_dim < 6)
        return wan_err("transformer: head_dim is %d, must be even and at least 6", c->head_dim);
    if (c->freq_dim % 2)
        return wan_err("transformer: freq_dim is %d, must be even", c->freq_dim);
    if (c->patch_h != 2 || c->patch_w != 2)
        return wan_err("transformer: patch size is %dx%d, only 2x2 is supported", c->patch_h,
                       c->patch_w);
    if (!(c->eps > 0 && c->eps < 1))
        return wan_err("transformer: eps is %g, must be between 0 and 1", c->eps);
    return 0;
}

/* Shapes in letters: D width, E 6D, F ffn, T text_dim, Q freq_dim, I in_ch, O head outputs, h w
 * patch; digits stand for themselves. */
typedef struct spec {
    const char *name, *official, *shape;
    int is_gemm;
} spec;

/* Time path and head are computed in full precision, so their weights have no bf16 copy. */
static const spec outside[] = {
    { "patch_embedding.weight", "patch_embedding.weight", "DI1hw", 1 },
    { "patch_embedding.bias", "patch_embedding.bias", "D", 0 },
    { "condition_embedder.text_embedder.linear_1.weight", "text_embedding.0.weight", "DT", 1 },
    { "condition_embedder.text_embedder.linear_1.bias", "text_embedding.0.bias", "D", 0 },
    { "condition_embedder.text_embedder.linear_2.weight", "text_embedding.2.weight", "DD", 1 },
    { "condition_embedder.text_embedder.linear_2.bias", "text_embedding.2.bias", "D", 0 },
    { "condition_embedder.time_embedder.linear_1.weight", "time_embedding.0.weight", "DQ", 0 },
    { "condition_embedder.time_embedder.linear_1.bias", "time_embedding.0.bias", "D", 0 },
    { "condition_embedder.time_embedder.linear_2.weight", "time_embedding.2.weight", "DD", 0 },
    { "condition_embedder.time_embedder.linear_2.bias", "time_embedding.2.bias", "D", 0 },
    { "condition_embedder.time_proj.weight", "time_projection.1.weight", "ED", 0 },
    { "condition_embedder.time_proj.bias", "time_projection.1.bias", "E", 0 },
    { "scale_shift_table", "head.modulation", "12D", 0 },
    { "proj_out.weight", "head.head.weight", "OD", 0 },
    { "proj_out.bias", "head.head.bias", "O", 0 },
};

/* norm2 and norm3 change places between the namings: the affine norm before cross-attention is
 * the second in HuggingFace's order and the third in the official one. */
static const spec block[] = {
    { "attn1.to_q.weight", "self_attn.q.weight", "DD", 1 },
    { "attn1.to_q.bias", "self_attn.q.bias", "D", 0 },
    { "attn1.to_k.weight", "self_attn.k.weight", "DD", 1 },
    { "attn1.to_k.bias", "self_attn.k.bias", "D", 0 },
    { "attn1.to_v.weight", "self_attn.v.weight", "DD", 1 },
    { "attn1.to_v.bias", "self_attn.v.bias", "D", 0 },
    { "attn1.to_out.0.weight", "self_attn.o.weight", "DD", 1 },
    { "attn1.to_out.0.bias", "self_attn.o.bias", "D", 0 },
    { "attn1.norm_q.weight", "self_attn.norm_q.weight", "D", 0 },
    { "attn1.norm_k.weight", "self_attn.norm_k.weight", "D", 0 },
    { "norm2.weight", "norm3.weight", "D", 0 },
    { "norm2.bias", "norm3.bias", "D", 0 },
    { "attn2.to_q.weight", "cross_attn.q.weight", "DD", 1 },
    { "attn2.to_q.bias", "cross_attn.q.bias", "D", 0 },
    { "attn2.to_k.weight", "cross_attn.k.weight", "DD", 1 },
    { "attn2.to_k.bias", "cross_attn.k.bias", "D", 0 },
    { "attn2.to_v.weight", "cross_attn.v.weight", "DD", 1 },
    { "attn2.to_v.bias", "cross_attn.v.bias", "D", 0 },
    { "attn2.to_out.0.weight", "cross_attn.o.weight", "DD", 1 },
    { "attn2.to_out.0.bias", "cross_attn.o.bias", "D", 0 },
    { "attn2.norm_q.weight", "cross_attn.norm_q.weight", "D", 0 },
    { "attn2.norm_k.weight", "cross_attn.norm_k.weight", "D", 0 },
    { "ffn.net.0.proj.weight", "ffn.0.weight", "FD", 1 },
    { "ffn.net.0.proj.bias", "ffn.0.bias", "F", 0 },
    { "ffn.net.2.weight", "ffn.2.weight", "DF", 1 },
    { "ffn.net.2.bias", "ffn.2.bias", "D", 0 },
    { "scale_shift_table", "modulation", "16D", 0 },
};

static int64_t extent(const wan_net_config *c, char letter)
{
    int64_t D = (int64_t)c->heads * c->head_dim;
    switch (letter) {
    case 'D': return D;
    case 'E': return 6 * D;
    case 'F': return c->ffn;
    case 'T': return c->text_dim;
    case 'Q': return c->freq_dim;
    case 'I': return c->in_ch;
    case 'O': return (int64_t)c->out_ch * c->patch_h * c->patch_w;
    case 'h': return c->patch_h;
    case 'w': return c->patch_w;
    default: return letter - '0';
    }
}

static int add(wan_params *p, const wan_net_config *c, const spec *s, int b)
{
    wan_param one = { .is_gemm = s->is_gemm, .block = b, .rank = (int)strlen(s->shape) };
    for (int i = 0; i < one.rank; i++)
        one.shape[i] = extent(c, s->shape[i]);
    if (b < 0) {
        snprintf(one.name, sizeof one.name, "%s", s->name);
        snprintf(one.official, sizeof one.official, "%s", s->official);
    } else {
        snprintf(one.name, sizeof one.name, "blocks.%d.%s", b, s->name);
        snprintf(one.official, sizeof one.official, "blocks.%d.%s", b, s->official);
    }
    return wan_params_add(p, &one);
}

int wan_net_params(wan_params *out, const wan_net_config *c)
{
    *out = (wan_params){ 0 };
    WAN_TRY(wan_net_config_check(c));
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++)
        WAN_GOTO(add(out, c, &outside[i], -1), fail);
    for (int b = 0; b < c->layers; b++)
        for (size_t i = 0; i < sizeof block / sizeof *block; i++)
            WAN_GOTO(add(out, c, &block[i], b), fail);
    wan_params_layout(out);
    return 0;
fail:
    wan_params_free(out);
    return -1;
}

double wan_net_flops(const wan_net_config *c, int n, const int64_t *tokens)
{
    double D = (double)c->heads * c->head_dim, T = c->text_len, total = 0;
    for (int i = 0; i < n; i++) {
        double S = (double)tokens[i];
        double self = 8 * S * D * D + 4 * S * S * D;
        double cross = 4 * S * D * D + 4 * T * D * D + 4 * S * T * D;
        double mlp = 4 * S * D * c->ffn;
        double ends = 2 * S * D * 4 * (c->in_ch + c->out_ch) + 2 * T * (c->text_dim * D + D * D);
        total += c->layers * (self + cross + mlp) + ends;
    }
    return total;
}
