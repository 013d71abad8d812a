/* SPDX-License-Identifier: Apache-2.0
 *
 * torch_write.c - the smallest archive torch.load(weights_only=True) takes for one tensor, and
 * the smallest pickle around it (wan-data(7), Smallest archive and Pickled tensor).  Same tensor,
 * same bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/crc32c.h"
#include "lib/base/file.h"
#include "lib/rec/tensor/torch.h"

enum { ALIGN = 64, MAX_ITEMS = 32, MAX_ENTRIES = MAX_ITEMS + 3, NAME = 32 };

struct out {
    uint8_t *p;
    size_t n;
};

static void put(struct out *o, const void *data, size_t n)
{
    if (o->p && n)
        memcpy(o->p + o->n, data, n);
    o->n += n;
}

static void put_le(struct out *o, uint64_t v, int bytes)
{
    uint8_t b[8];
    for (int i = 0; i < bytes; i++)
        b[i] = (uint8_t)(v >> 8 * i);
    put(o, b, (size_t)bytes);
}

static void put_str(struct out *o, const char *s)
{
    put(o, s, strlen(s));
}

/* Shortest of BININT1, BININT2, BININT, LONG1. */
static void put_int(struct out *o, int64_t v)
{
    if (v < 256) {
        put_str(o, "K");
        put_le(o, (uint64_t)v, 1);
    } else if (v < 65536) {
        put_str(o, "M");
        put_le(o, (uint64_t)v, 2);
    } else if (v <= INT32_MAX) {
        put_str(o, "J");
        put_le(o, (uint64_t)v, 4);
    } else {
        put_le(o, 0x088a, 2);
        put_le(o, (uint64_t)v, 8);
    }
}

static void put_tuple(struct out *o, const int64_t *v, int n)
{
    if (n == 0) {
        put_str(o, ")");
        return;
    }
    if (n > 3)
        put_str(o, "(");
    for (int i = 0; i < n; i++)
        put_int(o, v[i]);
    put_le(o, n > 3 ? 't' : (uint64_t)(0x84 + n), 1);
}

static const char *storage_class(wan_dtype t)
{
    static const char *const name[WAN_DTYPES] = {
        [WAN_F32] = "FloatStorage",  [WAN_BF16] = "BFloat16Storage", [WAN_F16] = "HalfStorage",
        [WAN_F64] = "DoubleStorage", [WAN_U8] = "ByteStorage",       [WAN_I8] = "CharStorage",
        [WAN_BOOL] = "BoolStorage",  [WAN_I16] = "ShortStorage",     [WAN_I32] = "IntStorage",
        [WAN_I64] = "LongStorage",
    };
    return name[t];
}

static void put_key(struct out *o, const char *s)
{
    put_str(o, "X");
    put_le(o, strlen(s), 4);
    put_str(o, s);
}

/* A tensor whose storage is the archive's data/KEY. */
static void put_tensor(struct out *o, wan_dtype t, const int64_t *shape, int rank, int64_t count,
                       const char *key)
{
    int64_t stride[WAN_TORCH_RANK], step = 1;
    for (int i = rank - 1; i >= 0; i--) {
        stride[i] = step;
        step *= shape[i] > 1 ? shape[i] : 1;
    }
    put_str(o, "ctorch._utils\n_rebuild_tensor_v2\n((");
    put_key(o, "storage");
    put_str(o, "ctorch\n");
    put_str(o, storage_class(t));
    put_str(o, "\n");
    put_key(o, key);
    put_key(o, "cpu");
    put_int(o, count);
    put_str(o, "tQ");
    put_int(o, 0);
    put_tuple(o, shape, rank);
    put_tuple(o, stride, rank);
    put_str(o, "\x89"
               "ccollections\nOrderedDict\n)RtR");
}

struct entry {
    const char *name;
    const void *data;
    size_t n, at;
    uint32_t crc;
};

static void put_header(struct out *o, const struct entry *e, int central)
{
    put_le(o, central ? 0x02014b50 : 0x04034b50, 4);
    if (central)
        put_le(o, 20, 2);
    put_le(o, 20, 2);
    put_le(o, 0x0800, 2);     /* names are UTF-8 */
    put_le(o, 0, 2);          /* stored */
    put_le(o, 0x00210000, 4); /* 1980-01-01 */
    put_le(o, e->crc, 4);
    put_le(o, e->n, 4);
    put_le(o, e->n, 4);
    put_le(o, strlen(e->name), 2);
}

/* Local header, padded by an "FB" field so that the payload starts at a multiple of 64. */
static void put_entry(struct out *o, struct entry *e)
{
    static const char pad[ALIGN] = { 0 };
    e->at = o->n;
    put_header(o, e, 0);
    size_t start = o->n + 2 + strlen(e->name) + 4, p = -start % ALIGN;
    put_le(o, 4 + p, 2);
    put_str(o, e->name);
    put_str(o, "FB");
    put_le(o, p, 2);
    put(o, pad, p);
    put(o, e->data, e->n);
}

static void put_directory(struct out *o, const struct entry *e, int n)
{
    size_t at = o->n;
    for (int i = 0; i < n; i++) {
        put_header(o, &e[i], 1);
        put_le(o, 0, 2 + 2 + 2 + 2); /* extra, comment, disk, internal attributes */
        put_le(o, 0, 4);
        put_le(o, e[i].at, 4);
        put_str(o, e[i].name);
    }
    size_t size = o->n - at;
    put_le(o, 0x06054b50, 4);
    put_le(o, 0, 4);
    put_le(o, (uint64_t)n, 2);
    put_le(o, (uint64_t)n, 2);
    put_le(o, size, 4);
    put_le(o, at, 4);
    put_le(o, 0, 2);
}

static void put_archive(struct out *o, struct entry *e, int n)
{
    for (int i = 0; i < n; i++)
        put_entry(o, &e[i]);
    put_directory(o, e, n);
}

/* The archive of n entries at offset `head` of *out, room for a tail behind it. */
static int build(void **out, size_t *size, struct entry *e, int n, size_t head, size_t tail)
{
    size_t bytes = 0;
    for (int i = 0; i < n; i++)
        bytes += e[i].n;
    if (bytes > 0xf0000000u)
        return wan_err("%zu bytes of tensors; the writer ends at 3.75 GiB", bytes);
    for (int i = 0; i < n; i++)
        e[i].crc = wan_crc32(0, e[i].data, e[i].n);
    struct out o = { NULL, 0 };
    put_archive(&o, e, n);
    *size = o.n;
    if (!(*out = wan_malloc(1, head + o.n + tail, "torch file")))
        return -1;
    o = (struct out){ (uint8_t *)*out + head, 0 };
    put_archive(&o, e, n);
    return 0;
}

static int check_tensor(int64_t *count, wan_dtype t, const int64_t *shape, int rank)
{
    if (rank < 0 || rank > WAN_TORCH_RANK)
        return wan_err("%d dimensions", rank);
    WAN_TRY(wan_shape_count(count, shape, rank));
    return storage_class(t) ? 0 : wan_err("torch has no storage for %s", wan_dtype_name(t));
}

static int save(void **out, size_t *n, const void *data, wan_dtype t, const int64_t *shape,
                int rank, size_t head, size_t tail)
{
    uint8_t text[1024];
    int64_t count;
    WAN_TRY(check_tensor(&count, t, shape, rank));
    struct out pickle = { text, 0 };
    put_str(&pickle, "\x80\x02");
    put_tensor(&pickle, t, shape, rank, count, "0");
    put_str(&pickle, ".");
    struct entry e[4] = {
        { .name = "archive/data.pkl", .data = text, .n = pickle.n },
        { .name = "archive/byteorder", .data = "little", .n = 6 },
        { .name = "archive/data/0", .data = data, .n = (size_t)count * wan_dtype_size(t) },
        { .name = "archive/version", .data = "3\n", .n = 2 }
    };
    return build(out, n, e, 4, head, tail);
}

int wan_torch_save(void **out, size_t *n, const void *data, wan_dtype t, const int64_t *shape,
                   int rank)
{
    return save(out, n, data, t, shape, rank, 0, 0);
}

int wan_torch_pickle(void **out, size_t *n, const void *data, wan_dtype t, const int64_t *shape,
                     int rank)
{
    static const char call[] = "\x80\x03"
                               "ctorch.storage\n_load_from_bytes\nB";
    size_t head = sizeof call - 1 + 4, image;
    WAN_TRY(save(out, &image, data, t, shape, rank, head, 3));
    struct out o = { *out, 0 };
    put_str(&o, call);
    put_le(&o, image, 4);
    o.n += image;
    put_str(&o, "\x85R.");
    *n = o.n;
    return 0;
}

/* ---- maps */

static void put_json(struct out *o, const json_t *v);

static void put_real(struct out *o, double v)
{
    uint64_t bits;
    uint8_t b[8];
    memcpy(&bits, &v, sizeof bits);
    for (int i = 0; i < 8; i++)
        b[i] = (uint8_t)(bits >> (56 - 8 * i));
    put_str(o, "G");
    put(o, b, 8);
}

static void put_number(struct out *o, const json_t *v)
{
    int64_t i = json_integer_value(v);
    if (json_is_real(v))
        put_real(o, json_real_value(v));
    else if (i >= 0)
        put_int(o, i);
    else if (i >= INT32_MIN) {
        put_str(o, "J");
        put_le(o, (uint64_t)i, 4);
    } else {
        put_le(o, 0x088a, 2);
        put_le(o, (uint64_t)i, 8);
    }
}

static void put_members(struct out *o, const json_t *v)
{
    const char *key;
    json_t *item;
    size_t i;
    put_str(o, json_is_array(v) ? "](" : "}(");
    json_array_foreach(v, i, item) put_json(o, item);
    json_object_foreach((json_t *)(uintptr_t)v, key, item)
    {
        put_key(o, key);
        put_json(o, item);
    }
    put_str(o, json_is_array(v) ? "e" : "u");
}

static void put_json(struct out *o, const json_t *v)
{
    if (json_is_string(v)) {
        put_str(o, "X");
        put_le(o, json_string_length(v), 4);
        put(o, json_string_value(v), json_string_length(v));
    } else if (json_is_number(v)) {
        put_number(o, v);
    } else if (json_is_array(v) || json_is_object(v)) {
        put_members(o, v);
    } else {
        put_str(o, json_is_true(v) ? "\x88" : json_is_false(v) ? "\x89" : "N");
    }
}

static int check_items(int64_t *count, const wan_torch_item *item, int items)
{
    if (items > MAX_ITEMS)
        return wan_err("%d values in a map, more than %d", items, MAX_ITEMS);
    for (int i = 0; i < items; i++)
        if (!item[i].value)
            WAN_TRY(check_tensor(&count[i], item[i].dtype, item[i].shape, item[i].rank));
    return 0;
}

/* The pickle of a map, tensors by the number of their storage; the number of those. */
static int put_map(struct out *o, const wan_torch_item *item, const int64_t *count, int items)
{
    int storage = 0;
    char key[NAME];
    put_str(o, "\x80\x02}(");
    for (int i = 0; i < items; i++) {
        put_key(o, item[i].key);
        if (item[i].value) {
            put_json(o, item[i].value);
            continue;
        }
        snprintf(key, sizeof key, "%d", storage++);
        put_tensor(o, item[i].dtype, item[i].shape, item[i].rank, count[i], key);
    }
    put_str(o, "u.");
    return storage;
}

int wan_torch_save_map(void **out, size_t *n, const wan_torch_item *item, int items)
{
    int64_t count[MAX_ITEMS];
    char name[MAX_ITEMS][NAME];
    struct entry e[MAX_ENTRIES] = { { .name = "archive/data.pkl" },
                                    { .name = "archive/byteorder", .data = "little", .n = 6 } };
    struct out pickle = { NULL, 0 };
    int k = 2;
    WAN_TRY(check_items(count, item, items));
    put_map(&pickle, item, count, items);
    void *text = wan_malloc(1, pickle.n, "torch file");
    if (!text)
        return -1;
    pickle = (struct out){ text, 0 };
    put_map(&pickle, item, count, items);
    e[0].data = text;
    e[0].n = pickle.n;
    for (int i = 0; i < items; i++)
        if (!item[i].value) {
            snprintf(name[k - 2], NAME, "archive/data/%d", k - 2);
            e[k] = (struct entry){ .name = name[k - 2],
                                   .data = item[i].data,
                                   .n = (size_t)count[i] * wan_dtype_size(item[i].dtype) };
            k++;
        }
    e[k++] = (struct entry){ .name = "archive/version", .data = "3\n", .n = 2 };
    int rc = build(out, n, e, k, 0, 0);
    free(text);
    return rc;
}

/* image [items], sized: the tensors, each a file of its own. */
static void put_pickle_map(struct out *o, const wan_torch_item *item, int items, void *const *image,
                           const size_t *size)
{
    put_str(o, "\x80\x03}(");
    for (int i = 0; i < items; i++) {
        put_key(o, item[i].key);
        if (item[i].value) {
            put_json(o, item[i].value);
            continue;
        }
        put_str(o, "ctorch.storage\n_load_from_bytes\nB");
        put_le(o, size[i], 4);
        put(o, image[i], size[i]);
        put_str(o, "\x85R");
    }
    put_str(o, "u.");
}

int wan_torch_pickle_map(void **out, size_t *n, const wan_torch_item *item, int items)
{
    int64_t count[MAX_ITEMS];
    void *image[MAX_ITEMS] = { 0 };
    size_t size[MAX_ITEMS] = { 0 };
    WAN_TRY(check_items(count, item, items));
    int rc = 0;
    for (int i = 0; i < items && rc == 0; i++)
        if (!item[i].value)
            rc = wan_torch_save(&image[i], &size[i], item[i].data, item[i].dtype, item[i].shape,
                                item[i].rank);
    struct out o = { NULL, 0 };
    if (rc == 0) {
        put_pickle_map(&o, item, items, image, size);
        rc = (*out = wan_malloc(1, o.n, "pickle")) ? 0 : -1;
    }
    if (rc == 0) {
        o = (struct out){ *out, 0 };
        put_pickle_map(&o, item, items, image, size);
        *n = o.n;
    }
    for (int i = 0; i < items; i++)
        free(image[i]);
    return rc;
}
