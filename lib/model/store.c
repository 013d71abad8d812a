/* SPDX-License-Identifier: Apache-2.0
 *
 * store.c - see store.h.
 */
#include "lib/model/store.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/quant.h"
#include "kernels/linear8.h"
#include "lib/model/bulk.h"

/* Elements: a cache line of bf16, and 256 bytes of float; what passes through host memory at a time. */
enum { ALIGN = 64, CHUNK = 1 << 18 };

static int64_t padded(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

static int shards_of(const wan_slice *s)
{
    return s->shards > 1 ? s->shards : 1;
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
    if (!wan_slice_holds(s, q->part))
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
        at += padded(item[i].count, ALIGN);
    }
    return at;
}

/* A class of a part from `from` on, as long as the shards are equal. */
static int64_t lay_shards(const wan_store *s, const wan_part *part, int gemm, int64_t from)
{
    int64_t end = lay_class(&s->params, part, s->item, gemm, from);
    return from + padded(end - from, (int64_t)ALIGN * shards_of(&s->slice));
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
        part->whole_gemm = lay_shards(s, part, 1, 0);
        part->whole = lay_shards(s, part, 0, part->whole_gemm);
        part->gemm = part->whole_gemm / shards_of(&s->slice);
        part->size = part->whole / shards_of(&s->slice);
        s->total += part->size;
        s->gemm += part->gemm;
        rest += part->size - part->gemm;
    }
}

static wan_dtype type_of(const wan_store *s, int i)
{
    const wan_quant q = s->params.v[i].blocks;
    return q ? wan_quant_type(q) : s->compute;
}

/* Where some operands are blocks or in a file, each has its own place: whole blocks, and only read. */
static int lay_apart(wan_store *s)
{
    for (int i = 0; i < s->params.n; i++) {
        const wan_param *q = &s->params.v[i];
        const int64_t row = q->count / q->shape[0];
        if (!q->gemm)
            continue;
        if (q->blocks && row % (int64_t)wan_quant_values(q->blocks))
            return wan_err("%s: its rows of %lld values are no whole blocks of %s", q->name,
                           (long long)row, wan_quant_name(q->blocks));
        s->apart |= q->blocks || q->mapped;
        s->item[i].byte = s->own;
        *(q->mapped ? &s->mapped : &s->own) +=
            padded((int64_t)wan_quant_span(type_of(s, i), s->item[i].count), ALIGN);
    }
    if (s->apart &&
        (s->train || s->compute != WAN_BF16 || s->slice.ranks > 1 || shards_of(&s->slice) > 1))
        return wan_err("weights in blocks, or in a file, are multiplied in bf16, and neither "
                       "trained nor shared out among ranks");
    return 0;
}

static int shape(wan_store *s, wan_params *params, const wan_slice *slice, wan_dtype compute,
                 int train)
{
    s->params = *params;
    *params = (wan_params){ 0 };
    s->slice = slice ? *slice : (wan_slice){ .ranks = 1, .end = s->params.parts };
    s->compute = compute;
    s->train = train;
    s->item = wan_calloc((size_t)s->params.n, sizeof *s->item, "parameter store");
    s->part = wan_calloc((size_t)s->params.parts, sizeof *s->part, "parameter store");
    s->unset = wan_calloc((size_t)s->params.n, sizeof *s->unset, "parameter store");
    if (!s->item || !s->part || !s->unset)
        return -1;
    if (compute != WAN_REAL && compute != WAN_BF16)
        return wan_err("a model cannot compute in %s", wan_dtype_name(compute));
    lay(s);
    return lay_apart(s);
}

int wan_store_full(const wan_store *s)
{
    return s->train || s->compute == WAN_REAL;
}

static int has_shadow(const wan_store *s)
{
    return s->compute != WAN_REAL && shards_of(&s->slice) == 1;
}

/* Whether the masters lie in host memory. */
static int far_masters(const wan_store *s)
{
    return s->train == WAN_TRAIN_FAR && has_shadow(s);
}

static int64_t shadow_bytes(const wan_store *s)
{
    return s->apart ? s->own : s->gemm * (int64_t)wan_dtype_size(s->compute);
}

static int64_t master_length(const wan_store *s)
{
    return wan_store_full(s) ? s->total : s->total - s->gemm;
}

static void add_part(wan_store_bytes *out, const wan_part *p)
{
    int64_t rest = p->whole - p->whole_gemm;
    out->whole_gemm += p->whole_gemm;
    out->whole_rest += rest;
    out->most_gemm = p->whole_gemm > out->most_gemm ? p->whole_gemm : out->most_gemm;
    out->most_rest = rest > out->most_rest ? rest : out->most_rest;
}

int wan_store_plan(wan_store_bytes *out, int64_t *total, const wan_params *params,
                   const wan_slice *slice, wan_dtype compute, int train)
{
    wan_store s = { 0 };
    wan_params copy = *params;
    int rc = shape(&s, &copy, slice, compute, train);
    *out = (wan_store_bytes){ 0 };
    *(far_masters(&s) ? &out->far : &out->weights) = master_length(&s) * (int64_t)sizeof(wan_real);
    if (far_masters(&s))
        out->weights = (s.total - s.gemm) * (int64_t)sizeof(wan_real);
    if (train == WAN_TRAIN_FAR)
        out->weights += wan_rooms_bytes();
    if (has_shadow(&s))
        out->weights += shadow_bytes(&s) + s.mapped;
    out->grads = train ? s.total * (int64_t)sizeof(wan_real) : 0;
    for (int k = 0; k < s.params.parts && s.part; k++)
        add_part(out, &s.part[k]);
    *total = s.total;
    free(s.item);
    free(s.part);
    free(s.unset);
    return rc;
}

int64_t wan_store_eight(int64_t *most, const wan_params *params, const wan_slice *slice, int turned)
{
    const int64_t ranks = slice && slice->ranks > 1 ? slice->ranks : 1;
    int64_t all = 0, part = 0;
    int last = -1;
    *most = 0;
    for (int i = 0; i < params->n; i++) {
        const wan_param *q = &params->v[i];
        if (!q->eight || (slice && !wan_slice_holds(slice, q->part)))
            continue;
        part = q->part == last ? part : 0;
        last = q->part;
        const int64_t N = q->shape[0], K = q->count / N;
        const int64_t bytes =
            (int64_t)wan_linear8_kept(q->cut == 0 ? (N + ranks - 1) / ranks : N,
                                      q->cut == 1 ? (K + ranks - 1) / ranks : K, turned);
        all += bytes;
        part += bytes;
        *most = part > *most ? part : *most;
    }
    return all;
}

/* ---- memory */

/* Device memory of n elements, zeroed: the gaps between tensors must be zero and stay so. */
static void *zeroed(wan_dev *d, int64_t n, size_t size, int far, const char *what)
{
    size_t bytes = (size_t)(n ? n : 1) * size; /* a stage may hold nothing of a class */
    void *p = far ? wan_dev_alloc_far(d, bytes, what) : wan_dev_alloc(d, bytes, what);
    if (p && wan_dev_zero(d, p, bytes) < 0) {
        wan_dev_free(d, p);
        return NULL;
    }
    return p;
}

/* Element `at` of what GEMMs read, none of it blocks. */
static wan_buf operand(const wan_store *s, int64_t at)
{
    return wan_buf_of((char *)s->shadow + (size_t)at * wan_dtype_size(s->compute), s->compute);
}

static wan_buf apart_at(const wan_store *s, int i)
{
    if (s->params.v[i].mapped)
        return wan_buf_of((void *)(uintptr_t)s->item[i].mapped, type_of(s, i));
    return wan_buf_of((char *)s->shadow + s->item[i].byte, type_of(s, i));
}

/* Every part sees the memory of the store itself, unless that is a shard of it. */
static void view(wan_store *s)
{
    int full = wan_store_full(s);
    for (int k = 0; k < s->params.parts && shards_of(&s->slice) == 1; k++) {
        wan_part *p = &s->part[k];
        p->w = s->shadow ? operand(s, p->at_gemm) : WAN_RBUF(s->master + p->at);
        p->r = s->rest ? s->rest + p->at_rest : s->master + (full ? p->at + p->gemm : p->at_rest);
        p->g = s->grad ? s->grad + p->at : NULL;
    }
}

static int take_memory(wan_store *s)
{
    wan_dev *d = s->d;
    const int far = far_masters(s);
    if (s->train == WAN_TRAIN_FAR)
        WAN_TRY(wan_rooms_new(&s->rooms, d));
    s->master = zeroed(d, master_length(s), sizeof(wan_real), far, "weights");
    if (s->master && far)
        s->rest = zeroed(d, s->total - s->gemm, sizeof(wan_real), 0, "weights");
    if (has_shadow(s))
        s->shadow = zeroed(d, shadow_bytes(s), 1, 0, "operands");
    if (s->train)
        s->grad = zeroed(d, s->total, sizeof(wan_real), 0, "gradients");
    return s->master && (!far || s->rest) && (!has_shadow(s) || s->shadow) && (!s->train || s->grad)
               ? 0
               : -1;
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
    if (!wan_store_full(s) && shards_of(&s->slice) > 1)
        WAN_BUG("shards of weights that are not trained");
    WAN_GOTO(take_memory(s), fail);
    view(s);
    *out = s;
    return 0;
fail:
    wan_store_free(&s);
    return -1;
}

int wan_store_bare(wan_store **out, wan_dev *d, wan_params *params, const wan_slice *slice,
                   wan_dtype compute)
{
    wan_store *s = *out = wan_calloc(1, sizeof *s, "parameter store");
    if (!s) {
        wan_params_free(params);
        return -1;
    }
    s->d = d;
    if (shape(s, params, slice, compute, 0) == 0)
        return 0;
    wan_store_free(out);
    return -1;
}

void wan_store_free(wan_store **ps)
{
    wan_store *s = *ps;
    if (!s)
        return;
    wan_dev_free(s->d, s->master);
    wan_dev_free(s->d, s->rest);
    wan_dev_free(s->d, s->shadow);
    wan_dev_free(s->d, s->grad);
    wan_rooms_free(&s->rooms);
    if (s->close)
        s->close(s->file);
    free(s->item);
    free(s->part);
    free(s->unset);
    wan_params_free(&s->params);
    free(s);
    *ps = NULL;
}

void wan_store_map(wan_store *s, int i, const void *data)
{
    if (!s->params.v[i].mapped)
        WAN_BUG("%s has memory of its own", s->params.v[i].name);
    s->item[i].mapped = data;
}

void wan_store_keep(wan_store *s, void *file, void (*close)(void *file))
{
    s->file = file;
    s->close = close;
}

/* ---- where a parameter is */

wan_buf wan_store_w(const wan_store *s, int i)
{
    if (s->apart)
        return apart_at(s, i);
    return wan_buf_at(s->part[s->params.v[i].part].w, s->item[i].at);
}

wan_real *wan_store_r(const wan_store *s, int i)
{
    const wan_part *p = &s->part[s->params.v[i].part];
    return p->r + (s->item[i].at - p->whole_gemm);
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
    if (shards_of(&s->slice) > 1)
        WAN_BUG("%s is shared out in shards", q->name);
    if (wan_store_full(s))
        return s->master + p->at + s->item[i].at;
    if (q->gemm)
        WAN_BUG("%s has no full-precision value", q->name);
    return s->master + p->at_rest + (s->item[i].at - p->gemm);
}

wan_item wan_store_item(const wan_store *s, int i, int rank)
{
    wan_slice slice = s->slice;
    slice.rank = rank;
    slice.first = slice.gaps = 0;
    slice.end = s->params.parts;
    wan_item it = cut(&s->params.v[i], &slice);
    it.at = s->item[i].at;
    return it;
}

wan_piece wan_store_piece(const wan_store *s, int i)
{
    const wan_param *q = &s->params.v[i];
    const wan_part *p = &s->part[q->part];
    int64_t base = q->gemm ? 0 : p->whole_gemm, n = q->gemm ? p->gemm : p->size - p->gemm;
    int64_t lo = base + n * s->slice.shard, hi = lo + n; /* the shard's range of the class */
    int64_t from = s->item[i].at, to = from + s->item[i].count;
    int64_t a = from > lo ? from : lo, b = to < hi ? to : hi;
    if (b <= a)
        return (wan_piece){ 0 };
    return (wan_piece){ a - from, b - a, p->at + (q->gemm ? 0 : p->gemm) + (a - lo) };
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

int wan_store_run(const wan_param *q, const wan_item *it, const wan_piece *p, int64_t k,
                  int64_t *whole, int64_t *held, int64_t *len)
{
    int64_t outer, inner, extent = q->shape[q->cut < 0 ? 0 : q->cut];
    extents(q, &outer, &inner);
    int64_t line = it->len * inner; /* elements that lie together in the whole tensor */
    if (p->n == 0)
        return 0;
    int64_t row = p->from / line + k, a = k ? row * line : p->from;
    int64_t end = p->from + p->n, b = (row + 1) * line < end ? (row + 1) * line : end;
    if (a >= end)
        return 0;
    *held = a - p->from;
    *len = b - a;
    *whole = (row * extent + it->from) * inner + (a - row * line);
    return 1;
}

void wan_store_scatter(const wan_param *q, const wan_item *it, const wan_piece *p, float *whole,
                       const float *held)
{
    int64_t at, to, n;
    for (int64_t k = 0; wan_store_run(q, it, p, k, &at, &to, &n); k++)
        memcpy(whole + at, held + to, (size_t)n * sizeof *held);
}

/* n host values of type vt to the device, in type t; no more host memory than CHUNK. */
static int put(wan_dev *d, void *dst, wan_dtype t, const void *v, wan_dtype vt, int64_t n)
{
    if (wan_quant_of(t) || wan_quant_of(vt))
        return t == vt ? wan_dev_write(d, dst, v, wan_quant_span(t, n))
                       : wan_err("weights in blocks of one type are not those of another");
    const size_t to = wan_dtype_size(t), from = wan_dtype_size(vt);
    if (d->kind == WAN_DEV_CPU)
        return wan_bulk_convert(dst, t, v, vt, n);
    if (t == vt)
        return wan_dev_write(d, dst, v, (size_t)n * to);
    char *tmp = wan_malloc((size_t)(n < CHUNK ? n : CHUNK), to, "a piece of a tensor");
    int rc = tmp ? 0 : -1;
    for (size_t i = 0, m; i < (size_t)n && rc == 0; i += m) {
        m = (size_t)n - i < CHUNK ? (size_t)n - i : CHUNK;
        rc = wan_bulk_convert(tmp, t, (const char *)v + i * from, vt, (int64_t)m);
        if (rc == 0)
            rc = wan_dev_write(d, (char *)dst + i * to, tmp, m * to);
    }
    free(tmp);
    return rc;
}

/* Where piece p of parameter i lies in what GEMMs read. */
static wan_buf shadow_at(const wan_store *s, int i, const wan_piece *p)
{
    const wan_part *k = &s->part[s->params.v[i].part];
    return s->apart ? apart_at(s, i) : operand(s, k->at_gemm + (p->at - k->at));
}

/* ... and in full precision. */
static wan_real *master_at(const wan_store *s, int i, const wan_piece *p)
{
    const wan_part *part = &s->part[s->params.v[i].part];
    return s->master +
           (wan_store_full(s) ? p->at : part->at_rest + (p->at - part->at - part->gemm));
}

/* ... and beside masters in host memory. */
static wan_real *rest_at(const wan_store *s, int i, const wan_piece *p)
{
    const wan_part *part = &s->part[s->params.v[i].part];
    return s->rest + part->at_rest + (p->at - part->at - part->gemm);
}

/* count elements of type t on the device to host floats. */
static int fetch(wan_dev *d, float *host, const void *dev, wan_dtype t, int64_t count)
{
    size_t bytes = wan_quant_span(t, count);
    if (!count)
        return 0;
    if (t == WAN_F32)
        return wan_dev_read(d, host, dev, bytes);
    void *tmp = wan_malloc(bytes, 1, "a tensor");
    if (!tmp)
        return -1;
    int rc = wan_dev_read(d, tmp, dev, bytes);
    if (rc == 0 && wan_quant_of(t))
        wan_quant_decode(host, tmp, wan_quant_of(t), (size_t)count);
    else if (rc == 0)
        rc = wan_convert(host, WAN_F32, tmp, t, (size_t)count);
    free(tmp);
    return rc;
}

int wan_store_get(const wan_store *s, int i, float *held)
{
    const wan_piece p = wan_store_piece(s, i);
    if (s->params.v[i].gemm && !wan_store_full(s))
        return fetch(s->d, held, shadow_at(s, i, &p).p, type_of(s, i), p.n);
    return fetch(s->d, held, master_at(s, i, &p), WAN_REAL, p.n);
}

int wan_store_get_grad(const wan_store *s, int i, float *held)
{
    if (!s->grad)
        return wan_err("no gradients in a model that is not trained");
    const wan_piece p = wan_store_piece(s, i);
    if (s->part[s->params.v[i].part].fresh) {
        memset(held, 0, (size_t)p.n * sizeof *held);
        return 0;
    }
    return fetch(s->d, held, s->grad + p.at, WAN_REAL, p.n);
}

/* Elements [from, from + n) of what this shard has of tensor i, into x or where they belong. */
static int put_some(wan_store *s, int i, wan_real *x, int64_t from, const void *v, wan_dtype t,
                    int64_t n)
{
    const wan_piece p = wan_store_piece(s, i);
    const int gemm = s->params.v[i].gemm;
    if (x)
        return put(s->d, x + p.at + from, WAN_REAL, v, t, n);
    if (!gemm || wan_store_full(s))
        WAN_TRY(put(s->d, master_at(s, i, &p) + from, WAN_REAL, v, t, n));
    if (!gemm && s->rest)
        WAN_TRY(put(s->d, rest_at(s, i, &p) + from, WAN_REAL, v, t, n));
    if (!gemm || !s->shadow)
        return 0;
    if (s->params.v[i].mapped)
        WAN_BUG("%s is read from its file", s->params.v[i].name);
    const wan_buf w = shadow_at(s, i, &p);
    return put(s->d, (char *)w.p + wan_quant_span(w.t, from), w.t, v, t, n);
}

int wan_store_put(wan_store *s, int i, const float *held)
{
    const int64_t n = wan_store_piece(s, i).n;
    return n ? put_some(s, i, NULL, 0, held, WAN_F32, n) : 0;
}

int wan_store_take(wan_store *s, int i, wan_real *x, const void *whole, wan_dtype t)
{
    const wan_piece p = wan_store_piece(s, i);
    int64_t at, to, n;
    for (int64_t k = 0; wan_store_run(&s->params.v[i], &s->item[i], &p, k, &at, &to, &n); k++)
        WAN_TRY(put_some(s, i, x, to, (const char *)whole + wan_quant_span(t, at), t, n));
    return 0;
}

/* What is held of tensor i is drawn, no more, in v [CHUNK]. */
static int init_one(wan_store *s, int i, uint64_t seed, float *v)
{
    const wan_param *q = &s->params.v[i];
    const wan_piece p = wan_store_piece(s, i);
    int64_t at, to, n;
    for (int64_t k = 0; wan_store_run(q, &s->item[i], &p, k, &at, &to, &n); k++)
        for (int64_t j = 0, m; j < n; j += m) {
            m = n - j < CHUNK ? n - j : CHUNK;
            wan_params_init(q, seed, at + j, m, v);
            WAN_TRY(put_some(s, i, NULL, to + j, v, WAN_F32, m));
        }
    return 0;
}

int wan_store_init(wan_store *s, uint64_t seed)
{
    float *v = wan_malloc(CHUNK, sizeof *v, "random weights");
    int rc = v ? 0 : -1;
    for (int i = 0; i < s->params.n && rc == 0; i++)
        rc = init_one(s, i, seed, v);
    free(v);
    return rc;
}

typedef struct refreshed {
    wan_store *s;
    wan_buf w; /* of the part */
} refreshed;

static int refresh_some(void *arg, wan_real *const x[], int64_t at, int64_t n)
{
    const refreshed *r = arg;
    return r->s->d->ops->cast(r->s->d, wan_buf_at(r->w, at), WAN_RBUF(x[0]), n);
}

int wan_store_changed(wan_store *s, const wan_part *p, int64_t at, const wan_real *x, int64_t n)
{
    if (!s->rest)
        return 0;
    return wan_dev_copy(s->d, s->rest + p->at_rest + (at - p->at - p->gemm), x,
                        (size_t)n * sizeof *x);
}

int wan_store_refresh(wan_store *s)
{
    if (!s->shadow || !wan_store_full(s))
        return 0;
    for (int k = 0; k < s->params.parts; k++) {
        const wan_part *p = &s->part[k];
        refreshed r = { s, operand(s, p->at_gemm) };
        const wan_rooms_vector v = { s->master + p->at, 0 };
        WAN_TRY(wan_rooms_pass(s->rooms, &v, 1, p->gemm, refresh_some, &r));
        if (s->rest)
            WAN_TRY(wan_dev_copy(s->d, s->rest + p->at_rest, s->master + p->at + p->gemm,
                                 (size_t)(p->size - p->gemm) * sizeof(wan_real)));
    }
    return 0;
}

/* ---- gradients */

int wan_store_zero_grad(wan_store *s)
{
    if (!s->grad)
        return wan_err("no gradients in a model that is not trained");
    if (shards_of(&s->slice) > 1)
        return wan_dev_zero(s->d, s->grad, (size_t)s->total * sizeof(wan_real));
    for (int k = 0; k < s->params.parts; k++)
        s->part[k].fresh = s->part[k].size > 0;
    return 0;
}

/* Clears the gradients of one class of a part that are marked so, neighbours at once: gaps are zero anyway. */
static int clear_class(wan_store *s, const wan_part *p, int gemm, int unset)
{
    int64_t from = 0, end = 0;
    for (int i = p->first; i < p->first + p->n; i++) {
        const wan_item *it = &s->item[i];
        if (s->params.v[i].gemm != gemm)
            continue;
        if (s->unset[i] == unset) {
            from = end > from ? from : it->at;
            end = it->at + it->count;
            continue;
        }
        if (end > from)
            WAN_TRY(wan_dev_zero(s->d, p->g + from, (size_t)(end - from) * sizeof *p->g));
        from = end = 0;
    }
    return end > from ? wan_dev_zero(s->d, p->g + from, (size_t)(end - from) * sizeof *p->g) : 0;
}

static int clear_marked(wan_store *s, const wan_part *p, int unset)
{
    WAN_TRY(clear_class(s, p, 1, unset));
    return clear_class(s, p, 0, unset);
}

int wan_store_back_begin(wan_store *s, int part)
{
    const wan_part *p = &s->part[part];
    for (int i = p->first; i < p->first + p->n; i++)
        s->unset[i] = p->fresh && s->params.v[i].dense;
    return p->fresh ? clear_marked(s, p, 0) : 0;
}

int wan_store_back_end(wan_store *s, int part)
{
    const wan_part *p = &s->part[part];
    WAN_TRY(p->fresh ? clear_marked(s, p, 1) : 0);
    memset(s->unset + p->first, 0, (size_t)p->n);
    return 0;
}

int wan_store_settle_grad(wan_store *s)
{
    for (int k = 0; k < s->params.parts; k++) {
        wan_part *p = &s->part[k];
        if (p->fresh)
            WAN_TRY(wan_dev_zero(s->d, s->grad + p->at, (size_t)p->size * sizeof *s->grad));
        p->fresh = 0;
    }
    return 0;
}
