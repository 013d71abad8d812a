/* SPDX-License-Identifier: Apache-2.0
 *
 * gguf_write.c - writing a GGUF file of version 3: metadata and list of tensors first, then the data in
 * the order declared.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/le.h"
#include "lib/rec/tensor/gguf_in.h"

typedef struct bytes {
    uint8_t *p;
    size_t n, room;
} bytes;

typedef struct declared {
    char *name;
    wan_quant quant;
    wan_dtype dtype;
    int64_t count;
    size_t size;
} declared;

struct wan_gguf_writer {
    wan_out *out;
    bytes pairs, list; /* as they stand in the file */
    uint64_t n_pairs;
    declared *t;
    size_t n, put;
    uint64_t offset; /* of the next tensor */
    int started;
};

static int add(bytes *b, const void *data, size_t n)
{
    if (n > b->room - b->n) {
        size_t room = 2 * b->room + n + 256;
        uint8_t *p = realloc(b->p, room);
        if (!p)
            return wan_err("out of memory (GGUF header)");
        b->p = p;
        b->room = room;
    }
    memcpy(b->p + b->n, data, n);
    b->n += n;
    return 0;
}

static int add32(bytes *b, uint32_t v)
{
    uint8_t p[4];
    wan_le_put32(p, v);
    return add(b, p, sizeof p);
}

static int add64(bytes *b, uint64_t v)
{
    uint8_t p[8];
    wan_le_put64(p, v);
    return add(b, p, sizeof p);
}

static int add_text(bytes *b, const char *s)
{
    WAN_TRY(add64(b, strlen(s)));
    return add(b, s, strlen(s));
}

int wan_gguf_create(wan_gguf_writer **out, const char *path)
{
    *out = NULL;
    wan_gguf_writer *w = wan_calloc(1, sizeof *w, "GGUF writer");
    if (!w)
        return -1;
    if (wan_out_open(&w->out, path) < 0) {
        free(w);
        return -1;
    }
    *out = w;
    return 0;
}

static int pair(wan_gguf_writer *w, const char *key, enum gguf_kind kind)
{
    w->n_pairs++;
    WAN_TRY(add_text(&w->pairs, key));
    return add32(&w->pairs, kind);
}

int wan_gguf_set_string(wan_gguf_writer *w, const char *key, const char *value)
{
    WAN_TRY(pair(w, key, GGUF_STRING));
    return add_text(&w->pairs, value);
}

int wan_gguf_set_number(wan_gguf_writer *w, const char *key, uint32_t value)
{
    WAN_TRY(pair(w, key, GGUF_U32));
    return add32(&w->pairs, value);
}

int wan_gguf_set_shape(wan_gguf_writer *w, const char *name, const int64_t *shape, int rank)
{
    char key[256];
    if (snprintf(key, sizeof key, "comfy.gguf.orig_shape.%s", name) >= (int)sizeof key)
        return wan_err("tensor %s: its name is too long", name);
    WAN_TRY(pair(w, key, GGUF_ARRAY));
    WAN_TRY(add32(&w->pairs, GGUF_I32));
    WAN_TRY(add64(&w->pairs, (uint64_t)rank));
    for (int i = 0; i < rank; i++)
        WAN_TRY(add32(&w->pairs, (uint32_t)shape[i]));
    return 0;
}

static size_t aligned(uint64_t n)
{
    return (size_t)((n + GGUF_ALIGN - 1) / GGUF_ALIGN * GGUF_ALIGN);
}

static int declare(wan_gguf_writer *w, const char *name, declared *d, const int64_t *shape,
                   int rank)
{
    int type = wan_gguf_type_of(d->quant, d->dtype);
    size_t values = d->quant ? wan_quant_values(d->quant) : 1;
    WAN_TRY(wan_shape_count(&d->count, shape, rank));
    if (type < 0 || rank > 4 || (d->quant && (!rank || shape[rank - 1] % (int64_t)values)))
        return wan_err("cannot be written with this type and shape");
    d->size = (size_t)d->count / values *
              (d->quant ? wan_quant_bytes(d->quant) : wan_dtype_size(d->dtype));
    WAN_TRY(add_text(&w->list, name));
    WAN_TRY(add32(&w->list, (uint32_t)rank));
    for (int i = rank - 1; i >= 0; i--)
        WAN_TRY(add64(&w->list, (uint64_t)shape[i]));
    WAN_TRY(add32(&w->list, (uint32_t)type));
    WAN_TRY(add64(&w->list, w->offset));
    w->offset += aligned(d->size);
    return 0;
}

int wan_gguf_declare(wan_gguf_writer *w, const char *name, wan_quant quant, wan_dtype dtype,
                     const int64_t *shape, int rank)
{
    declared d = { .quant = quant, .dtype = dtype };
    if (declare(w, name, &d, shape, rank) < 0)
        return wan_err_prefix("%s: tensor %s", wan_out_name(w->out), name);
    declared *grown = realloc(w->t, (w->n + 1) * sizeof *grown);
    if (!grown || !(d.name = strdup(name))) {
        w->t = grown ? grown : w->t;
        return wan_err("out of memory (tensor list)");
    }
    w->t = grown;
    grown[w->n++] = d;
    return 0;
}

static int pad(wan_gguf_writer *w, uint64_t written)
{
    static const uint8_t zero[GGUF_ALIGN];
    return wan_out_put(w->out, zero, aligned(written) - written);
}

static int start(wan_gguf_writer *w)
{
    bytes head = { 0 };
    w->started = 1;
    int rc = add32(&head, GGUF_MAGIC) < 0 || add32(&head, 3) < 0 || add64(&head, w->n) < 0 ||
                     add64(&head, w->n_pairs) < 0 || add(&head, w->pairs.p, w->pairs.n) < 0 ||
                     add(&head, w->list.p, w->list.n) < 0
                 ? -1
                 : wan_out_put(w->out, head.p, head.n);
    if (rc == 0)
        rc = pad(w, head.n);
    free(head.p);
    return rc;
}

enum { PIECE = 1 << 18 }; /* elements at a time, whole blocks */

static int put_piece(wan_gguf_writer *w, const declared *t, const float *data, size_t n,
                     uint8_t *buf)
{
    if (!t->quant) {
        WAN_TRY(wan_convert(buf, t->dtype, data, WAN_F32, n));
        return wan_out_put(w->out, buf, n * wan_dtype_size(t->dtype));
    }
    WAN_TRY(wan_quant_encode(buf, data, t->quant, n));
    return wan_out_put(w->out, buf, wan_quant_span(wan_quant_type(t->quant), (int64_t)n));
}

int wan_gguf_put(wan_gguf_writer *w, const char *name, const float *data)
{
    if (!w->started)
        WAN_TRY(start(w));
    if (w->put >= w->n || strcmp(w->t[w->put].name, name))
        return wan_err("%s: tensor %s: %s was declared to come next", wan_out_name(w->out), name,
                       w->put < w->n ? w->t[w->put].name : "nothing");
    const declared *t = &w->t[w->put++];
    uint8_t *buf = wan_malloc(PIECE, sizeof(float), "a piece of a tensor");
    int rc = buf ? 0 : -1;
    for (int64_t i = 0; i < t->count && rc == 0; i += PIECE) {
        int64_t n = t->count - i < PIECE ? t->count - i : PIECE;
        rc = put_piece(w, t, data + i, (size_t)n, buf);
    }
    free(buf);
    return rc < 0 ? wan_err_prefix("%s: tensor %s", wan_out_name(w->out), name) : pad(w, t->size);
}

/* A reader finds in the file what was declared; the data are compared by wan_out_finish. */
static int check_header(wan_gguf_writer *w)
{
    wan_gguf *g;
    const char *tmp = wan_out_flushed(w->out);
    if (!tmp || !*tmp)
        return tmp ? 0 : -1;
    if (wan_gguf_open(&g, tmp) < 0)
        return wan_err_prefix("%s: was written badly", wan_out_name(w->out));
    int bad = wan_gguf_count(g) != w->n;
    for (size_t i = 0; !bad && i < w->n; i++) {
        const wan_gguf_tensor *t = wan_gguf_at(g, i);
        bad =
            strcmp(t->name, w->t[i].name) || t->quant != w->t[i].quant || t->bytes != w->t[i].size;
    }
    wan_gguf_close(&g);
    return bad ? wan_err("%s: was written badly: its header is not what was declared",
                         wan_out_name(w->out))
               : 0;
}

int wan_gguf_finish(wan_gguf_writer **pw)
{
    wan_gguf_writer *w = *pw;
    int rc = w->started ? 0 : start(w);
    if (rc == 0 && w->put < w->n)
        rc = wan_err("%s: tensor %s: declared but not written", wan_out_name(w->out),
                     w->t[w->put].name);
    if (rc == 0)
        rc = check_header(w);
    if (rc == 0)
        rc = wan_out_finish(&w->out);
    wan_gguf_abandon(pw);
    return rc;
}

void wan_gguf_abandon(wan_gguf_writer **pw)
{
    wan_gguf_writer *w = *pw;
    if (!w)
        return;
    wan_out_discard(&w->out);
    for (size_t i = 0; i < w->n; i++)
        free(w->t[i].name);
    free(w->t);
    free(w->pairs.p);
    free(w->list.p);
    free(w);
    *pw = NULL;
}
