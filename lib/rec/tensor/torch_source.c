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

static int by_key(const void *a, const void *b)
{
    const wan_torch_blob *x = a, *y = b;
    size_t n = x->key_len < y->key_len ? x->key_len : y->key_len;
    int c = memcmp(x->key, y->key, n);
    return c ? c : (x->key_len > y->key_len) - (x->key_len < y->key_len);
}

/* The storages that persistent ids name, by their keys, those of one key as they came. */
typedef struct named {
    const wan_pickle_value *v;
    size_t at;
} named;

static int compare_keys(const wan_pickle_value *x, const wan_pickle_value *y)
{
    const size_t n = x->len < y->len ? x->len : y->len;
    const int c = n ? memcmp(x->str, y->str, n) : 0;
    return c ? c : (x->len > y->len) - (x->len < y->len);
}

static int by_name(const void *a, const void *b)
{
    const named *x = a, *y = b;
    const int c = compare_keys(x->v, y->v);
    return c ? c : (x->at > y->at) - (x->at < y->at);
}

static int list_storages(named **out, size_t *n, const wan_pickle *vm)
{
    *n = 0;
    for (const wan_pickle_value *v = wan_pickle_storages(vm); v; v = v->state)
        ++*n;
    named *list = *out = wan_malloc(*n + 1, sizeof *list, "storages");
    if (!list)
        return -1;
    size_t at = *n;
    for (const wan_pickle_value *v = wan_pickle_storages(vm); v; v = v->state, at--)
        list[at - 1] = (named){ v, at };
    qsort(list, *n, sizeof *list, by_name);
    return 0;
}

/* Element size of the storage `key`: of the first id whose type has a name; 0: there is none. */
static size_t element_size(const named *list, size_t n, const wan_pickle_value *key)
{
    size_t low = 0, end = n;
    while (low < end) {
        const size_t mid = (low + end) / 2;
        if (compare_keys(list[mid].v, key) < 0)
            low = mid + 1;
        else
            end = mid;
    }
    for (; low < n && compare_keys(list[low].v, key) == 0; low++) {
        const int dtype = list[low].v->dtype;
        if (dtype >= -1)
            return dtype >= 0 ? wan_dtype_size((wan_dtype)dtype) : 1;
    }
    return 0;
}

static int read_blob(wan_torch_source *s, const wan_pickle_value *key, size_t size,
                     const uint8_t **p, size_t *left)
{
    uint64_t count;
    if (!size)
        return wan_err("storage %.*s: no tensor says its type", (int)key->len, key->str);
    if (*left < 8)
        return wan_err("truncated: storage %.*s is missing", (int)key->len, key->str);
    memcpy(&count, *p, 8);
    if (count > (*left - 8) / size)
        return wan_err("truncated: storage %.*s has %" PRIu64 " elements, %zu bytes left",
                       (int)key->len, key->str, count, *left - 8);
    s->blob[s->n_blob++] = (wan_torch_blob){ key->str, key->len, *p + 8, count * size };
    *p += 8 + count * size;
    *left -= 8 + count * size;
    return 0;
}

static int read_blobs(wan_torch_source *s, const wan_pickle_value *keys, const uint8_t *p,
                      size_t left)
{
    named *list;
    size_t n;
    s->blob = wan_calloc(keys->len + 1, sizeof *s->blob, "storages");
    if (!s->blob)
        return -1;
    int rc = list_storages(&list, &n, s->vm);
    for (size_t i = 0; rc == 0 && i < keys->len; i++) {
        const wan_pickle_value *key = keys->item[i];
        rc = key->kind == WAN_PK_STR ? read_blob(s, key, element_size(list, n, key), &p, &left)
                                     : wan_err("a storage key that is no text");
    }
    free(list);
    WAN_TRY(rc);
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
