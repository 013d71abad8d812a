/* SPDX-License-Identifier: Apache-2.0
 *
 * feed.c - see feed.h.
 */
#include "lib/train/data/feed.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/rng.h"
#include "lib/rec/tensor/safetensors.h"

struct wan_feed {
    wan_dataset *data;     /* NULL: mock */
    wan_sample_info *info; /* [n] */
    int64_t n;
    uint64_t seed;
    char digest[65];
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

static int measure(wan_feed *s, const wan_train_config *c, int64_t channels, int64_t text_dim)
{
    s->info = wan_calloc((size_t)s->n, sizeof *s->info, "sample shapes");
    if (!s->info)
        return -1;
    if (s->data)
        WAN_TRY(wan_dataset_infos(s->data, s->info));
    for (int64_t i = 0; i < s->n; i++) {
        wan_sample_info *f = &s->info[i];
        if (!s->data) {
            *f = mock_info(c, i, channels, text_dim);
            if (f->latent[2] % 2 || f->latent[3] % 2)
                return wan_err("dataset.H_latents and dataset.W_latents must be even");
            continue;
        }
        if (f->latent[0] != channels)
            return wan_err("dataset: sample %lld has %lld latent channels, the model %lld",
                           (long long)i, (long long)f->latent[0], (long long)channels);
        if (f->text_dim != text_dim)
            return wan_err("dataset: sample %lld has text rows of width %lld, the model's text_dim "
                           "is %lld",
                           (long long)i, (long long)f->text_dim, (long long)text_dim);
    }
    return 0;
}

int wan_feed_open(wan_feed **out, const wan_train_config *c, const char *path, const char *split,
                  int64_t channels, int64_t text_dim)
{
    wan_feed *s = wan_calloc(1, sizeof *s, "feed");
    *out = NULL;
    if (!s)
        return -1;
    s->seed = (uint64_t)c->seed;
    if (*path) {
        WAN_GOTO(wan_dataset_open(&s->data, path, split), fail);
        s->n = wan_dataset_count(s->data);
        snprintf(s->digest, sizeof s->digest, "%s", wan_dataset_digest(s->data));
    } else {
        s->n = c->mock_samples;
        snprintf(s->digest, sizeof s->digest, "mock");
    }
    if (s->n < 1) {
        wan_err("%s: the split \"%s\" holds no samples", path, split);
        goto fail;
    }
    if (measure(s, c, channels, text_dim) < 0) {
        if (*path)
            wan_err_prefix("%s", path);
        goto fail;
    }
    *out = s;
    return 0;
fail:
    wan_feed_close(&s);
    return -1;
}

void wan_feed_close(wan_feed **ps)
{
    wan_feed *s = *ps;
    if (!s)
        return;
    wan_dataset_close(&s->data);
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
    while (member(s, "x0", s->n))
        s->n++;
    if (!s->n)
        return wan_err("%s: no tensor x0.0", path);
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

int wan_feed_has(const char *path, const char *split)
{
    wan_dataset *d = NULL;
    int yes = wan_dataset_open(&d, path, split) == 0 && wan_dataset_count(d) > 0;
    wan_dataset_close(&d);
    wan_err_clear();
    return yes;
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

int wan_feed_read(wan_feed *s, int64_t i, int64_t text_len, wan_sample *out)
{
    WAN_TRY(s->data    ? wan_dataset_read(s->data, i, out)
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
