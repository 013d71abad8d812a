/* SPDX-License-Identifier: Apache-2.0
 *
 * modelio.c - a model's weights from and to safetensors, one tensor in memory at a time.
 */
#include "lib/model/files/modelio.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/model/files/packed.h"

enum { AHEAD = 8 }; /* tensors that the kernel reads from the disk meanwhile */

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

int wan_modelio_fill(wan_store *s, int i, wan_real *x, const wan_st_tensor *t)
{
    int rc = wan_store_take(s, i, x, t->data, t->dtype);
    return rc < 0 ? wan_err_prefix("%s: tensor %s", t->file, t->name) : 0;
}

/* Parameter i: blocks as they are, or unpacked in `whole`. */
static int load_packed_one(wan_store *s, int i, wan_packed *k, float *whole)
{
    const wan_gguf_tensor *t = wan_packed_at(k, i);
    if (!wan_store_piece(s, i).n)
        return 0;
    if (s->params.v[i].blocks) {
        int rc = wan_store_take(s, i, NULL, t->data, wan_quant_type(t->quant));
        wan_packed_release(k, i);
        return rc;
    }
    WAN_TRY(wan_packed_read(k, i, whole, WAN_F32));
    return wan_store_take(s, i, NULL, whole, WAN_F32);
}

static int load_packed(wan_store *s, const char *path)
{
    wan_packed *k;
    int64_t most = 0;
    WAN_TRY(wan_packed_open(&k, path));
    for (int i = 0; i < s->params.n; i++)
        if (!s->params.v[i].blocks && s->params.v[i].count > most)
            most = s->params.v[i].count;
    float *whole = wan_malloc((size_t)most, sizeof *whole, "a tensor");
    int rc = whole ? wan_packed_match(k, &s->params) : -1;
    for (int i = 0; i < s->params.n && rc == 0; i++)
        rc = load_packed_one(s, i, k, whole);
    free(whole);
    wan_packed_close(&k);
    return rc;
}

/* The embeddings, through which everything comes in and of which some are multiplied row by row, are unpacked. */
static void mark(wan_params *p, const wan_packed *k)
{
    for (int i = 0; i < p->n; i++) {
        wan_param *q = &p->v[i];
        const wan_quant t = wan_packed_at(k, i)->quant;
        if (q->gemm && q->part && t && q->count / q->shape[0] % (int64_t)wan_quant_values(t) == 0)
            q->blocks = t;
    }
}

int wan_modelio_held(wan_params *p, const char *path)
{
    wan_packed *k;
    if (!wan_gguf_is(path) || wan_is_dir(path) != 0)
        return 0;
    WAN_TRY(wan_packed_open(&k, path));
    int rc = wan_packed_match(k, p);
    if (rc == 0)
        mark(p, k);
    wan_packed_close(&k);
    return rc;
}

int wan_modelio_load(wan_store *s, const char *dir)
{
    wan_st *st;
    if (wan_gguf_is(dir) && wan_is_dir(dir) == 0)
        return load_packed(s, dir);
    WAN_TRY(wan_st_open(&st, dir));
    wan_st_tensor **t = wan_calloc((size_t)s->params.n, sizeof *t, "tensor list");
    int rc = t ? wan_modelio_match(t, &s->params, st, dir) : -1;
    for (int i = 0; i < s->params.n && rc == 0; i++) {
        if (i + AHEAD < s->params.n)
            wan_st_expect(t[i + AHEAD]);
        rc = wan_modelio_fill(s, i, NULL, t[i]);
        wan_st_release(st, t[i]);
    }
    free(t);
    wan_st_close(&st);
    return rc;
}

static int check_packed(const wan_params *p, const char *path)
{
    wan_packed *k;
    WAN_TRY(wan_packed_open(&k, path));
    int rc = wan_packed_match(k, p);
    wan_packed_close(&k);
    return rc;
}

int wan_modelio_check(const wan_params *p, const char *path)
{
    wan_st *st;
    if (wan_gguf_is(path) && wan_is_dir(path) == 0)
        return check_packed(p, path);
    WAN_TRY(wan_st_open(&st, path));
    wan_st_tensor **t = wan_calloc((size_t)p->n, sizeof *t, "tensor list");
    int rc = t ? wan_modelio_match(t, p, st, path) : -1;
    free(t);
    wan_st_close(&st);
    return rc;
}

/* ---- writing */

wan_weight *wan_modelio_weights(const wan_params *p, enum wan_naming naming, const wan_dtype *type)
{
    wan_weight *w = wan_calloc((size_t)p->n, sizeof *w, "tensor list");
    for (int i = 0; w && i < p->n; i++) {
        const wan_param *q = &p->v[i];
        w[i] = (wan_weight){ .type = type[i], .rank = q->rank, .count = q->count, .id = i };
        memcpy(w[i].shape, q->shape, sizeof q->shape);
        snprintf(w[i].name, sizeof w[i].name, "%s", name_of(q, naming));
    }
    return w;
}

int wan_modelio_describe(const wan_arch *arch, const char *dir, enum wan_naming naming)
{
    int digits;
    json_t *j = wan_modelio_json(arch, naming, &digits);
    return wan_weights_json(dir, "config.json", j, digits);
}

int wan_modelio_write(const wan_arch *arch, const wan_params *p, const char *dir,
                      enum wan_naming naming, const wan_dtype *type, int64_t max_shard,
                      wan_weights_fetch *fetch, void *arg)
{
    const wan_model *m = arch->model;
    if (!m->layout[naming])
        return wan_err("a model of type %s has no official naming", m->type);
    wan_weight *w = wan_modelio_weights(p, naming, type);
    int rc = w ? wan_weights_write(dir, m->files[1], w, p->n, max_shard, fetch, arg) : -1;
    free(w);
    WAN_TRY(rc);
    return wan_modelio_describe(arch, dir, naming);
}
