/* SPDX-License-Identifier: Apache-2.0
 *
 * net.c - the WAN transformer's row of the table of models.
 */
#include <stdio.h>

#include "lib/model/wan/net_priv.h"

static int check(const void *c)
{
    return wan_net_config_check(c);
}

static int params(wan_params *out, const void *c)
{
    return wan_net_params(out, c);
}

static void sizes(wan_sizes *z, const void *config)
{
    const wan_net_config *c = config;
    double D = (double)wan_net_width(c);
    *z = (wan_sizes){ .parts = c->layers + 2,
                      .in_channels = c->in_ch,
                      .out_channels = c->out_ch,
                      .patch = { 1, c->patch_h, c->patch_w },
                      .in_width = (int64_t)c->in_ch * c->patch_h * c->patch_w,
                      .out_width = (int64_t)c->out_ch * c->patch_h * c->patch_w,
                      .in_order = WAN_PATCH_CHW,
                      .out_order = WAN_PATCH_HWC,
                      .width = wan_net_width(c),
                      .head_dim = c->head_dim,
                      .text_dim = c->text_dim,
                      .text_len = c->text_len };
    /* attention's part of a sample's cost grows with the square of its tokens */
    z->quad = 4 * D / (12 * D * D + 4 * D * c->ffn + 4 * D * c->text_len);
}

static void describe(const void *config, char *text, size_t size)
{
    const wan_net_config *c = config;
    snprintf(text, size, "WAN transformer, %d blocks, width %d, %d heads, ffn %d", c->layers,
             c->heads * c->head_dim, c->heads, c->ffn);
}

static double flops(const void *c, int n, const int64_t *tokens)
{
    return wan_net_flops(c, n, tokens);
}

static double part_flops(const void *c, int part, int64_t tokens)
{
    return wan_net_part_flops(c, part, tokens);
}

#define FIELD(key, name)                                                                           \
    {                                                                                              \
        key, offsetof(wan_net_config, name), WAN_FIELD_INT                                         \
    }
static const wan_field fields[] = {
    FIELD("model.num_layers", layers),
    FIELD("model.num_attention_heads", heads),
    FIELD("model.kv_channels", head_dim),
    FIELD("model.ffn_hidden_size", ffn),
    FIELD("model.in_channels", in_ch),
    FIELD("model.out_channels", out_ch),
    FIELD("model.text_dim", text_dim),
    FIELD("model.text_len", text_len),
    FIELD("model.freq_dim", freq_dim),
    { "model.layernorm_epsilon", offsetof(wan_net_config, eps), WAN_FIELD_REAL },
    { NULL, 0, WAN_FIELD_INT },
};

static int set_width(void *config, int64_t width, unsigned given)
{
    wan_net_config *c = config;
    if (!(given & WAN_GIVEN_HEADS) && width % c->head_dim == 0)
        c->heads = (int)(width / c->head_dim);
    else if ((given & WAN_GIVEN_HEADS) && !(given & WAN_GIVEN_HEAD_DIM) && width % c->heads == 0)
        c->head_dim = (int)(width / c->heads);
    if (wan_net_width(c) != width)
        return wan_err("model.hidden_size %lld is not heads x kv_channels = %d x %d",
                       (long long)width, c->heads, c->head_dim);
    return 0;
}

#define PUBLISHED(nheads, nlayers, nffn)                                                           \
    {                                                                                              \
        .heads = nheads, .head_dim = 128, .layers = nlayers, .ffn = nffn, .in_ch = 16,             \
        .out_ch = 16, .text_dim = 4096, .text_len = 512, .freq_dim = 256, .patch_h = 2,            \
        .patch_w = 2, .eps = 1e-6                                                                  \
    }
static const wan_net_config small = PUBLISHED(12, 30, 8960), large = PUBLISHED(40, 40, 13824);
static const wan_preset presets[] = { { "1.3B", &small }, { "14B", &large }, { NULL, NULL } };
static const char *const files[] = { "transformer", "diffusion_pytorch_model" };

const wan_model wan_net_model = {
    .type = "wan",
    .objective = "flow",
    .files = files,
    .config_size = sizeof(wan_net_config),
    .layout = { &wan_net_hf, &wan_net_official },
    .recast = wan_net_recast,
    .fields = fields,
    .set_width = set_width,
    .presets = presets,
    .check = check,
    .params = params,
    .sizes = sizes,
    .describe = describe,
    .flops = flops,
    .part_flops = part_flops,
    .acts_plan = wan_net_acts_plan,
    .acts_new = wan_net_acts_new,
    .acts_free = wan_net_acts_free,
    .fill = wan_net_fill,
    .forward = wan_net_forward,
    .backward_begin = wan_net_backward_begin,
    .backward = wan_net_backward,
    .border = wan_net_border,
    .input_grad = wan_net_input_grad,
    .context_new = wan_net_context_new,
    .context_free = wan_context_free,
};
