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

static const char *name_of(const wan_param *q, enum wan_naming naming)
{
    return naming == WAN_NAMING_HF ? q->name : q->official;
}

int wan_modelio_match(wan_st_tensor **tensor, const wan_params *p, wan_st *st, const char *path)
{
    wan_tensorlist l;
    int *index = wan_calloc((size_t)p->n + 1, sizeof *index, "tensor list");
    int rc = wan_modelio_list(&l, st, path);
    if (rc == 0)
        rc = index ? wan_tensorlist_match(index, p, &l) : -1;
    for (int i = 0; i < p->n && rc == 0; i++) {
        tensor[i] = wan_st_at(st, (size_t)index[i]);
        rc = wan_st_load(st, tensor[i]->name, p->v[i].shape, p->v[i].rank, NULL, WAN_F32);
    }
    wan_tensorlist_free(&l);
    free(index);
    return rc;
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
