/* SPDX-License-Identifier: Apache-2.0
 *
 * st_layout.c - see st_layout.h.
 */
#include "lib/rec/tensor/st_layout.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/base/le.h"
#include "lib/rec/record/record.h"

enum { ST_MAX_HEADER = 100000000 };

struct wan_st_layout {
    json_t *header; /* "__metadata__" first, then the tensors as added */
    uint64_t bytes;
};

int wan_st_layout_new(wan_st_layout **out)
{
    wan_st_layout *l = wan_calloc(1, sizeof *l, "safetensors header");
    *out = NULL;
    if (!l)
        return -1;
    json_t *meta = wan_json_object();
    wan_json_put(&meta, "format", json_string("pt"));
    l->header = wan_json_object();
    wan_json_put(&l->header, "__metadata__", meta);
    if (!l->header) {
        free(l);
        return -1;
    }
    *out = l;
    return 0;
}

int wan_st_layout_add(wan_st_layout *l, const char *name, wan_dtype t, const int64_t *shape,
                      int rank, uint64_t *offset)
{
    int64_t count;
    if (json_object_get(l->header, name))
        return wan_err("declared twice");
    if (rank < 0 || rank > WAN_MAX_RANK)
        return wan_err("rank %d, must be 0 to %d", rank, WAN_MAX_RANK);
    WAN_TRY(wan_shape_count(&count, shape, rank));
    uint64_t begin = l->bytes, end = begin + (uint64_t)count * wan_dtype_size(t);
    json_t *e = wan_json_object();
    wan_json_put(&e, "dtype", json_string(wan_dtype_name(t)));
    wan_json_put(&e, "shape", wan_json_ints(shape, rank));
    wan_json_put(&e, "data_offsets", wan_json_ints((int64_t[]){ (int64_t)begin, (int64_t)end }, 2));
    wan_json_put(&l->header, name, e);
    if (!l->header)
        return -1;
    if (offset)
        *offset = begin;
    l->bytes = end;
    return 0;
}

int wan_st_layout_metadata(wan_st_layout *l, const char *key, const char *value)
{
    json_t *meta = json_incref(json_object_get(l->header, "__metadata__"));
    wan_json_put(&meta, key, json_string(value));
    if (!meta)
        return -1;
    json_decref(meta);
    return 0;
}

int wan_st_layout_head(const wan_st_layout *l, char **head, size_t *n)
{
    char *text = wan_json_dump_as(l->header, JSON_COMPACT);
    *head = NULL;
    if (!text)
        return wan_err_prefix("header");
    size_t length = strlen(text), padded = (length + 7) / 8 * 8;
    int rc = -1;
    if (padded > ST_MAX_HEADER) {
        wan_err("header of %zu bytes, more than the allowed %d", padded, ST_MAX_HEADER);
    } else if ((*head = wan_malloc(padded + 8, 1, "safetensors header"))) {
        wan_le_put64((uint8_t *)*head, padded);
        memcpy(*head + 8, text, length);
        memset(*head + 8 + length, ' ', padded - length);
        *n = padded + 8;
        rc = 0;
    }
    free(text);
    return rc;
}

uint64_t wan_st_layout_bytes(const wan_st_layout *l)
{
    return l->bytes;
}

void wan_st_layout_free(wan_st_layout **l)
{
    if (!*l)
        return;
    json_decref((*l)->header);
    free(*l);
    *l = NULL;
}
