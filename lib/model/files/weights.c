/* SPDX-License-Identifier: Apache-2.0
 *
 * weights.c - writing a folder of weights, one tensor in memory at a time.
 */
#include "lib/model/files/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"

static int by_name(const void *a, const void *b)
{
    return strcmp(((const wan_weight *)a)->name, ((const wan_weight *)b)->name);
}

static int64_t bytes_of(const wan_weight *w)
{
    return w->count * (int64_t)wan_dtype_size(w->type);
}

int wan_weights_split(wan_weight *w, int n, int64_t max_shard)
{
    int64_t bytes = 0;
    int files = 0;
    qsort(w, (size_t)n, sizeof *w, by_name);
    for (int i = 0; i < n; i++) {
        bytes += bytes_of(&w[i]);
        if (files == 0 || bytes > max_shard) {
            files++;
            bytes = bytes_of(&w[i]);
        }
        w[i].file = files;
    }
    return files;
}

void wan_weights_name(char name[128], const char *stem, int file, int files)
{
    if (files == 1)
        snprintf(name, 128, "%s.safetensors", stem);
    else
        snprintf(name, 128, "%s-%05d-of-%05d.safetensors", stem, file, files);
}

/* The n weights at w, which are one file. */
static int put_tensors(wan_st_writer *s, const wan_weight *w, int n, wan_weights_fetch *fetch,
                       void *arg)
{
    for (int i = 0; i < n; i++)
        WAN_TRY(wan_st_declare(s, w[i].name, w[i].type, w[i].shape, w[i].rank));
    for (int i = 0; i < n; i++) {
        const void *data;
        wan_dtype t;
        WAN_TRY(fetch(arg, w[i].id, &data, &t));
        WAN_TRY(wan_st_put(s, w[i].name, data, t));
    }
    return 0;
}

static int write_part(const char *dir, const char *name, const wan_weight *w, int n,
                      wan_weights_fetch *fetch, void *arg)
{
    char *path = wan_path_join(dir, name);
    wan_st_writer *s = NULL;
    int rc = path ? wan_st_create(&s, path) : -1;
    if (rc == 0)
        rc = put_tensors(s, w, n, fetch, arg);
    if (rc == 0)
        rc = wan_st_finish(&s);
    wan_st_abandon(&s);
    free(path);
    return rc;
}

int wan_weights_digits(double x)
{
    char text[40];
    int digits = 1;
    while (digits < 17 && (snprintf(text, sizeof text, "%.*g", digits, x), atof(text) != x))
        digits++;
    return digits;
}

int wan_weights_json(const char *dir, const char *name, json_t *j, int digits)
{
    char *path = j ? wan_path_join(dir, name) : NULL;
    size_t flags = JSON_INDENT(2) | JSON_SORT_KEYS | JSON_REAL_PRECISION((size_t)digits);
    char *text = path ? wan_json_dump_as(j, flags) : NULL;
    int rc = -1;
    if (path && !text)
        wan_err_prefix("%s", path);
    if (text) {
        size_t n = strlen(text);
        text[n++] = '\n'; /* in place of the terminator, which is not written */
        rc = wan_spew(path, text, n);
    }
    free(text);
    free(path);
    json_decref(j);
    return rc;
}

int wan_weights_index(const char *dir, const char *stem, const wan_weight *w, int n, int files)
{
    char name[128], file[128];
    int64_t total = 0;
    if (files < 2)
        return 0;
    json_t *map = json_object();
    for (int i = 0; i < n; i++) {
        wan_weights_name(file, stem, w[i].file, files);
        json_object_set_new(map, w[i].name, json_string(file));
        total += bytes_of(&w[i]);
    }
    snprintf(name, sizeof name, "%s.safetensors.index.json", stem);
    json_t *j =
        json_pack("{s:{s:I}, s:O}", "metadata", "total_size", (json_int_t)total, "weight_map", map);
    json_decref(map);
    if (!j)
        wan_err("%s/%s: out of memory", dir, name);
    return wan_weights_json(dir, name, j, 0);
}

int wan_weights_write(const char *dir, const char *stem, wan_weight *w, int n, int64_t max_shard,
                      wan_weights_fetch *fetch, void *arg)
{
    WAN_TRY(wan_mkdirs(dir));
    int files = wan_weights_split(w, n, max_shard);
    for (int i = 0, end; i < n; i = end) {
        char name[128];
        for (end = i; end < n && w[end].file == w[i].file;)
            end++;
        wan_weights_name(name, stem, w[i].file, files);
        WAN_TRY(write_part(dir, name, &w[i], end - i, fetch, arg));
    }
    return wan_weights_index(dir, stem, w, n, files);
}
