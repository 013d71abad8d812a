/* SPDX-License-Identifier: Apache-2.0
 *
 * dcp_read.c - the files of a distributed checkpoint, and rows of a tensor put together from pieces.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/rec/tensor/dcp_priv.h"
#include "lib/rec/tensor/torch.h"

static int map_file(wan_dcp_file *f, const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;
    if (fd < 0 || fstat(fd, &st) < 0)
        rc = wan_err_errno("%s", f->name);
    else if (!S_ISREG(st.st_mode))
        rc = wan_err("%s: not a regular file", f->name);
    else if (st.st_size > 0) {
        void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map == MAP_FAILED)
            rc = wan_err_errno("%s: cannot map", f->name);
        else
            *f = (wan_dcp_file){ f->name, map, (size_t)st.st_size };
    }
    if (fd >= 0)
        close(fd);
    return rc;
}

int wan_dcp_map(wan_dcp *d)
{
    for (size_t i = 0; i < d->n_files; i++) {
        char *path = wan_path_join(d->dir, d->files[i].name);
        int rc = path ? map_file(&d->files[i], path) : -1;
        free(path);
        WAN_TRY(rc);
    }
    for (size_t i = 0; i < d->n_pieces; i++) {
        const wan_dcp_piece *p = &d->pieces[i];
        uint64_t size = d->files[p->file].size;
        if ((uint64_t)p->offset > size || (uint64_t)p->length > size - (uint64_t)p->offset)
            return wan_err("tensor %s: its data end at %" PRId64 ", %s has %" PRIu64 " bytes",
                           p->name, p->offset + p->length, d->files[p->file].name, size);
    }
    return 0;
}

void wan_dcp_unmap(wan_dcp *d)
{
    for (size_t i = 0; i < d->n_files; i++)
        if (d->files[i].map)
            munmap((void *)d->files[i].map, d->files[i].size);
}

/* Where the rows [first, first + n) of a tensor go. */
typedef struct rows {
    const wan_dcp_tensor *t;
    int64_t first, n;
    uint8_t *dst;
    size_t size; /* bytes of an element */
} rows;

/* Copies the part of a chunk that lies in the rows; data is the whole chunk, contiguous. */
static void place(const rows *r, const wan_dcp_chunk *c, const uint8_t *data)
{
    const wan_dcp_tensor *t = r->t;
    int inner = t->rank - 1;
    int64_t at[WAN_MAX_RANK] = { 0 };
    size_t line = (size_t)c->size[inner] * r->size;
    for (int64_t k = 0, lines = c->count / c->size[inner]; k < lines; k++) {
        int64_t to = 0;
        for (int i = 0; i <= inner; i++)
            to = to * (i ? t->shape[i] : 1) + c->at[i] + at[i] - (i ? 0 : r->first);
        int64_t row = c->at[0] + at[0];
        if (inner == 0) { /* one line: what of it is wanted */
            int64_t a = c->at[0] < r->first ? r->first : c->at[0];
            int64_t b = c->at[0] + c->size[0], end = r->first + r->n;
            b = b < end ? b : end;
            memcpy(r->dst + (size_t)(a - r->first) * r->size,
                   data + (size_t)(a - c->at[0]) * r->size, (size_t)(b - a) * r->size);
        } else if (row >= r->first && row < r->first + r->n) {
            memcpy(r->dst + (size_t)to * r->size, data + (size_t)k * line, line);
        }
        for (int i = inner - 1; i >= 0 && ++at[i] == c->size[i]; i--)
            at[i] = 0;
    }
}

/* The one tensor of a piece, as dt; buf has room for count elements. */
static int load(const wan_dcp *d, int rank, const wan_dcp_chunk *c, void *buf, wan_dtype dt)
{
    const wan_dcp_piece *p = c->piece;
    const wan_dcp_file *f = &d->files[p->file];
    wan_torch *w;
    WAN_TRY(wan_torch_parse(&w, f->map + p->offset, (size_t)p->length, f->name));
    wan_torch_tensor *t = wan_torch_find(w, "");
    int rc = 0;
    if (!t || wan_torch_count(w) != 1)
        rc = wan_err("%s: at %" PRId64 " is no tensor", f->name, p->offset);
    else if (t->count != c->count)
        rc = wan_err("%s: the piece at %" PRId64 " has %" PRId64 " elements, not %" PRId64, f->name,
                     p->offset, t->count, c->count);
    else if (t->rank == rank && memcmp(t->shape, c->size, (size_t)rank * sizeof *t->shape))
        rc = wan_err("%s: the piece at %" PRId64 " has another shape than .metadata says", f->name,
                     p->offset);
    else
        rc = wan_torch_read(w, t, buf, dt);
    wan_torch_close(&w);
    return rc;
}

/* Lets go of the pages of a piece: the whole checkpoint need not stay in memory. */
static void release(const wan_dcp *d, const wan_dcp_piece *p)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t at = (uintptr_t)(d->files[p->file].map + p->offset), from = at / page * page;
    madvise((void *)from, at + (uintptr_t)p->length - from, MADV_DONTNEED);
}

static int read_chunk(const wan_dcp *d, const rows *r, const wan_dcp_chunk *c, wan_dtype dt)
{
    if (!c->count ||
        (r->t->rank && (c->at[0] >= r->first + r->n || c->at[0] + c->size[0] <= r->first)))
        return 0;
    uint8_t *buf = wan_malloc((size_t)c->count, r->size, "a piece of a tensor");
    int rc = buf ? load(d, r->t->rank, c, buf, dt) : -1;
    if (rc == 0 && !r->t->rank)
        memcpy(r->dst, buf, r->size);
    else if (rc == 0)
        place(r, c, buf);
    release(d, c->piece);
    free(buf);
    return rc;
}

int wan_dcp_read(wan_dcp *d, const wan_dcp_tensor *t, int64_t first, int64_t n, void *dst,
                 wan_dtype dt)
{
    const wan_dcp_chunks *list = t->chunks;
    rows r = { t, first, n, dst, wan_dtype_size(dt) };
    for (size_t i = 0; i < list->n; i++)
        if (read_chunk(d, &r, &list->v[i], dt) < 0)
            return wan_err_prefix("%s: tensor %s", d->dir, t->name);
    return 0;
}
