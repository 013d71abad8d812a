/* SPDX-License-Identifier: Apache-2.0
 *
 * metafile.c - reads .meta files.
 */
#include "lib/rec/shard/metafile.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
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

int wan_metafile_list(char ***names, size_t *n, const char *dir)
{
    static const char *const ends[] = { ".meta", NULL };
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
            "%s: holds .meta files of Automodel; convert them: wan-record from-meta %s | "
            "wan-shard -o SHARDS && wan-index SHARDS",
            dir, dir);
    return wan_err("%s: %s", dir, otherwise);
}
