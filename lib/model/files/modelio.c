/* SPDX-License-Identifier: Apache-2.0
 *
 * modelio.c - a model's weights from and to safetensors, one tensor in memory at a time.
 */
#include "lib/model/files/modelio.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/model/files/ahead.h"
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

/* What a store with mapped parameters keeps open. */
typedef struct source {
    wan_st *st;         /* either this */
    wan_packed *packed; /* or that */
    wan_ahead *ahead;
    int mapped; /* parameters */
} source;

static void source_close(void *arg)
{
    source *f = arg;
    wan_ahead_free(&f->ahead);
    wan_st_close(&f->st);
    wan_packed_close(&f->packed);
    free(f);
}

static int source_new(source **out)
{
    source *f = *out = wan_calloc(1, sizeof *f, "weights");
    if (!f)
        return -1;
    if (wan_ahead_new(&f->ahead) == 0)
        return 0;
    source_close(f);
    return -1;
}

/* All is loaded: the store keeps what it reads from. */
static int source_end(source *f, wan_store *s, int rc)
{
    if (rc < 0 || !f->mapped) {
        source_close(f);
        return rc;
    }
    wan_ahead_start(f->ahead);
    wan_store_keep(s, f, source_close);
    return 0;
}

static int map_one(source *f, wan_store *s, int i, const void *data, size_t bytes)
{
    wan_store_map(s, i, data);
    f->mapped++;
    return wan_ahead_add(f->ahead, data, bytes);
}

/* Parameter i: where it is, or unpacked in `whole`. */
static int load_packed_one(source *f, wan_store *s, int i, float *whole)
{
    const wan_param *q = &s->params.v[i];
    const wan_gguf_tensor *t = wan_packed_at(f->packed, i);
    if (!wan_store_piece(s, i).n)
        return 0;
    if (q->mapped)
        return t->quant == q->blocks && (t->quant || t->dtype == WAN_BF16)
                   ? map_one(f, s, i, t->data, t->bytes)
                   : wan_err("tensor %s: its type has changed", t->name);
    WAN_TRY(wan_packed_read(f->packed, i, whole, WAN_F32));
    return wan_store_take(s, i, NULL, whole, WAN_F32);
}

static int load_packed(source *f, wan_store *s, const char *path)
{
    int64_t most = 0;
    WAN_TRY(wan_packed_open(&f->packed, path));
    for (int i = 0; i < s->params.n; i++)
        if (!s->params.v[i].mapped && s->params.v[i].count > most)
            most = s->params.v[i].count;
    float *whole = wan_malloc((size_t)most, sizeof *whole, "a tensor");
    int rc = whole ? wan_packed_match(f->packed, &s->params) : -1;
    for (int i = 0; i < s->params.n && rc == 0; i++)
        rc = load_packed_one(f, s, i, whole);
    free(whole);
    return rc;
}

/* Parameter i, of which the file says its type, and where it is. */
static void mark(wan_param *q, wan_quant blocks, wan_dtype t, const void *data)
{
    if (!q->gemm)
        return;
    if (!blocks) {
        q->mapped = t == WAN_BF16 && (uintptr_t)data % 2 == 0;
    } else if (q->part && q->count / q->shape[0] % (int64_t)wan_quant_values(blocks) == 0) {
        q->blocks = blocks; /* the embeddings are unpacked: some are multiplied row by row */
        q->mapped = 1;
    }
}

static int held_packed(wan_params *p, const char *path)
{
    wan_packed *k;
    WAN_TRY(wan_packed_open(&k, path));
    int rc = wan_packed_match(k, p);
    for (int i = 0; i < p->n && rc == 0; i++) {
        const wan_gguf_tensor *t = wan_packed_at(k, i);
        mark(&p->v[i], t->quant, t->dtype, t->data);
    }
    wan_packed_close(&k);
    return rc;
}

int wan_modelio_held(wan_params *p, const char *path)
{
    wan_st *st;
    if (wan_gguf_is(path) && wan_is_dir(path) == 0)
        return held_packed(p, path);
    WAN_TRY(wan_st_open(&st, path));
    wan_st_tensor **t = wan_calloc((size_t)p->n, sizeof *t, "tensor list");
    int rc = t ? wan_modelio_match(t, p, st, path) : -1;
    for (int i = 0; i < p->n && rc == 0; i++)
        mark(&p->v[i], WAN_Q_NONE, t[i]->dtype, t[i]->data);
    free(t);
    wan_st_close(&st);
    return rc;
}

/* Parameter i of t; those that come next are read from the disk meanwhile. */
static int load_one(source *f, wan_store *s, int i, wan_st_tensor *const *t)
{
    if (s->params.v[i].mapped)
        return t[i]->dtype == WAN_BF16
                   ? map_one(f, s, i, t[i]->data, t[i]->bytes)
                   : wan_err("%s: tensor %s: its type has changed", t[i]->file, t[i]->name);
    if (i + AHEAD < s->params.n && !s->params.v[i + AHEAD].mapped)
        wan_st_expect(t[i + AHEAD]);
    int rc = wan_modelio_fill(s, i, NULL, t[i]);
    wan_st_release(f->st, t[i]);
    return rc;
}

static int load_plain(source *f, wan_store *s, const char *dir)
{
    WAN_TRY(wan_st_open(&f->st, dir));
    wan_st_tensor **t = wan_calloc((size_t)s->params.n, sizeof *t, "tensor list");
    int rc = t ? wan_modelio_match(t, &s->params, f->st, dir) : -1;
    for (int i = 0; i < s->params.n && rc == 0; i++)
        rc = load_one(f, s, i, t);
    free(t);
    return rc;
}

int wan_modelio_load(wan_store *s, const char *dir)
{
    source *f;
    WAN_TRY(source_new(&f));
    int packed = wan_gguf_is(dir) && wan_is_dir(dir) == 0;
    return source_end(f, s, packed ? load_packed(f, s, dir) : load_plain(f, s, dir));
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
