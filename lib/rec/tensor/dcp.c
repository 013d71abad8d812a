/* SPDX-License-Identifier: Apache-2.0
 *
 * dcp.c - what .metadata says, checked; the pieces are read in dcp_read.c.
 */
#include "lib/rec/tensor/dcp.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/rec/tensor/dcp_priv.h"

enum { MAX_METADATA = 1 << 30, MAX_CHUNKS = 8192 };

int wan_dcp_is(const char *dir)
{
    return wan_exists_in(dir, ".metadata");
}

/* ---- values of the pickle */

static int sizes(int64_t *out, int *rank, const wan_pickle_value *v)
{
    if (!v || v->kind != WAN_PK_TUPLE || v->len > WAN_MAX_RANK)
        return wan_err("a size that is no tuple of at most %d numbers", WAN_MAX_RANK);
    *rank = (int)v->len;
    for (size_t i = 0; i < v->len; i++) {
        if (v->item[i]->kind != WAN_PK_INT || v->item[i]->i < 0)
            return wan_err("a size that is no number of at least 0");
        out[i] = v->item[i]->i;
    }
    return 0;
}

static int number(int64_t *out, const wan_pickle_value *v, const char *what)
{
    if (!v || v->kind != WAN_PK_INT || v->i < 0)
        return wan_err("%s is no number of at least 0", what);
    *out = v->i;
    return 0;
}

static char *text(const wan_pickle_value *v, const char *what)
{
    char *s = NULL;
    if (!v || v->kind != WAN_PK_STR || !v->len || v->len > 1023 || memchr(v->str, 0, v->len))
        wan_err("%s is no text of at most 1023 bytes", what);
    else if (!(s = strndup(v->str, v->len)))
        wan_err("out of memory (%s)", what);
    return s;
}

/* ---- storage_data: where the pieces are */

static int by_place(const void *a, const void *b)
{
    const wan_dcp_piece *x = a, *y = b;
    int c = strcmp(x->name, y->name);
    if (c || x->rank != y->rank)
        return c ? c : x->rank - y->rank;
    for (int i = 0; i < x->rank; i++)
        if (x->at[i] != y->at[i])
            return x->at[i] < y->at[i] ? -1 : 1;
    return 0;
}

/* Number of a file of the folder, added where it is new. */
static int file_of(wan_dcp *d, size_t *file, const wan_pickle_value *v)
{
    char *name = text(v, "a file's name");
    if (!name)
        return -1;
    if (strchr(name, '/') || !strcmp(name, "..")) {
        wan_err("file name \"%s\" leaves the folder", name);
        free(name);
        return -1;
    }
    for (*file = 0; *file < d->n_files; (*file)++)
        if (!strcmp(d->files[*file].name, name)) {
            free(name);
            return 0;
        }
    wan_dcp_file *more = realloc(d->files, (d->n_files + 1) * sizeof *more);
    if (!more) {
        free(name);
        return wan_err("out of memory (list of files)");
    }
    d->files = more;
    d->files[d->n_files++] = (wan_dcp_file){ .name = name };
    return 0;
}

/* One entry of storage_data; only pieces of tensors have an offset. */
static int add_piece(wan_dcp *d, const wan_pickle_value *key, const wan_pickle_value *info)
{
    const wan_pickle_value *at = wan_pickle_get(key, "offset");
    const wan_pickle_value *how = wan_pickle_get(info, "transform_descriptors");
    wan_dcp_piece *p = &d->pieces[d->n_pieces];
    *p = (wan_dcp_piece){ .rank = 0 };
    if (!at || at->kind == WAN_PK_NONE)
        return 0;
    WAN_TRY(sizes(p->at, &p->rank, at));
    if (how && how->kind != WAN_PK_NONE && how->len)
        return wan_err("its pieces are transformed (compressed), which is not supported");
    if (!(p->name = text(wan_pickle_get(key, "fqn"), "the name of a tensor")))
        return -1;
    d->n_pieces++;
    WAN_TRY(file_of(d, &p->file, wan_pickle_get(info, "relative_path")));
    WAN_TRY(number(&p->offset, wan_pickle_get(info, "offset"), "an offset"));
    return number(&p->length, wan_pickle_get(info, "length"), "a length");
}

static int read_storage(wan_dcp *d, const wan_pickle_value *map)
{
    if (!map || map->kind != WAN_PK_DICT)
        return wan_err("it has no map storage_data");
    d->pieces = wan_calloc(map->len / 2 + 1, sizeof *d->pieces, "list of pieces");
    if (!d->pieces)
        return -1;
    for (size_t i = 0; i + 1 < map->len; i += 2)
        WAN_TRY(add_piece(d, map->item[i], map->item[i + 1]));
    qsort(d->pieces, d->n_pieces, sizeof *d->pieces, by_place);
    for (size_t i = 1; i < d->n_pieces; i++)
        if (!by_place(&d->pieces[i - 1], &d->pieces[i]))
            return wan_err("tensor %s: a piece occurs twice", d->pieces[i].name);
    return 0;
}

/* ---- state_dict_metadata: the tensors */

static int overlap(const wan_dcp_chunk *a, const wan_dcp_chunk *b, int rank)
{
    for (int i = 0; i < rank; i++)
        if (a->at[i] + a->size[i] <= b->at[i] || b->at[i] + b->size[i] <= a->at[i])
            return 0;
    return a->count && b->count;
}

static int add_chunk(wan_dcp *d, const wan_dcp_tensor *t, wan_dcp_chunks *list,
                     const wan_pickle_value *v)
{
    wan_dcp_chunk *c = &list->v[list->n];
    wan_dcp_piece key = { .name = (char *)t->name };
    int rank;
    WAN_TRY(sizes(c->size, &rank, wan_pickle_get(v, "sizes")));
    WAN_TRY(sizes(key.at, &key.rank, wan_pickle_get(v, "offsets")));
    if (rank != t->rank || key.rank != t->rank)
        return wan_err("a piece of other dimensions");
    for (int i = 0; i < rank; i++)
        if (key.at[i] > t->shape[i] || c->size[i] > t->shape[i] - key.at[i])
            return wan_err("a piece that reaches beyond it");
    memcpy(c->at, key.at, sizeof c->at);
    WAN_TRY(wan_shape_count(&c->count, c->size, rank));
    c->piece = d->n_pieces ? bsearch(&key, d->pieces, d->n_pieces, sizeof key, by_place) : NULL;
    if (!c->piece)
        return wan_err("a piece that no file holds");
    if (c->count > c->piece->length) /* of at least a byte each */
        return wan_err("a piece of %lld elements in %lld bytes", (long long)c->count,
                       (long long)c->piece->length);
    for (size_t i = 0; i < list->n; i++)
        if (overlap(&list->v[i], c, rank))
            return wan_err("two pieces overlap");
    list->n++;
    return 0;
}

static int read_chunks(wan_dcp *d, wan_dcp_tensor *t, const wan_pickle_value *v)
{
    if (!v || (v->kind != WAN_PK_LIST && v->kind != WAN_PK_TUPLE) || v->len > MAX_CHUNKS)
        return wan_err("its pieces are no list of at most %d", (int)MAX_CHUNKS);
    wan_dcp_chunks *list = wan_calloc(1, sizeof *list, "list of pieces");
    t->chunks = list;
    if (!list || !(list->v = wan_calloc(v->len + 1, sizeof *list->v, "list of pieces")))
        return -1;
    int64_t sum = 0;
    for (size_t i = 0; i < v->len; i++) {
        WAN_TRY(add_chunk(d, t, list, v->item[i]));
        sum += list->v[i].count;
    }
    return sum == t->count ? 0 : wan_err("its pieces leave a gap");
}

/* Adds a tensor; whatever has no size is none. */
static int add_tensor(wan_dcp *d, const wan_pickle_value *key, const wan_pickle_value *v)
{
    const wan_pickle_value *size = wan_pickle_get(v, "size");
    const wan_pickle_value *props = wan_pickle_get(v, "properties");
    wan_dcp_tensor *t = &d->t[d->n];
    *t = (wan_dcp_tensor){ .rank = 0 };
    if (!size)
        return 0;
    if (props && props->kind == WAN_PK_OPAQUE)
        props = props->state;
    const wan_pickle_value *type = props && props->kind == WAN_PK_TUPLE && props->len
                                       ? props->item[0]
                                       : wan_pickle_get(props, "dtype");
    int dtype = type ? wan_pickle_dtype(type) : -2;
    if (dtype < 0)
        return 0;
    t->dtype = (wan_dtype)dtype;
    if (!(t->name = text(key, "the name of a tensor")))
        return -1;
    d->n++;
    if (sizes(t->shape, &t->rank, size) < 0 || wan_shape_count(&t->count, t->shape, t->rank) < 0 ||
        read_chunks(d, t, wan_pickle_get(v, "chunks")) < 0)
        return wan_err_prefix("tensor %s", t->name);
    return 0;
}

static int read_tensors(wan_dcp *d, const wan_pickle_value *map)
{
    if (!map || map->kind != WAN_PK_DICT)
        return wan_err("it has no map state_dict_metadata");
    d->t = wan_calloc(map->len / 2 + 1, sizeof *d->t, "tensor list");
    if (!d->t)
        return -1;
    for (size_t i = 0; i + 1 < map->len; i += 2)
        WAN_TRY(add_tensor(d, map->item[i], map->item[i + 1]));
    return 0;
}

static int parse(wan_dcp *d, const char *data, size_t n)
{
    wan_pickle *p = wan_pickle_new();
    size_t used;
    if (!p)
        return -1;
    const wan_pickle_value *root = wan_pickle_run(p, data, n, &used);
    int rc = root ? read_storage(d, wan_pickle_get(root, "storage_data")) : -1;
    if (rc == 0)
        rc = read_tensors(d, wan_pickle_get(root, "state_dict_metadata"));
    wan_pickle_free(&p);
    return rc;
}

int wan_dcp_open(wan_dcp **out, const char *dir)
{
    char *path = wan_path_join(dir, ".metadata"), *data = NULL;
    size_t n;
    *out = NULL;
    wan_dcp *d = path ? wan_calloc(1, sizeof *d, "checkpoint") : NULL;
    int rc = d && (d->dir = strdup(dir)) ? wan_slurp(&data, &n, path, MAX_METADATA) : -1;
    if (rc == 0) {
        rc = parse(d, data, n);
        if (rc == 0)
            rc = wan_dcp_map(d);
        if (rc < 0)
            wan_err_prefix("%s", path);
    }
    if (rc < 0)
        wan_dcp_close(&d);
    *out = d;
    free(data);
    free(path);
    return rc;
}

size_t wan_dcp_count(const wan_dcp *d)
{
    return d->n;
}

const wan_dcp_tensor *wan_dcp_at(const wan_dcp *d, size_t i)
{
    return &d->t[i];
}

void wan_dcp_close(wan_dcp **pd)
{
    wan_dcp *d = *pd;
    if (!d)
        return;
    for (size_t i = 0; i < d->n; i++) {
        wan_dcp_chunks *c = (wan_dcp_chunks *)d->t[i].chunks;
        if (c)
            free(c->v);
        free(c);
        free((char *)d->t[i].name);
    }
    wan_dcp_unmap(d);
    for (size_t i = 0; i < d->n_files; i++)
        free(d->files[i].name);
    for (size_t i = 0; i < d->n_pieces; i++)
        free(d->pieces[i].name);
    free(d->files);
    free(d->pieces);
    free(d->t);
    free(d->dir);
    free(d);
    *pd = NULL;
}
