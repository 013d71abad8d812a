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

enum { ALIGN = 64, MAX_ENTRIES = 4 };

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

static void put_pickle(struct out *o, wan_dtype t, const int64_t *shape, int rank, int64_t count)
{
    int64_t stride[WAN_TORCH_RANK], step = 1;
    for (int i = rank - 1; i >= 0; i--) {
        stride[i] = step;
        step *= shape[i] > 1 ? shape[i] : 1;
    }
    put_str(o, "\x80\x02"
               "ctorch._utils\n_rebuild_tensor_v2\n((");
    put_key(o, "storage");
    put_str(o, "ctorch\n");
    put_str(o, storage_class(t));
    put_str(o, "\n");
    put_key(o, "0");
    put_key(o, "cpu");
    put_int(o, count);
    put_str(o, "tQ");
    put_int(o, 0);
    put_tuple(o, shape, rank);
    put_tuple(o, stride, rank);
    put_str(o, "\x89"
               "ccollections\nOrderedDict\n)RtR.");
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

static void put_archive(struct out *o, struct entry e[MAX_ENTRIES])
{
    for (int i = 0; i < MAX_ENTRIES; i++)
        put_entry(o, &e[i]);
    put_directory(o, e, MAX_ENTRIES);
}

/* Both forms: the archive at offset `head` of *out, room for a tail behind it. */
static int save(void **out, size_t *n, const void *data, wan_dtype t, const int64_t *shape,
                int rank, size_t head, size_t tail)
{
    uint8_t text[1024];
    int64_t count;
    if (rank < 0 || rank > WAN_TORCH_RANK)
        return wan_err("%d dimensions", rank);
    WAN_TRY(wan_shape_count(&count, shape, rank));
    if (!storage_class(t))
        return wan_err("torch has no storage for %s", wan_dtype_name(t));
    size_t bytes = (size_t)count * wan_dtype_size(t);
    if (bytes > 0xf0000000u)
        return wan_err("a tensor of %zu bytes; the writer ends at 3.75 GiB", bytes);
    struct out pickle = { text, 0 };
    put_pickle(&pickle, t, shape, rank, count);
    struct entry e[MAX_ENTRIES] = { { .name = "archive/data.pkl", .data = text, .n = pickle.n },
                                    { .name = "archive/byteorder", .data = "little", .n = 6 },
                                    { .name = "archive/data/0", .data = data, .n = bytes },
                                    { .name = "archive/version", .data = "3\n", .n = 2 } };
    for (int i = 0; i < MAX_ENTRIES; i++)
        e[i].crc = wan_crc32(0, e[i].data, e[i].n);
    struct out o = { NULL, 0 };
    put_archive(&o, e);
    *n = o.n;
    if (!(*out = wan_malloc(1, head + o.n + tail, "torch file")))
        return -1;
    o = (struct out){ (uint8_t *)*out + head, 0 };
    put_archive(&o, e);
    return 0;
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
