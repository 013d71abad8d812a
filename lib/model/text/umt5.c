/* SPDX-License-Identifier: Apache-2.0
 *
 * umt5.c - the UMT5 encoder (wan-model(7), UMT5), one layer's weights in memory at a time: on the CPU
 * where they lie in the mapped file, if that has the type of the operands.  The next layer is read from
 * the disk while one computes.
 *
 * The captions of a window go through the layers together: layer 0 of all, layer 1 of all ..., so
 * that the file is read once per window.  Inside a layer they are taken in groups of about
 * GROUP_ROWS rows, which bounds the work space; only the residual stream x is kept for all.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/model/bulk.h"
#include "lib/model/text/text.h"
#include "lib/rec/tensor/safetensors.h"

#define GROUP_ROWS 1024
#define BUCKETS 32

enum { W_Q, W_K, W_V, W_O, W_GATE, W_UP, W_DOWN, N_MATRICES };

static const char *const matrix_name[N_MATRICES] = {
    "layer.0.SelfAttention.q.weight",     "layer.0.SelfAttention.k.weight",
    "layer.0.SelfAttention.v.weight",     "layer.0.SelfAttention.o.weight",
    "layer.1.DenseReluDense.wi_0.weight", "layer.1.DenseReluDense.wi_1.weight",
    "layer.1.DenseReluDense.wo.weight",
};

struct wan_umt5 {
    wan_dev *d;
    wan_st *st;
    wan_dtype compute;
    int64_t D, heads, hd, ffn, layers, vocab;
    double eps;
    const char *embedding; /* name of its tensor */
    wan_buf w[N_MATRICES]; /* the layer at work: device, compute type */
    void *own[N_MATRICES]; /* ... memory for it, where it is not the file's; NULL: none yet */
    wan_real *norm1, *norm2, *bias;
    void *stage; /* host: one tensor on its way to a device */
};

/* The rows of a window and the work space of a group. */
typedef struct window {
    wan_umt5 *e;
    const int64_t *len;
    int n;
    int64_t S, rows; /* rows in all; in the largest group */
    wan_real *x, *t, *rstd;
    wan_buf norm, q, k, v, a, b;
    wan_pack *pack; /* of the groups */
    int groups;
} window;

/* ---- opening */

static int check_word(const json_t *j, const char *key, const char *want, const char *path)
{
    const char *v;
    WAN_TRY(wan_json_str(j, key, want, &v, path));
    return strcmp(v, want)
               ? wan_err("%s: key \"%s\" is \"%s\", expected \"%s\"", path, key, v, want)
               : 0;
}

static int read_config(wan_umt5 *e, const json_t *j, const char *path)
{
    int64_t buckets, distance;
    int gated;
    WAN_TRY(check_word(j, "model_type", "umt5", path));
    WAN_TRY(check_word(j, "feed_forward_proj", "gated-gelu", path));
    WAN_TRY(check_word(j, "dense_act_fn", "gelu_new", path));
    WAN_TRY(wan_json_bool(j, "is_gated_act", 1, &gated, path));
    WAN_TRY(wan_json_int(j, "d_model", 4096, 1, 65536, &e->D, path));
    WAN_TRY(wan_json_int(j, "d_kv", 64, 1, 1024, &e->hd, path));
    WAN_TRY(wan_json_int(j, "d_ff", 10240, 1, 1 << 20, &e->ffn, path));
    WAN_TRY(wan_json_int(j, "num_heads", 64, 1, 1024, &e->heads, path));
    WAN_TRY(wan_json_int(j, "num_layers", 24, 1, 1024, &e->layers, path));
    WAN_TRY(wan_json_int(j, "vocab_size", 256384, 1, 1 << 24, &e->vocab, path));
    WAN_TRY(wan_json_real(j, "layer_norm_epsilon", 1e-6, &e->eps, path));
    if (!(e->eps > 0 && e->eps < 1))
        return wan_err("%s: key \"layer_norm_epsilon\" is %g, must be between 0 and 1", path,
                       e->eps);
    WAN_TRY(wan_json_int(j, "relative_attention_num_buckets", BUCKETS, 1, 1024, &buckets, path));
    WAN_TRY(wan_json_int(j, "relative_attention_max_distance", 128, 1, 4096, &distance, path));
    if (!gated || buckets != BUCKETS || distance != 128)
        return wan_err("%s: not a UMT5 encoder with gated GELU and %d buckets up to distance 128",
                       path, BUCKETS);
    return 0;
}

static int open_config(wan_umt5 *e, const char *dir)
{
    char *path = wan_path_join(dir, "config.json");
    json_t *j = path ? wan_json_load(path) : NULL;
    int rc = j ? read_config(e, j, path) : -1;
    json_decref(j);
    free(path);
    return rc;
}

static void matrix_shape(const wan_umt5 *e, int i, int64_t shape[2])
{
    int64_t inner = e->heads * e->hd;
    shape[0] = i < W_O ? inner : i == W_GATE || i == W_UP ? e->ffn : e->D;
    shape[1] = i == W_O ? inner : i == W_DOWN ? e->ffn : e->D;
}

/* Name of a tensor of layer i. */
static const char *block_name(char name[160], int64_t i, const char *rest)
{
    snprintf(name, 160, "encoder.block.%lld.%s", (long long)i, rest);
    return name;
}

static int check_layer(wan_umt5 *e, int64_t i)
{
    char name[160];
    int64_t shape[2], table[2] = { BUCKETS, e->heads };
    for (int m = 0; m < N_MATRICES; m++) {
        matrix_shape(e, m, shape);
        WAN_TRY(wan_st_load(e->st, block_name(name, i, matrix_name[m]), shape, 2, NULL, WAN_F32));
    }
    WAN_TRY(wan_st_load(e->st, block_name(name, i, "layer.0.layer_norm.weight"), &e->D, 1, NULL,
                        WAN_F32));
    WAN_TRY(wan_st_load(e->st, block_name(name, i, "layer.1.layer_norm.weight"), &e->D, 1, NULL,
                        WAN_F32));
    return wan_st_load(e->st,
                       block_name(name, i, "layer.0.SelfAttention.relative_attention_bias.weight"),
                       table, 2, NULL, WAN_F32);
}

/* Every tensor there is, has its shape and is known, before any work. */
static int check_tensors(wan_umt5 *e)
{
    static const char alias[] = "encoder.embed_tokens.weight";
    int64_t shape[2] = { e->vocab, e->D };
    const char *extra;
    int both = wan_st_find(e->st, "shared.weight") && wan_st_find(e->st, alias);
    e->embedding =
        wan_st_find(e->st, "shared.weight") || !wan_st_find(e->st, alias) ? "shared.weight" : alias;
    WAN_TRY(wan_st_load(e->st, e->embedding, shape, 2, NULL, WAN_F32));
    if (both) /* the same matrix under a second name */
        WAN_TRY(wan_st_load(e->st, alias, shape, 2, NULL, WAN_F32));
    for (int64_t i = 0; i < e->layers; i++)
        WAN_TRY(check_layer(e, i));
    WAN_TRY(wan_st_load(e->st, "encoder.final_layer_norm.weight", &e->D, 1, NULL, WAN_F32));
    if (wan_st_unused(e->st, &extra) > 0)
        return wan_err("%s: tensor %s: not part of this model", wan_st_find(e->st, extra)->file,
                       extra);
    return 0;
}

static int64_t matrix_count(const wan_umt5 *e, int i)
{
    int64_t s[2];
    matrix_shape(e, i, s);
    return s[0] * s[1];
}

static int open_buffers(wan_umt5 *e)
{
    int64_t largest = BUCKETS * e->heads > e->D ? BUCKETS * e->heads : e->D;
    for (int m = 0; m < N_MATRICES && e->d->kind != WAN_DEV_CPU; m++)
        largest = matrix_count(e, m) > largest ? matrix_count(e, m) : largest;
    e->norm1 = wan_dev_alloc(e->d, (size_t)e->D * sizeof(wan_real), "text encoder weights");
    e->norm2 = wan_dev_alloc(e->d, (size_t)e->D * sizeof(wan_real), "text encoder weights");
    e->bias = wan_dev_alloc(e->d, (size_t)(BUCKETS * e->heads) * sizeof(wan_real),
                            "text encoder weights");
    e->stage = wan_malloc((size_t)largest, sizeof(wan_real), "text encoder weights");
    return e->norm1 && e->norm2 && e->bias && e->stage ? 0 : -1;
}

static int open_into(wan_umt5 *e, const char *dir)
{
    WAN_TRY(open_config(e, dir));
    WAN_TRY(wan_st_open(&e->st, dir));
    return check_tensors(e);
}

int wan_umt5_open(wan_umt5 **out, wan_dev *d, const char *dir, wan_dtype compute)
{
    *out = NULL;
    if (compute != WAN_REAL && compute != WAN_BF16)
        return wan_err("%s: the text encoder computes in F32 or BF16", dir);
    wan_umt5 *e = wan_calloc(1, sizeof *e, "text encoder");
    if (!e)
        return -1;
    e->d = d;
    e->compute = compute;
    if (open_into(e, dir) < 0) {
        wan_umt5_close(&e);
        return -1;
    }
    *out = e;
    return 0;
}

static void close_buffers(wan_umt5 *e)
{
    for (int m = 0; m < N_MATRICES; m++) {
        wan_dev_free(e->d, e->own[m]);
        e->own[m] = NULL;
    }
    wan_dev_free(e->d, e->norm1);
    wan_dev_free(e->d, e->norm2);
    wan_dev_free(e->d, e->bias);
    free(e->stage);
    e->norm1 = e->norm2 = e->bias = NULL;
    e->stage = NULL;
}

void wan_umt5_close(wan_umt5 **ep)
{
    if (!ep || !*ep)
        return;
    close_buffers(*ep);
    wan_st_close(&(*ep)->st);
    free(*ep);
    *ep = NULL;
}

int64_t wan_umt5_width(const wan_umt5 *e)
{
    return e->D;
}

/* ---- weights of one layer */

static int load_tensor(wan_umt5 *e, wan_buf to, const char *name, const int64_t *shape, int rank)
{
    WAN_TRY(wan_st_load(e->st, name, shape, rank, NULL, to.t));
    const wan_st_tensor *t = wan_st_find(e->st, name);
    int rc;
    if (e->d->kind == WAN_DEV_CPU) {
        rc = wan_bulk_convert(to.p, to.t, t->data, t->dtype, t->count);
    } else if (t->dtype == to.t) { /* from the file to the device's ring: the host copies it once */
        rc = wan_dev_write(e->d, to.p, t->data, (size_t)t->count * wan_dtype_size(to.t));
    } else {
        rc = wan_bulk_convert(e->stage, to.t, t->data, t->dtype, t->count);
        if (rc == 0)
            rc = wan_dev_write(e->d, to.p, e->stage, (size_t)t->count * wan_dtype_size(to.t));
    }
    wan_st_release(e->st, t);
    return rc;
}

/* Whether operands can be read where the file has them. */
static int lies_ready(const wan_umt5 *e, const wan_st_tensor *t)
{
    return e->d->kind == WAN_DEV_CPU && t->dtype == e->compute && (uintptr_t)t->data % 8 == 0;
}

static int load_matrix(wan_umt5 *e, int m, const char *name)
{
    const wan_st_tensor *t = wan_st_find(e->st, name);
    int64_t shape[2];
    matrix_shape(e, m, shape);
    if (t && lies_ready(e, t)) {
        e->w[m] = wan_buf_of((void *)(uintptr_t)t->data, e->compute);
        return wan_st_load(e->st, name, shape, 2, NULL, e->compute);
    }
    if (!e->own[m])
        e->own[m] = wan_dev_alloc(e->d, (size_t)matrix_count(e, m) * wan_dtype_size(e->compute),
                                  "text encoder weights");
    e->w[m] = wan_buf_of(e->own[m], e->compute);
    return e->own[m] ? load_tensor(e, e->w[m], name, shape, 2) : -1;
}

/* Of layer i: read from the disk by the kernel meanwhile, or (done) not needed any more. */
static void foresee_layer(wan_umt5 *e, int64_t i, int done)
{
    char name[160];
    for (int m = 0; m < N_MATRICES && i >= 0 && i < e->layers; m++) {
        const wan_st_tensor *t = wan_st_find(e->st, block_name(name, i, matrix_name[m]));
        if (t && done)
            wan_st_release(e->st, t);
        else if (t)
            wan_st_expect(t);
    }
}

static int load_layer(wan_umt5 *e, int64_t i)
{
    char name[160];
    int64_t table[2] = { BUCKETS, e->heads };
    foresee_layer(e, i - 1, 1);
    foresee_layer(e, i + 1, 0);
    for (int m = 0; m < N_MATRICES; m++)
        WAN_TRY(load_matrix(e, m, block_name(name, i, matrix_name[m])));
    WAN_TRY(load_tensor(e, WAN_RBUF(e->norm1), block_name(name, i, "layer.0.layer_norm.weight"),
                        &e->D, 1));
    WAN_TRY(load_tensor(e, WAN_RBUF(e->norm2), block_name(name, i, "layer.1.layer_norm.weight"),
                        &e->D, 1));
    return load_tensor(e, WAN_RBUF(e->bias),
                       block_name(name, i, "layer.0.SelfAttention.relative_attention_bias.weight"),
                       table, 2);
}

/* ---- computing */

static int run_attention(window *w, wan_real *x, const wan_pack *pack)
{
    wan_umt5 *e = w->e;
    wan_dev *d = e->d;
    const wan_ops *o = d->ops;
    int64_t S = pack->S, D = e->D, inner = e->heads * e->hd;
    wan_buf none = wan_buf_of(NULL, WAN_REAL);
    wan_rms rms = wan_rms_of(S, D, e->eps);
    WAN_TRY(o->rmsnorm_forward(d, &rms, w->norm, w->rstd, WAN_RBUF(x), e->norm1));
    WAN_TRY(o->linear_forward(d, w->q, none, w->norm, e->w[W_Q], NULL, S, inner, D, WAN_ACT_NONE));
    WAN_TRY(o->linear_forward(d, w->k, none, w->norm, e->w[W_K], NULL, S, inner, D, WAN_ACT_NONE));
    WAN_TRY(o->linear_forward(d, w->v, none, w->norm, e->w[W_V], NULL, S, inner, D, WAN_ACT_NONE));
    wan_attn a = { .pq = pack,
                   .pk = pack,
                   .H = (int)e->heads,
                   .hd = e->hd,
                   .scale = 1,
                   .ldq = inner,
                   .ldk = inner,
                   .ldv = inner,
                   .ldo = inner };
    WAN_TRY(o->attention_t5(d, &a, w->a, w->q, w->k, w->v, e->bias));
    WAN_TRY(o->linear_forward(d, WAN_RBUF(w->t), none, w->a, e->w[W_O], NULL, S, D, inner,
                              WAN_ACT_NONE));
    return o->axpy(d, WAN_RBUF(x), 1, WAN_RBUF(w->t), S * D);
}

static int run_ffn(window *w, wan_real *x, const wan_pack *pack)
{
    wan_umt5 *e = w->e;
    wan_dev *d = e->d;
    const wan_ops *o = d->ops;
    int64_t S = pack->S, D = e->D, F = e->ffn;
    wan_buf none = wan_buf_of(NULL, WAN_REAL);
    wan_rms rms = wan_rms_of(S, D, e->eps);
    WAN_TRY(o->rmsnorm_forward(d, &rms, w->norm, w->rstd, WAN_RBUF(x), e->norm2));
    WAN_TRY(o->linear_forward(d, w->a, none, w->norm, e->w[W_GATE], NULL, S, F, D, WAN_ACT_NONE));
    WAN_TRY(o->linear_forward(d, w->b, none, w->norm, e->w[W_UP], NULL, S, F, D, WAN_ACT_NONE));
    WAN_TRY(o->act_gated(d, w->a, w->a, w->b, S * F, WAN_ACT_GELU_TANH));
    WAN_TRY(o->linear_forward(d, WAN_RBUF(w->t), none, w->a, e->w[W_DOWN], NULL, S, D, F,
                              WAN_ACT_NONE));
    return o->axpy(d, WAN_RBUF(x), 1, WAN_RBUF(w->t), S * D);
}

static int run_layers(window *w)
{
    wan_umt5 *e = w->e;
    for (int64_t i = 0; i < e->layers; i++) {
        wan_real *x = w->x;
        WAN_TRY(load_layer(e, i));
        for (int g = 0; g < w->groups; g++) {
            WAN_TRY(run_attention(w, x, &w->pack[g]));
            WAN_TRY(run_ffn(w, x, &w->pack[g]));
            x += w->pack[g].S * e->D;
        }
    }
    return 0;
}

/* rms(x)*w, group by group, back to the host. */
static int finish(window *w, float *rows)
{
    wan_umt5 *e = w->e;
    wan_real *x = w->x;
    foresee_layer(e, e->layers - 1, 1);
    WAN_TRY(load_tensor(e, WAN_RBUF(e->norm1), "encoder.final_layer_norm.weight", &e->D, 1));
    for (int g = 0; g < w->groups; g++) {
        int64_t S = w->pack[g].S;
        wan_rms rms = wan_rms_of(S, e->D, e->eps);
        WAN_TRY(
            e->d->ops->rmsnorm_forward(e->d, &rms, WAN_RBUF(w->t), w->rstd, WAN_RBUF(x), e->norm1));
        WAN_TRY(wan_dev_read(e->d, rows, w->t, (size_t)(S * e->D) * sizeof *rows));
        x += S * e->D;
        rows += S * e->D;
    }
    return 0;
}

/* Groups of whole captions of at most GROUP_ROWS rows (or one longer caption). */
static int make_groups(window *w)
{
    w->pack = wan_calloc((size_t)w->n, sizeof *w->pack, "captions");
    if (!w->pack)
        return -1;
    for (int i = 0, k; i < w->n; i += k) {
        int64_t rows = w->len[i];
        for (k = 1; i + k < w->n && rows + w->len[i + k] <= GROUP_ROWS; k++)
            rows += w->len[i + k];
        WAN_TRY(wan_pack_new(w->e->d, &w->pack[w->groups], w->len + i, k));
        w->groups++;
        w->rows = rows > w->rows ? rows : w->rows;
    }
    return 0;
}

static wan_buf take(window *w, int64_t width, int *bad)
{
    wan_dtype t = w->e->compute;
    void *p = wan_dev_alloc(w->e->d, (size_t)(w->rows * width) * wan_dtype_size(t),
                            "text encoder work space");
    *bad |= !p;
    return wan_buf_of(p, t);
}

static int make_space(window *w)
{
    wan_umt5 *e = w->e;
    int bad = 0;
    int64_t inner = e->heads * e->hd;
    w->norm = take(w, e->D, &bad);
    w->q = take(w, inner, &bad);
    w->k = take(w, inner, &bad);
    w->v = take(w, inner, &bad);
    w->a = take(w, e->ffn > inner ? e->ffn : inner, &bad);
    w->b = take(w, e->ffn, &bad);
    w->x = wan_dev_alloc(e->d, (size_t)(w->S * e->D) * sizeof(wan_real), "text rows");
    w->t = wan_dev_alloc(e->d, (size_t)(w->rows * e->D) * sizeof(wan_real), "text rows");
    w->rstd = wan_dev_alloc(e->d, (size_t)w->rows * sizeof(wan_real), "text rows");
    return bad || !w->x || !w->t || !w->rstd ? -1 : 0;
}

static void free_window(window *w)
{
    wan_dev *d = w->e->d;
    void *all[] = { w->norm.p, w->q.p, w->k.p, w->v.p, w->a.p, w->b.p, w->x, w->t, w->rstd };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        wan_dev_free(d, all[i]);
    for (int g = 0; g < w->groups; g++)
        wan_pack_free(d, &w->pack[g]);
    free(w->pack);
}

/* Rows of the embedding, taken out of the mapped file one by one. */
static int embed(wan_umt5 *e, float *rows, const int32_t *const *ids, const int64_t *len, int n)
{
    const wan_st_tensor *t = wan_st_find(e->st, e->embedding);
    size_t bytes = (size_t)e->D * wan_dtype_size(t->dtype);
    for (int i = 0; i < n; i++)
        for (int64_t k = 0; k < len[i]; k++, rows += e->D) {
            if (ids[i][k] < 0 || ids[i][k] >= e->vocab)
                return wan_err("%s: token id %d of caption %d: the embedding has %lld rows",
                               t->file, (int)ids[i][k], i, (long long)e->vocab);
            memcpy(e->stage, (const char *)t->data + (size_t)ids[i][k] * bytes, bytes);
            WAN_TRY(wan_convert(rows, WAN_F32, e->stage, t->dtype, (size_t)e->D));
        }
    wan_st_release(e->st, t);
    return 0;
}

static int encode_window(window *w, float *rows, const int32_t *const *ids)
{
    wan_umt5 *e = w->e;
    WAN_TRY(embed(e, rows, ids, w->len, w->n));
    WAN_TRY(make_groups(w));
    WAN_TRY(make_space(w));
    WAN_TRY(wan_dev_write(e->d, w->x, rows, (size_t)(w->S * e->D) * sizeof *rows));
    WAN_TRY(run_layers(w));
    return finish(w, rows);
}

int wan_umt5_encode(wan_umt5 *e, float *rows, const int32_t *const *ids, const int64_t *len, int n)
{
    window w = { .e = e, .len = len, .n = n };
    for (int i = 0; i < n; i++) {
        if (len[i] < 1)
            return wan_err("caption %d: no tokens", i);
        w.S += len[i];
    }
    if (n < 1)
        return 0;
    /* The weights' memory is taken for the window only: between windows the VAE has it. */
    int rc = open_buffers(e);
    if (rc == 0)
        rc = encode_window(&w, rows, ids);
    free_window(&w);
    close_buffers(e);
    return rc;
}
