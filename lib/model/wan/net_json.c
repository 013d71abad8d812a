/* SPDX-License-Identifier: Apache-2.0
 *
 * net_json.c - the WAN transformer's config.json: diffusers' keys and the official ones.  Defaults
 * are those of the classes themselves.
 */
#include "lib/model/wan/net_priv.h"

/* clang-format off */
#define INT(key, field, value) { .name = key, .offset = offsetof(wan_net_config, field), .def = value }
#define FIXED(key, value, reason) { .name = key, .offset = WAN_NOWHERE, .only = value, .why = reason }
#define READ(key, value, reason) { .name = key, .offset = WAN_NOWHERE, .only = value, .why = reason, .write = WAN_JSON_NEVER }
#define EPS { .name = "eps", .offset = offsetof(wan_net_config, eps), .real = 1, .def = 1e-6 }
#define I2V "image-to-video models are not supported"
#define PATCHES "only patches of 1x2x2 are supported"
#define CROSS "models without the cross-attention norm are not supported"

static const wan_json_key hf[] = {
    FIXED("added_kv_proj_dim", "null", I2V),
    INT("attention_head_dim", head_dim, 128),
    FIXED("cross_attn_norm", "true", CROSS),
    EPS,
    INT("ffn_dim", ffn, 13824),
    INT("freq_dim", freq_dim, 256),
    FIXED("image_dim", "null", I2V),
    INT("in_channels", in_ch, 16),
    INT("num_attention_heads", heads, 40),
    INT("num_layers", layers, 40),
    INT("out_channels", out_ch, 16),
    FIXED("patch_size", "[1,2,2]", PATCHES),
    FIXED("pos_embed_seq_len", "null", I2V),
    FIXED("qk_norm", "\"rms_norm_across_heads\"", "only RMS norm across heads is supported"),
    FIXED("rope_max_seq_len", "1024", "only 1024 positions are supported"),
    INT("text_dim", text_dim, 4096),
    /* other readers have 512 built in and no such key; only a toy model needs to say more */
    { .name = "text_len", .offset = offsetof(wan_net_config, text_len), .def = 512, .write = WAN_JSON_CHANGED },
    { .name = NULL },
};

static const wan_json_key official[] = {
    INT("dim", head_dim, 2048), /* of all heads: see wan_net_recast */
    EPS,
    INT("ffn_dim", ffn, 8192),
    INT("freq_dim", freq_dim, 256),
    INT("in_dim", in_ch, 16),
    FIXED("model_type", "\"t2v\"", I2V),
    INT("num_heads", heads, 16),
    INT("num_layers", layers, 32),
    INT("out_dim", out_ch, 16),
    INT("text_len", text_len, 512),
    { .name = "text_dim", .offset = offsetof(wan_net_config, text_dim), .write = WAN_JSON_NEVER,
      .tensor = "text_embedding.0.weight" },
    READ("patch_size", "[1,2,2]", PATCHES),
    READ("cross_attn_norm", "true", CROSS),
    READ("qk_norm", "true", "models without query and key norm are not supported"),
    READ("window_size", "[-1,-1]", "only full attention is supported"),
    { .name = NULL },
};
/* clang-format on */

const wan_layout wan_net_hf = { "WanTransformer3DModel", "0.33.0.dev0", NULL, hf };
const wan_layout wan_net_official = { "WanModel", "0.30.0", "num_heads", official };

int wan_net_recast(void *config, enum wan_naming naming, int writing)
{
    wan_net_config *c = config;
    if (!writing)
        c->patch_h = c->patch_w = 2;
    if (naming != WAN_NAMING_OFFICIAL)
        return 0;
    if (writing) {
        c->head_dim *= c->heads;
        return 0;
    }
    if (c->heads < 1 || c->head_dim % c->heads)
        return wan_err("key \"dim\": %d does not divide into %d heads", c->head_dim, c->heads);
    c->head_dim /= c->heads;
    return 0;
}
