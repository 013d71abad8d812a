/* SPDX-License-Identifier: Apache-2.0
 *
 * sample_check.c - see sample_check.h.
 */
#include "lib/rec/shard/sample_check.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/json.h"
#include "lib/base/mem.h"
#include "lib/rec/shard/samplemap.h"

static int is_float(wan_dtype t)
{
    return t == WAN_F64 || t == WAN_F32 || t == WAN_F16 || t == WAN_BF16;
}

static int finite_doubles(const wan_tensor *t, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double x;
        memcpy(&x, (const char *)t->data + 8 * i, sizeof x);
        if (!isfinite(x))
            return wan_err("%s: holds a value that is not finite", t->name);
    }
    return 0;
}

/* Every number of a tensor; limit 0: none. */
static int check_finite(const wan_tensor *t, float limit)
{
    int64_t n;
    WAN_TRY(wan_shape_count(&n, t->shape, t->rank));
    if (t->dtype == WAN_F64 && limit == 0) /* may be too large for a float */
        return finite_doubles(t, n);
    float *x = wan_malloc((size_t)n + 1, sizeof *x, t->name);
    int rc = x ? wan_convert(x, WAN_F32, t->data, t->dtype, (size_t)n) : -1;
    if (rc == 0)
        rc = wan_samplemap_finite(x, n, limit, t->name);
    free(x);
    return rc;
}

static int check_latent(const wan_tensor *t)
{
    if (t->rank != 4 || !t->bytes)
        return wan_err("latent: has %d dimensions", t->rank);
    if (t->shape[2] % 2 || t->shape[3] % 2)
        return wan_err("latent: odd height or width");
    return check_finite(t, WAN_SAMPLE_LATENT_MAX);
}

static int check_text(const wan_tensor *t)
{
    if (t->rank != 2 || !t->bytes)
        return wan_err("%s: has %d dimensions", t->name, t->rank);
    if (t->shape[0] > WAN_SAMPLE_TEXT_ROWS)
        return wan_err("%s: has %" PRId64 " rows, more than %d", t->name, t->shape[0],
                       WAN_SAMPLE_TEXT_ROWS);
    return check_finite(t, 0);
}

/* Trained on together they must be of one type and width. */
static int check_like(wan_sample_like *like, const wan_tensor *latent, const wan_tensor *text)
{
    wan_sample_like is = { 1, (int)latent->dtype, (int)text->dtype, latent->shape[0],
                           text->shape[1] };
    if (!like->known)
        *like = is;
    if (is.latent != like->latent || is.text != like->text) {
        int l = is.latent != like->latent;
        return wan_err("%s: is %s, the first sample's is %s", l ? "latent" : "text",
                       wan_dtype_name((wan_dtype)(l ? is.latent : is.text)),
                       wan_dtype_name((wan_dtype)(l ? like->latent : like->text)));
    }
    if (is.channels != like->channels)
        return wan_err("latent: has %" PRId64 " channels, the first sample's has %" PRId64,
                       is.channels, like->channels);
    if (is.width != like->width)
        return wan_err("text: has rows of %" PRId64 ", the first sample's has of %" PRId64,
                       is.width, like->width);
    return 0;
}

/* Sizes in pixels as DFM's keys have them, where they are there. */
static int check_pixels(const json_t *root, const wan_tensor *latent)
{
    static const struct {
        const char *key;
        int axis;
    } row[] = { { "processed_frames", 1 }, { "processed_height", 2 }, { "processed_width", 3 } };
    for (int i = 0; i < 3; i++) {
        const json_t *v = json_object_get(root, row[i].key);
        int64_t says = json_integer_value(v), is = latent->shape[row[i].axis];
        int64_t gives =
            i == 0 ? (says - 1) / 4 + 1 : says / 8; /* frames: before the VAE cut them */
        if (v && (!json_is_integer(v) || says < 1 || gives != is))
            return wan_err("json: %s does not fit a latent of %" PRId64 "x%" PRId64 "x%" PRId64,
                           row[i].key, latent->shape[1], latent->shape[2], latent->shape[3]);
    }
    return 0;
}

/* A text for each of several captions. */
static int check_captions(const wan_record *r, int64_t width)
{
    size_t n = json_array_size(json_object_get(r->meta, "caption_list"));
    for (size_t i = 1; i < n; i++) {
        char name[32];
        snprintf(name, sizeof name, "text_%zu", i + 1);
        const wan_tensor *t = wan_record_find(r, name);
        if (!t)
            return wan_err("%s is missing: the json has %zu captions", name, n);
        WAN_TRY(check_text(t));
        if (t->shape[1] != width)
            return wan_err("%s: has rows of %" PRId64 ", the first text of %" PRId64, name,
                           t->shape[1], width);
    }
    return 0;
}

static int check_record(wan_sample_like *like, const wan_record *r, const json_t *root)
{
    const wan_tensor *latent = wan_record_find(r, "latent"), *text = wan_record_find(r, "text");
    if (!latent || !text)
        return wan_err("no tensor %s", latent ? "text" : "latent");
    WAN_TRY(check_latent(latent));
    WAN_TRY(check_text(text));
    for (int i = 0; i < r->n_tensors; i++)
        if (&r->tensors[i] != latent && &r->tensors[i] != text && is_float(r->tensors[i].dtype))
            WAN_TRY(check_finite(&r->tensors[i], 0));
    WAN_TRY(check_pixels(root, latent));
    WAN_TRY(check_captions(r, text->shape[1]));
    return check_like(like, latent, text);
}

int wan_sample_check(wan_sample_like *like, const wan_shard_sample *s, const char *shard)
{
    wan_record r = WAN_RECORD_INIT;
    WAN_TRY(wan_samplemap_unpack(&r, NULL, s, shard)); /* which finds a json member that parses */
    const wan_shard_part *p = wan_shard_find(s, "json");
    json_t *root = wan_json_parse(p->data, p->size, "json");
    int rc = root ? check_record(like, &r, root) : -1;
    json_decref(root);
    wan_record_clear(&r);
    return rc < 0 ? wan_err_prefix("%s: sample %s", shard, s->key) : 0;
}
