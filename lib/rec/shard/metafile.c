/* SPDX-License-Identifier: Apache-2.0
 *
 * metafile.c - reads .meta files.
 */
#include "lib/rec/shard/metafile.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/rec/record/clip_key.h"
#include "lib/rec/record/record_format.h"
#include "lib/rec/shard/measure.h"
#include "lib/rec/shard/shard.h"
#include "lib/rec/tensor/torch_values.h"

/* A tensor of that name and rank + 1 with a batch of one, which goes. */
static int add(wan_record *r, wan_torch *w, const char *from, const char *name, int rank)
{
    wan_torch_tensor *t = wan_torch_find(w, from);
    int64_t shape[WAN_MAX_RANK];
    if (!t)
        return wan_err("no tensor %s: is it a .meta file of Automodel?", from);
    if (t->rank != rank + 1 || t->shape[0] != 1 || !t->count)
        return wan_err("%s has not %d dimensions with a batch of one", from, rank + 1);
    size_t size = wan_dtype_size(t->dtype);
    void *data = wan_malloc((size_t)t->count, size, from);
    if (!data)
        return -1;
    if (wan_torch_read(w, t, data, t->dtype) < 0) {
        free(data);
        return -1;
    }
    memcpy(shape, t->shape + 1, (size_t)rank * sizeof *shape);
    if (rank == 2)
        shape[0] = wan_measure_rows(data, shape[0], (uint64_t)shape[1] * size);
    return wan_record_add(r, name, t->dtype, shape, rank, data, WAN_TAKE);
}

/* One flat map, with a caption and a source. */
static json_t *flatten(json_t *values)
{
    static const char *const captions[] = { "caption", "vila_caption", "prompt" };
    static const char *const sources[] = { "original_video_path", "video_path", "file_name",
                                           "original_filename" };
    json_t *meta = wan_json_object(), *v = NULL;
    if (json_is_object(json_object_get(values, "metadata")))
        wan_json_merge(&meta, json_object_get(values, "metadata"));
    wan_json_merge(&meta, values);
    if (meta)
        json_object_del(meta, "metadata");
    for (size_t i = 0; !json_is_string(v) && i < 3; i++)
        v = json_object_get(meta, captions[i]);
    if (json_is_string(v))
        wan_json_put(&meta, "caption", json_incref(v));
    v = NULL;
    for (size_t i = 0; !json_is_string(v) && i < 4; i++)
        v = json_object_get(meta, sources[i]);
    if (json_is_string(v)) {
        const char *path = json_string_value(v), *slash = strrchr(path, '/');
        wan_json_put(&meta, "source", json_string(slash ? slash + 1 : path));
    }
    return meta;
}

static int fill(wan_record *r, wan_torch *w, const char *key)
{
    WAN_TRY(wan_record_set_key(r, key));
    json_t *values = wan_torch_values(w);
    if (!values)
        return -1;
    json_decref(r->meta);
    r->meta = flatten(values);
    json_decref(values);
    if (!r->meta)
        return -1;
    WAN_TRY(add(r, w, "video_latents", "latent", 4));
    return add(r, w, "text_embeddings", "text", 2);
}

int wan_metafile_read(wan_record *r, const char *path, const char *key)
{
    wan_torch *w;
    wan_record_clear(r);
    WAN_TRY(wan_torch_open(&w, path));
    int rc = fill(r, w, key);
    wan_torch_close(&w);
    return rc < 0 ? wan_err_prefix("%s", path) : 0;
}

/* Rows of zeros behind the text, which is freed by the caller. */
static void *padded(const wan_tensor *t, int64_t rows)
{
    size_t all = (size_t)rows * (size_t)t->shape[1] * wan_dtype_size(t->dtype);
    void *p = wan_calloc(all, 1, "text");
    if (p)
        memcpy(p, t->data, t->bytes);
    return p;
}

/* Values that both readers of Python look for, from what a record tells. */
static json_t *values_of(const wan_record *r, const wan_tensor *latent)
{
    json_t *v = wan_json_object();
    const json_t *caption = json_object_get(r->meta, "caption"),
                 *source = json_object_get(r->meta, "source");
    wan_json_merge(&v, r->meta);
    wan_json_put(&v, "prompt",
                 json_is_string(caption) ? json_incref((json_t *)(uintptr_t)caption)
                                         : json_string(""));
    wan_json_put(&v, "video_path",
                 json_is_string(source) ? json_incref((json_t *)(uintptr_t)source)
                                        : json_string(r->key));
    wan_json_put(&v, "num_frames", json_integer(1 + 4 * (latent->shape[1] - 1)));
    wan_json_put(&v, "model_type", json_string("wan"));
    wan_json_put(&v, "model_version", json_string("wan2.1"));
    wan_json_put(&v, "deterministic_latents", json_true());
    return v;
}

static int put(const char *path, const wan_record *r, const wan_tensor *latent,
               const wan_tensor *text, int64_t rows, int pickled)
{
    json_t *values = values_of(r, latent), *none = json_null();
    void *out = NULL, *all = values ? padded(text, rows) : NULL;
    size_t n;
    wan_torch_item item[4] = {
        { .key = "video_latents", .dtype = latent->dtype, .rank = 5, .data = latent->data },
        { .key = "text_embeddings", .dtype = text->dtype, .rank = 3, .data = all },
        { .key = "first_frame", .value = none },
        { .key = "metadata", .value = values }
    };
    item[0].shape[0] = item[1].shape[0] = 1;
    memcpy(item[0].shape + 1, latent->shape, 4 * sizeof *latent->shape);
    item[1].shape[1] = rows;
    item[1].shape[2] = text->shape[1];
    int rc = !all      ? -1
             : pickled ? wan_torch_pickle_map(&out, &n, item, 4)
                       : wan_torch_save_map(&out, &n, item, 4);
    if (rc == 0)
        rc = wan_spew(path, out, n);
    free(out);
    free(all);
    json_decref(values);
    return rc;
}

int wan_metafile_write(const char *path, const wan_record *r, int64_t rows, int pickled)
{
    const wan_tensor *latent = wan_record_find(r, "latent"), *text = wan_record_find(r, "text");
    if (!latent || latent->rank != 4 || !text || text->rank != 2)
        return wan_err("no latent [C, T, h, w] and text [rows, width]");
    if (text->shape[0] > rows)
        return wan_err("%lld rows of text, more than the %lld that all files have",
                       (long long)text->shape[0], (long long)rows);
    return put(path, r, latent, text, rows, pickled);
}

/* Replaces each `from` by `to`, malloc'ed with room for `end` behind it. */
static char *replaced(const char *text, const char *from, const char *to, const char *end)
{
    size_t n = strlen(from);
    char *out = wan_malloc(strlen(to) * strlen(text) + strlen(end) + 1, 1, "file name"), *p = out;
    while (out && *text) {
        int found = !strncmp(text, from, n);
        p += sprintf(p, found ? "%s" : "%.1s", found ? to : text);
        text += found ? n : 1;
    }
    if (out)
        strcpy(p, end);
    return out;
}

char *wan_metafile_name(const char *key)
{
    return replaced(key, "/", "%2F", ".meta");
}

char *wan_metafile_key(const char *name)
{
    const char *dot = strrchr(name, '.');
    char *stem = dot && (!strcmp(dot, ".meta") || !strcmp(dot, ".pt"))
                     ? strndup(name, (size_t)(dot - name))
                     : strdup(name);
    char *key = stem ? replaced(stem, "%2F", "/", "") : NULL;
    int own = key && wan_key_check(key, strlen(key)) == 0 &&
              !(!strncmp(stem, "__", 2) && strchr(stem, '/')); /* tar shards skip it */
    if (key && !own) {
        wan_err_clear();
        free(key);
        key = wan_clip_key_make(NULL, stem);
    }
    free(stem);
    return key;
}

int wan_metafile_list(char ***names, size_t *n, const char *dir)
{
    static const char *const ends[] = { ".meta", ".pt", NULL };
    return wan_shard_list_as(names, n, dir, ends);
}

int wan_metafile_hint(const char *dir, const char *otherwise)
{
    char **names = NULL;
    size_t n = 0;
    int rc = wan_metafile_list(&names, &n, dir);
    wan_shard_list_free(names, n);
    if (rc == 0 && n)
        return wan_err(
            "%s: holds .meta or .pt files of Automodel; convert them: wan-record from-meta %s | "
            "wan-shard -o SHARDS && wan-index SHARDS",
            dir, dir);
    return wan_err("%s: %s", dir, otherwise);
}
