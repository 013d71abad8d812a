/* SPDX-License-Identifier: Apache-2.0
 *
 * official.c - VAE and text encoder in one file, as the official repository (torch) and ComfyUI
 * (safetensors) have them, to HuggingFace folders, tensor by tensor.
 */
#include "lib/model/files/official.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/ends.h"
#include "lib/base/file.h"
#include "lib/model/files/weights.h"
#include "lib/rec/tensor/safetensors.h"
#include "lib/rec/tensor/torch.h"

/* ---- names */

typedef struct rule {
    const char *from, *to; /* beginnings */
} rule;

/* Appends s to hf with its beginning replaced by the first rule that fits; -1: none fits. */
static int replace(char *hf, size_t size, const char *s, const rule *r, size_t n)
{
    size_t at = strlen(hf);
    for (size_t i = 0; i < n; i++) {
        size_t k = strlen(r[i].from);
        if (strncmp(s, r[i].from, k) == 0)
            return snprintf(hf + at, size - at, "%s%s", r[i].to, s + k) < (int)(size - at) ? 0 : -1;
    }
    return -1;
}
#define REPLACE(hf, size, s, rules) replace(hf, size, s, rules, sizeof rules / sizeof *rules)

/* Inside a residual block or a resampler. */
static const rule vae_block[] = {
    { "residual.0.gamma", "norm1.gamma" }, { "residual.2.", "conv1." },
    { "residual.3.gamma", "norm2.gamma" }, { "residual.6.", "conv2." },
    { "shortcut.", "conv_shortcut." },     { "resample.1.", "resample.1." },
    { "time_conv.", "time_conv." },
};
/* Inside encoder or decoder, outside the numbered blocks. */
static const rule vae_side[] = {
    { "conv1.", "conv_in." },
    { "head.0.gamma", "norm_out.gamma" },
    { "head.2.", "conv_out." },
    { "middle.1.norm.", "mid_block.attentions.0.norm." },
    { "middle.1.to_qkv.", "mid_block.attentions.0.to_qkv." },
    { "middle.1.proj.", "mid_block.attentions.0.proj." },
};
static const rule vae_top[] = { { "conv1.", "quant_conv." }, { "conv2.", "post_quant_conv." } };

/* "N.rest" behind `head`: N into *n, rest returned; NULL when s is something else. */
static const char *numbered(const char *s, const char *head, int *n)
{
    size_t k = strlen(head);
    char *end;
    if (strncmp(s, head, k) != 0 || s[k] < '0' || s[k] > '9')
        return NULL;
    long v = strtol(s + k, &end, 10);
    *n = (int)v;
    return v < 1000 && *end == '.' ? end + 1 : NULL;
}

/* Three blocks and a resampler make a level of the decoder. */
static int vae_numbered(char *hf, size_t size, const char *s)
{
    int n;
    size_t at = strlen(hf);
    const char *rest;
    if ((rest = numbered(s, "downsamples.", &n)))
        snprintf(hf + at, size - at, "down_blocks.%d.", n);
    else if ((rest = numbered(s, "upsamples.", &n)) && n % 4 == 3)
        snprintf(hf + at, size - at, "up_blocks.%d.upsamplers.0.", n / 4);
    else if (rest)
        snprintf(hf + at, size - at, "up_blocks.%d.resnets.%d.", n / 4, n % 4);
    else if ((rest = numbered(s, "middle.", &n)) && (n == 0 || n == 2))
        snprintf(hf + at, size - at, "mid_block.resnets.%d.", n / 2);
    else
        return -1;
    return REPLACE(hf, size, rest, vae_block);
}

int wan_official_vae_name(char *hf, size_t size, const char *official)
{
    const char *rest = official + 8;
    if (strncmp(official, "encoder.", 8) != 0 && strncmp(official, "decoder.", 8) != 0) {
        hf[0] = 0;
        return REPLACE(hf, size, official, vae_top);
    }
    snprintf(hf, size, "%.8s", official);
    if (REPLACE(hf, size, rest, vae_side) == 0)
        return 0;
    hf[8] = 0;
    return vae_numbered(hf, size, rest);
}

#define ATTENTION "layer.0.SelfAttention."
#define FFN "layer.1.DenseReluDense."
static const rule umt5_block[] = {
    { "norm1.weight", "layer.0.layer_norm.weight" },
    { "attn.", ATTENTION },
    { "pos_embedding.embedding.weight", ATTENTION "relative_attention_bias.weight" },
    { "norm2.weight", "layer.1.layer_norm.weight" },
    { "ffn.gate.0.weight", FFN "wi_0.weight" },
    { "ffn.fc1.weight", FFN "wi_1.weight" },
    { "ffn.fc2.weight", FFN "wo.weight" },
};
static const rule umt5_top[] = { { "token_embedding.weight", "shared.weight" },
                                 { "norm.weight", "encoder.final_layer_norm.weight" } };

int wan_official_umt5_name(char *hf, size_t size, const char *official)
{
    int n;
    const char *rest = numbered(official, "blocks.", &n);
    hf[0] = 0;
    if (!rest)
        return REPLACE(hf, size, official, umt5_top);
    snprintf(hf, size, "encoder.block.%d.", n);
    return REPLACE(hf, size, rest, umt5_block);
}

/* Names of ComfyUI's text encoder, which are HuggingFace's already. */
static int umt5_hf_name(char *hf, size_t size, const char *name)
{
    if (strncmp(name, "encoder.", 8) != 0 && strcmp(name, "shared.weight") != 0)
        return -1;
    return snprintf(hf, size, "%s", name) < (int)size ? 0 : -1;
}

/* ---- weights */

typedef struct source {
    const char *path;
    wan_torch *w; /* either this */
    wan_st *st;   /* or that */
    void *buf;    /* one tensor */
} source;

typedef struct stored {
    const char *name;
    wan_dtype type;
    int rank;
    const int64_t *shape;
    int64_t count;
} stored;

static int source_open(source *s, const char *path)
{
    *s = (source){ .path = path };
    return wan_ends_with(path, ".safetensors") ? wan_st_open(&s->st, path)
                                               : wan_torch_open(&s->w, path);
}

static void source_close(source *s)
{
    wan_st_close(&s->st);
    wan_torch_close(&s->w);
}

static size_t count_of(const source *s)
{
    return s->st ? wan_st_count(s->st) : wan_torch_count(s->w);
}

static stored at(const source *s, size_t i)
{
    if (s->st) {
        const wan_st_tensor *t = wan_st_at(s->st, i);
        return (stored){ t->name, t->dtype, t->rank, t->shape, t->count };
    }
    const wan_torch_tensor *t = wan_torch_at(s->w, i);
    return (stored){ t->name, t->dtype, t->rank, t->shape, t->count };
}

/* Number of a tensor, -1: there is none. */
static int64_t find(const source *s, const char *name)
{
    for (size_t i = 0; i < count_of(s); i++)
        if (!strcmp(at(s, i).name, name))
            return (int64_t)i;
    return -1;
}

static int fetch(void *arg, int id, const void **data, wan_dtype *t)
{
    source *s = arg;
    const stored x = at(s, (size_t)id);
    *data = s->buf;
    *t = x.type;
    if (s->st) {
        WAN_TRY(wan_st_load(s->st, x.name, x.shape, x.rank, s->buf, x.type));
        wan_st_release(s->st, wan_st_at(s->st, (size_t)id));
        return 0;
    }
    wan_torch_tensor *w = wan_torch_at(s->w, (size_t)id);
    WAN_TRY(wan_torch_read(s->w, w, s->buf, x.type));
    wan_torch_release(s->w, w);
    return 0;
}

typedef int to_hf(char *hf, size_t size, const char *official);

/* What ComfyUI's text encoder has beside its weights: the tokenizer, as bytes. */
static int is_tokenizer(const char *name)
{
    return !strcmp(name, WAN_OFFICIAL_SPIECE);
}

/* The tensors of s under their new names, *n of them; *largest: bytes of the largest. */
static wan_weight *list(const source *s, to_hf *name, size_t *largest, int *n)
{
    size_t all = count_of(s);
    wan_weight *w = wan_calloc(all ? all : 1, sizeof *w, "tensor list");
    *largest = 1;
    *n = 0;
    for (size_t i = 0; w && i < all; i++) {
        const stored t = at(s, i);
        if (is_tokenizer(t.name))
            continue;
        wan_weight *to = &w[(*n)++];
        *to = (wan_weight){ .type = t.type, .rank = t.rank, .count = t.count, .id = (int)i };
        memcpy(to->shape, t.shape, sizeof to->shape);
        size_t bytes = (size_t)t.count * wan_dtype_size(t.type);
        *largest = bytes > *largest ? bytes : *largest;
        if (name(to->name, sizeof to->name, t.name) < 0) {
            wan_err("%s: tensor %s: no part of this model", s->path, t.name);
            free(w);
            w = NULL;
        }
    }
    return w;
}

static int write_weights(source *s, const char *dir, const char *stem, to_hf *name,
                         int64_t max_shard)
{
    size_t largest;
    int n;
    wan_weight *w = list(s, name, &largest, &n);
    s->buf = wan_malloc(largest, 1, "a tensor");
    int rc = w && s->buf ? 0 : -1;
    if (rc == 0)
        rc = wan_weights_write(dir, stem, w, n, max_shard, fetch, s);
    free(s->buf);
    free(w);
    return rc;
}

/* Extent `axis` of a tensor that must be there. */
static int extent(int64_t *out, const source *s, const char *name, int axis)
{
    const int64_t i = find(s, name);
    if (i < 0 || at(s, (size_t)i).rank <= axis)
        return wan_err("%s: tensor %s: missing", s->path, name);
    *out = at(s, (size_t)i).shape[axis];
    return 0;
}

/* ---- config.json */

/* wan-model(7), Latent statistics */
static const double latent_mean[16] = { -0.7571, -0.7089, -0.9113, 0.1075,  -0.1745, 0.9653,
                                        -0.1517, 1.5508,  0.4134,  -0.0715, 0.5517,  -0.3632,
                                        -0.1922, -0.9497, 0.2503,  -0.2921 };
static const double latent_std[16] = { 2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708,
                                       2.6052, 2.0743, 3.2687, 2.1526, 2.8652, 1.5579,
                                       1.6382, 1.1253, 2.8251, 1.9160 };

static json_t *reals(const double *v, int n)
{
    json_t *a = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(a, json_real(v[i]));
    return a;
}

static int vae_config(const source *s, const char *dir)
{
    int64_t base = 0, z = 0;
    WAN_TRY(extent(&base, s, "encoder.conv1.weight", 0));
    WAN_TRY(extent(&z, s, "conv2.weight", 0));
    if (z != 16)
        return wan_err("%s: %lld latent channels; the latent statistics are known for 16", s->path,
                       (long long)z);
    json_t *j =
        json_pack("{s:s, s:s, s:[], s:I, s:[iiii], s:f, s:i, s:[bbb], s:I}", "_class_name",
                  "AutoencoderKLWan", "_diffusers_version", "0.33.0.dev0", "attn_scales",
                  "base_dim", (json_int_t)base, "dim_mult", 1, 2, 4, 4, "dropout", 0.0,
                  "num_res_blocks", 2, "temperal_downsample", 0, 1, 1, "z_dim", (json_int_t)z);
    if (!j)
        return wan_err("%s: out of memory", dir);
    json_object_set_new(j, "latents_mean", reals(latent_mean, 16));
    json_object_set_new(j, "latents_std", reals(latent_std, 16));
    return wan_weights_json(dir, "config.json", j, 6);
}

static int is_hf(const source *s)
{
    return find(s, "shared.weight") >= 0;
}

static int umt5_layers(const source *s)
{
    int layers = 0, n;
    const char *block = is_hf(s) ? "encoder.block." : "blocks.";
    for (size_t i = 0; i < count_of(s); i++)
        if (numbered(at(s, i).name, block, &n) && n >= layers)
            layers = n + 1;
    return layers;
}

static int umt5_config(const source *s, const char *dir)
{
#define FIRST "encoder.block.0." ATTENTION
    static const char *const official[] = { "token_embedding.weight",
                                            "blocks.0.pos_embedding.embedding.weight",
                                            "blocks.0.attn.q.weight", "blocks.0.ffn.fc1.weight" },
                             *const hf[] = { "shared.weight",
                                             FIRST "relative_attention_bias.weight",
                                             FIRST "q.weight",
                                             "encoder.block.0." FFN "wi_1.weight" };
    const char *const *name = is_hf(s) ? hf : official;
    int64_t vocab = 0, width = 0, heads = 0, inner = 0, ffn = 0;
    int layers = umt5_layers(s);
    WAN_TRY(extent(&vocab, s, name[0], 0));
    WAN_TRY(extent(&width, s, name[0], 1));
    WAN_TRY(extent(&heads, s, name[1], 1));
    WAN_TRY(extent(&inner, s, name[2], 0));
    WAN_TRY(extent(&ffn, s, name[3], 0));
    if (heads < 1 || inner % heads)
        return wan_err("%s: %lld attention features do not divide into %lld heads", s->path,
                       (long long)inner, (long long)heads);
    json_t *j = json_pack(
        "{s:[s], s:I, s:I, s:I, s:i, s:s, s:f, s:i, s:s, s:b, s:b, s:f, s:s}", "architectures",
        "UMT5EncoderModel", "d_ff", (json_int_t)ffn, "d_kv", (json_int_t)(inner / heads), "d_model",
        (json_int_t)width, "decoder_start_token_id", 0, "dense_act_fn", "gelu_new", "dropout_rate",
        0.1, "eos_token_id", 1, "feed_forward_proj", "gated-gelu", "is_encoder_decoder", 1,
        "is_gated_act", 1, "layer_norm_epsilon", 1e-6, "model_type", "umt5");
    json_t *more = json_pack("{s:i, s:I, s:i, s:i, s:i, s:i, s:b, s:b, s:I}", "num_decoder_layers",
                             layers, "num_heads", (json_int_t)heads, "num_layers", layers,
                             "pad_token_id", 0, "relative_attention_max_distance", 128,
                             "relative_attention_num_buckets", 32, "scalable_attention", 1,
                             "tie_word_embeddings", 0, "vocab_size", (json_int_t)vocab);
    if (!j || !more || json_object_update(j, more) < 0) {
        json_decref(j);
        json_decref(more);
        return wan_err("%s: out of memory", dir);
    }
    json_decref(more);
    return wan_weights_json(dir, "config.json", j, 6);
}

int wan_official_vae(const char *path, const char *dir, int64_t max_shard)
{
    source s;
    WAN_TRY(source_open(&s, path));
    int rc = write_weights(&s, dir, "diffusion_pytorch_model", wan_official_vae_name, max_shard);
    if (rc == 0)
        rc = vae_config(&s, dir);
    source_close(&s);
    return rc;
}

int wan_official_umt5(const char *path, const char *dir, int64_t max_shard)
{
    source s;
    WAN_TRY(source_open(&s, path));
    int rc = write_weights(&s, dir, "model", is_hf(&s) ? umt5_hf_name : wan_official_umt5_name,
                           max_shard);
    if (rc == 0)
        rc = umt5_config(&s, dir);
    source_close(&s);
    return rc;
}

int wan_official_kind(enum wan_official_part *part, const char *path)
{
    static const struct {
        const char *name;
        enum wan_official_part part;
    } marks[] = { { "encoder.conv1.weight", WAN_PART_VAE },
                  { "token_embedding.weight", WAN_PART_UMT5 },
                  { "shared.weight", WAN_PART_UMT5 },
                  { "patch_embedding.weight", WAN_PART_TRANSFORMER } };
    source s;
    WAN_TRY(source_open(&s, path));
    int found = 0;
    for (size_t k = 0; k < sizeof marks / sizeof *marks && !found; k++)
        for (size_t i = 0; i < count_of(&s) && !found; i++) {
            const char *name = at(&s, i).name;
            const int whole = !strcmp(name, marks[k].name);
            found = whole ||
                    (marks[k].part == WAN_PART_TRANSFORMER && wan_ends_with(name, marks[k].name));
            *part = marks[k].part;
        }
    source_close(&s);
    return found ? 0
                 : wan_err("%s: neither a VAE, a UMT5 encoder nor a WAN transformer, by the names "
                           "of its tensors",
                           path);
}

/* DIR/spiece.model from the tensor of bytes. */
static int write_spiece(const void *bytes, size_t n, const char *dir)
{
    wan_out *out = NULL;
    char *path = wan_path_join(dir, "spiece.model");
    int rc = path ? wan_mkdirs(dir) : -1;
    if (rc == 0)
        rc = wan_out_open(&out, path);
    if (rc == 0 && fwrite(bytes, 1, n, wan_out_file(out)) != n)
        rc = wan_err_errno("%s: write failed", path);
    if (rc == 0)
        rc = wan_out_finish(&out);
    wan_out_discard(&out);
    free(path);
    return rc;
}

int wan_official_spiece(const char *path, const char *dir)
{
    source s;
    WAN_TRY(source_open(&s, path));
    const wan_st_tensor *t = s.st ? wan_st_find(s.st, WAN_OFFICIAL_SPIECE) : NULL;
    int rc = t ? 1 : 0;
    if (t && (t->dtype != WAN_U8 || t->rank != 1))
        rc = wan_err("%s: tensor %s: not a row of bytes", path, t->name);
    if (rc > 0 && write_spiece(t->data, t->bytes, dir) < 0)
        rc = -1;
    source_close(&s);
    return rc;
}

static json_t *scheduler_json(void)
{
    return json_pack("{s:s, s:s, s:f, s:f, s:s, s:[], s:s, s:f, s:b, s:i, s:b, s:s}", "_class_name",
                     "UniPCMultistepScheduler", "_diffusers_version", "0.33.0.dev0", "beta_end",
                     0.02, "beta_start", 0.0001, "beta_schedule", "linear", "disable_corrector",
                     "final_sigmas_type", "zero", "flow_shift", 3.0, "lower_order_final", 1,
                     "num_train_timesteps", 1000, "predict_x0", 1, "prediction_type",
                     "flow_prediction");
}

static int write_scheduler(const char *dir)
{
    json_t *j = scheduler_json();
    json_t *more = json_pack("{s:i, s:s, s:i, s:b, s:s, s:b}", "solver_order", 2, "solver_type",
                             "bh2", "steps_offset", 0, "thresholding", 0, "timestep_spacing",
                             "linspace", "use_flow_sigmas", 1);
    if (!j || !more || json_object_update(j, more) < 0) {
        json_decref(j);
        json_decref(more);
        return wan_err("%s: out of memory", dir);
    }
    json_decref(more);
    WAN_TRY(wan_mkdirs(dir));
    return wan_weights_json(dir, "scheduler_config.json", j, 6);
}

int wan_official_index(const char *dir)
{
    char *scheduler = wan_path_join(dir, "scheduler");
    int rc = scheduler ? write_scheduler(scheduler) : -1;
    free(scheduler);
    WAN_TRY(rc);
    json_t *j =
        json_pack("{s:s, s:s, s:[ss], s:[ss], s:[ss], s:[ss], s:[ss]}", "_class_name",
                  "WanPipeline", "_diffusers_version", "0.33.0.dev0", "scheduler", "diffusers",
                  "UniPCMultistepScheduler", "text_encoder", "transformers", "UMT5EncoderModel",
                  "tokenizer", "transformers", "T5TokenizerFast", "transformer", "diffusers",
                  "WanTransformer3DModel", "vae", "diffusers", "AutoencoderKLWan");
    if (!j)
        return wan_err("%s: out of memory", dir);
    return wan_weights_json(dir, "model_index.json", j, 0);
}
