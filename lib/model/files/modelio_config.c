/* SPDX-License-Identifier: Apache-2.0
 *
 * modelio_config.c - the transformer's config.json, diffusers' keys or the official ones.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/opt.h"
#include "lib/model/files/modelio.h"

/* What a key may hold. */
typedef struct key {
    const char *name;
    size_t field; /* offset of an int in wan_net_config, or NOWHERE */
    int64_t def;
    const char *only; /* JSON text of the one value that is supported, when there is no field */
    const char *why;  /* ... and what another value would mean */
} key;

#define NOWHERE ((size_t)-1)
#define INT(name, field, def)                                                                      \
    {                                                                                              \
        name, offsetof(wan_net_config, field), def, NULL, NULL                                     \
    }
#define FIXED(name, only, why)                                                                     \
    {                                                                                              \
        name, NOWHERE, 0, only, why                                                                \
    }
#define I2V "image-to-video models are not supported"

/* Defaults are those of the classes themselves (wan-model(7), Sizes). */
static const key hf_keys[] = {
    INT("num_attention_heads", heads, 40),
    INT("attention_head_dim", head_dim, 128),
    INT("num_layers", layers, 40),
    INT("ffn_dim", ffn, 13824),
    INT("in_channels", in_ch, 16),
    INT("out_channels", out_ch, 16),
    INT("text_dim", text_dim, 4096),
    INT("freq_dim", freq_dim, 256),
    INT("text_len", text_len, 512),
    FIXED("patch_size", "[1,2,2]", "only patches of 1x2x2 are supported"),
    FIXED("cross_attn_norm", "true", "models without the cross-attention norm are not supported"),
    FIXED("qk_norm", "\"rms_norm_across_heads\"", "only RMS norm across heads is supported"),
    FIXED("rope_max_seq_len", "1024", "only 1024 positions are supported"),
    FIXED("added_kv_proj_dim", "null", I2V),
    FIXED("image_dim", "null", I2V),
    FIXED("pos_embed_seq_len", "null", I2V),
};

static const key official_keys[] = {
    INT("num_heads", heads, 16),
    INT("num_layers", layers, 32),
    INT("ffn_dim", ffn, 8192),
    INT("in_dim", in_ch, 16),
    INT("out_dim", out_ch, 16),
    INT("freq_dim", freq_dim, 256),
    INT("text_len", text_len, 512),
    INT("text_dim", text_dim, 0),
    INT("dim", head_dim, 2048), /* divided by the heads below */
    FIXED("model_type", "\"t2v\"", I2V),
    FIXED("patch_size", "[1,2,2]", "only patches of 1x2x2 are supported"),
    FIXED("cross_attn_norm", "true", "models without the cross-attention norm are not supported"),
    FIXED("qk_norm", "true", "models without query and key norm are not supported"),
    FIXED("window_size", "[-1,-1]", "only full attention is supported"),
};

static const key *find(const key *keys, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(keys[i].name, name) == 0)
            return &keys[i];
    return NULL;
}

static int check_fixed(const key *k, json_t *value, const char *what)
{
    json_t *only = json_loads(k->only, JSON_DECODE_ANY, NULL);
    int same = only && json_equal(only, value);
    json_decref(only);
    return same ? 0 : wan_err("%s: key \"%s\": must be %s; %s", what, k->name, k->only, k->why);
}

/* Every key of the file is known, and the fixed ones have their value. */
static int check_keys(json_t *j, const key *keys, size_t n, const char *what)
{
    const char *name;
    json_t *value;
    json_object_foreach(j, name, value)
    {
        const key *k = find(keys, n, name);
        if (name[0] == '_' || strcmp(name, "eps") == 0)
            continue;
        if (!k) {
            const char *names[32];
            for (size_t i = 0; i < n; i++)
                names[i] = keys[i].name;
            const char *near = wan_nearest(name, names, n);
            return wan_err("%s: unknown key \"%s\"%s%s%s", what, name,
                           near ? ", did you mean \"" : "", near ? near : "", near ? "\"?" : "");
        }
        if (k->only)
            WAN_TRY(check_fixed(k, value, what));
    }
    return 0;
}

static int read_keys(wan_net_config *c, json_t *j, const key *keys, size_t n, const char *what)
{
    WAN_TRY(check_keys(j, keys, n, what));
    for (size_t i = 0; i < n; i++) {
        int64_t v;
        if (keys[i].only)
            continue;
        WAN_TRY(wan_json_int(j, keys[i].name, keys[i].def, 0, 1 << 24, &v, what));
        *(int *)((char *)c + keys[i].field) = (int)v;
    }
    return wan_json_real(j, "eps", 1e-6, &c->eps, what);
}

/* The width of the text rows, from the weights themselves. */
static int text_dim_of(wan_net_config *c, const char *dir)
{
    static const char *const names[] = { "text_embedding.0.weight",
                                         "model.diffusion_model.text_embedding.0.weight" };
    wan_st *st;
    WAN_TRY(wan_st_open(&st, dir));
    const wan_st_tensor *t = NULL;
    for (int i = 0; i < 2 && !t; i++)
        t = wan_st_find(st, names[i]);
    int rc = 0;
    if (!t || t->rank != 2 || t->shape[1] < 1 || t->shape[1] > 1 << 20)
        rc = wan_err("%s: tensor %s: missing or no matrix, needed for the width of the text rows",
                     dir, names[0]);
    else
        c->text_dim = (int)t->shape[1];
    wan_st_close(&st);
    return rc;
}

static int read_official(wan_net_config *c, json_t *j, const char *what, const char *dir)
{
    WAN_TRY(read_keys(c, j, official_keys, sizeof official_keys / sizeof *official_keys, what));
    if (c->heads < 1 || c->head_dim % c->heads)
        return wan_err("%s: key \"dim\": %d does not divide into %d heads", what, c->head_dim,
                       c->heads);
    c->head_dim /= c->heads;
    return c->text_dim ? 0 : text_dim_of(c, dir);
}

static int read_config(wan_net_config *c, json_t *j, const char *what, const char *dir)
{
    const char *class_name;
    if (!json_is_object(j))
        return wan_err("%s: not a JSON object", what);
    WAN_TRY(wan_json_str(j, "_class_name", "", &class_name, what));
    *c = (wan_net_config){ .patch_h = 2, .patch_w = 2 };
    if (strcmp(class_name, "WanModel") == 0 || (!*class_name && json_object_get(j, "num_heads")))
        WAN_TRY(read_official(c, j, what, dir));
    else if (!*class_name || strcmp(class_name, "WanTransformer3DModel") == 0)
        WAN_TRY(read_keys(c, j, hf_keys, sizeof hf_keys / sizeof *hf_keys, what));
    else
        return wan_err("%s: key \"_class_name\": %s is not a WAN transformer "
                       "(WanTransformer3DModel or WanModel)",
                       what, class_name);
    if (wan_net_config_check(c) < 0)
        return wan_err_prefix("%s", what);
    return 0;
}

int wan_net_config_load(wan_net_config *c, const char *dir)
{
    char *path = wan_path_join(dir, "config.json");
    json_t *j = path ? wan_json_load(path) : NULL;
    int rc = j ? read_config(c, j, path, dir) : -1;
    json_decref(j);
    free(path);
    return rc;
}

static json_t *hf_json(const wan_net_config *c)
{
    return json_pack("{s:s, s:s, s:n, s:i, s:b, s:f, s:i, s:i, s:n, s:i, s:i, s:i, s:i, s:[iii],"
                     " s:n, s:s, s:i, s:i}",
                     "_class_name", "WanTransformer3DModel", "_diffusers_version", "0.33.0.dev0",
                     "added_kv_proj_dim", "attention_head_dim", c->head_dim, "cross_attn_norm", 1,
                     "eps", c->eps, "ffn_dim", c->ffn, "freq_dim", c->freq_dim, "image_dim",
                     "in_channels", c->in_ch, "num_attention_heads", c->heads, "num_layers",
                     c->layers, "out_channels", c->out_ch, "patch_size", 1, c->patch_h, c->patch_w,
                     "pos_embed_seq_len", "qk_norm", "rms_norm_across_heads", "rope_max_seq_len",
                     1024, "text_dim", c->text_dim);
}

static json_t *official_json(const wan_net_config *c)
{
    return json_pack("{s:s, s:s, s:i, s:f, s:i, s:i, s:i, s:s, s:i, s:i, s:i, s:i}", "_class_name",
                     "WanModel", "_diffusers_version", "0.30.0", "dim", c->heads * c->head_dim,
                     "eps", c->eps, "ffn_dim", c->ffn, "freq_dim", c->freq_dim, "in_dim", c->in_ch,
                     "model_type", "t2v", "num_heads", c->heads, "num_layers", c->layers, "out_dim",
                     c->out_ch, "text_len", c->text_len);
}

json_t *wan_net_config_json(const wan_net_config *c, enum wan_naming naming)
{
    json_t *j = naming == WAN_NAMING_HF ? hf_json(c) : official_json(c);
    /* Other readers have 512 built in and no such key; only a toy model needs to say more. */
    if (j && naming == WAN_NAMING_HF && c->text_len != 512)
        json_object_set_new(j, "text_len", json_integer(c->text_len));
    if (!j)
        wan_err("out of memory (config.json)");
    return j;
}
