/* SPDX-License-Identifier: Apache-2.0
 *
 * modelio.c - a transformer's weights from and to safetensors, one tensor in memory at a time.
 */
#include "lib/model/modelio.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"

#define STEM "diffusion_pytorch_model"

/* ---- reading */

static const char *const prefixes[] = { "", "model.diffusion_model." };

static const char *name_of(const wan_param *q, enum wan_naming naming)
{
    return naming == WAN_NAMING_HF ? q->name : q->official;
}

/* Prefix and naming of the file: those under which the most parameters are there. */
static void recognise(const wan_params *p, wan_st *st, const char **prefix, enum wan_naming *naming)
{
    int best = -1;
    for (int k = 0; k < 4; k++) {
        int hits = 0;
        for (int i = 0; i < p->n; i++) {
            char name[160];
            snprintf(name, sizeof name, "%s%s", prefixes[k / 2],
                     name_of(&p->v[i], (enum wan_naming)(k % 2)));
            hits += wan_st_find(st, name) != NULL;
        }
        if (hits > best) {
            best = hits;
            *prefix = prefixes[k / 2];
            *naming = (enum wan_naming)(k % 2);
        }
    }
}

/* Repacked files with scaled 8-bit weights would load as nonsense. */
static int refuse_scaled(wan_st *st)
{
    for (size_t i = 0; i < wan_st_count(st); i++) {
        const wan_st_tensor *t = wan_st_at(st, i);
        if (strstr(t->name, "scale_weight") || strstr(t->name, "scaled_fp8"))
            return wan_err("%s: tensor %s: scaled FP8 weights are not supported", t->file, t->name);
    }
    return 0;
}

int wan_dit_match(wan_st_tensor **tensor, const wan_params *p, wan_st *st, const char *dir)
{
    const char *prefix = "", *extra = NULL;
    enum wan_naming naming = WAN_NAMING_HF;
    WAN_TRY(refuse_scaled(st));
    recognise(p, st, &prefix, &naming);
    for (int i = 0; i < p->n; i++) {
        char name[160];
        const wan_param *q = &p->v[i];
        snprintf(name, sizeof name, "%s%s", prefix, name_of(q, naming));
        WAN_TRY(wan_st_load(st, name, q->shape, q->rank, NULL, WAN_F32));
        tensor[i] = wan_st_find(st, name);
    }
    size_t unused = wan_st_unused(st, &extra);
    if (unused > 1)
        return wan_err("%s: tensor %s: no part of this model (nor are %zu others)", dir, extra,
                       unused - 1);
    if (unused)
        return wan_err("%s: tensor %s: no part of this model", dir, extra);
    return 0;
}

static int load_one(wan_dit *m, int i, wan_st *st, const wan_st_tensor *t)
{
    float *v = wan_malloc((size_t)t->count, sizeof *v, t->name);
    if (!v)
        return -1;
    int rc = wan_st_load(st, t->name, t->shape, t->rank, v, WAN_F32);
    if (rc == 0)
        rc = wan_dit_set(m, i, v);
    wan_st_release(st, t);
    free(v);
    return rc;
}

int wan_dit_load(wan_dit *m, const char *dir)
{
    wan_st *st;
    WAN_TRY(wan_st_open(&st, dir));
    wan_st_tensor **t = wan_calloc((size_t)m->params.n, sizeof *t, "tensor list");
    int rc = t ? wan_dit_match(t, &m->params, st, dir) : -1;
    for (int i = 0; i < m->params.n && rc == 0; i++)
        rc = load_one(m, i, st, t[i]);
    free(t);
    wan_st_close(&st);
    return rc;
}

/* ---- writing */

typedef struct entry {
    const char *name;
    int param, file;
} entry;

typedef struct plan {
    const wan_params *p;
    const wan_dtype *type;
    entry *e;         /* [p->n], by name */
    int files;
    int64_t total;    /* bytes of data */
} plan;

static int by_name(const void *a, const void *b)
{
    return strcmp(((const entry *)a)->name, ((const entry *)b)->name);
}

static int make_plan(plan *w, const wan_params *p, enum wan_naming naming, const wan_dtype *type,
                     int64_t max_shard)
{
    *w = (plan){ .p = p, .type = type, .files = 1 };
    w->e = wan_calloc((size_t)p->n, sizeof *w->e, "tensor list");
    if (!w->e)
        return -1;
    for (int i = 0; i < p->n; i++)
        w->e[i] = (entry){ .name = name_of(&p->v[i], naming), .param = i };
    qsort(w->e, (size_t)p->n, sizeof *w->e, by_name);
    int64_t in_file = 0;
    for (int i = 0; i < p->n; i++) {
        int64_t bytes = p->v[w->e[i].param].count * (int64_t)wan_dtype_size(type[w->e[i].param]);
        if (in_file && in_file + bytes > max_shard) {
            w->files++;
            in_file = 0;
        }
        in_file += bytes;
        w->total += bytes;
        w->e[i].file = w->files;
    }
    return 0;
}

static void file_name(char *name, size_t size, int file, int files)
{
    if (files == 1)
        snprintf(name, size, STEM ".safetensors");
    else
        snprintf(name, size, STEM "-%05d-of-%05d.safetensors", file, files);
}

static int put_tensors(wan_st_writer *s, const plan *w, int file, wan_dit_fetch *fetch, void *arg)
{
    for (int i = 0; i < w->p->n; i++)
        if (w->e[i].file == file) {
            const wan_param *q = &w->p->v[w->e[i].param];
            WAN_TRY(wan_st_declare(s, w->e[i].name, w->type[w->e[i].param], q->shape, q->rank));
        }
    for (int i = 0; i < w->p->n; i++)
        if (w->e[i].file == file) {
            const void *data;
            wan_dtype t;
            WAN_TRY(fetch(arg, w->e[i].param, &data, &t));
            WAN_TRY(wan_st_put(s, w->e[i].name, data, t));
        }
    return 0;
}

static int write_file(const plan *w, const char *dir, int file, wan_dit_fetch *fetch, void *arg)
{
    char name[80];
    file_name(name, sizeof name, file, w->files);
    char *path = wan_path_join(dir, name);
    wan_st_writer *s = NULL;
    int rc = path ? wan_st_create(&s, path) : -1;
    if (rc == 0)
        rc = put_tensors(s, w, file, fetch, arg);
    if (rc == 0)
        rc = wan_st_finish(&s);
    wan_st_abandon(&s);
    free(path);
    return rc;
}

/* The fewest digits that give x back: "1e-6", not "9.9999999999999995e-7". */
static int digits_of(double x)
{
    char text[40];
    int digits = 1;
    while (digits < 17 && (snprintf(text, sizeof text, "%.*g", digits, x), atof(text) != x))
        digits++;
    return digits;
}

static int save_json(const char *dir, const char *name, json_t *j, int digits)
{
    char *path = j ? wan_path_join(dir, name) : NULL;
    size_t flags = JSON_INDENT(2) | JSON_SORT_KEYS | JSON_REAL_PRECISION((size_t)digits);
    char *text = path ? json_dumps(j, flags) : NULL;
    int rc = -1;
    if (path && !text)
        wan_err("%s: out of memory", path);
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

static int write_index(const plan *w, const char *dir)
{
    json_t *map = json_object();
    for (int i = 0; i < w->p->n; i++) {
        char name[80];
        file_name(name, sizeof name, w->e[i].file, w->files);
        json_object_set_new(map, w->e[i].name, json_string(name));
    }
    return save_json(dir, STEM ".safetensors.index.json",
                     json_pack("{s:{s:I}, s:o}", "metadata", "total_size", (json_int_t)w->total,
                               "weight_map", map), 0);
}

int wan_dit_write(const wan_dit_config *c, const wan_params *p, const char *dir,
                  enum wan_naming naming, const wan_dtype *type, int64_t max_shard,
                  wan_dit_fetch *fetch, void *arg)
{
    plan w;
    WAN_TRY(wan_mkdirs(dir));
    int rc = make_plan(&w, p, naming, type, max_shard);
    for (int f = 1; f <= w.files && rc == 0; f++)
        rc = write_file(&w, dir, f, fetch, arg);
    if (rc == 0 && w.files > 1)
        rc = write_index(&w, dir);
    if (rc == 0)
        rc = save_json(dir, "config.json", wan_dit_config_json(c, naming),
                       digits_of(c->eps));
    free(w.e);
    return rc;
}

/* A model as a source of tensors: one host buffer, as large as the largest. */
typedef struct model_source {
    const wan_dit *m;
    float *v;
} model_source;

static int fetch_param(void *arg, int i, const void **data, wan_dtype *t)
{
    model_source *s = arg;
    *data = s->v;
    *t = WAN_F32;
    return wan_dit_get(s->m, i, s->v);
}

int wan_dit_save(const wan_dit *m, const char *dir, wan_dtype dt, int64_t max_shard)
{
    int64_t largest = 0;
    for (int i = 0; i < m->params.n; i++)
        if (m->params.v[i].count > largest)
            largest = m->params.v[i].count;
    model_source s = { m, wan_malloc((size_t)largest, sizeof *s.v, "a tensor") };
    wan_dtype *type = wan_calloc((size_t)m->params.n, sizeof *type, "tensor types");
    int rc = -1;
    if (s.v && type) {
        for (int i = 0; i < m->params.n; i++)
            type[i] = dt;
        rc = wan_dit_write(&m->c, &m->params, dir, WAN_NAMING_HF, type, max_shard, fetch_param, &s);
    }
    free(s.v);
    free(type);
    return rc;
}
