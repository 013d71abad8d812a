/* SPDX-License-Identifier: Apache-2.0
 *
 * dit_json.c - the DiT's config.json.  DFM has none; the class is the name of its model, the keys are
 * spelt as the WAN transformer's where they mean the same.  Defaults are those of DiT-XL.
 */
#include "lib/model/dit/dit_priv.h"

/* clang-format off */
#define INT(key, field, value) { .name = key, .offset = offsetof(wan_dit_config, field), .def = value }
#define FIXED(key, value, reason) { .name = key, .offset = WAN_NOWHERE, .only = value, .why = reason }

static const wan_json_key keys[] = {
    INT("adaln_lora_dim", adaln_dim, 256),
    INT("attention_head_dim", head_dim, 72),
    { .name = "eps", .offset = offsetof(wan_dit_config, eps), .real = 1, .def = 1e-6 },
    INT("ffn_dim", ffn, 4608),
    INT("fps", fps, 30),
    INT("fps_dim", fps_dim, 256),
    INT("in_channels", in_ch, 16),
    INT("num_attention_heads", heads, 16),
    INT("num_layers", layers, 28),
    INT("out_channels", out_ch, 16),
    FIXED("patch_size", "[1,2,2]", "only patches of 1x2x2 are supported"),
    FIXED("qk_norm", "\"rms_norm\"", "only RMS norm of each head is supported"),
    INT("text_dim", text_dim, 1024),
    INT("text_len", text_len, 512),
    { .name = NULL },
};
/* clang-format on */

const wan_layout wan_dit_layout = { "DiTCrossAttentionModel", "0.33.0.dev0", NULL, keys };

int wan_dit_recast(void *config, enum wan_naming naming, int writing)
{
    wan_dit_config *c = config;
    (void)naming;
    if (!writing)
        c->patch_h = c->patch_w = 2;
    return 0;
}
