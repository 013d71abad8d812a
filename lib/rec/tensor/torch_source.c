/* SPDX-License-Identifier: Apache-2.0
 *
 * torch_source.c - the three forms: zip, legacy, bare pickle (wan-data(7), Archive, Legacy form and
 * Pickled tensor), and how each names its storages.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/rec/tensor/torch_in.h"

static const uint8_t LEGACY[15] = { 0x80, 2,    0x8a, 10,   0x6c, 0xfc, 0x9c, 0x46,
                                    0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, '.' };
enum { PICKLE_MAX = 64 << 20 };

static const wan_torchzip_entry *zip_entry(const wan_torchzip *z, const char *name)
{
    return wan_torchzip_find(z, name, strlen(name));
}

static int open_zip(wan_torch_source *s, const uint8_t *data, size_t n)
{
    WAN_TRY(wan_torchzip_parse(&s->zip, data, n));
    const wan_torchzip_entry *pkl = zip_entry(&s->zip, "data.pkl");
    const wan_torchzip_entry *order = zip_entry(&s->zip, "byteorder");
    if (!pkl)
        return wan_err("no data.pkl in the archive");
    if (!zip_entry(&s->zip, "version") && !zip_entry(&s->zip, ".data/version"))
        return wan_err("no version in the archive");
    if (order && !(order->size >= 6 && !memcmp(order->data, "little", 6)))
        return wan_err("written on a big-endian machine");
    if (pkl->size > PICKLE_MAX)
        return wan_err("data.pkl has %zu bytes", pkl->size);
    WAN_TRY(wan_torchzip_verify(pkl));
    size_t used;
    s->root = wan_pickle_run(s->vm, pkl->data, pkl->size, &used);
    return s->root ? 0 : wan_err_prefix("data.pkl");
}

/* Element size of the storage `key` among the persistent ids below v, or 0. */
static size_t element_size(const wan_pickle_value *v, const wan_pickle_value *key, int depth,
                           size_t *budget)
{
    if (depth > 64 || !*budget)
        return 0;
    --*budget;
    if (v->kind == WAN_PK_STORAGE && v->len == key->len && !memcmp(v->str, key->str, key->len))
        return v->dtype >= 0 ? wan_dtype_size((wan_dtype)v->dtype) : v->dtype == -1;
    if (v->kind != WAN_PK_TUPLE && v->kind != WAN_PK_LIST && v->kind != WAN_PK_DICT &&
        v->kind != WAN_PK_TENSOR)
        return 0;
    size_t n = v->kind == WAN_PK_TENSOR ? 1 : v->len;
    for (size_t i = 0; i < n; i++) {
        size_t size = element_size(v->item[i], key, depth + 1, budget);
        if (size)
            return size;
    }
    return 0;
}

static int by_key(const void *a, const void *b)
{
    const wan_torch_blob *x = a, *y = b;
    size_t n = x->key_len < y->key_len ? x->key_len : y->key_len;
    int c = memcmp(x->key, y->key, n);
    return c ? c : (x->key_len > y->key_len) - (x->key_len < y->key_len);
}

static int read_blobs(wan_torch_source *s, const wan_pickle_value *keys, const uint8_t *p,
                      size_t left)
{
    s->blob = wan_calloc(keys->len + 1, sizeof *s->blob, "storages");
    if (!s->blob)
        return -1;
    size_t budget = 1 << 28; /* values looked at, for all keys together */
    for (size_t i = 0; i < keys->len; i++) {
        const wan_pickle_value *key = keys->item[i];
        uint64_t count;
        if (key->kind != WAN_PK_STR)
            return wan_err("a storage key that is no text");
        size_t size = element_size(s->root, key, 0, &budget);
        if (!size)
            return wan_err("storage %.*s: no tensor says its type", (int)key->len, key->str);
        if (left < 8)
            return wan_err("truncated: storage %.*s is missing", (int)key->len, key->str);
        memcpy(&count, p, 8);
        if (count > (left - 8) / size)
            return wan_err("truncated: storage %.*s has %" PRIu64 " elements, %zu bytes left",
                           (int)key->len, key->str, count, left - 8);
        s->blob[s->n_blob++] = (wan_torch_blob){ key->str, key->len, p + 8, count * size };
        p += 8 + count * size;
        left -= 8 + count * size;
    }
    if (left)
        return wan_err("%zu bytes behind the last storage", left);
    qsort(s->blob, s->n_blob, sizeof *s->blob, by_key);
    for (size_t i = 1; i < s->n_blob; i++)
        if (!by_key(&s->blob[i - 1], &s->blob[i]))
            return wan_err("storage %.*s: occurs twice", (int)s->blob[i].key_len, s->blob[i].key);
    return 0;
}

static int check_system(const wan_pickle_value *info)
{
    if (info->kind != WAN_PK_DICT)
        return wan_err("damaged system description");
    for (size_t i = 0; i < info->len; i += 2)
        if (wan_pickle_is(info->item[i], "little_endian") &&
            !(info->item[i + 1]->kind == WAN_PK_BOOL && info->item[i + 1]->i))
            return wan_err("written on a big-endian machine");
    return 0;
}

/* Magic, version, system, object, keys: five pickles; then the storages. */
static int open_legacy(wan_torch_source *s, const uint8_t *data, size_t n)
{
    const wan_pickle_value *v[5];
    size_t at = 0;
    for (int i = 0; i < 5; i++) {
        size_t used;
        v[i] = wan_pickle_run(s->vm, data + at, n - at, &used);
        if (!v[i])
            return wan_err_prefix("legacy pickle %d", i + 1);
        at += used;
    }
    if (v[1]->kind != WAN_PK_INT || v[1]->i != 1001)
        return wan_err("unknown legacy version");
    WAN_TRY(check_system(v[2]));
    if (v[4]->kind != WAN_PK_LIST)
        return wan_err("the list of storages is damaged");
    s->root = v[3];
    return read_blobs(s, v[4], data + at, n - at);
}

static int open_pickle(wan_torch_source *s, const uint8_t *data, size_t n)
{
    size_t used;
    s->root = wan_pickle_run(s->vm, data, n, &used);
    if (!s->root)
        return -1;
    return used == n ? 0 : wan_err("%zu bytes behind the end of the pickle", n - used);
}

int wan_torch_source_open(wan_torch_source **out, const uint8_t *data, size_t n)
{
    wan_torch_source *s = wan_calloc(1, sizeof *s, "torch file");
    *out = s;
    if (!s || !(s->vm = wan_pickle_new()))
        return -1;
    if (n >= 4 && !memcmp(data, "PK\3\4", 4))
        return open_zip(s, data, n);
    if (n >= sizeof LEGACY && !memcmp(data, LEGACY, sizeof LEGACY))
        return open_legacy(s, data, n);
    if (n >= 2 && data[0] == 0x80)
        return open_pickle(s, data, n);
    return wan_err("neither a torch archive nor a pickle");
}

static int zip_find(const wan_torch_source *s, const wan_pickle_value *v,
                    const wan_torchzip_entry **entry)
{
    char name[5 + 64] = "data/";
    if (!v->len || v->len > 63)
        return wan_err("a storage key of %zu bytes", v->len);
    for (size_t i = 0; i < v->len; i++) {
        char c = v->str[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
              c == '_'))
            return wan_err("a storage key with a forbidden character");
        name[5 + i] = c;
    }
    *entry = wan_torchzip_find(&s->zip, name, 5 + v->len);
    return *entry ? 0 : wan_err("%.*s is missing", (int)(5 + v->len), name);
}

int wan_torch_source_find(const wan_torch_source *s, const wan_pickle_value *storage,
                          const uint8_t **data, size_t *bytes, const wan_torchzip_entry **entry)
{
    *entry = NULL;
    if (s->zip.n) {
        WAN_TRY(zip_find(s, storage, entry));
        *data = (*entry)->data;
        *bytes = (*entry)->size;
        return 0;
    }
    wan_torch_blob want = { storage->str, storage->len, NULL, 0 };
    const wan_torch_blob *b =
        s->n_blob ? bsearch(&want, s->blob, s->n_blob, sizeof want, by_key) : NULL;
    if (!b)
        return wan_err("storage %.*s is missing", (int)(storage->len > 64 ? 64 : storage->len),
                       storage->str);
    *data = b->data;
    *bytes = b->bytes;
    return 0;
}

void wan_torch_source_free(wan_torch_source *s)
{
    if (!s)
        return;
    wan_torchzip_clear(&s->zip);
    free(s->blob);
    wan_pickle_free(&s->vm);
    free(s);
}
