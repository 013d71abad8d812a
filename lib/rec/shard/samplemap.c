/* SPDX-License-Identifier: Apache-2.0
 *
 * samplemap.c - packing: record to members.
 */
#include "lib/rec/shard/samplemap.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/crc32c.h"
#include "lib/base/file.h"
#include "lib/rec/tensor/torch.h"

int wan_samplemap_finite(const float *x, int64_t n, float limit, const char *what)
{
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(x[i]))
            return wan_err("%s: holds a value that is not finite", what);
        if (limit > 0 && fabsf(x[i]) > limit)
            return wan_err("%s: holds %g, larger than %g", what, (double)x[i], (double)limit);
    }
    return 0;
}

/* Converts n values through float in blocks, checking what will be stored. */
static int convert_checked(void *dst, wan_dtype dt, const wan_tensor *t, int64_t n, float limit)
{
    enum { BLOCK = 4096 };
    float x[BLOCK];
    char what[24];
    snprintf(what, sizeof what, "as %s", wan_dtype_name(dt));
    const uint8_t *from = t->data;
    uint8_t *to = dst;
    for (int64_t i = 0; i < n; i += BLOCK) {
        size_t m = (size_t)(n - i < BLOCK ? n - i : BLOCK);
        uint8_t *at = to + (size_t)i * wan_dtype_size(dt);
        const uint8_t *src = from + (size_t)i * wan_dtype_size(t->dtype);
        if (t->dtype == dt)
            memcpy(at, src, m * wan_dtype_size(dt));
        else
            WAN_TRY(wan_convert(at, dt, src, t->dtype, m));
        WAN_TRY(wan_convert(x, WAN_F32, at, dt, m));
        WAN_TRY(wan_samplemap_finite(x, (int64_t)m, limit, what));
    }
    return 0;
}

static int is_float(wan_dtype t)
{
    return t == WAN_F32 || t == WAN_F16 || t == WAN_BF16;
}

static int check_latent(const wan_tensor *t)
{
    if (t->rank != 4)
        return wan_err("has %d dimensions, not [C, T', h, w]", t->rank);
    for (int i = 0; i < 4; i++)
        if (t->shape[i] < 1)
            return wan_err("is empty");
    if (t->shape[2] % 2 || t->shape[3] % 2)
        return wan_err("is %" PRId64 "x%" PRId64
                       "; height and width must be even (pixels a multiple of 16)",
                       t->shape[2], t->shape[3]);
    return 0;
}

static int check_text(const wan_tensor *t)
{
    if (t->rank != 2 || t->shape[0] < 1 || t->shape[1] < 1)
        return wan_err("is not [rows, width] with at least one row");
    if (t->shape[0] > WAN_SAMPLE_TEXT_ROWS)
        return wan_err("has %" PRId64 " rows, more than %d", t->shape[0], WAN_SAMPLE_TEXT_ROWS);
    return 0;
}

/* Adds a part; takes data. */
static int add_part(wan_samplemap *m, const char *name, void *data, uint64_t size)
{
    wan_shard_part *p = &m->part[m->n];
    *p = (wan_shard_part){ .data = data, .size = size, .name = strdup(name) };
    m->n++;
    return p->name ? 0 : wan_err("out of memory (part)");
}

/* Adds the line of a tensor to the table; data as it is stored. */
static void describe(json_t **table, const wan_tensor *t, const char *part, wan_dtype dt,
                     const void *data, size_t bytes)
{
    char crc[16];
    snprintf(crc, sizeof crc, "%08" PRIx32, wan_crc32c(0, data, bytes));
    json_t *line = wan_json_object();
    wan_json_put(&line, "name", json_string(t->name));
    wan_json_put(&line, "part", json_string(part));
    wan_json_put(&line, "dtype", json_string(wan_dtype_name(dt)));
    wan_json_put(&line, "shape", wan_json_ints(t->shape, t->rank));
    wan_json_put(&line, "crc32c", json_string(crc));
    if (dt != t->dtype)
        wan_json_put(&line, "from", json_string(wan_dtype_name(t->dtype)));
    wan_json_push(table, line);
}

/* latent or text: checked, converted, as a torch file. */
static int pack_float(wan_samplemap *m, json_t **table, const wan_tensor *t, int want,
                      const char *part, wan_dtype *stored)
{
    int is_latent = !strcmp(part, "pth");
    if (!is_float(t->dtype))
        return wan_err("has type %s; F32, F16 or BF16 wanted", wan_dtype_name(t->dtype));
    WAN_TRY(is_latent ? check_latent(t) : check_text(t));
    wan_dtype dt = want < 0 ? t->dtype : (wan_dtype)want;
    int64_t n;
    WAN_TRY(wan_shape_count(&n, t->shape, t->rank));
    size_t bytes = (size_t)n * wan_dtype_size(dt), size;
    void *data = wan_malloc(1, bytes, t->name), *file = NULL;
    if (!data)
        return -1;
    int rc = convert_checked(data, dt, t, n, is_latent ? WAN_SAMPLE_LATENT_MAX : 0);
    if (rc == 0)
        rc = is_latent ? wan_torch_save(&file, &size, data, dt, t->shape, t->rank)
                       : wan_torch_pickle(&file, &size, data, dt, t->shape, t->rank);
    if (rc == 0)
        describe(table, t, part, dt, data, bytes);
    free(data);
    *stored = dt;
    return rc == 0 ? add_part(m, part, file, size) : (free(file), -1);
}

static int pack_raw(wan_samplemap *m, json_t **table, const wan_tensor *t, int number)
{
    char part[32];
    snprintf(part, sizeof part, "t%d.wan", number);
    void *data = wan_malloc(1, t->bytes + 1, t->name);
    if (!data)
        return -1;
    if (t->bytes)
        memcpy(data, t->data, t->bytes);
    describe(table, t, part, t->dtype, data, t->bytes);
    return add_part(m, part, data, t->bytes);
}

static int pack_tensors(wan_samplemap *m, json_t **table, const wan_record *r,
                        const wan_samplemap_options *opt)
{
    static const char *const need[] = { "latent", "text" };
    for (int i = 0; i < 2; i++)
        if (!wan_record_find(r, need[i]))
            return wan_err("no tensor \"%s\"; was it through wan-encode?", need[i]);
    for (int i = 0; i < r->n_tensors; i++) {
        const wan_tensor *t = &r->tensors[i];
        int rc = !strcmp(t->name, "latent")
                     ? pack_float(m, table, t, opt->latent_dtype, "pth", &m->latent_dtype)
                 : !strcmp(t->name, "text")
                     ? pack_float(m, table, t, opt->text_dtype, "pickle", &m->text_dtype)
                     : pack_raw(m, table, t, i);
        if (rc < 0)
            return wan_err_prefix("tensor %s", t->name);
    }
    return 0;
}

/* DFM's key: the record's own value when it has one of that type, else ours (taken). */
static void set(json_t **to, const json_t *meta, const char *key, json_t *ours)
{
    json_t *v = json_object_get(meta, key);
    if (v && ours &&
        (json_typeof(v) == json_typeof(ours) || (json_is_boolean(v) && json_is_boolean(ours)))) {
        json_decref(ours);
        ours = json_incref(v);
    }
    wan_json_put(to, key, ours);
}

static json_t *resize_settings(const json_t *meta, int64_t h, int64_t w)
{
    const char *mode = json_string_value(json_object_get(meta, "resize"));
    const char *fit = json_string_value(json_object_get(meta, "fit"));
    json_t *r = wan_json_object();
    wan_json_put(&r, "target_size", wan_json_ints((int64_t[]){ h, w }, 2));
    wan_json_put(&r, "resize_mode", json_string(mode ? mode : "bilinear"));
    wan_json_put(&r, "maintain_aspect_ratio", json_boolean(!(fit && !strcmp(fit, "stretch"))));
    wan_json_put(&r, "center_crop", json_boolean(fit && !strcmp(fit, "crop")));
    return r;
}

/* The keys DFM's preparation script writes, from what the record knows. */
static void set_dfm(json_t **to, const wan_record *r, const wan_tensor *latent)
{
    const json_t *meta = r->meta;
    const char *source = json_string_value(json_object_get(meta, "source"));
    const char *slash = source ? strrchr(source, '/') : NULL;
    int64_t frames = 1 + 4 * (latent->shape[1] - 1);
    int64_t h = 8 * latent->shape[2], w = 8 * latent->shape[3];
    int one = json_is_integer(json_object_get(meta, "frame_index"));
    set(to, meta, "video_path", json_string(slash ? slash + 1 : source ? source : r->key));
    set(to, meta, "processed_frames", json_integer(frames));
    set(to, meta, "processed_height", json_integer(h));
    set(to, meta, "processed_width", json_integer(w));
    set(to, meta, "caption", json_string(""));
    set(to, meta, "deterministic_latents", json_true());
    set(to, meta, "memory_optimization", json_true());
    set(to, meta, "model_version", json_string("wan2.1"));
    set(to, meta, "processing_mode", json_string(one ? "frames" : "video"));
    set(to, meta, "resize_settings", resize_settings(meta, h, w));
    if (one) {
        set(to, meta, "frame_index", json_integer(1));
        set(to, meta, "total_frames_in_video", json_integer(1));
    }
}

/* Maps and lists around the innermost value. */
static int depth_of(const json_t *j)
{
    int most = 0, one;
    const char *key;
    json_t *v;
    size_t i;
    json_array_foreach(j, i, v) most = (one = depth_of(v)) > most ? one : most;
    json_object_foreach((json_t *)(uintptr_t)j, key, v) most =
        (one = depth_of(v)) > most ? one : most;
    return most + (json_is_object(j) || json_is_array(j));
}

/* The json member: DFM's keys and ours. */
static int pack_json(wan_samplemap *m, const wan_record *r, const wan_samplemap_options *opt,
                     json_t *table)
{
    enum { MAX_DEPTH = 2000 }; /* of 2048 that can be read, with what is put around it */
    if (depth_of(r->meta) > MAX_DEPTH) {
        json_decref(table);
        return wan_err("its metadata are nested more than %d deep", (int)MAX_DEPTH);
    }
    json_t *root = wan_json_object(), *own = wan_json_object();
    wan_json_put(&own, "format", json_integer(1));
    wan_json_put(&own, "tensors", table);
    wan_json_put(&own, "meta", json_incref(r->meta));
    if (opt->provenance)
        wan_json_put(&own, "provenance", json_string(opt->provenance));
    if (opt->history)
        wan_json_put(&own, "history", json_deep_copy(opt->history));
    wan_json_put(&root, "wan", own);
    set_dfm(&root, r, wan_record_find(r, "latent"));
    char *text = wan_json_dump_as(root, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENSURE_ASCII);
    json_decref(root);
    return text ? add_part(m, "json", text, strlen(text)) : -1;
}

static int pack(wan_samplemap *m, const wan_record *r, const wan_samplemap_options *opt)
{
    m->part = wan_calloc((size_t)r->n_tensors + 1, sizeof *m->part, "parts");
    if (!m->part)
        return -1;
    json_t *table = wan_json_array();
    if (pack_tensors(m, &table, r, opt) < 0) {
        json_decref(table);
        return -1;
    }
    return pack_json(m, r, opt, table);
}

int wan_samplemap_pack(wan_samplemap *m, const wan_record *r, const wan_samplemap_options *opt)
{
    *m = (wan_samplemap){ 0 };
    int rc = pack(m, r, opt);
    if (rc < 0)
        wan_samplemap_clear(m);
    return rc;
}

void wan_samplemap_clear(wan_samplemap *m)
{
    for (int i = 0; i < m->n; i++) {
        free(m->part[i].name);
        free(m->part[i].data);
    }
    free(m->part);
    *m = (wan_samplemap){ 0 };
}

/* Behind the string that begins at p. */
static const char *skip_string(const char *p, const char *end)
{
    for (p++; p < end && *p != '"'; p++)
        p += *p == '\\';
    return p < end ? p + 1 : end;
}

static const char *skip_space(const char *p, const char *end)
{
    while (p < end && strchr(" \t\r\n", *p))
        p++;
    return p;
}

/* Of every sample when a dataset is indexed: taking it all apart would be most of that work. */
int wan_samplemap_own(const void *json, size_t n)
{
    static const char key[] = "\"wan\"";
    const char *p = json, *end = p + n;
    int depth = 0, own = 0;
    while (p < end) {
        const char *at = p;
        depth += (*p == '{' || *p == '[') - (*p == '}' || *p == ']');
        p = *p == '"' ? skip_string(p, end) : p + 1;
        if (depth != 1 || p - at != sizeof key - 1 || memcmp(at, key, sizeof key - 1))
            continue;
        p = skip_space(p, end);
        if (p < end && *p == ':') { /* of two the last one counts */
            p = skip_space(p + 1, end);
            own = p < end && *p == '{';
        }
    }
    return own && depth == 0;
}
