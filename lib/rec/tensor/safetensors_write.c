/* SPDX-License-Identifier: Apache-2.0
 *
 * safetensors_write.c - writing one safetensors file: the header first, then the data in the
 * order declared, converted on the way.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/rec/tensor/safetensors.h"
#include "lib/rec/tensor/st_layout.h"

typedef struct declared {
    char *name;
    wan_dtype dtype;
    int64_t count;
} declared;

struct wan_st_writer {
    wan_out *out;
    wan_st_layout *layout;
    declared *t;
    size_t n, put;
    int started; /* header written */
};

int wan_st_create(wan_st_writer **out, const char *path)
{
    *out = NULL;
    wan_st_writer *w = wan_calloc(1, sizeof *w, "safetensors writer");
    if (!w)
        return -1;
    if (wan_st_layout_new(&w->layout) < 0 || wan_out_open(&w->out, path) < 0) {
        wan_st_layout_free(&w->layout);
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
    WAN_TRY(wan_st_layout_add(w->layout, name, t, shape, rank, NULL));
    WAN_TRY(wan_shape_count(&count, shape, rank));
    declared *grown = realloc(w->t, (w->n + 1) * sizeof *grown);
    if (!grown)
        return wan_err("out of memory");
    w->t = grown;
    grown[w->n] = (declared){ .name = strdup(name), .dtype = t, .count = count };
    if (!grown[w->n].name)
        return wan_err("out of memory");
    w->n++;
    return 0;
}

int wan_st_declare(wan_st_writer *w, const char *name, wan_dtype t, const int64_t *shape, int rank)
{
    if (declare(w, name, t, shape, rank) < 0)
        return wan_err_prefix("%s: tensor %s", wan_out_name(w->out), name);
    return 0;
}

int wan_st_set_metadata(wan_st_writer *w, const char *key, const char *value)
{
    if (wan_st_layout_metadata(w->layout, key, value) < 0)
        return wan_err_prefix("%s", wan_out_name(w->out));
    return 0;
}

static int put(wan_st_writer *w, const void *data, size_t n)
{
    return wan_out_put(w->out, data, n);
}

static int start(wan_st_writer *w)
{
    char *head;
    size_t n;
    if (wan_st_layout_head(w->layout, &head, &n) < 0)
        return wan_err_prefix("%s", wan_out_name(w->out));
    w->started = 1;
    int rc = put(w, head, n);
    free(head);
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

/* A reader finds in the file what was declared; the data are compared by wan_out_finish. */
static int check_header(wan_st_writer *w)
{
    wan_st *st;
    const char *tmp = wan_out_flushed(w->out);
    if (!tmp || !*tmp)
        return tmp ? 0 : -1;
    if (wan_st_open(&st, tmp) < 0)
        return wan_err_prefix("%s: was written badly", wan_out_name(w->out));
    int rc = wan_st_count(st) == w->n ? 0 : -1;
    for (size_t i = 0; rc == 0 && i < w->n; i++) {
        const wan_st_tensor *t = wan_st_find(st, w->t[i].name);
        rc = t && t->dtype == w->t[i].dtype && t->count == w->t[i].count ? 0 : -1;
    }
    wan_st_close(&st);
    return rc < 0 ? wan_err("%s: was written badly: its header is not what was declared",
                            wan_out_name(w->out))
                  : 0;
}

int wan_st_finish(wan_st_writer **w)
{
    wan_st_writer *s = *w;
    int rc = s->started ? 0 : start(s);
    if (!rc && s->put < s->n)
        rc = wan_err("%s: tensor %s: declared but not written", wan_out_name(s->out),
                     s->t[s->put].name);
    if (!rc)
        rc = check_header(s);
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
    wan_st_layout_free(&(*w)->layout);
    free(*w);
    *w = NULL;
}
