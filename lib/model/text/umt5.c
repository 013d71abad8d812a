/* SPDX-License-Identifier: Apache-2.0
 *
 * umt5.c - the UMT5 encoder (wan-model(7), UMT5), whose weights come layer by layer (umt5_layers.h).
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
#include "lib/model/text/umt5_layers.h"

enum { GROUP_ROWS = 1024 };

struct wan_umt5 {
    wan_dev *d;
    umt5_layers w;
    wan_dtype compute;
    int64_t vocab;
    double eps;
    const char *embedding; /* name of its tensor */
};

/* The rows of a window and the work space of a group. */
typedef struct window {
    wan_umt5 *e;
    const int64_t *len;
    int n;
    int64_t S, rows;               /* rows in all; in the largest group */
    wan_real *x, *t, *rstd, *last; /* last: weight of the norm behind the layers */
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
    WAN_TRY(wan_json_int(j, "d_model", 4096, 1, 65536, &e->w.D, path));
    WAN_TRY(wan_json_int(j, "d_kv", 64, 1, 1024, &e->w.hd, path));
    WAN_TRY(wan_json_int(j, "d_ff", 10240, 1, 1 << 20, &e->w.ffn, path));
    WAN_TRY(wan_json_int(j, "num_heads", 64, 1, 1024, &e->w.heads, path));
    WAN_TRY(wan_json_int(j, "num_layers", 24, 1, 1024, &e->w.layers, path));
    WAN_TRY(wan_json_int(j, "vocab_size", 256384, 1, 1 << 24, &e->vocab, path));
    WAN_TRY(wan_json_real(j, "layer_norm_epsilon", 1e-6, &e->eps, path));
    if (!(e->eps > 0 && e->eps < 1))
        return wan_err("%s: key \"layer_norm_epsilon\" is %g, must be between 0 and 1", path,
                       e->eps);
    WAN_TRY(
        wan_json_int(j, "relative_attention_num_buckets", UMT5_BUCKETS, 1, 1024, &buckets, path));
    WAN_TRY(wan_json_int(j, "relative_attention_max_distance", 128, 1, 4096, &distance, path));
    if (!gated || buckets != UMT5_BUCKETS || distance != 128)
        return wan_err("%s: not a UMT5 encoder with gated GELU and %d buckets up to distance 128",
                       path, UMT5_BUCKETS);
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

/* Every tensor there is, has its shape and is known, before any work. */
static int check_tensors(wan_umt5 *e)
{
    static const char alias[] = "encoder.embed_tokens.weight";
    int64_t shape[2] = { e->vocab, e->w.D };
    const char *extra;
    int both = wan_st_find(e->w.st, "shared.weight") && wan_st_find(e->w.st, alias);
    e->embedding = wan_st_find(e->w.st, "shared.weight") || !wan_st_find(e->w.st, alias)
                       ? "shared.weight"
                       : alias;
    WAN_TRY(wan_st_load(e->w.st, e->embedding, shape, 2, NULL, WAN_F32));
    if (both) /* the same matrix under a second name */
        WAN_TRY(wan_st_load(e->w.st, alias, shape, 2, NULL, WAN_F32));
    WAN_TRY(wan_umt5_layers_check(&e->w));
    WAN_TRY(wan_st_load(e->w.st, "encoder.final_layer_norm.weight", &e->w.D, 1, NULL, WAN_F32));
    if (wan_st_unused(e->w.st, &extra) > 0)
        return wan_err("%s: tensor %s: not part of this model", wan_st_find(e->w.st, extra)->file,
                       extra);
    return 0;
}

static int open_into(wan_umt5 *e, const char *dir)
{
    WAN_TRY(open_config(e, dir));
    WAN_TRY(wan_st_open(&e->w.st, dir));
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
    e->d = e->w.d = d;
    e->compute = e->w.compute = compute;
    if (open_into(e, dir) < 0) {
        wan_umt5_close(&e);
        return -1;
    }
    *out = e;
    return 0;
}

void wan_umt5_close(wan_umt5 **ep)
{
    if (!ep || !*ep)
        return;
    wan_umt5_layers_close(&(*ep)->w);
    free(*ep);
    *ep = NULL;
}

int64_t wan_umt5_width(const wan_umt5 *e)
{
    return e->w.D;
}

int64_t wan_umt5_bytes(const wan_umt5 *e)
{
    return wan_umt5_layers_bytes(&e->w);
}

/* ---- computing */

static int run_attention(window *w, const umt5_layer *l, wan_real *x, const wan_pack *pack)
{
    wan_umt5 *e = w->e;
    wan_dev *d = e->d;
    const wan_ops *o = d->ops;
    int64_t S = pack->S, D = e->w.D, inner = e->w.heads * e->w.hd;
    wan_buf none = wan_buf_of(NULL, WAN_REAL);
    wan_rms rms = wan_rms_of(S, D, e->eps);
    WAN_TRY(o->rmsnorm_forward(d, &rms, w->norm, w->rstd, WAN_RBUF(x), l->w[UMT5_NORM1].p));
    WAN_TRY(
        o->linear_forward(d, w->q, none, w->norm, l->w[UMT5_Q], NULL, S, inner, D, WAN_ACT_NONE));
    WAN_TRY(
        o->linear_forward(d, w->k, none, w->norm, l->w[UMT5_K], NULL, S, inner, D, WAN_ACT_NONE));
    WAN_TRY(
        o->linear_forward(d, w->v, none, w->norm, l->w[UMT5_V], NULL, S, inner, D, WAN_ACT_NONE));
    wan_attn a = { .pq = pack,
                   .pk = pack,
                   .H = (int)e->w.heads,
                   .hd = e->w.hd,
                   .scale = 1,
                   .ldq = inner,
                   .ldk = inner,
                   .ldv = inner,
                   .ldo = inner };
    WAN_TRY(o->attention_t5(d, &a, w->a, w->q, w->k, w->v, l->w[UMT5_BIAS].p));
    WAN_TRY(o->linear_forward(d, WAN_RBUF(w->t), none, w->a, l->w[UMT5_O], NULL, S, D, inner,
                              WAN_ACT_NONE));
    return o->axpy(d, WAN_RBUF(x), 1, WAN_RBUF(w->t), S * D);
}

static int run_ffn(window *w, const umt5_layer *l, wan_real *x, const wan_pack *pack)
{
    wan_umt5 *e = w->e;
    wan_dev *d = e->d;
    const wan_ops *o = d->ops;
    int64_t S = pack->S, D = e->w.D, F = e->w.ffn;
    wan_buf none = wan_buf_of(NULL, WAN_REAL);
    wan_rms rms = wan_rms_of(S, D, e->eps);
    WAN_TRY(o->rmsnorm_forward(d, &rms, w->norm, w->rstd, WAN_RBUF(x), l->w[UMT5_NORM2].p));
    WAN_TRY(
        o->linear_forward(d, w->a, none, w->norm, l->w[UMT5_GATE], NULL, S, F, D, WAN_ACT_NONE));
    WAN_TRY(o->linear_forward(d, w->b, none, w->norm, l->w[UMT5_UP], NULL, S, F, D, WAN_ACT_NONE));
    WAN_TRY(o->act_gated(d, w->a, w->a, w->b, S * F, WAN_ACT_GELU_TANH));
    WAN_TRY(o->linear_forward(d, WAN_RBUF(w->t), none, w->a, l->w[UMT5_DOWN], NULL, S, D, F,
                              WAN_ACT_NONE));
    return o->axpy(d, WAN_RBUF(x), 1, WAN_RBUF(w->t), S * D);
}

static int run_layers(window *w)
{
    wan_umt5 *e = w->e;
    for (int64_t i = 0; i < e->w.layers; i++) {
        wan_real *x = w->x;
        const umt5_layer *l;
        WAN_TRY(wan_umt5_layers_enter(&e->w, i, &l));
        for (int g = 0; g < w->groups; g++) {
            WAN_TRY(run_attention(w, l, x, &w->pack[g]));
            WAN_TRY(run_ffn(w, l, x, &w->pack[g]));
            x += w->pack[g].S * e->w.D;
        }
        WAN_TRY(wan_umt5_layers_leave(&e->w, i));
    }
    return 0;
}

/* rms(x)*w, group by group, back to the host. */
static int finish(window *w, float *rows)
{
    wan_umt5 *e = w->e;
    wan_real *x = w->x;
    WAN_TRY(wan_umt5_layers_vector(&e->w, "encoder.final_layer_norm.weight", w->last));
    for (int g = 0; g < w->groups; g++) {
        int64_t S = w->pack[g].S;
        wan_rms rms = wan_rms_of(S, e->w.D, e->eps);
        WAN_TRY(
            e->d->ops->rmsnorm_forward(e->d, &rms, WAN_RBUF(w->t), w->rstd, WAN_RBUF(x), w->last));
        WAN_TRY(wan_dev_read(e->d, rows, w->t, (size_t)(S * e->w.D) * sizeof *rows));
        x += S * e->w.D;
        rows += S * e->w.D;
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
    int64_t inner = e->w.heads * e->w.hd;
    w->norm = take(w, e->w.D, &bad);
    w->q = take(w, inner, &bad);
    w->k = take(w, inner, &bad);
    w->v = take(w, inner, &bad);
    w->a = take(w, e->w.ffn > inner ? e->w.ffn : inner, &bad);
    w->b = take(w, e->w.ffn, &bad);
    w->x = wan_dev_alloc(e->d, (size_t)(w->S * e->w.D) * sizeof(wan_real), "text rows");
    w->t = wan_dev_alloc(e->d, (size_t)(w->rows * e->w.D) * sizeof(wan_real), "text rows");
    w->rstd = wan_dev_alloc(e->d, (size_t)w->rows * sizeof(wan_real), "text rows");
    w->last = wan_dev_alloc(e->d, (size_t)e->w.D * sizeof(wan_real), "text rows");
    return bad || !w->x || !w->t || !w->rstd || !w->last ? -1 : 0;
}

static void free_window(window *w)
{
    wan_dev *d = w->e->d;
    void *all[] = {
        w->norm.p, w->q.p, w->k.p, w->v.p, w->a.p, w->b.p, w->x, w->t, w->rstd, w->last
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        wan_dev_free(d, all[i]);
    for (int g = 0; g < w->groups; g++)
        wan_pack_free(d, &w->pack[g]);
    free(w->pack);
}

/* One caption's rows of the embedding, by way of `row`, which is aligned. */
static int embed_one(const wan_umt5 *e, float *rows, const wan_st_tensor *t, void *row,
                     const int32_t *ids, int64_t len, int caption)
{
    const size_t bytes = (size_t)e->w.D * wan_dtype_size(t->dtype);
    for (int64_t k = 0; k < len; k++, rows += e->w.D) {
        if (ids[k] < 0 || ids[k] >= e->vocab)
            return wan_err("%s: token id %d of caption %d: the embedding has %lld rows", t->file,
                           (int)ids[k], caption, (long long)e->vocab);
        memcpy(row, (const char *)t->data + (size_t)ids[k] * bytes, bytes);
        WAN_TRY(wan_convert(rows, WAN_F32, row, t->dtype, (size_t)e->w.D));
    }
    return 0;
}

/* Rows of the embedding, taken out of the mapped file one by one. */
static int embed(wan_umt5 *e, float *rows, const int32_t *const *ids, const int64_t *len, int n)
{
    const wan_st_tensor *t = wan_st_find(e->w.st, e->embedding);
    void *row = wan_malloc((size_t)e->w.D, wan_dtype_size(t->dtype), "embedding");
    int rc = row ? 0 : -1;
    for (int i = 0; i < n && rc == 0; rows += len[i] * e->w.D, i++)
        rc = embed_one(e, rows, t, row, ids[i], len[i], i);
    free(row);
    wan_st_release(e->w.st, t);
    return rc;
}

static int encode_window(window *w, float *rows, const int32_t *const *ids)
{
    wan_umt5 *e = w->e;
    WAN_TRY(embed(e, rows, ids, w->len, w->n));
    WAN_TRY(make_groups(w));
    WAN_TRY(make_space(w));
    WAN_TRY(wan_dev_write(e->d, w->x, rows, (size_t)(w->S * e->w.D) * sizeof *rows));
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
    int rc = wan_umt5_layers_begin(&e->w);
    if (rc == 0)
        rc = encode_window(&w, rows, ids);
    free_window(&w);
    wan_umt5_layers_end(&e->w);
    return rc;
}
