/* SPDX-License-Identifier: Apache-2.0
 *
 * weights.c - writing a folder of weights, one tensor in memory at a time.
 */
#include "lib/model/files/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"

/* Weights [first, last) go into file number `file` of `files`. */
typedef struct part {
    const char *dir, *stem;
    const wan_weight *w;
    int first, last, file, files;
} part;

static int by_name(const void *a, const void *b)
{
    return strcmp(((const wan_weight *)a)->name, ((const wan_weight *)b)->name);
}

static int64_t bytes_of(const wan_weight *w)
{
    return w->count * (int64_t)wan_dtype_size(w->type);
}

/* End of the file that begins with weight `first`. */
static int end_of_file(const wan_weight *w, int n, int first, int64_t max_shard)
{
    int64_t bytes = 0;
    int i = first;
    for (; i < n; i++) {
        bytes += bytes_of(&w[i]);
        if (i > first && bytes > max_shard)
            break;
    }
    return i;
}

static void file_name(char *name, size_t size, const part *p)
{
    if (p->files == 1)
        snprintf(name, size, "%s.safetensors", p->stem);
    else
        snprintf(name, size, "%s-%05d-of-%05d.safetensors", p->stem, p->file, p->files);
}

static int put_tensors(wan_st_writer *s, const part *p, wan_weights_fetch *fetch, void *arg)
{
    for (int i = p->first; i < p->last; i++)
        WAN_TRY(wan_st_declare(s, p->w[i].name, p->w[i].type, p->w[i].shape, p->w[i].rank));
    for (int i = p->first; i < p->last; i++) {
        const void *data;
        wan_dtype t;
        WAN_TRY(fetch(arg, p->w[i].id, &data, &t));
        WAN_TRY(wan_st_put(s, p->w[i].name, data, t));
    }
    return 0;
}

static int write_part(const part *p, wan_weights_fetch *fetch, void *arg)
{
    char name[128];
    file_name(name, sizeof name, p);
    char *path = wan_path_join(p->dir, name);
    wan_st_writer *s = NULL;
    int rc = path ? wan_st_create(&s, path) : -1;
    if (rc == 0)
        rc = put_tensors(s, p, fetch, arg);
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

static int write_index(const char *dir, const char *stem, json_t *map, int64_t total)
{
    char name[128];
    snprintf(name, sizeof name, "%s.safetensors.index.json", stem);
    json_t *j =
        json_pack("{s:{s:I}, s:O}", "metadata", "total_size", (json_int_t)total, "weight_map", map);
    if (!j)
        wan_err("%s/%s: out of memory", dir, name);
    return wan_weights_json(dir, name, j, 0);
}

int wan_weights_write(const char *dir, const char *stem, wan_weight *w, int n, int64_t max_shard,
                      wan_weights_fetch *fetch, void *arg)
{
    part p = { dir, stem, w, 0, 0, 0, 0 };
    int64_t total = 0;
    WAN_TRY(wan_mkdirs(dir));
    qsort(w, (size_t)n, sizeof *w, by_name);
    for (int i = 0; i < n; i = end_of_file(w, n, i, max_shard))
        p.files++;
    json_t *map = json_object();
    int rc = 0;
    while (p.last < n && rc == 0) {
        char name[128];
        p.first = p.last;
        p.last = end_of_file(w, n, p.first, max_shard);
        p.file++;
        rc = write_part(&p, fetch, arg);
        file_name(name, sizeof name, &p);
        for (int i = p.first; i < p.last; i++) {
            json_object_set_new(map, w[i].name, json_string(name));
            total += bytes_of(&w[i]);
        }
    }
    if (rc == 0 && p.files > 1)
        rc = write_index(dir, stem, map, total);
    json_decref(map);
    return rc;
}
