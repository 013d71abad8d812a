/* SPDX-License-Identifier: Apache-2.0
 *
 * store.c - see store.h.
 */
#include "lib/model/store.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"

enum { ALIGN = 64 }; /* elements: a cache line of bf16, and 256 bytes of float */

static int64_t padded(int64_t n)
{
    return (n + ALIGN - 1) / ALIGN * ALIGN;
}

/* ---- what is held, and where it lies */

int64_t wan_store_share(int64_t *from, const wan_slice *s, int64_t extent, int64_t unit)
{
    int64_t units = (extent + unit - 1) / unit, each = units / s->ranks, more = units % s->ranks;
    int64_t r = s->rank, lo = (each * r + (r < more ? r : more)) * unit;
    int64_t hi = lo + (each + (r < more)) * unit;
    lo = lo < extent ? lo : extent;
    hi = hi < extent ? hi : extent;
    if (from)
        *from = lo;
    return hi - lo;
}

static wan_item cut(const wan_param *q, const wan_slice *s)
{
    int64_t extent = q->shape[q->cut < 0 ? 0 : q->cut];
    wan_item it = { .len = extent };
    if (q->part < s->first || q->part >= s->end)
        return (wan_item){ 0 };
    if (q->cut >= 0)
        it.len = wan_store_share(&it.from, s, extent, q->unit);
    it.count = q->count / extent * it.len;
    return it;
}

static int64_t lay_class(const wan_params *p, const wan_part *part, wan_item *item, int gemm,
                         int64_t at)
{
    for (int i = part->first; i < part->first + part->n; i++) {
        if (p->v[i].gemm != gemm)
            continue;
        item[i].at = at;
        at += padded(item[i].count);
    }
    return at;
}

/* Items, parts and lengths of s from its params and slice. */
static void lay(wan_store *s)
{
    const wan_params *p = &s->params;
    int64_t rest = 0;
    s->total = s->gemm = 0;
    for (int i = 0; i < p->n; i++)
        s->item[i] = cut(&p->v[i], &s->slice);
    for (int k = 0, i = 0; k < p->parts; k++) {
        wan_part *part = &s->part[k];
        *part = (wan_part){ .first = i, .at = s->total, .at_gemm = s->gemm, .at_rest = rest };
        while (i < p->n && p->v[i].part == k)
            i++, part->n++;
        part->gemm = lay_class(p, part, s->item, 1, 0);
        part->size = lay_class(p, part, s->item, 0, part->gemm);
        s->total += part->size;
        s->gemm += part->gemm;
        rest += part->size - part->gemm;
    }
}

static int shape(wan_store *s, wan_params *params, const wan_slice *slice, wan_dtype compute,
                 int train)
{
    s->params = *params;
    *params = (wan_params){ 0 };
    s->slice = slice ? *slice : (wan_slice){ 0, 1, 0, s->params.parts };
    s->compute = compute;
    s->train = train;
    s->item = wan_calloc((size_t)s->params.n, sizeof *s->item, "parameter store");
    s->part = wan_calloc((size_t)s->params.parts, sizeof *s->part, "parameter store");
    if (!s->item || !s->part)
        return -1;
    if (compute != WAN_REAL && compute != WAN_BF16)
        return wan_err("a model cannot compute in %s", wan_dtype_name(compute));
    lay(s);
    return 0;
}

int wan_store_full(const wan_store *s)
{
    return s->train || s->compute == WAN_REAL;
}

static int64_t master_length(const wan_store *s)
{
    return wan_store_full(s) ? s->total : s->total - s->gemm;
}

int wan_store_plan(wan_store_bytes *out, int64_t *total, const wan_params *params,
                   const wan_slice *slice, wan_dtype compute, int train)
{
    wan_store s = { 0 };
    wan_params copy = *params;
    int rc = shape(&s, &copy, slice, compute, train);
    out->weights = master_length(&s) * (int64_t)sizeof(wan_real);
    if (compute == WAN_BF16)
        out->weights += s.gemm * 2;
    out->grads = train ? s.total * (int64_t)sizeof(wan_real) : 0;
    *total = s.total;
    free(s.item);
    free(s.part);
    return rc;
}

/* ---- memory */

/* Device memory of n elements, zeroed: the gaps between tensors must be zero and stay so. */
static void *zeroed(wan_dev *d, int64_t n, size_t size, const char *what)
{
    size_t bytes = (size_t)(n ? n : 1) * size; /* a stage may hold nothing of a class */
    void *p = wan_dev_alloc(d, bytes, what);
    if (p && wan_dev_zero(d, p, bytes) < 0) {
        wan_dev_free(d, p);
        return NULL;
    }
    return p;
}

/* Every part sees the memory of the store itself. */
static void view(wan_store *s)
{
    int full = wan_store_full(s);
    for (int k = 0; k < s->params.parts; k++) {
        wan_part *p = &s->part[k];
        p->w = s->compute == WAN_BF16 ? wan_buf_of(s->shadow + p->at_gemm, WAN_BF16)
                                      : WAN_RBUF(s->master + p->at);
        p->r = s->master + (full ? p->at + p->gemm : p->at_rest);
        p->g = s->grad ? s->grad + p->at : NULL;
    }
}

int wan_store_new(wan_store **out, wan_dev *d, wan_params *params, const wan_slice *slice,
                  wan_dtype compute, int train)
{
    wan_store *s = wan_calloc(1, sizeof *s, "parameter store");
    *out = NULL;
    if (!s) {
        wan_params_free(params);
        return -1;
    }
    s->d = d;
    WAN_GOTO(shape(s, params, slice, compute, train), fail);
    s->master = zeroed(d, master_length(s), sizeof(wan_real), "weights");
    if (!s->master)
        goto fail;
    if (compute == WAN_BF16 && !(s->shadow = zeroed(d, s->gemm, 2, "bf16 weights")))
        goto fail;
    if (train && !(s->grad = zeroed(d, s->total, sizeof(wan_real), "gradients")))
        goto fail;
    view(s);
    *out = s;
    return 0;
fail:
    wan_store_free(&s);
    return -1;
}

void wan_store_free(wan_store **ps)
{
    wan_store *s = *ps;
    if (!s)
        return;
    wan_dev_free(s->d, s->master);
    wan_dev_free(s->d, s->shadow);
    wan_dev_free(s->d, s->grad);
    free(s->item);
    free(s->part);
    wan_params_free(&s->params);
    free(s);
    *ps = NULL;
}

/* ---- where a parameter is */

wan_buf wan_store_w(const wan_store *s, int i)
{
    return wan_buf_at(s->part[s->params.v[i].part].w, s->item[i].at);
}

wan_real *wan_store_r(const wan_store *s, int i)
{
    const wan_part *p = &s->part[s->params.v[i].part];
    return p->r + (s->item[i].at - p->gemm);
}

wan_real *wan_store_g(const wan_store *s, int i)
{
    const wan_part *p = &s->part[s->params.v[i].part];
    return p->g ? p->g + s->item[i].at : NULL;
}

wan_real *wan_store_master(const wan_store *s, int i)
{
    const wan_param *q = &s->params.v[i];
    const wan_part *p = &s->part[q->part];
    if (wan_store_full(s))
        return s->master + p->at + s->item[i].at;
    if (q->gemm)
        WAN_BUG("%s has no full-precision value", q->name);
    return s->master + p->at_rest + (s->item[i].at - p->gemm);
}

int64_t wan_store_largest(const wan_store *s)
{
    int64_t most = 1;
    for (int i = 0; i < s->params.n; i++)
        if (s->item[i].count > most)
            most = s->item[i].count;
    return most;
}

/* ---- values in and out */

/* The tensor is outer x extent x inner with `extent` along the dimension that is cut. */
static void extents(const wan_param *q, int64_t *outer, int64_t *inner)
{
    int dim = q->cut < 0 ? 0 : q->cut;
    *outer = *inner = 1;
    for (int k = 0; k < q->rank; k++)
        *(k < dim ? outer : inner) *= k == dim ? 1 : q->shape[k];
}

void wan_store_gather(const wan_store *s, int i, float *held, const float *whole)
{
    const wan_param *q = &s->params.v[i];
    const wan_item *it = &s->item[i];
    int64_t outer, inner, extent = q->shape[q->cut < 0 ? 0 : q->cut];
    extents(q, &outer, &inner);
    for (int64_t k = 0; k < outer && it->count; k++)
        memcpy(held + k * it->len * inner, whole + (k * extent + it->from) * inner,
               (size_t)(it->len * inner) * sizeof *held);
}

void wan_store_place(const wan_param *q, int64_t from, int64_t len, float *whole, const float *held)
{
    int64_t outer, inner, extent = q->shape[q->cut < 0 ? 0 : q->cut];
    extents(q, &outer, &inner);
    for (int64_t k = 0; k < outer && len; k++)
        memcpy(whole + (k * extent + from) * inner, held + k * len * inner,
               (size_t)(len * inner) * sizeof *held);
}

void wan_store_scatter(const wan_store *s, int i, float *whole, const float *held)
{
    wan_store_place(&s->params.v[i], s->item[i].from, s->item[i].len, whole, held);
}

/* Host floats to the device, in type t. */
static int put(wan_dev *d, void *dst, wan_dtype t, const float *v, void *tmp, int64_t n)
{
    if (t == WAN_F32)
        return wan_dev_write(d, dst, v, (size_t)n * sizeof *v);
    WAN_TRY(wan_convert(tmp, t, v, WAN_F32, (size_t)n));
    return wan_dev_write(d, dst, tmp, (size_t)n * wan_dtype_size(t));
}

static int put_both(wan_store *s, int i, const float *held, void *tmp)
{
    const wan_param *q = &s->params.v[i];
    const wan_item *it = &s->item[i];
    if (!q->gemm || wan_store_full(s))
        WAN_TRY(put(s->d, wan_store_master(s, i), WAN_REAL, held, tmp, it->count));
    if (!q->gemm || s->compute != WAN_BF16)
        return 0;
    return put(s->d, s->shadow + s->part[q->part].at_gemm + it->at, WAN_BF16, held, tmp, it->count);
}

int wan_store_set(wan_store *s, int i, const float *whole)
{
    const wan_param *q = &s->params.v[i];
    const wan_item *it = &s->item[i];
    float *part = NULL;
    if (!it->count)
        return 0;
    void *tmp = wan_malloc((size_t)it->count, sizeof(wan_real), q->name);
    if (tmp && it->count != q->count)
        part = wan_malloc((size_t)it->count, sizeof *part, q->name);
    int rc = tmp && (part || it->count == q->count) ? 0 : -1;
    if (rc == 0 && part)
        wan_store_gather(s, i, part, whole);
    if (rc == 0)
        rc = put_both(s, i, part ? part : whole, tmp);
    free(part);
    free(tmp);
    return rc;
}

/* count elements of type t on the device to host floats. */
static int fetch(wan_dev *d, float *host, const void *dev, wan_dtype t, int64_t count)
{
    size_t bytes = (size_t)count * wan_dtype_size(t);
    if (!count)
        return 0;
    if (t == WAN_F32)
        return wan_dev_read(d, host, dev, bytes);
    void *tmp = wan_malloc((size_t)count, wan_dtype_size(t), "a tensor");
    if (!tmp)
        return -1;
    int rc = wan_dev_read(d, tmp, dev, bytes);
    if (rc == 0)
        rc = wan_convert(host, WAN_F32, tmp, t, (size_t)count);
    free(tmp);
    return rc;
}

int wan_store_get(const wan_store *s, int i, float *held)
{
    const wan_param *q = &s->params.v[i];
    const wan_item *it = &s->item[i];
    if (q->gemm && !wan_store_full(s))
        return fetch(s->d, held, s->shadow + s->part[q->part].at_gemm + it->at, WAN_BF16,
                     it->count);
    return fetch(s->d, held, wan_store_master(s, i), WAN_REAL, it->count);
}

int wan_store_get_grad(const wan_store *s, int i, float *held)
{
    if (!s->grad)
        return wan_err("no gradients in a model that is not trained");
    return fetch(s->d, held, wan_store_g(s, i), WAN_REAL, s->item[i].count);
}

int wan_store_init(wan_store *s, uint64_t seed)
{
    int rc = 0;
    for (int i = 0; i < s->params.n && rc == 0; i++) {
        const wan_param *q = &s->params.v[i];
        if (!s->item[i].count)
            continue;
        float *v = wan_malloc((size_t)q->count, sizeof *v, q->name);
        if (!v)
            return -1;
        wan_params_init(q, seed, v);
        rc = wan_store_set(s, i, v);
        free(v);
    }
    return rc;
}

int wan_store_refresh(wan_store *s)
{
    if (!s->shadow || !wan_store_full(s))
        return 0;
    for (int k = 0; k < s->params.parts; k++) {
        const wan_part *p = &s->part[k];
        if (p->gemm)
            WAN_TRY(s->d->ops->cast(s->d, wan_buf_of(s->shadow + p->at_gemm, WAN_BF16),
                                    WAN_RBUF(s->master + p->at), p->gemm));
    }
    return 0;
}

int wan_store_zero_grad(wan_store *s)
{
    if (!s->grad)
        return wan_err("no gradients in a model that is not trained");
    return wan_dev_zero(s->d, s->grad, (size_t)s->total * sizeof(wan_real));
}
