/* SPDX-License-Identifier: Apache-2.0
 *
 * samplemap_read.c - unpacking: members to record.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/crc32c.h"
#include "lib/base/file.h"
#include "lib/rec/record/clip_key.h"
#include "lib/rec/record/record_format.h"
#include "lib/rec/shard/measure.h"
#include "lib/rec/shard/samplemap.h"
#include "lib/rec/tensor/torch.h"

/* The one tensor of a torch part, in its own type; data is malloc'ed. */
static int read_torch(const wan_shard_part *p, wan_tensor *out)
{
    wan_torch *w;
    WAN_TRY(wan_torch_parse(&w, p->data, p->size, p->name));
    wan_torch_tensor *t = wan_torch_find(w, "");
    int rc = !t ? wan_err("%s: holds no single tensor", p->name)
             : (uint64_t)t->count * wan_dtype_size(t->dtype) > p->size
                 ? wan_err("%s: its tensor is larger than the file", p->name)
                 : 0;
    if (rc == 0) {
        out->dtype = t->dtype;
        out->rank = t->rank;
        memcpy(out->shape, t->shape, sizeof out->shape);
        out->bytes = (size_t)t->count * wan_dtype_size(t->dtype);
        out->data = wan_malloc(1, out->bytes + 1, p->name);
        rc = out->data ? wan_torch_read(w, t, out->data, t->dtype) : -1;
        if (rc < 0)
            free(out->data);
    }
    wan_torch_close(&w);
    return rc;
}

static int read_raw(const wan_shard_part *p, const json_t *line, wan_tensor *out)
{
    const json_t *shape = json_object_get(line, "shape");
    const char *dtype = json_string_value(json_object_get(line, "dtype"));
    int64_t count;
    if (!dtype || wan_dtype_parse(&out->dtype, dtype) < 0 || json_array_size(shape) > WAN_MAX_RANK)
        return wan_err("%s: type or shape is damaged", p->name);
    out->rank = (int)json_array_size(shape);
    for (int i = 0; i < out->rank; i++)
        out->shape[i] = json_integer_value(json_array_get(shape, (size_t)i));
    WAN_TRY(wan_shape_count(&count, out->shape, out->rank));
    out->bytes = (size_t)count * wan_dtype_size(out->dtype);
    if (out->bytes != p->size)
        return wan_err("%s: has %" PRIu64 " bytes, its shape says %zu", p->name, p->size,
                       out->bytes);
    out->data = wan_malloc(1, out->bytes + 1, p->name);
    if (!out->data)
        return -1;
    memcpy(out->data, p->data, out->bytes);
    return 0;
}

static int check_line(const wan_tensor *t, const json_t *line, const char *part)
{
    const char *dtype = json_string_value(json_object_get(line, "dtype"));
    const char *crc = json_string_value(json_object_get(line, "crc32c"));
    const json_t *shape = json_object_get(line, "shape");
    char got[16];
    int same = dtype && !strcmp(dtype, wan_dtype_name(t->dtype)) &&
               json_array_size(shape) == (size_t)t->rank;
    for (int i = 0; same && i < t->rank; i++)
        same = json_integer_value(json_array_get(shape, (size_t)i)) == t->shape[i];
    if (!same)
        return wan_err("%s: type or shape differs from the json member", part);
    snprintf(got, sizeof got, "%08" PRIx32, wan_crc32c(0, t->data, t->bytes));
    if (!crc || strcmp(crc, got))
        return wan_err("%s: digest %s, the json member says %s", part, got, crc ? crc : "none");
    return 0;
}

/* The tensor of one line of our table. */
static int read_line(wan_tensor *t, const wan_shard_sample *s, const json_t *line)
{
    const char *name = json_string_value(json_object_get(line, "name"));
    const char *part = json_string_value(json_object_get(line, "part"));
    const wan_shard_part *p = part ? wan_shard_find(s, part) : NULL;
    if (!name || !part)
        return wan_err("json: the table of tensors is damaged");
    if (!p)
        return wan_err("part %s of tensor %s is missing", part, name);
    int is_torch = !strcmp(part, "pth") || !strcmp(part, "pickle");
    WAN_TRY(is_torch ? read_torch(p, t) : read_raw(p, line, t));
    if (check_line(t, line, part) == 0)
        return 0;
    free(t->data);
    return -1;
}

static int unpack_line(wan_record *r, const wan_shard_sample *s, const json_t *line)
{
    wan_tensor t = { 0 };
    WAN_TRY(read_line(&t, s, line));
    return wan_record_add(r, json_string_value(json_object_get(line, "name")), t.dtype, t.shape,
                          t.rank, t.data, WAN_TAKE);
}

int wan_samplemap_tensor(wan_tensor *out, const wan_shard_sample *s, const json_t *root,
                         const char *name)
{
    const json_t *line, *table = json_object_get(json_object_get(root, "wan"), "tensors");
    size_t i;
    *out = (wan_tensor){ 0 };
    json_array_foreach(table, i, line)
    {
        const char *own = json_string_value(json_object_get(line, "name"));
        if (own && !strcmp(own, name))
            return read_line(out, s, line) < 0 ? -1 : 1;
    }
    return 0;
}

static int unpack_own(wan_record *r, const wan_shard_sample *s, const json_t *own)
{
    const json_t *table = json_object_get(own, "tensors"), *line;
    json_t *meta = json_object_get(own, "meta");
    size_t i;
    if (json_integer_value(json_object_get(own, "format")) != 1)
        return wan_err("json: written by a newer program (format %" PRId64 ")",
                       (int64_t)json_integer_value(json_object_get(own, "format")));
    if (!json_is_object(meta) || !json_is_array(table))
        return wan_err("json: the \"wan\" member is damaged");
    wan_json_merge(&r->meta, meta);
    if (!r->meta)
        return -1;
    json_array_foreach(table, i, line) WAN_TRY(unpack_line(r, s, line));
    if (json_array_size(table) + 1 != (size_t)s->n)
        return wan_err("%d parts, the json member names %zu", s->n, json_array_size(table) + 1);
    return 0;
}

/* A sample made by DFM's script. */
static int unpack_foreign(wan_record *r, const wan_shard_sample *s, json_t *root)
{
    static const char *const part[] = { "pth", "pickle" }, *const name[] = { "latent", "text" };
    wan_json_merge(&r->meta, root);
    if (!r->meta)
        return -1;
    for (int i = 0; i < 2; i++) {
        const wan_shard_part *p = wan_shard_find(s, part[i]);
        wan_tensor t = { 0 };
        if (!p)
            return wan_err("part %s is missing", part[i]);
        WAN_TRY(read_torch(p, &t));
        if (t.rank == (i ? 3 : 5) && t.shape[0] == 1) { /* a batch of one */
            t.rank--;
            memmove(t.shape, t.shape + 1, (size_t)t.rank * sizeof *t.shape);
        }
        if (i == 1 && t.rank == 2 && t.shape[0] > 1)
            t.shape[0] = wan_measure_rows(t.data, t.shape[0], t.bytes / (uint64_t)t.shape[0]);
        WAN_TRY(wan_record_add(r, name[i], t.dtype, t.shape, t.rank, t.data, WAN_TAKE));
    }
    if (s->n != 3)
        return wan_err("%d parts where json, pth and pickle are expected", s->n);
    return 0;
}

/* Shards of others hold keys that no record can have. */
static int set_key(wan_record *r, const char *key)
{
    char *legal = wan_clip_key_of(key);
    int rc = legal ? wan_record_set_key(r, legal) : -1;
    free(legal);
    return rc;
}

static int unpack(wan_record *r, json_t **history, const wan_shard_sample *s)
{
    const wan_shard_part *p = wan_shard_find(s, "json");
    if (!p)
        return wan_err("part json is missing");
    WAN_TRY(set_key(r, s->key));
    json_t *root = wan_json_parse(p->data, p->size, "json");
    int rc = !root ? -1 : json_is_object(root) ? 0 : wan_err("json: no object");
    if (rc == 0) {
        const json_t *own = json_object_get(root, "wan");
        rc = json_is_object(own) ? unpack_own(r, s, own) : unpack_foreign(r, s, root);
        json_t *told = json_object_get(own, "history");
        if (rc == 0 && told && !json_is_object(told))
            rc = wan_err("json: the history is no object");
        if (rc == 0 && told && history)
            *history = json_incref(told);
    }
    json_decref(root);
    return rc;
}

int wan_samplemap_unpack(wan_record *r, json_t **history, const wan_shard_sample *s,
                         const char *what)
{
    if (history)
        *history = NULL;
    wan_record_clear(r);
    if (unpack(r, history, s) == 0)
        return 0;
    wan_err_prefix("%s: sample %s", what, s->key);
    wan_record_clear(r);
    return -1;
}
