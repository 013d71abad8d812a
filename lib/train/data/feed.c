/* SPDX-License-Identifier: Apache-2.0
 *
 * feed.c - see feed.h.
 */
#include "lib/train/data/feed.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/rng.h"
#include "lib/base/sha256.h"
#include "lib/rec/shard/keyset.h"
#include "lib/rec/tensor/safetensors.h"
#include "lib/train/data/blend.h"

typedef struct feed_part {
    wan_dataset *data; /* NULL: mock, or debug.batch */
    char *name;        /* for messages */
    char *caption;     /* the field whose captions are meant; NULL: any */
    int whole;         /* a part of the folder, no list of its shards */
    int64_t first, n;  /* its samples in the feed */
} feed_part;

struct wan_feed {
    feed_part *part; /* [parts] */
    wan_mix_part *mix;
    int parts, spread;
    int draw;              /* one of several captions; else the first */
    wan_sample_info *info; /* [n] */
    int64_t n;
    uint64_t seed;
    char digest[65];
    int blank;             /* nothing is read */
    wan_st *batch;         /* debug.batch */
    float *sigma, **noise; /* [n] or NULL; [n], each owned or NULL */
};

/* Mock sample i: every other one a video of the full size; with mock_vary the rest are images and
 * videos of half the height, with captions of any length. */
static wan_sample_info mock_info(const wan_train_config *c, int64_t i, int64_t channels,
                                 int64_t text_dim)
{
    wan_sample_info f = { { channels, c->mock_t, c->mock_h, c->mock_w }, c->mock_text, text_dim };
    if (!c->mock_vary)
        return f;
    wan_rng r = wan_rng_stream((uint64_t)c->seed, WAN_RNG_MOCK, 1, (uint64_t)i);
    if (i % 4 == 1)
        f.latent[1] = 1;
    if (i % 4 == 3 && c->mock_h % 4 == 0)
        f.latent[2] /= 2;
    f.text_rows = (int64_t)wan_rng_below(&r, 0, (uint64_t)c->mock_text + 1);
    return f;
}

static int measure_mock(wan_feed *s, const wan_train_config *c, int64_t channels, int64_t text_dim)
{
    for (int64_t i = 0; i < s->n; i++) {
        s->info[i] = mock_info(c, i, channels, text_dim);
        if (s->info[i].latent[2] % 2 || s->info[i].latent[3] % 2)
            return wan_err("dataset.H_latents and dataset.W_latents must be even");
    }
    return 0;
}

static int measure_part(wan_feed *s, const feed_part *p, int64_t channels, int64_t text_dim)
{
    WAN_TRY(wan_dataset_infos(p->data, s->info + p->first));
    for (int64_t i = 0; i < p->n; i++) {
        const wan_sample_info *f = &s->info[p->first + i];
        if (f->latent[0] != channels)
            return wan_err("%s: sample %lld has %lld latent channels, the model %lld", p->name,
                           (long long)i, (long long)f->latent[0], (long long)channels);
        if (f->text_dim != text_dim)
            return wan_err("%s: sample %lld has text rows of width %lld, the model's text_dim is "
                           "%lld",
                           p->name, (long long)i, (long long)f->text_dim, (long long)text_dim);
    }
    return 0;
}

static int measure(wan_feed *s, const wan_train_config *c, int64_t channels, int64_t text_dim)
{
    s->info = wan_calloc((size_t)s->n, sizeof *s->info, "sample shapes");
    if (!s->info)
        return -1;
    if (!s->part[0].data)
        return measure_mock(s, c, channels, text_dim);
    for (int i = 0; i < s->parts; i++)
        WAN_TRY(measure_part(s, &s->part[i], channels, text_dim));
    return 0;
}

static int alloc_parts(wan_feed *s, int n)
{
    s->part = wan_calloc((size_t)n, sizeof *s->part, "datasets");
    s->mix = wan_calloc((size_t)n, sizeof *s->mix, "datasets");
    return s->part && s->mix ? 0 : -1;
}

/* One dataset without a folder: mock data, debug.batch. */
static int sole_part(wan_feed *s, int64_t n)
{
    WAN_TRY(alloc_parts(s, 1));
    s->parts = 1;
    s->n = s->part[0].n = n;
    s->mix[0] = (wan_mix_part){ n, n };
    return 0;
}

/* Places of a block for each dataset: by weight, or its samples as often as it is repeated. */
static int set_quotas(wan_feed *s, const wan_blend *b, int eval)
{
    int64_t *quota = wan_calloc((size_t)b->n, sizeof *quota, "weights");
    double *share = wan_calloc((size_t)b->n, sizeof *share, "weights");
    int rc = quota && share ? 0 : -1;
    for (int i = 0; i < b->n && rc == 0; i++) {
        double places = b->leaf[i].share * (double)s->part[i].n;
        share[i] = b->leaf[i].share;
        quota[i] = eval ? s->part[i].n : places < 1 ? 1 : (int64_t)llround(places);
        if (!eval && !b->weighted && places > 1e15)
            rc = wan_err("%s: repeated too often", s->part[i].name);
    }
    s->spread = b->weighted && !eval;
    if (rc == 0 && s->spread)
        rc = wan_mix_quotas(quota, share, b->n);
    for (int i = 0; i < b->n && rc == 0; i++)
        s->mix[i] = (wan_mix_part){ s->part[i].n, quota[i] };
    free(quota);
    free(share);
    return rc;
}

/* One dataset keeps its own digest, so that naming it in a list changes nothing. */
static void digest_parts(wan_feed *s)
{
    wan_sha256 h;
    if (s->parts == 1 && !s->part[0].caption) {
        snprintf(s->digest, sizeof s->digest, "%s", wan_dataset_digest(s->part[0].data));
        return;
    }
    wan_sha256_init(&h);
    for (int i = 0; i < s->parts; i++) {
        wan_sha256_add(&h, wan_dataset_digest(s->part[i].data), 64);
        wan_sha256_add(&h, &s->mix[i], sizeof s->mix[i]);
        if (s->part[i].caption)
            wan_sha256_add(&h, s->part[i].caption, strlen(s->part[i].caption) + 1);
    }
    wan_sha256_hex(&h, s->digest);
}

static int open_leaf(feed_part *p, const wan_blend_leaf *x, int64_t first)
{
    p->name = strdup(x->dir);
    p->caption = x->caption ? strdup(x->caption) : NULL;
    if (!p->name || (x->caption && !p->caption))
        return wan_err("out of memory (datasets)");
    WAN_TRY(x->shards.n ? wan_dataset_open_shards(&p->data, x->dir, &x->shards)
                        : wan_dataset_open(&p->data, x->dir, x->split));
    p->whole = !x->shards.n;
    p->first = first;
    p->n = wan_dataset_count(p->data);
    if (p->n < 1)
        return wan_err("%s: the split \"%s\" holds no samples", x->dir, x->split);
    return 0;
}

static int open_blend(wan_feed *s, const wan_blend *b, int eval)
{
    WAN_TRY(alloc_parts(s, b->n));
    for (int i = 0; i < b->n; i++) {
        s->parts++;
        WAN_TRY(open_leaf(&s->part[i], &b->leaf[i], s->n));
        s->n += s->part[i].n;
    }
    WAN_TRY(set_quotas(s, b, eval));
    digest_parts(s);
    return 0;
}

/* 1 when the part is there and holds samples, 0 when not; a pattern of shards has none. */
static int has_part(const wan_blend_leaf *x)
{
    wan_dataset *d;
    int there = x->shards.n ? 0 : wan_dataset_has(x->dir, x->split);
    if (there <= 0)
        return there;
    WAN_TRY(wan_dataset_open(&d, x->dir, x->split));
    there = wan_dataset_count(d) > 0;
    wan_dataset_close(&d);
    return there;
}

/* Validation takes what has the part. */
static int keep_with_part(wan_blend *b)
{
    int n = 0, rc = 0;
    for (int i = 0; i < b->n && rc == 0; i++) {
        int yes = has_part(&b->leaf[i]);
        if (yes < 0) {
            rc = -1;
            break;
        }
        wan_blend_leaf x = b->leaf[i];
        b->leaf[i] = b->leaf[n];
        b->leaf[n] = x;
        n += yes;
    }
    for (int i = n; i < b->n; i++) {
        free(b->leaf[i].dir);
        free(b->leaf[i].split);
        free(b->leaf[i].caption);
        wan_names_clear(&b->leaf[i].shards);
    }
    b->n = n;
    return rc;
}

static int open_path(wan_feed *s, const char *path, const char *split, int eval)
{
    wan_blend b;
    WAN_TRY(wan_blend_load(&b, path, split));
    int rc = eval ? keep_with_part(&b) : 0;
    if (rc == 0)
        rc = b.n ? open_blend(s, &b, eval) : wan_err("%s: has no split \"%s\"", path, split);
    wan_blend_clear(&b);
    return rc;
}

static int open_any(wan_feed **out, const wan_train_config *c, const char *path, const char *split,
                    int64_t channels, int64_t text_dim, int eval)
{
    wan_feed *s = wan_calloc(1, sizeof *s, "feed");
    *out = NULL;
    if (!s)
        return -1;
    s->seed = (uint64_t)c->seed;
    s->draw = c->draw_captions && !eval;
    if (*path) {
        WAN_GOTO(open_path(s, path, split, eval), fail);
    } else {
        WAN_GOTO(sole_part(s, c->mock_samples), fail);
        snprintf(s->digest, sizeof s->digest, "mock");
        s->seed += (uint64_t)eval << 63; /* other samples than those that are trained on */
    }
    WAN_GOTO(measure(s, c, channels, text_dim), fail);
    *out = s;
    return 0;
fail:
    wan_feed_close(&s);
    return -1;
}

int wan_feed_open(wan_feed **out, const wan_train_config *c, const char *path, const char *split,
                  int64_t channels, int64_t text_dim)
{
    return open_any(out, c, path, split, channels, text_dim, 0);
}

int wan_feed_open_val(wan_feed **out, const wan_train_config *c, const char *path, int64_t channels,
                      int64_t text_dim)
{
    return open_any(out, c, path, "val", channels, text_dim, 1);
}

void wan_feed_close(wan_feed **ps)
{
    wan_feed *s = *ps;
    if (!s)
        return;
    for (int i = 0; i < s->parts; i++) {
        wan_dataset_close(&s->part[i].data);
        free(s->part[i].name);
        free(s->part[i].caption);
    }
    free(s->part);
    free(s->mix);
    for (int64_t i = 0; s->noise && i < s->n; i++)
        free(s->noise[i]);
    free(s->noise);
    free(s->sigma);
    if (s->batch)
        wan_st_close(&s->batch);
    free(s->info);
    free(s);
    *ps = NULL;
}

void wan_feed_tell_unknown(const wan_feed *s)
{
    wan_keyset met = WAN_KEYSET_INIT;
    int added = 0;
    for (int i = 0; i < s->parts && added >= 0; i++)
        if (s->part[i].whole && (added = wan_keyset_add(&met, s->part[i].name)) > 0 &&
            wan_dataset_tell_unknown(s->part[i].name) < 0)
            wan_warn("%s: shards that the index does not know cannot be looked for: %s",
                     s->part[i].name, wan_err_text());
    wan_keyset_clear(&met);
    wan_err_clear();
}

int64_t wan_feed_count(const wan_feed *s)
{
    return s->n;
}

const wan_sample_info *wan_feed_info(const wan_feed *s, int64_t i)
{
    return &s->info[i];
}

const char *wan_feed_digest(const wan_feed *s)
{
    return s->digest;
}

static int mock_read(wan_feed *s, int64_t i, wan_sample *out)
{
    const wan_sample_info *f = &s->info[i];
    size_t nl = (size_t)(f->latent[0] * f->latent[1] * f->latent[2] * f->latent[3]);
    size_t nt = (size_t)(f->text_rows * f->text_dim);
    wan_rng r = wan_rng_stream(s->seed, WAN_RNG_MOCK, 0, (uint64_t)i);
    wan_sample_clear(out);
    out->info = *f;
    out->latent = wan_malloc(nl, sizeof *out->latent, "mock latent");
    out->text = wan_malloc(nt + 1, sizeof *out->text, "mock text");
    if (!out->latent || !out->text)
        return -1;
    wan_rng_normal(&r, out->latent, 0, nl);
    wan_rng_normal(&r, out->text, nl + (nl & 1), nt);
    return 0;
}

/* ---- debug.batch ---- */

static const wan_st_tensor *member(const wan_feed *s, const char *kind, int64_t i)
{
    char name[64];
    snprintf(name, sizeof name, "%s.%lld", kind, (long long)i);
    return wan_st_find(s->batch, name);
}

static float *floats(const wan_feed *s, const wan_st_tensor *x)
{
    float *host = wan_malloc((size_t)(x->count + 1), sizeof *host, x->name);
    if (host && wan_st_load(s->batch, x->name, x->shape, x->rank, host, WAN_F32) < 0) {
        free(host);
        return NULL;
    }
    return host;
}

static int batch_member(wan_feed *s, int64_t i, const char *path, int64_t channels,
                        int64_t text_dim)
{
    const wan_st_tensor *x = member(s, "x0", i), *text = member(s, "text", i);
    const wan_st_tensor *noise = member(s, "noise", i);
    if (x->rank != 4 || x->shape[0] != channels || x->shape[2] % 2 || x->shape[3] % 2)
        return wan_err("%s: tensor %s is not [%lld, T, h, w] with even h and w", path, x->name,
                       (long long)channels);
    if (!text || text->rank != 2 || text->shape[1] != text_dim)
        return wan_err("%s: no tensor text.%lld of [rows, %lld]", path, (long long)i,
                       (long long)text_dim);
    if (noise && (noise->rank != 4 || memcmp(noise->shape, x->shape, 4 * sizeof *x->shape)))
        return wan_err("%s: tensor %s has not the shape of %s", path, noise->name, x->name);
    memcpy(s->info[i].latent, x->shape, 4 * sizeof *x->shape);
    s->info[i].text_rows = text->shape[0];
    s->info[i].text_dim = text_dim;
    return noise && !(s->noise[i] = floats(s, noise)) ? -1 : 0;
}

static int batch_open(wan_feed *s, const char *path, int64_t channels, int64_t text_dim)
{
    WAN_TRY(wan_st_open(&s->batch, path));
    int64_t n = 0;
    while (member(s, "x0", n))
        n++;
    if (!n)
        return wan_err("%s: no tensor x0.0", path);
    WAN_TRY(sole_part(s, n));
    s->info = wan_calloc((size_t)s->n, sizeof *s->info, "sample shapes");
    s->noise = wan_calloc((size_t)s->n, sizeof *s->noise, "noise");
    if (!s->info || !s->noise)
        return -1;
    for (int64_t i = 0; i < s->n; i++)
        WAN_TRY(batch_member(s, i, path, channels, text_dim));
    const wan_st_tensor *sigma = wan_st_find(s->batch, "sigma");
    if (sigma && (sigma->count != s->n || !(s->sigma = floats(s, sigma))))
        return wan_err("%s: tensor sigma is not [%lld]", path, (long long)s->n);
    for (int64_t i = 0; s->sigma && i < s->n; i++)
        if (!(s->sigma[i] >= 0 && s->sigma[i] <= 1))
            return wan_err("%s: sigma[%lld] is not within [0, 1]", path, (long long)i);
    return 0;
}

int wan_feed_open_batch(wan_feed **out, const char *path, int64_t channels, int64_t text_dim)
{
    wan_feed *s = wan_calloc(1, sizeof *s, "feed");
    *out = NULL;
    if (!s)
        return -1;
    snprintf(s->digest, sizeof s->digest, "batch");
    if (batch_open(s, path, channels, text_dim) < 0) {
        wan_feed_close(&s);
        return -1;
    }
    *out = s;
    return 0;
}

static int batch_read(wan_feed *s, int64_t i, wan_sample *out)
{
    wan_sample_clear(out);
    out->info = s->info[i];
    out->latent = floats(s, member(s, "x0", i));
    out->text = floats(s, member(s, "text", i));
    return out->latent && out->text ? 0 : -1;
}

int wan_feed_sigma(const wan_feed *s, int64_t i, float *sigma)
{
    if (s->sigma)
        *sigma = s->sigma[i];
    return s->sigma != NULL;
}

const float *wan_feed_noise(const wan_feed *s, int64_t i)
{
    return s->noise ? s->noise[i] : NULL;
}

int wan_feed_has_val(const char *path)
{
    wan_blend b;
    WAN_TRY(wan_blend_load(&b, path, "val"));
    int rc = keep_with_part(&b), yes = b.n > 0;
    wan_blend_clear(&b);
    return rc < 0 ? -1 : yes;
}

const wan_mix_part *wan_feed_mix(const wan_feed *s, int *parts, int *spread)
{
    *parts = s->parts;
    *spread = s->spread;
    return s->mix;
}

int64_t wan_feed_epoch(const wan_feed *s)
{
    int64_t n = 0;
    for (int i = 0; i < s->parts; i++)
        n += s->mix[i].quota;
    return s->spread ? s->n : n;
}

int64_t wan_feed_first(const wan_feed *s, int part)
{
    return s->part[part].first;
}

const char *wan_feed_name(const wan_feed *s, int part)
{
    return s->part[part].name ? s->part[part].name : "";
}

/* The dataset of sample i. */
static const feed_part *part_of(const wan_feed *s, int64_t i)
{
    int lo = 0, hi = s->parts - 1;
    while (lo < hi) {
        int mid = (lo + hi + 1) / 2;
        if (s->part[mid].first <= i)
            lo = mid;
        else
            hi = mid - 1;
    }
    return &s->part[lo];
}

/* ---- reading ---- */

/* Rows up to the last one that is not all zeros. */
static int64_t true_rows(const float *text, int64_t rows, int64_t width)
{
    for (; rows > 0; rows--)
        for (int64_t j = 0; j < width; j++)
            if (text[(rows - 1) * width + j] != 0)
                return rows;
    return 0;
}

/* Which caption a position of the run gets. */
static wan_caption_choice choice_at(const wan_feed *s, const feed_part *p, int64_t position)
{
    wan_rng r = wan_rng_stream(s->seed, WAN_RNG_CAPTION, 0, (uint64_t)position);
    return (wan_caption_choice){ p->caption, (uint64_t)wan_rng_u32(&r, 0) << 32, !s->draw };
}

void wan_feed_blank(wan_feed *s)
{
    s->blank = 1;
}

static int blank_read(const wan_feed *s, int64_t i, int64_t text_len, wan_sample *out)
{
    wan_sample_info f = s->info[i];
    wan_sample_clear(out);
    f.text_rows = f.text_rows < text_len ? f.text_rows : text_len;
    out->info = f;
    out->latent = wan_calloc(1, sizeof *out->latent, "blank latent"); /* nobody reads it */
    return out->latent ? 0 : -1;
}

int wan_feed_read(wan_feed *s, int64_t i, int64_t position, int64_t text_len, wan_sample *out)
{
    if (s->blank)
        return blank_read(s, i, text_len, out);
    const feed_part *p = part_of(s, i);
    wan_caption_choice choice = choice_at(s, p, position);
    WAN_TRY(p->data    ? wan_dataset_read_caption(p->data, i - p->first, &choice, out)
            : s->batch ? batch_read(s, i, out)
                       : mock_read(s, i, out));
    const wan_sample_info *f = &s->info[i];
    if (memcmp(out->info.latent, f->latent, sizeof f->latent) || out->info.text_dim != f->text_dim)
        return wan_err("sample %lld (%s) is not the shape that it was measured with", (long long)i,
                       out->key ? out->key : "mock");
    int64_t rows = true_rows(out->text, out->info.text_rows, f->text_dim);
    out->info.text_rows = rows < text_len ? rows : text_len;
    return 0;
}
