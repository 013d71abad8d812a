/* SPDX-License-Identifier: Apache-2.0
 *
 * safetensors_write.c - writing one safetensors file: the header first, then the data in the
 * order declared, converted on the way.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/le.h"
#include "lib/rec/tensor/safetensors.h"

enum { ST_MAX_HEADER = 100000000 };

typedef struct declared {
    char *name;
    wan_dtype dtype;
    int64_t count;
} declared;

struct wan_st_writer {
    wan_out *out;
    json_t *header; /* "__metadata__" first, then the tensors as declared */
    declared *t;
    size_t n, put;
    uint64_t bytes; /* of data declared */
    int started;    /* header written */
};

int wan_st_create(wan_st_writer **out, const char *path)
{
    *out = NULL;
    wan_st_writer *w = wan_calloc(1, sizeof *w, "safetensors writer");
    if (!w)
        return -1;
    w->header = json_pack("{s:{s:s}}", "__metadata__", "format", "pt");
    if (!w->header || wan_out_open(&w->out, path) < 0) {
        if (!w->header)
            wan_err("%s: out of memory", path);
        json_decref(w->header);
        free(w);
        return -1;
    }
    *out = w;
    return 0;
}

static int declare(wan_st_writer *w, const char *name, wan_dtype t, const int64_t *shape, int rank)
{
    int64_t count;
    if (w->started)
        return wan_err("declared after the first data");
    if (json_object_get(w->header, name))
        return wan_err("declared twice");
    if (rank < 0 || rank > WAN_MAX_RANK)
        return wan_err("rank %d, must be 0 to %d", rank, WAN_MAX_RANK);
    WAN_TRY(wan_shape_count(&count, shape, rank));
    declared *grown = realloc(w->t, (w->n + 1) * sizeof *grown);
    if (!grown)
        return wan_err("out of memory");
    w->t = grown;
    json_t *dims = json_array();
    for (int i = 0; i < rank; i++)
        json_array_append_new(dims, json_integer(shape[i]));
    uint64_t end = w->bytes + (uint64_t)count * wan_dtype_size(t);
    json_t *e = json_pack("{s:s, s:o, s:[I, I]}", "dtype", wan_dtype_name(t), "shape", dims,
                          "data_offsets", (json_int_t)w->bytes, (json_int_t)end);
    if (json_object_set_new(w->header, name, e) < 0)
        return wan_err("name is not UTF-8, or out of memory");
    grown[w->n] = (declared){ .name = strdup(name), .dtype = t, .count = count };
    if (!grown[w->n].name)
        return wan_err("out of memory");
    w->n++;
    w->bytes = end;
    return 0;
}

int wan_st_declare(wan_st_writer *w, const char *name, wan_dtype t, const int64_t *shape, int rank)
{
    if (declare(w, name, t, shape, rank) < 0)
        return wan_err_prefix("%s: tensor %s", wan_out_name(w->out), name);
    return 0;
}

void wan_st_set_metadata(wan_st_writer *w, const char *key, const char *value)
{
    json_object_set_new(json_object_get(w->header, "__metadata__"), key, json_string(value));
}

static int put(wan_st_writer *w, const void *data, size_t n)
{
    if (n && fwrite(data, 1, n, wan_out_file(w->out)) != n)
        return wan_err_errno("%s: write failed", wan_out_name(w->out));
    return 0;
}

/* Padded with spaces so that the data begin at a multiple of 8. */
static int start(wan_st_writer *w)
{
    uint8_t length[8];
    char *text = json_dumps(w->header, JSON_COMPACT);
    if (!text)
        return wan_err("%s: out of memory (header)", wan_out_name(w->out));
    size_t n = strlen(text), padded = (n + 7) / 8 * 8;
    w->started = 1;
    int rc;
    if (padded > ST_MAX_HEADER) {
        rc = wan_err("%s: header of %zu bytes, more than the allowed %d", wan_out_name(w->out),
                     padded, ST_MAX_HEADER);
    } else {
        wan_le_put64(length, padded);
        rc = put(w, length, 8) < 0 || put(w, text, n) < 0 || put(w, "       ", padded - n) < 0 ? -1
                                                                                               : 0;
    }
    free(text);
    return rc;
}

int wan_st_put(wan_st_writer *w, const char *name, const void *data, wan_dtype st)
{
    enum { CHUNK = 4096 };
    _Alignas(64) uint8_t buf[CHUNK * 8];
    if (!w->started)
        WAN_TRY(start(w));
    if (w->put >= w->n || strcmp(w->t[w->put].name, name))
        return wan_err("%s: tensor %s: %s was declared to come next", wan_out_name(w->out), name,
                       w->put < w->n ? w->t[w->put].name : "nothing");
    const declared *t = &w->t[w->put++];
    size_t ds = wan_dtype_size(t->dtype), ss = wan_dtype_size(st), n = (size_t)t->count;
    if (t->dtype == st)
        return put(w, data, n * ss);
    for (size_t i = 0; i < n; i += CHUNK) {
        size_t m = n - i < CHUNK ? n - i : CHUNK;
        if (wan_convert(buf, t->dtype, (const uint8_t *)data + i * ss, st, m) < 0)
            return wan_err_prefix("%s: tensor %s", wan_out_name(w->out), name);
        WAN_TRY(put(w, buf, m * ds));
    }
    return 0;
}

int wan_st_finish(wan_st_writer **w)
{
    wan_st_writer *s = *w;
    int rc = s->started ? 0 : start(s);
    if (!rc && s->put < s->n)
        rc = wan_err("%s: tensor %s: declared but not written", wan_out_name(s->out),
                     s->t[s->put].name);
    if (!rc)
        rc = wan_out_finish(&s->out);
    wan_st_abandon(w);
    return rc;
}

void wan_st_abandon(wan_st_writer **w)
{
    if (!*w)
        return;
    wan_out_discard(&(*w)->out);
    for (size_t i = 0; i < (*w)->n; i++)
        free((*w)->t[i].name);
    free((*w)->t);
    json_decref((*w)->header);
    free(*w);
    *w = NULL;
}
