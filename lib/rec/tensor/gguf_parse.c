/* SPDX-License-Identifier: Apache-2.0
 *
 * gguf_parse.c - metadata and list of tensors of a GGUF file: wan-data(7), GGUF.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/le.h"
#include "lib/base/mem.h"
#include "lib/rec/tensor/gguf_in.h"

/* Counts beyond these are no model's. */
enum {
    MAX_PAIRS = 1 << 16,
    MAX_TENSORS = 1 << 16,
    MAX_NAME = 1 << 16,
    MAX_DEPTH = 4,
    MAX_DIMS = 8,
    PAIR_BYTES = 13,
    TENSOR_BYTES = 24
};

typedef struct cursor {
    const uint8_t *p, *end;
} cursor;

static const struct {
    uint32_t number;
    wan_quant quant;
    wan_dtype dtype;
} types[] = {
    { 0, WAN_Q_NONE, WAN_F32 },  { 1, WAN_Q_NONE, WAN_F16 },  { 30, WAN_Q_NONE, WAN_BF16 },
    { 28, WAN_Q_NONE, WAN_F64 }, { 24, WAN_Q_NONE, WAN_I8 },  { 25, WAN_Q_NONE, WAN_I16 },
    { 26, WAN_Q_NONE, WAN_I32 }, { 27, WAN_Q_NONE, WAN_I64 }, { 2, WAN_Q4_0, WAN_F32 },
    { 3, WAN_Q4_1, WAN_F32 },    { 6, WAN_Q5_0, WAN_F32 },    { 7, WAN_Q5_1, WAN_F32 },
    { 8, WAN_Q8_0, WAN_F32 },    { 12, WAN_Q4_K, WAN_F32 },   { 13, WAN_Q5_K, WAN_F32 },
    { 14, WAN_Q6_K, WAN_F32 },
};

int wan_gguf_type_parse(wan_quant *q, wan_dtype *t, uint32_t number)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].number == number) {
            *q = types[i].quant;
            *t = types[i].dtype;
            return 0;
        }
    return wan_err(
        "its elements are of ggml's type %u, which is not supported (F32, F16, BF16, Q8_0, Q4_0, "
        "Q4_1, Q5_0, Q5_1, Q4_K, Q5_K and Q6_K are)",
        number);
}

int wan_gguf_type_of(wan_quant q, wan_dtype t)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].quant == q && (q || types[i].dtype == t))
            return (int)types[i].number;
    return -1;
}

static int need(const cursor *c, uint64_t n)
{
    if (n > (uint64_t)(c->end - c->p))
        return wan_err("the file ends early");
    return 0;
}

static int take32(uint32_t *v, cursor *c)
{
    WAN_TRY(need(c, 4));
    *v = wan_le_get32(c->p);
    c->p += 4;
    return 0;
}

static int take64(uint64_t *v, cursor *c)
{
    WAN_TRY(need(c, 8));
    *v = wan_le_get64(c->p);
    c->p += 8;
    return 0;
}

/* A string, to be freed: no more than cap bytes, none of them zero. */
static int take_text(char **out, cursor *c, uint64_t cap, const char *what)
{
    uint64_t n;
    WAN_TRY(take64(&n, c));
    if (n > cap)
        return wan_err("%s of %" PRIu64 " bytes, more than the allowed %" PRIu64, what, n, cap);
    WAN_TRY(need(c, n));
    if (memchr(c->p, 0, n))
        return wan_err("%s with a zero byte in it", what);
    *out = strndup((const char *)c->p, n);
    c->p += n;
    return *out ? 0 : wan_err("out of memory (%s)", what);
}

static int skip_text(cursor *c)
{
    uint64_t n;
    WAN_TRY(take64(&n, c));
    WAN_TRY(need(c, n));
    c->p += n;
    return 0;
}

static size_t size_of(uint32_t kind)
{
    static const uint8_t size[GGUF_KINDS] = {
        [GGUF_U8] = 1,  [GGUF_I8] = 1,  [GGUF_BOOL] = 1, [GGUF_U16] = 2,
        [GGUF_I16] = 2, [GGUF_U32] = 4, [GGUF_I32] = 4,  [GGUF_F32] = 4,
        [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8,
    };
    return size[kind];
}

static int skip_array(cursor *c, int depth);

/* n values of a kind that is not an array's. */
static int skip_values(cursor *c, uint32_t kind, uint64_t n)
{
    if (kind == GGUF_STRING) {
        for (uint64_t i = 0; i < n; i++)
            WAN_TRY(skip_text(c));
        return 0;
    }
    if (n > (uint64_t)(c->end - c->p) / size_of(kind))
        return wan_err("the file ends early");
    if (kind == GGUF_BOOL)
        for (uint64_t i = 0; i < n; i++)
            if (c->p[i] > 1)
                return wan_err("a truth value of %d", c->p[i]);
    c->p += n * size_of(kind);
    return 0;
}

static int take_kind(uint32_t *kind, cursor *c)
{
    WAN_TRY(take32(kind, c));
    return *kind < GGUF_KINDS ? 0 : wan_err("type of value %u is not known", *kind);
}

static int skip_array(cursor *c, int depth)
{
    uint32_t kind;
    uint64_t n;
    if (depth > MAX_DEPTH)
        return wan_err("arrays more than %d deep", MAX_DEPTH);
    WAN_TRY(take_kind(&kind, c));
    WAN_TRY(take64(&n, c));
    if (kind != GGUF_ARRAY)
        return skip_values(c, kind, n);
    for (uint64_t i = 0; i < n; i++)
        WAN_TRY(skip_array(c, depth + 1));
    return 0;
}

static int take_value(gguf_pair *p, cursor *c)
{
    uint32_t kind;
    WAN_TRY(take_kind(&kind, c));
    p->n = 1;
    if (kind == GGUF_ARRAY) {
        cursor inner = *c;
        p->array = 1;
        WAN_TRY(take_kind(&kind, &inner));
        WAN_TRY(take64(&p->n, &inner));
        p->kind = (enum gguf_kind)kind;
        p->value = inner.p;
        return skip_array(c, 1);
    }
    p->kind = (enum gguf_kind)kind;
    p->value = c->p;
    return kind == GGUF_STRING ? take_text(&p->text, c, (uint64_t)(c->end - c->p), "a string")
                               : skip_values(c, kind, 1);
}

static int take_pairs(wan_gguf *g, cursor *c, uint64_t n)
{
    if (n > MAX_PAIRS || n > (uint64_t)(c->end - c->p) / PAIR_BYTES)
        return wan_err("%" PRIu64 " metadata entries in %td bytes", n, c->end - c->p);
    g->pair = wan_calloc((size_t)n + 1, sizeof *g->pair, "metadata");
    if (!g->pair)
        return -1;
    for (uint64_t i = 0; i < n; i++) {
        gguf_pair *p = &g->pair[g->n_pairs];
        WAN_TRY(take_text(&p->key, c, MAX_NAME, "a key"));
        g->n_pairs++;
        if (take_value(p, c) < 0)
            return wan_err_prefix("metadata \"%s\"", p->key);
    }
    return 0;
}

/* A tensor that had more extents than ggml has room for, or others, says them in metadata (ComfyUI-GGUF). */
static int original_shape(const wan_gguf *g, wan_gguf_tensor *t)
{
    char key[256];
    int64_t count;
    if (snprintf(key, sizeof key, "comfy.gguf.orig_shape.%s", t->name) >= (int)sizeof key)
        return 0;
    const gguf_pair *p = wan_gguf_find(g, key);
    if (!p)
        return 0;
    if (!p->array || p->kind != GGUF_I32 || p->n < 1 || p->n > MAX_DIMS)
        return wan_err("metadata \"%s\" is no shape", key);
    t->rank = (int)p->n;
    for (int i = 0; i < t->rank; i++)
        t->shape[i] = wan_gguf_whole(p, (uint64_t)i);
    WAN_TRY(wan_shape_count(&count, t->shape, t->rank));
    return count == t->count ? 0 : wan_err("metadata \"%s\" has another number of elements", key);
}

static int take_shape(wan_gguf_tensor *t, cursor *c)
{
    uint32_t n;
    uint64_t d;
    WAN_TRY(take32(&n, c));
    if (n > MAX_DIMS)
        return wan_err("%u dimensions, more than %d", n, MAX_DIMS);
    t->rank = (int)n;
    for (uint32_t i = 0; i < n; i++) {
        WAN_TRY(take64(&d, c));
        if (d < 1 || d > INT64_MAX)
            return wan_err("an extent of %" PRIu64, d);
        t->shape[n - 1 - i] = (int64_t)d;
    }
    return wan_shape_count(&t->count, t->shape, t->rank);
}

/* *offset is relative to the data, which begin after the last entry. */
static int take_tensor(wan_gguf_tensor *t, cursor *c, uint64_t *offset)
{
    uint32_t type;
    WAN_TRY(take_shape(t, c));
    WAN_TRY(take32(&type, c));
    WAN_TRY(wan_gguf_type_parse(&t->quant, &t->dtype, type));
    WAN_TRY(take64(offset, c));
    if (!t->quant) {
        t->bytes = (size_t)t->count * wan_dtype_size(t->dtype);
        return 0;
    }
    int64_t values = (int64_t)wan_quant_values(t->quant);
    if (!t->rank || t->shape[t->rank - 1] % values)
        return wan_err("%s has blocks of %" PRId64 " values, and its rows are no whole blocks",
                       wan_quant_name(t->quant), values);
    t->bytes = (size_t)(t->count / values) * wan_quant_bytes(t->quant);
    return 0;
}

static int take_tensors(wan_gguf *g, cursor *c, uint64_t n, uint64_t *offset)
{
    for (uint64_t i = 0; i < n; i++) {
        char *name = NULL;
        wan_gguf_tensor *t = &g->tensor[g->n_tensors];
        WAN_TRY(take_text(&name, c, MAX_NAME, "a tensor's name"));
        t->name = name;
        g->n_tensors++;
        if (take_tensor(t, c, &offset[i]) < 0)
            return wan_err_prefix("tensor %s", t->name);
    }
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorts name [n]. */
static int refuse_twins(const char **name, size_t n, const char *what)
{
    if (n)
        qsort(name, n, sizeof *name, by_name);
    for (size_t i = 1; i < n; i++)
        if (!strcmp(name[i], name[i - 1]))
            return wan_err("%s %s is there twice", what, name[i]);
    return 0;
}

static int check_names(const wan_gguf *g)
{
    size_t most = g->n_tensors > g->n_pairs ? g->n_tensors : g->n_pairs;
    const char **name = wan_calloc(most + 1, sizeof *name, "names");
    if (!name)
        return -1;
    for (size_t i = 0; i < g->n_pairs; i++)
        name[i] = g->pair[i].key;
    int rc = refuse_twins(name, g->n_pairs, "metadata");
    for (size_t i = 0; i < g->n_tensors; i++)
        name[i] = g->tensor[i].name;
    if (rc == 0)
        rc = refuse_twins(name, g->n_tensors, "tensor");
    free(name);
    return rc;
}

typedef struct extent {
    uint64_t begin, end;
    size_t tensor;
} extent;

static int by_begin(const void *a, const void *b)
{
    const extent *x = a, *y = b;
    return x->begin < y->begin ? -1 : x->begin > y->begin;
}

/* Where the tensors are: aligned, in the file, none over another. */
static int place(wan_gguf *g, const cursor *c, const uint64_t *offset, extent *e)
{
    int64_t align = wan_gguf_number(g, "general.alignment", GGUF_ALIGN);
    if (align < 1 || align > 1 << 20 || (align & (align - 1)))
        return wan_err("general.alignment is %" PRId64 ", not a power of two up to 2^20", align);
    uint64_t at = (uint64_t)(c->p - g->map),
             base = (at + (uint64_t)align - 1) / (uint64_t)align * (uint64_t)align;
    uint64_t room = g->size > base ? g->size - base : 0;
    for (size_t i = 0; i < g->n_tensors; i++) {
        wan_gguf_tensor *t = &g->tensor[i];
        if (offset[i] % (uint64_t)align)
            return wan_err("tensor %s: its data are not aligned to %" PRId64, t->name, align);
        if (offset[i] > room || t->bytes > room - offset[i])
            return wan_err("tensor %s: the file ends before its data do", t->name);
        t->data = g->map + base + offset[i];
        e[i] = (extent){ offset[i], offset[i] + t->bytes, i };
        if (original_shape(g, t) < 0)
            return wan_err_prefix("tensor %s", t->name);
    }
    qsort(e, g->n_tensors, sizeof *e, by_begin);
    for (size_t i = 1; i < g->n_tensors; i++)
        if (e[i].begin < e[i - 1].end)
            return wan_err("the data of tensors %s and %s overlap", g->tensor[e[i - 1].tensor].name,
                           g->tensor[e[i].tensor].name);
    return 0;
}

static int take_list(wan_gguf *g, cursor *c, uint64_t n)
{
    if (n > MAX_TENSORS || n > (uint64_t)(c->end - c->p) / TENSOR_BYTES)
        return wan_err("%" PRIu64 " tensors in %td bytes", n, c->end - c->p);
    uint64_t *offset = wan_calloc((size_t)n + 1, sizeof *offset, "tensor list");
    extent *e = wan_calloc((size_t)n + 1, sizeof *e, "tensor list");
    g->tensor = wan_calloc((size_t)n + 1, sizeof *g->tensor, "tensor list");
    int rc = offset && e && g->tensor ? take_tensors(g, c, n, offset) : -1;
    if (rc == 0)
        rc = check_names(g);
    if (rc == 0)
        rc = place(g, c, offset, e);
    free(offset);
    free(e);
    return rc;
}

static int take_all(wan_gguf *g)
{
    cursor c = { g->map, g->map + g->size };
    uint32_t magic, version;
    uint64_t tensors, pairs;
    WAN_TRY(take32(&magic, &c));
    WAN_TRY(take32(&version, &c));
    if (magic != GGUF_MAGIC)
        return wan_err("not a GGUF file");
    if (version == 0x02000000 || version == 0x03000000)
        return wan_err("a big-endian GGUF file, which is not supported");
    if (version != 2 && version != 3)
        return wan_err("GGUF version %u, not 2 or 3", version);
    WAN_TRY(take64(&tensors, &c));
    WAN_TRY(take64(&pairs, &c));
    WAN_TRY(take_pairs(g, &c, pairs));
    if (wan_gguf_number(g, "split.count", 1) > 1)
        return wan_err("one of %" PRId64 " pieces of a model (llama-gguf-split --merge joins them)",
                       wan_gguf_number(g, "split.count", 1));
    return take_list(g, &c, tensors);
}

int wan_gguf_parse(wan_gguf *g)
{
    return take_all(g) < 0 ? wan_err_prefix("%s", g->path) : 0;
}
