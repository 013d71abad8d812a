/* SPDX-License-Identifier: Apache-2.0
 *
 * torch.c - from the values of the pickles to a checked list of named tensors, and reading them.
 */
#include "lib/rec/tensor/torch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/rec/tensor/torch_in.h"

enum { MAX_DEPTH = 64, MAX_NESTED = 3, MAX_SOURCES = 4096, MAX_VISITS = 1 << 20, MAX_NAME = 1023 };

/* Bytes that an expanded tensor may have where less is stored: a short file must not ask for any amount of memory. */
static const uint64_t MAX_EXPANDED = 64 << 20;

struct storage {
    const uint8_t *data;
    size_t bytes;
    const wan_torchzip_entry *entry; /* whose checksum is still to be compared, or NULL */
};

struct wan_torch {
    char *what;
    void *map;
    size_t map_size;
    wan_torch_source *sources;
    size_t n_sources, visits, skipped;
    wan_torch_tensor *t;
    size_t n, cap;
    struct storage *storage;
    size_t n_storage, cap_storage;
};

static int add_source(wan_torch *w, wan_torch_source **out, const uint8_t *data, size_t n,
                      int depth)
{
    if (depth > MAX_NESTED || w->n_sources >= MAX_SOURCES)
        return wan_err("too many files inside the file");
    int rc = wan_torch_source_open(out, data, n);
    if (!*out)
        return -1;
    (*out)->depth = depth;
    (*out)->next = w->sources;
    w->sources = *out;
    w->n_sources++;
    return rc;
}

/* The source inside a _load_from_bytes value. */
static int nested(wan_torch *w, const wan_torch_source *s, const wan_pickle_value *v,
                  wan_torch_source **in)
{
    return add_source(w, in, (const uint8_t *)v->str, v->len, s->depth + 1);
}

static int add_storage(wan_torch *w, size_t *index, const uint8_t *data, size_t bytes,
                       const wan_torchzip_entry *entry)
{
    for (size_t i = w->n_storage; i-- > 0 && i + 8 > w->n_storage;)
        if (w->storage[i].data == data && w->storage[i].bytes == bytes) {
            *index = i;
            return 0;
        }
    struct storage *more =
        wan_mem_grow(w->storage, w->n_storage, &w->cap_storage, sizeof *more, "storages");
    if (!more)
        return -1;
    w->storage = more;
    *index = w->n_storage;
    w->storage[w->n_storage++] = (struct storage){ data, bytes, entry };
    return 0;
}

/* Shape and strides from the two tuples; the largest index must lie inside `elements`. */
static int set_layout(wan_torch_tensor *t, const wan_pickle_value *v, int64_t offset,
                      int64_t elements)
{
    const wan_pickle_value *size = v->item[1], *stride = v->item[2];
    if (size->len > WAN_TORCH_RANK)
        return wan_err("%zu dimensions", size->len);
    t->rank = (int)size->len;
    for (int i = 0; i < t->rank; i++) {
        t->shape[i] = size->item[i]->i;
        t->stride[i] = stride->item[i]->i;
        if (t->shape[i] < 0 || t->stride[i] < 0)
            return wan_err("a negative size or stride");
    }
    WAN_TRY(wan_shape_count(&t->count, t->shape, t->rank));
    int64_t last = offset, want = 1;
    t->contiguous = 1;
    for (int i = t->rank - 1; i >= 0 && t->count; i--) {
        int64_t reach;
        if (__builtin_mul_overflow(t->shape[i] - 1, t->stride[i], &reach) ||
            __builtin_add_overflow(last, reach, &last))
            return wan_err("strides overflow");
        t->contiguous &= t->shape[i] == 1 || t->stride[i] == want;
        want *= t->shape[i];
    }
    if (offset < 0 || (t->count && last >= elements))
        return wan_err("reaches over its storage (element %" PRId64 " of %" PRId64 ")", last,
                       elements);
    return 0;
}

static int set_tensor(wan_torch *w, wan_torch_source *s, wan_torch_tensor *t,
                      const wan_pickle_value *v)
{
    const wan_pickle_value *st = v->item[0];
    int dtype = v->dtype;
    if (st->kind == WAN_PK_LOADED) {
        WAN_TRY(nested(w, s, st, &s));
        st = s->root;
        if (st->kind != WAN_PK_STORAGE)
            return wan_err("its storage is something else");
        if (dtype < 0)
            dtype = st->dtype;
    }
    if (dtype < 0)
        return wan_err("an element type that is not supported");
    size_t size = wan_dtype_size((wan_dtype)dtype);
    size_t unit = st->dtype == -1 ? 1 : size;
    if (st->dtype >= 0 && wan_dtype_size((wan_dtype)st->dtype) != size)
        return wan_err("its type and that of its storage differ");
    const uint8_t *data;
    size_t bytes;
    const wan_torchzip_entry *entry;
    WAN_TRY(wan_torch_source_find(s, st, &data, &bytes, &entry));
    if (st->i < 0 || (uint64_t)st->i > bytes / unit)
        return wan_err("its storage has %zu bytes, %" PRId64 " elements are promised", bytes,
                       st->i);
    int64_t elements = st->i / (int64_t)(size / unit), offset;
    if (__builtin_add_overflow(v->i, st->view, &offset))
        return wan_err("its offset overflows");
    t->dtype = (wan_dtype)dtype;
    WAN_TRY(set_layout(t, v, offset, elements));
    if ((uint64_t)t->count > (bytes > MAX_EXPANDED ? bytes : MAX_EXPANDED) / size)
        return wan_err("%" PRId64 " elements, of %zu bytes that are stored", t->count, bytes);
    t->data = t->count ? data + (size_t)offset * size : data;
    return add_storage(w, &t->storage, data, bytes, entry);
}

static int add_tensor(wan_torch *w, wan_torch_source *s, const wan_pickle_value *v,
                      const char *name)
{
    wan_torch_tensor *more = wan_mem_grow(w->t, w->n, &w->cap, sizeof *more, "tensors");
    if (!more)
        return -1;
    w->t = more;
    wan_torch_tensor *t = &w->t[w->n];
    memset(t, 0, sizeof *t);
    if (set_tensor(w, s, t, v) < 0)
        return wan_err_prefix("tensor %s", *name ? name : "\"\"");
    if (!(t->name = strdup(name)))
        return wan_err("out of memory (tensors)");
    w->n++;
    return 0;
}

static int walk(wan_torch *w, wan_torch_source *s, const wan_pickle_value *v, char *name,
                int depth);

/* Walks one member of a map or list under name.key. */
static int walk_member(wan_torch *w, wan_torch_source *s, const wan_pickle_value *key, size_t index,
                       const wan_pickle_value *v, char *name, int depth)
{
    size_t len = strlen(name), room = MAX_NAME - len;
    char number[24];
    const char *k = number;
    size_t n;
    if (key && key->kind == WAN_PK_STR) {
        k = key->str;
        n = key->len;
    } else if (!key || key->kind == WAN_PK_INT) {
        n = (size_t)snprintf(number, sizeof number, "%" PRId64, key ? key->i : (int64_t)index);
    } else {
        w->skipped++;
        return 0;
    }
    if (n + 1 > room || memchr(k, 0, n))
        return wan_err("a name of %zu bytes, or with a zero byte", len + n);
    size_t dot = len > 0;
    name[len] = '.';
    memcpy(name + len + dot, k, n);
    name[len + dot + n] = 0;
    int rc = walk(w, s, v, name, depth + 1);
    name[len] = 0;
    return rc;
}

static int walk(wan_torch *w, wan_torch_source *s, const wan_pickle_value *v, char *name, int depth)
{
    if (depth > MAX_DEPTH || ++w->visits > MAX_VISITS)
        return wan_err("nested too deeply");
    if (v->kind == WAN_PK_TENSOR)
        return add_tensor(w, s, v, name);
    if (v->kind == WAN_PK_LOADED) {
        WAN_TRY(nested(w, s, v, &s));
        return walk(w, s, s->root, name, depth + 1);
    }
    if (v->kind == WAN_PK_DICT) {
        for (size_t i = 0; i < v->len; i += 2)
            WAN_TRY(walk_member(w, s, v->item[i], 0, v->item[i + 1], name, depth));
        return 0;
    }
    if (v->kind == WAN_PK_LIST || v->kind == WAN_PK_TUPLE) {
        for (size_t i = 0; i < v->len; i++)
            WAN_TRY(walk_member(w, s, NULL, i, v->item[i], name, depth));
        return 0;
    }
    w->skipped++;
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const wan_torch_tensor *)a)->name, ((const wan_torch_tensor *)b)->name);
}

static int parse(wan_torch *w, const void *data, size_t n)
{
    char name[MAX_NAME + 1] = "";
    wan_torch_source *s;
    WAN_TRY(add_source(w, &s, data, n, 0));
    WAN_TRY(walk(w, s, s->root, name, 0));
    if (w->n)
        qsort(w->t, w->n, sizeof *w->t, by_name);
    for (size_t i = 1; i < w->n; i++)
        if (!strcmp(w->t[i - 1].name, w->t[i].name))
            return wan_err("tensor %s: occurs twice", w->t[i].name);
    return 0;
}

static wan_torch *make(const char *what)
{
    wan_torch *w = wan_calloc(1, sizeof *w, "torch file");
    if (w && !(w->what = strdup(what))) {
        free(w);
        wan_err("out of memory (torch file)");
        return NULL;
    }
    return w;
}

static int finish(wan_torch **out, wan_torch *w, const void *data, size_t n)
{
    if (parse(w, data, n) < 0) {
        wan_err_prefix("%s", w->what);
        wan_torch_close(&w);
        return -1;
    }
    *out = w;
    return 0;
}

int wan_torch_parse(wan_torch **out, const void *data, size_t n, const char *what)
{
    *out = NULL;
    wan_torch *w = make(what);
    return w ? finish(out, w, data, n) : -1;
}

int wan_torch_open(wan_torch **out, const char *path)
{
    struct stat st;
    *out = NULL;
    wan_torch *w = make(path);
    if (!w)
        return -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        wan_err_errno("%s", path);
    else if (!S_ISREG(st.st_mode) || !st.st_size)
        wan_err("%s: %s", path, S_ISREG(st.st_mode) ? "empty file" : "not a regular file");
    else if ((w->map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0)) == MAP_FAILED)
        wan_err_errno("%s", path);
    else
        w->map_size = (size_t)st.st_size;
    if (fd >= 0)
        close(fd);
    if (!w->map_size) {
        w->map = NULL;
        wan_torch_close(&w);
        return -1;
    }
    return finish(out, w, w->map, w->map_size);
}

size_t wan_torch_count(const wan_torch *w)
{
    return w->n;
}

wan_torch_tensor *wan_torch_at(wan_torch *w, size_t i)
{
    return &w->t[i];
}

wan_torch_tensor *wan_torch_find(wan_torch *w, const char *name)
{
    wan_torch_tensor want = { .name = name };
    return w->n ? bsearch(&want, w->t, w->n, sizeof want, by_name) : NULL;
}

const wan_pickle_value *wan_torch_root(const wan_torch *w)
{
    const wan_torch_source *s = w->sources;
    while (s->next) /* the newest comes first */
        s = s->next;
    return s->root;
}

size_t wan_torch_skipped(const wan_torch *w)
{
    return w->skipped;
}

/* Copies elements [first, first + n) of the innermost row at src to dst as type dt. */
static int read_row(const wan_torch_tensor *t, const uint8_t *src, int64_t n, int64_t stride,
                    uint8_t *dst, wan_dtype dt)
{
    enum { CHUNK = 2048 };
    uint64_t buf[CHUNK]; /* aligned for every type */
    size_t size = wan_dtype_size(t->dtype);
    if (dt == t->dtype && stride == 1) {
        memcpy(dst, src, (size_t)n * size);
        return 0;
    }
    for (int64_t i = 0; i < n; i += CHUNK) {
        size_t m = (size_t)(n - i < CHUNK ? n - i : CHUNK);
        const uint8_t *from = src + (size_t)(i * stride) * size;
        if (stride == 1)
            memcpy(buf, from, m * size);
        else
            for (size_t k = 0; k < m; k++)
                memcpy((uint8_t *)buf + k * size, from + k * (size_t)stride * size, size);
        uint8_t *to = dst + (size_t)i * wan_dtype_size(dt);
        if (dt == t->dtype)
            memcpy(to, buf, m * size);
        else
            WAN_TRY(wan_convert(to, dt, buf, t->dtype, m));
    }
    return 0;
}

static int read_strided(const wan_torch_tensor *t, uint8_t *dst, wan_dtype dt)
{
    int64_t at[WAN_TORCH_RANK] = { 0 };
    int inner = t->rank - 1;
    size_t size = wan_dtype_size(t->dtype), out = wan_dtype_size(dt);
    for (int64_t row = 0, rows = t->count / t->shape[inner]; row < rows; row++) {
        size_t from = 0;
        for (int i = 0; i < inner; i++)
            from += (size_t)(at[i] * t->stride[i]);
        WAN_TRY(read_row(t, (const uint8_t *)t->data + from * size, t->shape[inner],
                         t->stride[inner], dst, dt));
        dst += (size_t)t->shape[inner] * out;
        for (int i = inner - 1; i >= 0 && ++at[i] == t->shape[i]; i--)
            at[i] = 0;
    }
    return 0;
}

static int read_err(const wan_torch *w, const wan_torch_tensor *t)
{
    return *t->name ? wan_err_prefix("%s: tensor %s", w->what, t->name)
                    : wan_err_prefix("%s", w->what);
}

int wan_torch_read(wan_torch *w, wan_torch_tensor *t, void *dst, wan_dtype dt)
{
    struct storage *s = &w->storage[t->storage];
    if (s->entry && wan_torchzip_verify(s->entry) < 0)
        return read_err(w, t);
    s->entry = NULL;
    t->used = 1;
    int rc = !t->count       ? 0
             : t->contiguous ? read_row(t, t->data, t->count, 1, dst, dt)
                             : read_strided(t, dst, dt);
    return rc < 0 ? read_err(w, t) : 0;
}

void wan_torch_release(wan_torch *w, const wan_torch_tensor *t)
{
    const struct storage *s = &w->storage[t->storage];
    const uint8_t *map = w->map;
    if (!map || s->data < map || s->data >= map + w->map_size)
        return; /* decoded bytes, not pages of the file */
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = (uintptr_t)s->data & ~(page - 1);
    madvise((void *)from, (uintptr_t)s->data + s->bytes - from, MADV_DONTNEED);
}

size_t wan_torch_unused(const wan_torch *w, const char **name)
{
    size_t n = 0;
    for (size_t i = 0; i < w->n; i++)
        if (!w->t[i].used && !n++ && name)
            *name = w->t[i].name;
    return n;
}

void wan_torch_close(wan_torch **pw)
{
    wan_torch *w = *pw;
    if (!w)
        return;
    for (size_t i = 0; i < w->n; i++)
        free((char *)w->t[i].name);
    while (w->sources) {
        wan_torch_source *next = w->sources->next;
        wan_torch_source_free(w->sources);
        w->sources = next;
    }
    if (w->map)
        munmap(w->map, w->map_size);
    free(w->t);
    free(w->storage);
    free(w->what);
    free(w);
    *pw = NULL;
}
