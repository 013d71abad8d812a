/* SPDX-License-Identifier: Apache-2.0
 *
 * dit.c - the DiT's row of the table of models.
 */
#include <stdio.h>

#include "lib/model/dit/dit_priv.h"

static int check(const void *c)
{
    return wan_dit_config_check(c);
}

static int params(wan_params *out, const void *c)
{
    return wan_dit_params(out, c);
}

static void sizes(wan_sizes *z, const void *config)
{
    const wan_dit_config *c = config;
    double D = (double)wan_dit_width(c);
    *z = (wan_sizes){ .parts = c->layers + 2,
                      .in_channels = c->in_ch,
                      .out_channels = c->out_ch,
                      .patch = { 1, c->patch_h, c->patch_w },
                      .in_width = (int64_t)c->in_ch * c->patch_h * c->patch_w,
                      .out_width = (int64_t)c->out_ch * c->patch_h * c->patch_w,
                      .in_order = WAN_PATCH_HWC,
                      .out_order = WAN_PATCH_HWC,
                      .width = wan_dit_width(c),
                      .head_dim = c->head_dim,
                      .text_dim = c->text_dim,
                      .text_len = c->text_len };
    /* attention's part of a sample's cost grows with the square of its tokens */
    z->quad = 4 * D / (12 * D * D + 4 * D * c->ffn + 4 * D * c->text_len);
}

static void describe(const void *config, char *text, size_t size)
{
    const wan_dit_config *c = config;
    snprintf(text, size, "DiT, %d blocks, width %d, %d heads, ffn %d", c->layers,
             c->heads * c->head_dim, c->heads, c->ffn);
}

static double flops(const void *c, int n, const int64_t *tokens)
{
    return wan_dit_flops(c, n, tokens);
}

static double part_flops(const void *c, int part, int64_t tokens)
{
    return wan_dit_part_flops(c, part, tokens);
}

#define FIELD(key, name)                                                                           \
    {                                                                                              \
        key, offsetof(wan_dit_config, name), WAN_FIELD_INT                                         \
    }
static const wan_field fields[] = {
    FIELD("model.num_layers", layers),
    FIELD("model.num_attention_heads", heads),
    FIELD("model.kv_channels", head_dim),
    FIELD("model.ffn_hidden_size", ffn),
    FIELD("model.in_channels", in_ch),
    FIELD("model.out_channels", out_ch),
    FIELD("model.crossattn_emb_size", text_dim),
    FIELD("model.text_dim", text_dim),
    FIELD("model.text_len", text_len),
    { "model.layernorm_epsilon", offsetof(wan_dit_config, eps), WAN_FIELD_REAL },
    { NULL, 0, WAN_FIELD_INT },
};

static int set_width(void *config, int64_t width, unsigned given)
{
    wan_dit_config *c = config;
    if (!(given & WAN_GIVEN_HEADS) && width % c->head_dim == 0)
        c->heads = (int)(width / c->head_dim);
    else if ((given & WAN_GIVEN_HEADS) && !(given & WAN_GIVEN_HEAD_DIM) && width % c->heads == 0)
        c->head_dim = (int)(width / c->heads);
    if (wan_dit_width(c) != width)
        return wan_err("model.hidden_size %lld is not heads x kv_channels = %d x %d",
                       (long long)width, c->heads, c->head_dim);
    if (!(given & WAN_GIVEN_FFN))
        c->ffn = 4 * (int)width;
    if (c->fps_dim > width)
        c->fps_dim = (int)width;
    return 0;
}

#define PUBLISHED(nlayers, width, nheads)                                                          \
    {                                                                                              \
        .heads = nheads, .head_dim = width / nheads, .layers = nlayers, .ffn = 4 * width,          \
        .in_ch = 16, .out_ch = 16, .text_dim = 1024, .text_len = 512, .adaln_dim = 256,            \
        .fps_dim = 256, .fps = 30, .patch_h = 2, .patch_w = 2, .eps = 1e-6                         \
    }
static const wan_dit_config s = PUBLISHED(12, 384, 6), b = PUBLISHED(12, 768, 12),
                            l = PUBLISHED(24, 1024, 16), xl = PUBLISHED(28, 1152, 16);
/* the first is what DFM's recipe takes */
static const wan_preset presets[] = {
    { "dit-xl", &xl }, { "dit-s", &s }, { "dit-b", &b }, { "dit-l", &l }, { NULL, NULL }
};
static const char *const files[] = { "transformer", "diffusion_pytorch_model" };

const wan_model wan_dit_model = {
    .type = "dit",
    .objective = "edm",
    .text_dropped = 1,
    .files = files,
    .config_size = sizeof(wan_dit_config),
    .layout = { &wan_dit_layout },
    .recast = wan_dit_recast,
    .fields = fields,
    .set_width = set_width,
    .presets = presets,
    .check = check,
    .params = params,
    .sizes = sizes,
    .describe = describe,
    .flops = flops,
    .part_flops = part_flops,
    .acts_plan = wan_dit_acts_plan,
    .acts_new = wan_dit_acts_new,
    .acts_free = wan_dit_acts_free,
    .fill = wan_dit_fill,
    .forward = wan_dit_forward,
    .backward_begin = wan_dit_backward_begin,
    .backward = wan_dit_backward,
    .border = wan_dit_border,
    .input_grad = wan_dit_input_grad,
    .context_new = wan_dit_context_new,
    .context_free = wan_context_free,
};
