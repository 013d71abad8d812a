/* SPDX-License-Identifier: Apache-2.0
 *
 * umt5_layers.c - see umt5_layers.h.
 */
#include "lib/model/text/umt5_layers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/model/bulk.h"

enum { ROOMS = 2, ALIGN = 256, NOBODY = -1 };

static const char *const names[UMT5_TENSORS] = {
    "layer.0.SelfAttention.q.weight",     "layer.0.SelfAttention.k.weight",
    "layer.0.SelfAttention.v.weight",     "layer.0.SelfAttention.o.weight",
    "layer.1.DenseReluDense.wi_0.weight", "layer.1.DenseReluDense.wi_1.weight",
    "layer.1.DenseReluDense.wo.weight",   "layer.0.layer_norm.weight",
    "layer.1.layer_norm.weight",          "layer.0.SelfAttention.relative_attention_bias.weight",
};

/* ---- what a layer is */

static int shape_of(const umt5_layers *s, int m, int64_t shape[2])
{
    const int64_t inner = s->heads * s->hd;
    if (m == UMT5_NORM1 || m == UMT5_NORM2) {
        shape[0] = s->D;
        return 1;
    }
    shape[0] = m < UMT5_O                       ? inner
               : m == UMT5_GATE || m == UMT5_UP ? s->ffn
               : m == UMT5_BIAS                 ? UMT5_BUCKETS
                                                : s->D;
    shape[1] = m == UMT5_O ? inner : m == UMT5_DOWN ? s->ffn : m == UMT5_BIAS ? s->heads : s->D;
    return 2;
}

static int64_t count_of(const umt5_layers *s, int m)
{
    int64_t shape[2];
    return shape_of(s, m, shape) == 1 ? shape[0] : shape[0] * shape[1];
}

static wan_dtype type_of(const umt5_layers *s, int m)
{
    return m < UMT5_NORM1 ? s->compute : WAN_REAL;
}

static size_t bytes_of(const umt5_layers *s, int m)
{
    return (size_t)count_of(s, m) * wan_dtype_size(type_of(s, m));
}

/* Its place among those of a layer. */
static size_t padded(const umt5_layers *s, int m)
{
    return (bytes_of(s, m) + ALIGN - 1) / ALIGN * ALIGN;
}

/* Of a layer whose tensors begin at multiples of ALIGN. */
static size_t layer_bytes(const umt5_layers *s)
{
    size_t sum = 0;
    for (int m = 0; m < UMT5_TENSORS; m++)
        sum += padded(s, m);
    return sum;
}

int64_t wan_umt5_layers_bytes(const umt5_layers *s)
{
    return ROOMS * (int64_t)layer_bytes(s);
}

/* Name of tensor m of layer i. */
static const char *name_of(char name[160], int64_t i, int m)
{
    snprintf(name, 160, "encoder.block.%lld.%s", (long long)i, names[m]);
    return name;
}

/* Tensor m of layer i, checked; to NULL: only that. */
static int load(const umt5_layers *s, int64_t i, int m, void *to)
{
    char name[160];
    int64_t shape[2];
    const int rank = shape_of(s, m, shape);
    return wan_st_load(s->st, name_of(name, i, m), shape, rank, to, type_of(s, m));
}

int wan_umt5_layers_check(const umt5_layers *s)
{
    for (int64_t i = 0; i < s->layers; i++)
        for (int m = 0; m < UMT5_TENSORS; m++)
            WAN_TRY(load(s, i, m, NULL));
    return 0;
}

/* ---- memory */

static int on_cpu(const umt5_layers *s)
{
    return s->d->kind == WAN_DEV_CPU;
}

/* Of a device: for how many layers there is to be room. */
static int64_t choose(umt5_layers *s)
{
    size_t available, total;
    s->stay = 0;
    if (on_cpu(s))
        return 1;
    if (s->windows < 2 || s->d->backend->memory(s->d, &available, &total) < 0 ||
        (double)s->layers * (double)layer_bytes(s) > (double)available / 3)
        return s->layers < ROOMS ? s->layers : ROOMS;
    s->stay = 1;
    wan_verbose("the %lld layers of the text encoder stay on the device", (long long)s->layers);
    return s->layers;
}

static void free_rooms(umt5_layers *s)
{
    for (int64_t i = 0; i < s->rooms; i++)
        for (int m = 0; m < UMT5_TENSORS; m++)
            wan_dev_free(s->d, s->room[i].own[m]);
    free(s->room);
    s->room = NULL;
    s->rooms = s->stay = 0;
}

static int take(umt5_layers *s, umt5_layer *r, int m)
{
    if (!r->own[m])
        r->own[m] = wan_dev_alloc(s->d, bytes_of(s, m), "text encoder weights");
    r->w[m] = wan_buf_of(r->own[m], type_of(s, m));
    return r->own[m] ? 0 : -1;
}

/* Of a CPU only the vectors: matrices may lie ready in the file. */
static int make_rooms(umt5_layers *s)
{
    for (int64_t i = 0; i < s->rooms; i++) {
        s->room[i].of = NOBODY;
        for (int m = on_cpu(s) ? UMT5_NORM1 : 0; m < UMT5_TENSORS; m++)
            WAN_TRY(take(s, &s->room[i], m));
    }
    for (int k = 0; k < 2 && !on_cpu(s); k++)
        if (!s->pinned[k] &&
            !(s->pinned[k] = wan_dev_alloc_far(s->d, layer_bytes(s), "text encoder weights")))
            return -1;
    return 0;
}

int wan_umt5_layers_begin(umt5_layers *s)
{
    s->windows++;
    if (s->rooms)
        return 0;
    const int64_t n = choose(s);
    s->room = wan_calloc((size_t)n, sizeof *s->room, "text encoder weights");
    if (!s->room)
        return -1;
    s->rooms = n;
    if (make_rooms(s) == 0)
        return 0;
    free_rooms(s);
    return -1;
}

/* Of layer i: read from the disk by the kernel meanwhile, or (done) not needed any more. */
static void foresee(const umt5_layers *s, int64_t i, int done)
{
    char name[160];
    for (int m = 0; m < UMT5_TENSORS && i >= 0 && i < s->layers; m++) {
        const wan_st_tensor *t = wan_st_find(s->st, name_of(name, i, m));
        if (t && done)
            wan_st_release(s->st, t);
        else if (t)
            wan_st_expect(t);
    }
}

void wan_umt5_layers_end(umt5_layers *s)
{
    foresee(s, s->layers - 1, 1);
    if (!s->stay)
        free_rooms(s);
}

void wan_umt5_layers_close(umt5_layers *s)
{
    free_rooms(s);
    for (int k = 0; k < 2 && s->d; k++)
        wan_dev_free(s->d, s->pinned[k]);
    wan_st_close(&s->st);
}

/* ---- layers come */

/* Tensor m of layer i to host memory, in its type; the file's pages go. */
static int convert(const umt5_layers *s, int64_t i, int m, void *to)
{
    char name[160];
    WAN_TRY(load(s, i, m, NULL));
    const wan_st_tensor *t = wan_st_find(s->st, name_of(name, i, m));
    const int rc = wan_bulk_convert(to, type_of(s, m), t->data, t->dtype, t->count);
    wan_st_release(s->st, t);
    return rc;
}

/* Whether it can be read where the file has it. */
static int lies_ready(const umt5_layers *s, int64_t i, int m, const void **at)
{
    char name[160];
    const wan_st_tensor *t = wan_st_find(s->st, name_of(name, i, m));
    *at = t ? t->data : NULL;
    return t && m < UMT5_NORM1 && t->dtype == s->compute && (uintptr_t)t->data % 8 == 0;
}

static int read_here(umt5_layers *s, umt5_layer *r, int64_t i)
{
    foresee(s, i - 1, 1);
    foresee(s, i + 1, 0);
    for (int m = 0; m < UMT5_TENSORS; m++) {
        const void *at;
        if (lies_ready(s, i, m, &at)) {
            r->w[m] = wan_buf_of((void *)(uintptr_t)at, s->compute);
            WAN_TRY(load(s, i, m, NULL));
        } else {
            WAN_TRY(take(s, r, m));
            WAN_TRY(convert(s, i, m, r->w[m].p));
        }
    }
    r->of = i;
    return 0;
}

/* Layer i on its way to its room, which work that was asked for before the last meeting of copies and work was the
 * last to read.  Its pinned memory was sent two layers ago; what is sent now is the layer before. */
static int send(umt5_layers *s, int64_t i)
{
    umt5_layer *r = &s->room[i % s->rooms];
    char *at = s->pinned[i % 2];
    if (r->of == i)
        return 0;
    r->of = NOBODY;
    foresee(s, i + 1, 0);
    for (int m = 0; m < UMT5_TENSORS; at += padded(s, m++))
        WAN_TRY(convert(s, i, m, at));
    WAN_TRY(wan_dev_meet(s->d, WAN_HOST_AFTER_COPIES));
    at = s->pinned[i % 2];
    for (int m = 0; m < UMT5_TENSORS; at += padded(s, m++))
        WAN_TRY(wan_dev_send(s->d, r->w[m].p, at, bytes_of(s, m)));
    r->of = i;
    return 0;
}

int wan_umt5_layers_enter(umt5_layers *s, int64_t i, const umt5_layer **out)
{
    umt5_layer *r = &s->room[i % s->rooms];
    *out = r;
    if (on_cpu(s))
        return read_here(s, r, i);
    if (i == 0) {
        WAN_TRY(wan_dev_meet(s->d, WAN_COPIES_AFTER_WORK));
        WAN_TRY(send(s, i));
    }
    if (r->of != i)
        WAN_BUG("layer %lld is asked for out of order", (long long)i);
    WAN_TRY(wan_dev_meet(s->d, WAN_WORK_AFTER_COPIES));
    return wan_dev_meet(s->d, WAN_COPIES_AFTER_WORK);
}

int wan_umt5_layers_leave(umt5_layers *s, int64_t i)
{
    return on_cpu(s) || i + 1 == s->layers ? 0 : send(s, i + 1);
}

int wan_umt5_layers_vector(umt5_layers *s, const char *name, wan_real *to)
{
    wan_real *host = wan_malloc((size_t)s->D, sizeof *host, "text encoder weights");
    int rc = host ? wan_st_load(s->st, name, &s->D, 1, host, WAN_REAL) : -1;
    if (rc == 0)
        rc = wan_dev_write(s->d, to, host, (size_t)s->D * sizeof *host);
    free(host);
    return rc;
}
