/* SPDX-License-Identifier: Apache-2.0
 *
 * make_model.c - random model folders of any size, to measure wan-encode with.
 *
 *     make_model vae DIR BASE_DIM [MULT]     (channels: BASE_DIM times 1, 2, 4, 4, at most times MULT)
 *     make_model umt5 DIR D_MODEL HEADS FFN LAYERS VOCAB     (bf16, sharded, about 4 GB a file)
 *     make_model wan DIR                     (a transformer of 1.3B: 2.8 GB in bf16)
 *
 * The random numbers repeat after 32 MiB: the values do not matter, their bytes do.
 */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/base/log.h"
#include "lib/base/rng.h"
#include "lib/model/files/modelio.h"
#include "lib/rec/tensor/safetensors.h"

#define POOL (8 << 20)
#define SHARD (4ll << 30)

typedef struct tensor {
    char name[160];
    int64_t shape[5];
    int rank;
    double scale; /* 0: ones */
} tensor;

static tensor *all;
static int n_all;
static float *pool;

static void add(double scale, int rank, const int64_t *shape, const char *fmt, ...)
{
    va_list ap;
    all = realloc(all, (size_t)(n_all + 1) * sizeof *all);
    tensor *t = &all[n_all++];
    va_start(ap, fmt);
    vsnprintf(t->name, sizeof t->name, fmt, ap);
    va_end(ap);
    memcpy(t->shape, shape, (size_t)rank * sizeof *shape);
    t->rank = rank;
    t->scale = scale;
}
#define SHAPE(...)                                                                                 \
    (const int64_t[])                                                                              \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static int64_t count(const tensor *t)
{
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++)
        n *= t->shape[i];
    return n;
}

/* At least n numbers of the pool. */
static const float *numbers(int64_t n)
{
    static int64_t have;
    wan_rng r = wan_rng_stream(1, WAN_RNG_TEST, 0, 0);
    pool = pool ? pool : malloc(POOL * sizeof *pool);
    if (pool && have < n) {
        wan_rng_normal(&r, pool + have, (uint64_t)have, (size_t)(n - have));
        have = n;
    }
    return pool;
}

/* n numbers of the pool, at most all, times scale (0: ones) as dt; kept for the next tensor of the same scale. */
static const char *block_of(double scale, wan_dtype dt, int64_t n)
{
    static char *block;
    static double of = -1;
    static int64_t have;
    n = n < POOL ? n : POOL;
    if (of == scale && have >= n)
        return block;
    const float *from = numbers(n);
    float *f = malloc((size_t)n * sizeof *f);
    block = realloc(block, (size_t)n * sizeof *f);
    if (!f || !from || !block)
        return wan_err("out of memory"), NULL;
    for (int64_t i = 0; i < n; i++)
        f[i] = scale > 0 ? (float)(scale * from[i]) : 1;
    int rc = wan_convert(block, dt, f, WAN_F32, (size_t)n);
    free(f);
    of = scale;
    have = n;
    return rc < 0 ? NULL : block;
}

static int put(wan_st_writer *w, const tensor *t, wan_dtype dt)
{
    int64_t n = count(t), size = (int64_t)wan_dtype_size(dt);
    const char *block = block_of(t->scale, dt, n);
    char *data = malloc((size_t)(n * size));
    if (!data || !block)
        return wan_err("out of memory");
    for (int64_t i = 0; i < n; i += POOL)
        memcpy(data + i * size, block, (size_t)((n - i < POOL ? n - i : POOL) * size));
    int rc = wan_st_put(w, t->name, data, dt);
    free(data);
    return rc;
}

static int write_file(const char *dir, const char *name, int from, int to, wan_dtype dt)
{
    char *path = wan_path_join(dir, name);
    wan_st_writer *w;
    WAN_TRY(wan_st_create(&w, path));
    free(path);
    for (int i = from; i < to; i++)
        WAN_TRY(wan_st_declare(w, all[i].name, dt, all[i].shape, all[i].rank));
    for (int i = from; i < to; i++)
        WAN_TRY(put(w, &all[i], dt));
    return wan_st_finish(&w);
}

static int write_config(const char *dir, const char *text)
{
    char *path = wan_path_join(dir, "config.json");
    int rc = wan_spew(path, text, strlen(text));
    free(path);
    return rc;
}

/* ---- VAE: names and shapes of wan-model(7), VAE names */

static void conv(const char *name, int64_t Ci, int64_t Co, int kt, int k, int rank)
{
    double s = 1 / sqrt((double)(Ci * kt * k * k));
    if (rank == 5)
        add(s, 5, SHAPE(Co, Ci, kt, k, k), "%s.weight", name);
    else
        add(s, 4, SHAPE(Co, Ci, k, k), "%s.weight", name);
    add(0.1, 1, SHAPE(Co), "%s.bias", name);
}

static void res(const char *p, int64_t Ci, int64_t Co)
{
    char name[200];
    add(0, 4, SHAPE(Ci, 1, 1, 1), "%s.norm1.gamma", p);
    snprintf(name, sizeof name, "%s.conv1", p);
    conv(name, Ci, Co, 3, 3, 5);
    add(0, 4, SHAPE(Co, 1, 1, 1), "%s.norm2.gamma", p);
    snprintf(name, sizeof name, "%s.conv2", p);
    conv(name, Co, Co, 3, 3, 5);
    snprintf(name, sizeof name, "%s.conv_shortcut", p);
    if (Ci != Co)
        conv(name, Ci, Co, 1, 1, 5);
}

static void middle(const char *side, int64_t C)
{
    char name[200];
    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "%s.mid_block.resnets.%d", side, i);
        res(name, C, C);
    }
    add(0, 3, SHAPE(C, 1, 1), "%s.mid_block.attentions.0.norm.gamma", side);
    snprintf(name, sizeof name, "%s.mid_block.attentions.0.to_qkv", side);
    conv(name, C, 3 * C, 1, 1, 4);
    snprintf(name, sizeof name, "%s.mid_block.attentions.0.proj", side);
    conv(name, C, C, 1, 1, 4);
}

static void resample(const char *p, int64_t Ci, int64_t Co, int64_t time)
{
    char name[200];
    snprintf(name, sizeof name, "%s.resample.1", p);
    conv(name, Ci, Co, 1, 3, 4);
    snprintf(name, sizeof name, "%s.time_conv", p);
    if (time)
        conv(name, Ci, time, 3, 1, 5);
}

static int make_vae(const char *dir, int64_t base, int most)
{
    int mult[4] = { 1, most < 2 ? most : 2, most < 4 ? most : 4, most < 4 ? most : 4 };
    char text[1200], name[200];
    int64_t C = base;
    int flat = 0;
    conv("encoder.conv_in", 3, base, 3, 3, 5);
    for (int i = 0; i < 4; i++) {
        for (int r = 0; r < 2; r++, C = base * mult[i]) {
            snprintf(name, sizeof name, "encoder.down_blocks.%d", flat++);
            res(name, C, base * mult[i]);
        }
        snprintf(name, sizeof name, "encoder.down_blocks.%d", flat++);
        if (i < 3)
            resample(name, C, C, i > 0 ? C : 0);
    }
    middle("encoder", C);
    add(0, 4, SHAPE(C, 1, 1, 1), "encoder.norm_out.gamma");
    conv("encoder.conv_out", C, 32, 3, 3, 5);
    conv("quant_conv", 32, 32, 1, 1, 5);
    conv("post_quant_conv", 16, 16, 1, 1, 5);
    conv("decoder.conv_in", 16, C, 3, 3, 5);
    middle("decoder", C);
    for (int i = 0; i < 4; i++) {
        int64_t Co = base * mult[3 - i];
        for (int r = 0; r < 3; r++, C = Co) {
            snprintf(name, sizeof name, "decoder.up_blocks.%d.resnets.%d", i, r);
            res(name, C, Co);
        }
        snprintf(name, sizeof name, "decoder.up_blocks.%d.upsamplers.0", i);
        if (i < 3)
            resample(name, C, C / 2, i < 2 ? 2 * C : 0);
        C = i < 3 ? C / 2 : C;
    }
    add(0, 4, SHAPE(C, 1, 1, 1), "decoder.norm_out.gamma");
    conv("decoder.conv_out", C, 3, 3, 3, 5);
    snprintf(
        text, sizeof text,
        "{\"base_dim\": %d, \"z_dim\": 16, \"num_res_blocks\": 2, \"dim_mult\": [1, %d, %d, %d],\n"
        " \"temperal_downsample\": [false, true, true], \"attn_scales\": [],\n"
        " \"latents_mean\": [0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0],\n"
        " \"latents_std\": [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]}\n",
        (int)base, mult[1], mult[2], mult[3]);
    WAN_TRY(write_config(dir, text));
    return write_file(dir, "diffusion_pytorch_model.safetensors", 0, n_all, WAN_F32);
}

/* ---- UMT5: names and shapes of wan-model(7), UMT5 names */

static void umt5_layer(int i, int64_t D, int64_t heads, int64_t F)
{
    const char *const qkvo = "qkvo";
    double s = 1 / sqrt((double)D);
    for (int k = 0; k < 4; k++)
        add(k < 2 ? s / 3 : s, 2, SHAPE(D, D), "encoder.block.%d.layer.0.SelfAttention.%c.weight",
            i, qkvo[k]);
    add(1, 2, SHAPE(32, heads),
        "encoder.block.%d.layer.0.SelfAttention.relative_attention_bias."
        "weight",
        i);
    add(0, 1, SHAPE(D), "encoder.block.%d.layer.0.layer_norm.weight", i);
    add(s, 2, SHAPE(F, D), "encoder.block.%d.layer.1.DenseReluDense.wi_0.weight", i);
    add(s, 2, SHAPE(F, D), "encoder.block.%d.layer.1.DenseReluDense.wi_1.weight", i);
    add(s, 2, SHAPE(D, F), "encoder.block.%d.layer.1.DenseReluDense.wo.weight", i);
    add(0, 1, SHAPE(D), "encoder.block.%d.layer.1.layer_norm.weight", i);
}

static int make_umt5(const char *dir, int64_t D, int64_t heads, int64_t F, int layers, int64_t V)
{
    char text[600], name[64];
    int shards = 0, from[64] = { 0 };
    int64_t bytes = 0;
    add(1, 2, SHAPE(V, D), "shared.weight");
    for (int i = 0; i < layers; i++)
        umt5_layer(i, D, heads, F);
    add(0, 1, SHAPE(D), "encoder.final_layer_norm.weight");
    for (int i = 0; i < n_all; bytes += 2 * count(&all[i++]))
        if (bytes > SHARD) {
            from[++shards] = i;
            bytes = 0;
        }
    from[++shards] = n_all;
    json_t *map = json_object();
    for (int s = 0; s < shards; s++) {
        snprintf(name, sizeof name, "model-%05d-of-%05d.safetensors", s + 1, shards);
        for (int i = from[s]; i < from[s + 1]; i++)
            json_object_set_new(map, all[i].name, json_string(name));
        WAN_TRY(write_file(dir, name, from[s], from[s + 1], WAN_BF16));
    }
    json_t *index = json_pack("{s:{}, s:o}", "metadata", "weight_map", map);
    char *path = wan_path_join(dir, "model.safetensors.index.json");
    WAN_TRY(wan_json_save(path, index, 1));
    free(path);
    json_decref(index);
    snprintf(text, sizeof text,
             "{\"model_type\": \"umt5\", \"d_model\": %d, \"d_kv\": %d, \"num_heads\": %d, "
             "\"d_ff\": %d, \"num_layers\": %d, \"vocab_size\": %d, "
             "\"feed_forward_proj\": \"gated-gelu\", \"dense_act_fn\": \"gelu_new\"}\n",
             (int)D, (int)(D / heads), (int)heads, (int)F, layers, (int)V);
    return write_config(dir, text);
}

/* ---- the transformer: its own table says names, shapes and how wide the numbers start */

static int fetch_weight(void *arg, int id, const void **data, wan_dtype *t)
{
    const wan_param *q = &((const wan_params *)arg)->v[id];
    static uint16_t *v;
    int64_t inner = q->rank == 2 ? q->shape[1] : q->rank == 5 ? 64 : 1;
    const char *block =
        block_of(q->init == WAN_INIT_ONE ? 0 : 1 / sqrt((double)inner), WAN_BF16, q->count);
    v = realloc(v, (size_t)q->count * sizeof *v);
    if (!v || !block)
        return wan_err("out of memory");
    for (int64_t i = 0; i < q->count; i += POOL)
        memcpy(v + i, block, (size_t)(q->count - i < POOL ? q->count - i : POOL) * sizeof *v);
    *data = v;
    *t = WAN_BF16;
    return 0;
}

static int make_wan(const char *dir)
{
    wan_arch arch = { .model = &wan_net_model };
    wan_params p = { .n = 0 };
    memcpy(arch.c, arch.model->presets[0].c, arch.model->config_size);
    WAN_TRY(arch.model->params(&p, arch.c));
    wan_dtype *type = malloc((size_t)p.n * sizeof *type);
    if (!type)
        return wan_err("out of memory");
    for (int i = 0; i < p.n; i++)
        type[i] = WAN_BF16;
    return wan_modelio_write(&arch, &p, dir, WAN_NAMING_HF, type, INT64_MAX, fetch_weight, &p);
}

int main(int argc, char **argv)
{
    wan_log_init("make_model", 1);
    if (argc < 3 || wan_mkdirs(argv[2]) < 0)
        return 2;
    int rc = -1;
    if (!strcmp(argv[1], "vae") && (argc == 4 || argc == 5))
        rc = make_vae(argv[2], atoll(argv[3]), argc == 5 ? atoi(argv[4]) : 4);
    else if (!strcmp(argv[1], "umt5") && argc == 8)
        rc = make_umt5(argv[2], atoll(argv[3]), atoll(argv[4]), atoll(argv[5]), atoi(argv[6]),
                       atoll(argv[7]));
    else if (!strcmp(argv[1], "wan") && argc == 3)
        rc = make_wan(argv[2]);
    else
        return 2;
    if (rc < 0)
        wan_die();
    return 0;
}
