/* SPDX-License-Identifier: Apache-2.0
 *
 * safetensors.c - reading: one file, a sharded model by its index, or a model folder.
 * The rules are those of huggingface/safetensors (tensor.rs), numbered as in wan-data(7),
 * Safetensors rules.
 */
#include "lib/rec/tensor/safetensors.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/ends.h"
#include "lib/base/file.h"
#include "lib/base/le.h"
#include "lib/rec/tensor/mapped.h"

enum { ST_MAX_HEADER = 100000000 };

typedef struct st_file {
    char *path;
    const uint8_t *map;
    size_t size;
    json_t *header; /* the tensors' names belong to it */
} st_file;

struct wan_st {
    char *path; /* as opened, for messages */
    st_file *files;
    size_t n_files;
    wan_st_tensor *tensors; /* sorted by name */
    size_t n;
};

/* Rules 1 to 4 and 10: the length, then JSON between '{' and '}' padded with spaces only. */
static int parse_header(st_file *f)
{
    uint64_t n = wan_le_get64(f->map), end = n;
    if (f->size > 15 && !memcmp(f->map, "version https://", 16))
        return wan_err("%s: a git-lfs pointer, not the file itself (git lfs pull brings it)",
                       f->path);
    if (n > ST_MAX_HEADER)
        return wan_err("%s: header of %" PRIu64 " bytes, more than the allowed %d", f->path, n,
                       ST_MAX_HEADER);
    if (n > f->size - 8)
        return wan_err("%s: header of %" PRIu64 " bytes, but the file ends after %zu", f->path, n,
                       f->size);
    const char *text = (const char *)f->map + 8;
    while (end && text[end - 1] == ' ')
        end--;
    if (!end || text[0] != '{' || text[end - 1] != '}')
        return wan_err("%s: header is not a JSON object padded with spaces", f->path);
    f->header = wan_json_parse(text, end, f->path);
    if (!f->header)
        return -1;
    const json_t *meta = json_object_get(f->header, "__metadata__");
    const char *key;
    json_t *v;
    if (meta && !json_is_object(meta))
        return wan_err("%s: __metadata__ is not an object", f->path);
    json_object_foreach((json_t *)meta, key, v) if (!json_is_string(v)) return wan_err(
        "%s: __metadata__ \"%s\" is not a string", f->path, key);
    return 0;
}

static int parse_shape(wan_st_tensor *t, const json_t *shape)
{
    if (!json_is_array(shape) || json_array_size(shape) > WAN_MAX_RANK)
        return wan_err("shape must be an array of at most %d numbers", WAN_MAX_RANK);
    t->rank = (int)json_array_size(shape);
    for (int i = 0; i < t->rank; i++) {
        const json_t *d = json_array_get(shape, (size_t)i);
        if (!json_is_integer(d) || json_integer_value(d) < 0)
            return wan_err("shape must hold whole numbers of at least 0");
        t->shape[i] = json_integer_value(d);
    }
    WAN_TRY(wan_shape_count(&t->count, t->shape, t->rank));
    t->bytes = (size_t)t->count * wan_dtype_size(t->dtype);
    return 0;
}

/* Rule 6; *begin is relative to the byte buffer. */
static int parse_entry(wan_st_tensor *t, const json_t *e, size_t room)
{
    const json_t *type = json_object_get(e, "dtype"), *off = json_object_get(e, "data_offsets");
    if (json_object_size(e) != 3 || !json_is_string(type) || !json_object_get(e, "shape"))
        return wan_err("must have exactly dtype, shape and data_offsets");
    if (!strncmp(json_string_value(type), "F8_", 3) || !strncmp(json_string_value(type), "F4", 2))
        return wan_err("%s: quantised weights, which are not supported (take a file in BF16)",
                       json_string_value(type));
    WAN_TRY(wan_dtype_parse(&t->dtype, json_string_value(type)));
    WAN_TRY(parse_shape(t, json_object_get(e, "shape")));
    const json_t *b = json_array_get(off, 0), *n = json_array_get(off, 1);
    if (json_array_size(off) != 2 || !json_is_integer(b) || !json_is_integer(n) ||
        json_integer_value(b) < 0 || json_integer_value(n) < json_integer_value(b))
        return wan_err("data_offsets must be [begin, end] with 0 <= begin <= end");
    size_t begin = (size_t)json_integer_value(b), end = (size_t)json_integer_value(n);
    if (end > room)
        return wan_err("its data end at %zu, the file has %zu bytes of data", end, room);
    if (end - begin != t->bytes)
        return wan_err("%zu bytes of data, its shape and type need %zu", end - begin, t->bytes);
    t->data = (const uint8_t *)t->data + begin;
    return 0;
}

static int by_place(const void *a, const void *b)
{
    const wan_st_tensor *x = a, *y = b;
    const char *p = x->data, *q = y->data;
    if (p != q)
        return p < q ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const wan_st_tensor *)a)->name, ((const wan_st_tensor *)b)->name);
}

/* Rules 5 and 7: no hole, no overlap, nothing behind. */
static int check_places(const st_file *f, wan_st_tensor *t, size_t n, const uint8_t *data)
{
    qsort(t, n, sizeof *t, by_place);
    for (size_t i = 0; i < n; i++) {
        if (t[i].data != data)
            return wan_err("%s: tensor %s: %s", f->path, t[i].name,
                           (const uint8_t *)t[i].data < data ? "overlaps the one before it"
                                                             : "a hole before its data");
        data += t[i].bytes;
    }
    size_t rest = (size_t)(f->map + f->size - data);
    if (rest)
        return wan_err("%s: %zu bytes behind the last tensor", f->path, rest);
    return 0;
}

/* Whether the file holds scales beside 8-bit weights: its weights alone would be nonsense. */
static int has_scales(const json_t *header)
{
    static const char *const marks[] = { "scaled_fp8", "scale_weight", "weight_scale" };
    const char *name;
    json_t *e;
    json_object_foreach((json_t *)header, name, e)
    {
        for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
            if (strstr(name, marks[i]))
                return 1;
    }
    return 0;
}

/* Appends the tensors of file f to st. */
static int add_tensors(wan_st *st, const st_file *f)
{
    size_t header = 8 + wan_le_get64(f->map), room = json_object_size(f->header) + 1;
    wan_st_tensor *all = realloc(st->tensors, (st->n + room) * sizeof *all);
    if (!all)
        return wan_err("%s: out of memory (tensor list)", f->path);
    st->tensors = all;
    wan_st_tensor *first = all + st->n;
    size_t n = 0;
    const char *name;
    json_t *e;
    json_object_foreach(f->header, name, e)
    {
        if (!strcmp(name, "__metadata__"))
            continue;
        first[n] = (wan_st_tensor){ .name = name, .file = f->path, .data = f->map + header };
        if (parse_entry(&first[n], e, f->size - header) < 0)
            return wan_err_prefix("%s: tensor %s%s", f->path, name,
                                  has_scales(f->header) ? " (the file has scales for it)" : "");
        n++;
    }
    st->n += n;
    return check_places(f, first, n, f->map + header);
}

static int add_file(wan_st *st, const char *path)
{
    st_file *grown = realloc(st->files, (st->n_files + 1) * sizeof *grown);
    if (!grown)
        return wan_err("%s: out of memory (file list)", path);
    st->files = grown;
    st_file *f = &grown[st->n_files++];
    *f = (st_file){ .path = strdup(path) };
    if (!f->path)
        return wan_err("%s: out of memory (file list)", path);
    WAN_TRY(wan_mapped(&f->map, &f->size, path, "safetensors", 8));
    WAN_TRY(parse_header(f));
    return add_tensors(st, f);
}

/* A shard's name must stay in the folder of the index. */
static int check_shard_name(const char *index, const char *tensor, const json_t *file)
{
    const char *s = json_string_value(file);
    if (!s)
        return wan_err("%s: tensor %s: its file name is not a string", index, tensor);
    if (!*s || strchr(s, '/') || strstr(s, ".."))
        return wan_err("%s: tensor %s: file name \"%s\" leaves the folder", index, tensor, s);
    return 0;
}

static int add_shards(wan_st *st, const char *path, json_t *map)
{
    const char *slash = strrchr(path, '/'), *name;
    char *dir = slash ? strndup(path, (size_t)(slash + 1 - path)) : NULL;
    json_t *done = wan_json_object(), *file;
    int rc = slash && !dir ? wan_err("%s: out of memory", path) : 0;
    WAN_GOTO(rc, out);
    json_object_foreach(map, name, file)
    {
        WAN_GOTO(rc = check_shard_name(path, name, file), out);
        if (json_object_get(done, json_string_value(file)))
            continue;
        wan_json_put(&done, json_string_value(file), json_true());
        char *full = wan_path_join(dir, json_string_value(file));
        rc = full && done ? add_file(st, full) : -1;
        free(full);
        WAN_GOTO(rc, out);
    }
out:
    json_decref(done);
    free(dir);
    return rc;
}

static int check_index(wan_st *st, const char *path, json_t *map)
{
    for (size_t i = 0; i < st->n; i++) {
        const wan_st_tensor *t = &st->tensors[i];
        const char *said = json_string_value(json_object_get(map, t->name));
        const char *slash = strrchr(t->file, '/'), *base = slash ? slash + 1 : t->file;
        if (!said || strcmp(said, base))
            return wan_err("%s: tensor %s: is in %s, the index says %s", path, t->name, base,
                           said ? said : "nothing about it");
    }
    const char *name;
    json_t *file;
    json_object_foreach(map, name, file) if (!wan_st_find(st, name)) return wan_err(
        "%s: tensor %s: not in %s", path, name, json_string_value(file));
    return 0;
}

static int sort_names(wan_st *st)
{
    if (st->n)
        qsort(st->tensors, st->n, sizeof *st->tensors, by_name);
    for (size_t i = 1; i < st->n; i++)
        if (!strcmp(st->tensors[i - 1].name, st->tensors[i].name))
            return wan_err("%s: tensor %s: in both %s and %s", st->path, st->tensors[i].name,
                           st->tensors[i - 1].file, st->tensors[i].file);
    return 0;
}

static int open_index(wan_st *st, const char *path)
{
    json_t *index = wan_json_load(path), *map = json_object_get(index, "weight_map");
    int rc = -1;
    if (!index)
        return -1;
    if (!json_is_object(map))
        wan_err("%s: no \"weight_map\" object", path);
    else if (!add_shards(st, path, map) && !sort_names(st))
        rc = check_index(st, path, map);
    json_decref(index);
    return rc;
}

/* Whether a file is a variant's weights: STEM.fp16.safetensors, STEM.safetensors.index.fp16.json. */
static int is_variant(const char *name)
{
    static const char *const stems[] = { "diffusion_pytorch_model.", "model." };
    size_t n = strlen(name);
    for (size_t i = 0; i < sizeof stems / sizeof *stems; i++) {
        size_t k = strlen(stems[i]);
        if (strncmp(name, stems[i], k))
            continue;
        if (n > k + 12 && !strcmp(name + n - 12, ".safetensors") && !strstr(name, "-of-"))
            return 1;
        if (n > k + 23 && !strncmp(name + k, "safetensors.index.", 18) &&
            !strcmp(name + n - 5, ".json"))
            return 1;
    }
    return 0;
}

/* The one variant of a folder without plain weights, malloc'ed; none or several is an error. */
static char *find_variant(const char *dir)
{
    DIR *d = opendir(dir);
    char *found = NULL;
    const char *name;
    int rc = d ? 1 : wan_err_errno("%s", dir);
    while (rc > 0 && (rc = wan_dir_next(d, dir, &name)) > 0) {
        if (!is_variant(name))
            continue;
        if (found)
            rc = wan_err("%s: both %s and %s are there: name the one to read", dir,
                         strrchr(found, '/') + 1, name);
        else if (!(found = wan_path_join(dir, name)))
            rc = -1;
    }
    if (rc == 0 && !found)
        wan_err("%s: no safetensors weights in this folder (diffusion_pytorch_model or model)",
                dir);
    if (d)
        closedir(d);
    if (rc < 0) {
        free(found);
        found = NULL;
    }
    return found;
}

/* The one weights file of a model folder, malloc'ed; none or several is an error. */
static char *find_in_folder(const char *dir)
{
    static const char *const names[] = { "diffusion_pytorch_model.safetensors.index.json",
                                         "diffusion_pytorch_model.safetensors",
                                         "model.safetensors.index.json", "model.safetensors" };
    char *found = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!wan_exists_in(dir, names[i]))
            continue;
        if (found) {
            wan_err("%s: both %s and %s are there: name the one to read", dir,
                    strrchr(found, '/') + 1, names[i]);
            free(found);
            return NULL;
        }
        if (!(found = wan_path_join(dir, names[i])))
            return NULL;
    }
    return found ? found : find_variant(dir);
}

static int open_any(wan_st *st, const char *path)
{
    struct stat s;
    if (stat(path, &s) < 0)
        return wan_err_errno("%s", path);
    if (S_ISDIR(s.st_mode)) {
        char *inside = find_in_folder(path);
        int rc = inside ? open_any(st, inside) : -1;
        free(inside);
        return rc;
    }
    if (wan_ends_with(path, ".index.json"))
        return open_index(st, path);
    WAN_TRY(add_file(st, path));
    return sort_names(st);
}

int wan_st_open(wan_st **out, const char *path)
{
    *out = NULL;
    wan_st *st = wan_calloc(1, sizeof *st, "safetensors reader");
    if (!st || !(st->path = strdup(path))) {
        free(st);
        return wan_err("%s: out of memory", path);
    }
    if (open_any(st, path) < 0) {
        wan_st_close(&st);
        return -1;
    }
    *out = st;
    return 0;
}

void wan_st_close(wan_st **st)
{
    if (!*st)
        return;
    for (size_t i = 0; i < (*st)->n_files; i++) {
        st_file *f = &(*st)->files[i];
        if (f->map)
            munmap((void *)f->map, f->size);
        json_decref(f->header);
        free(f->path);
    }
    free((*st)->files);
    free((*st)->tensors);
    free((*st)->path);
    free(*st);
    *st = NULL;
}

size_t wan_st_count(const wan_st *st)
{
    return st->n;
}

wan_st_tensor *wan_st_at(wan_st *st, size_t i)
{
    return &st->tensors[i];
}

wan_st_tensor *wan_st_find(wan_st *st, const char *name)
{
    wan_st_tensor key = { .name = name };
    return st->n ? bsearch(&key, st->tensors, st->n, sizeof key, by_name) : NULL;
}

const json_t *wan_st_metadata(const wan_st *st)
{
    return st->n_files ? json_object_get(st->files[0].header, "__metadata__") : NULL;
}

static void print_shape(char *s, size_t room, const int64_t *shape, int rank)
{
    size_t at = (size_t)snprintf(s, room, "[");
    for (int i = 0; i < rank && at < room; i++)
        at += (size_t)snprintf(s + at, room - at, "%s%" PRId64, i ? ", " : "", shape[i]);
    if (at < room)
        snprintf(s + at, room - at, "]");
}

/* Converts through an aligned buffer: nothing in the file need be aligned. */
static int copy_out(void *dst, wan_dtype dt, const wan_st_tensor *t)
{
    enum { CHUNK = 4096 };
    _Alignas(64) uint8_t buf[CHUNK * 8];
    size_t ds = wan_dtype_size(dt), ss = wan_dtype_size(t->dtype);
    if (dt == t->dtype) {
        if (t->bytes)
            memcpy(dst, t->data, t->bytes);
        return 0;
    }
    for (size_t i = 0, n = (size_t)t->count; i < n; i += CHUNK) {
        size_t m = n - i < CHUNK ? n - i : CHUNK;
        memcpy(buf, (const uint8_t *)t->data + i * ss, m * ss);
        WAN_TRY(wan_convert((uint8_t *)dst + i * ds, dt, buf, t->dtype, m));
    }
    return 0;
}

int wan_st_load(wan_st *st, const char *name, const int64_t *shape, int rank, void *dst,
                wan_dtype dt)
{
    wan_st_tensor *t = wan_st_find(st, name);
    if (!t)
        return wan_err("%s: tensor %s: missing", st->path, name);
    if (t->rank != rank || (rank && memcmp(t->shape, shape, (size_t)rank * sizeof *shape))) {
        char has[256], want[256];
        print_shape(has, sizeof has, t->shape, t->rank);
        print_shape(want, sizeof want, shape, rank);
        return wan_err("%s: tensor %s: has shape %s, expected %s", t->file, name, has, want);
    }
    t->used = 1;
    if ((dst ? copy_out(dst, dt, t) : wan_convert(NULL, dt, NULL, t->dtype, 0)) < 0)
        return wan_err_prefix("%s: tensor %s", t->file, name);
    return 0;
}

static void advise(const wan_st_tensor *t, int how)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)t->data / page * page;
    if (t->bytes)
        (void)madvise((void *)at, (uintptr_t)t->data + t->bytes - at, how);
}

void wan_st_expect(const wan_st_tensor *t)
{
    advise(t, MADV_WILLNEED);
}

void wan_st_release(wan_st *st, const wan_st_tensor *t)
{
    (void)st;
    advise(t, MADV_DONTNEED);
}

size_t wan_st_unused(const wan_st *st, const char **name)
{
    size_t unused = 0;
    for (size_t i = 0; i < st->n; i++)
        if (!st->tensors[i].used && !unused++ && name)
            *name = st->tensors[i].name;
    return unused;
}
