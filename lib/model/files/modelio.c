/* SPDX-License-Identifier: Apache-2.0
 *
 * modelio.c - a model's weights from and to safetensors, one tensor in memory at a time.
 */
#include "lib/model/files/modelio.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"

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

int wan_modelio_match(wan_st_tensor **tensor, const wan_params *p, wan_st *st, const char *dir)
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

static int load_one(wan_store *s, int i, wan_st *st, const wan_st_tensor *t)
{
    if (!s->item[i].count)
        return 0;
    float *v = wan_malloc((size_t)t->count, sizeof *v, t->name);
    if (!v)
        return -1;
    int rc = wan_st_load(st, t->name, t->shape, t->rank, v, WAN_F32);
    if (rc == 0)
        rc = wan_store_set(s, i, v);
    wan_st_release(st, t);
    free(v);
    return rc;
}

int wan_modelio_load(wan_store *s, const char *dir)
{
    wan_st *st;
    WAN_TRY(wan_st_open(&st, dir));
    wan_st_tensor **t = wan_calloc((size_t)s->params.n, sizeof *t, "tensor list");
    int rc = t ? wan_modelio_match(t, &s->params, st, dir) : -1;
    for (int i = 0; i < s->params.n && rc == 0; i++)
        rc = load_one(s, i, st, t[i]);
    free(t);
    wan_st_close(&st);
    return rc;
}

/* ---- writing */

int wan_modelio_write(const wan_arch *arch, const wan_params *p, const char *dir,
                      enum wan_naming naming, const wan_dtype *type, int64_t max_shard,
                      wan_weights_fetch *fetch, void *arg)
{
    const wan_model *m = arch->model;
    int digits;
    if (!m->layout[naming])
        return wan_err("a model of type %s has no official naming", m->type);
    wan_weight *w = wan_calloc((size_t)p->n, sizeof *w, "tensor list");
    if (!w)
        return -1;
    for (int i = 0; i < p->n; i++) {
        const wan_param *q = &p->v[i];
        w[i] = (wan_weight){ .type = type[i], .rank = q->rank, .count = q->count, .id = i };
        memcpy(w[i].shape, q->shape, sizeof q->shape);
        snprintf(w[i].name, sizeof w[i].name, "%s", name_of(q, naming));
    }
    int rc = wan_weights_write(dir, m->files[1], w, p->n, max_shard, fetch, arg);
    free(w);
    WAN_TRY(rc);
    json_t *j = wan_modelio_json(arch, naming, &digits);
    return wan_weights_json(dir, "config.json", j, digits);
}
