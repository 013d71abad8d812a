/* SPDX-License-Identifier: Apache-2.0
 *
 * spread.c - see spread.h.
 */
#include "lib/train/checkpoint/spread.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/crc32c.h"
#include "lib/base/file.h"
#include "lib/base/ranges.h"
#include "lib/model/files/manifest.h"
#include "lib/rec/tensor/st_layout.h"

enum {
    CHUNK = WAN_SPREAD_BYTES / (3 * sizeof(float))
}; /* elements converted and written at a time */

typedef struct file {
    char name[160];
    wan_st_layout *layout;
    char *head;
    size_t n_head;
    uint64_t size;  /* of the whole file */
    uint64_t range; /* bytes of each range that has a digest */
    uint32_t *sum;  /* [ranges]: what this rank has added to their CRC32C */
    int first, ranges;
} file;

typedef struct entry {
    int file, i;
    wan_dtype type;
    const wan_real *x;
    uint64_t offset; /* of the whole tensor, behind the header */
    float *copy;     /* of this rank's piece; NULL: it is in x */
} entry;

struct wan_spread {
    const wan_store *s;
    int first, tp; /* of the copy that is written; tensor parallel rank */
    file *file;
    int files, ranges; /* of all files */
    entry *entry;
    int entries, room;
    float *copy;               /* of all pieces, one behind the other; NULL: none */
    float *held;               /* [CHUNK] from the device */
    unsigned char *out, *back; /* [CHUNK] of float: as they are written, and read back */
};

int wan_spread_new(wan_spread **out, wan_ranks *r, const wan_store *s)
{
    wan_spread *p = wan_calloc(1, sizeof *p, "files of a checkpoint");
    *out = NULL;
    if (!p)
        return -1;
    p->s = s;
    p->first = r->mesh.at[WAN_DP_REPLICATE] == 0 &&
               (r->sharding != WAN_SHARD_NONE || r->mesh.group[WAN_FSDP]->rank == 0);
    p->tp = r->mesh.at[WAN_TP];
    p->held = wan_malloc(CHUNK, sizeof(float), "files of a checkpoint");
    p->out = wan_malloc(CHUNK, sizeof(float), "files of a checkpoint");
    p->back = wan_malloc(CHUNK, sizeof(float), "files of a checkpoint");
    if (!p->held || !p->out || !p->back) {
        wan_spread_free(&p);
        return -1;
    }
    *out = p;
    return 0;
}

void wan_spread_free(wan_spread **ps)
{
    wan_spread *s = *ps;
    if (!s)
        return;
    for (int k = 0; k < s->files; k++) {
        wan_st_layout_free(&s->file[k].layout);
        free(s->file[k].head);
        free(s->file[k].sum);
    }
    free(s->file);
    free(s->entry);
    free(s->copy);
    free(s->held);
    free(s->out);
    free(s->back);
    free(s);
    *ps = NULL;
}

/* ---- what there is */

int wan_spread_file(wan_spread *s, const char *name)
{
    file *more = realloc(s->file, ((size_t)s->files + 1) * sizeof *more);
    if (!more)
        return wan_err("out of memory (files of a checkpoint)");
    s->file = more;
    file *f = &s->file[s->files];
    *f = (file){ .sum = NULL };
    snprintf(f->name, sizeof f->name, "%s", name);
    WAN_TRY(wan_st_layout_new(&f->layout));
    s->files++;
    return 0;
}

int wan_spread_add(wan_spread *s, int i, wan_dtype t, const wan_real *x)
{
    const wan_param *q = &s->s->params.v[i];
    if (s->entries == s->room) {
        int room = s->room ? 2 * s->room : 256;
        entry *more = realloc(s->entry, (size_t)room * sizeof *more);
        if (!more)
            return wan_err("out of memory (files of a checkpoint)");
        s->entry = more;
        s->room = room;
    }
    entry *e = &s->entry[s->entries];
    *e = (entry){ .file = s->files - 1, .i = i, .type = t, .x = x };
    WAN_TRY(wan_st_layout_add(s->file[e->file].layout, q->name, t, q->shape, q->rank, &e->offset));
    s->entries++;
    return 0;
}

int wan_spread_files(const wan_spread *s)
{
    return s->files;
}

const char *wan_spread_name(const wan_spread *s, int k)
{
    return s->file[k].name;
}

int64_t wan_spread_bytes(const wan_spread *s, int k)
{
    return (int64_t)s->file[k].size;
}

/* What this rank writes of an entry. */
static wan_piece own(const wan_spread *s, const entry *e)
{
    const wan_param *q = &s->s->params.v[e->i];
    if (!s->first || !s->s->item[e->i].count || (q->cut < 0 && s->tp))
        return (wan_piece){ 0 };
    return wan_store_piece(s->s, e->i);
}

int wan_spread_sized(wan_spread *s)
{
    for (int k = 0; k < s->files; k++) {
        file *f = &s->file[k];
        if (wan_st_layout_head(f->layout, &f->head, &f->n_head) < 0)
            return wan_err_prefix("%s", f->name);
        f->size = f->n_head + wan_st_layout_bytes(f->layout);
        f->range = (uint64_t)wan_ranges_each((int64_t)f->size);
        f->first = s->ranges;
        f->ranges = (int)((f->size + f->range - 1) / f->range);
        s->ranges += f->ranges;
        if (!(f->sum = wan_calloc((size_t)f->ranges, sizeof *f->sum, "digests")))
            return -1;
    }
    return s->ranges;
}

/* ---- writing */

/* What n bytes at `at` add to the digests of the ranges that they lie in. */
static void add_sum(file *f, const void *data, size_t n, uint64_t at)
{
    const unsigned char *x = data;
    while (n) {
        const uint64_t k = at / f->range, left = (k + 1) * f->range - at;
        const uint64_t end = (k + 1) * f->range < f->size ? (k + 1) * f->range : f->size;
        const size_t m = n < left ? n : (size_t)left;
        f->sum[k] ^= wan_crc32c_range(wan_crc32c(0, x, m), m, end - at - m);
        x += m;
        n -= m;
        at += m;
    }
}

static int write_at(int fd, const unsigned char *x, size_t n, uint64_t at)
{
    while (n) {
        ssize_t m = pwrite(fd, x, n, (off_t)at);
        if (m < 0 && errno == EINTR)
            continue;
        if (m < 0)
            return wan_err_errno("cannot be written");
        x += m;
        n -= (size_t)m;
        at += (uint64_t)m;
    }
    return 0;
}

static int read_at(int fd, unsigned char *x, size_t n, uint64_t at)
{
    while (n) {
        ssize_t m = pread(fd, x, n, (off_t)at);
        if (m < 0 && errno == EINTR)
            continue;
        if (m <= 0)
            return m ? wan_err_errno("cannot be read back") : wan_err("is shorter than written");
        x += m;
        n -= (size_t)m;
        at += (uint64_t)m;
    }
    return 0;
}

/* Its room on the disk is taken before anything is written, where the file system can do that. */
static int reserve(int fd, uint64_t size)
{
    if (fallocate(fd, 0, 0, (off_t)size) == 0)
        return 0;
    if (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINTR && errno != EINVAL)
        return wan_err_errno("no room for its %" PRIu64 " bytes", size);
    return ftruncate(fd, (off_t)size) < 0 ? wan_err_errno("cannot be made so large") : 0;
}

static int create(file *f, const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0)
        return wan_err_errno("%s", path);
    int rc = reserve(fd, f->size);
    if (rc == 0)
        rc = write_at(fd, (const unsigned char *)f->head, f->n_head, 0);
    if (rc == 0 && wan_fsync(fd) < 0)
        rc = wan_err_errno("cannot be synced");
    if (rc < 0)
        wan_err_prefix("%s", path);
    if (close(fd) < 0 && rc == 0)
        rc = wan_err_errno("%s", path);
    add_sum(f, f->head, f->n_head, 0);
    return rc;
}

int wan_spread_create(wan_spread *s, const char *dir)
{
    for (int k = 0; k < s->files; k++) {
        char *path = wan_path_join(dir, s->file[k].name);
        int rc = path ? create(&s->file[k], path) : -1;
        free(path);
        WAN_TRY(rc);
    }
    return 0;
}

/* n elements, of the copy or x of the device, to their place `at` of file f, and back for a look. */
static int put_run(wan_spread *s, const entry *e, int fd, const float *copy, const wan_real *x,
                   size_t n, uint64_t at)
{
    const size_t size = wan_dtype_size(e->type);
    file *f = &s->file[e->file];
    for (size_t i = 0, m; i < n; i += m) {
        m = n - i < CHUNK ? n - i : CHUNK;
        const uint64_t place = at + i * size;
        const size_t bytes = m * size;
        if (!copy)
            WAN_TRY(wan_dev_read(s->s->d, s->held, x + i, m * sizeof *s->held));
        WAN_TRY(wan_convert(s->out, e->type, copy ? copy + i : s->held, WAN_F32, m));
        WAN_TRY(write_at(fd, s->out, bytes, place));
        WAN_TRY(read_at(fd, s->back, bytes, place));
        if (memcmp(s->back, s->out, bytes))
            return wan_err("was written badly: other bytes are read back");
        add_sum(f, s->out, bytes, place);
    }
    return 0;
}

static int put_entry(wan_spread *s, const entry *e, int fd)
{
    const wan_param *q = &s->s->params.v[e->i];
    const wan_piece p = own(s, e);
    const uint64_t base = s->file[e->file].n_head + e->offset;
    int64_t at, from, n;
    for (int64_t k = 0; wan_store_run(q, &s->s->item[e->i], &p, k, &at, &from, &n); k++)
        WAN_TRY(put_run(s, e, fd, e->copy ? e->copy + from : NULL, e->x + p.at + from, (size_t)n,
                        base + (uint64_t)at * wan_dtype_size(e->type)));
    return 0;
}

/* Entries [first, end), which are those of one file. */
static int write_file(wan_spread *s, const char *path, int first, int end)
{
    int rc = 0, some = 0;
    for (int k = first; k < end; k++)
        some |= own(s, &s->entry[k]).n > 0;
    if (!some)
        return 0;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return wan_err_errno(
            "%s: made by rank 0 and not seen here: checkpoint.save must be one folder "
            "for all ranks",
            path);
    for (int k = first; k < end && rc == 0; k++)
        if ((rc = put_entry(s, &s->entry[k], fd)) < 0)
            wan_err_prefix("%s: tensor %s", path, s->s->params.v[s->entry[k].i].name);
    if (rc == 0 && wan_fsync(fd) < 0)
        rc = wan_err_errno("%s: cannot be synced", path);
    if (close(fd) < 0 && rc == 0)
        rc = wan_err_errno("%s", path);
    return rc;
}

int wan_spread_write(wan_spread *s, const char *dir)
{
    int rc = 0;
    for (int k = 0, first = 0; k < s->files && rc == 0; k++) {
        int end = first;
        while (end < s->entries && s->entry[end].file == k)
            end++;
        char *path = wan_path_join(dir, s->file[k].name);
        rc = path ? write_file(s, path, first, end) : -1;
        free(path);
        first = end;
    }
    return rc;
}

/* The entry before k with the same elements: weights and masters are one vector.  first [params]: the entry
 * that has a parameter's elements of the first vector, -1: none yet. */
static int seen(const wan_spread *s, int k, int *first)
{
    const entry *e = &s->entry[k];
    if (first[e->i] < 0)
        first[e->i] = k;
    return s->entry[first[e->i]].x == e->x ? first[e->i] : k;
}

/* n of all copies; with room for them, they are made. */
static int copy_entries(wan_spread *s, int *first, size_t *n)
{
    for (int i = 0; i < s->s->params.n; i++)
        first[i] = -1;
    *n = 0;
    for (int k = 0; k < s->entries; k++) {
        entry *e = &s->entry[k];
        const wan_piece p = own(s, e);
        const int same = seen(s, k, first);
        if (s->copy && p.n)
            e->copy = same < k ? s->entry[same].copy : s->copy + *n;
        if (same < k || !p.n)
            continue;
        if (s->copy)
            WAN_TRY(wan_dev_read(s->s->d, e->copy, e->x + p.at, (size_t)p.n * sizeof *e->copy));
        *n += (size_t)p.n;
    }
    return 0;
}

int wan_spread_copy(wan_spread *s)
{
    static const char what[] = "a snapshot for the checkpoint";
    int *first = wan_malloc((size_t)s->s->params.n, sizeof *first, what);
    size_t n = 0;
    int rc = first ? copy_entries(s, first, &n) : -1;
    if (rc == 0 && n) {
        s->copy = wan_malloc(n, sizeof *s->copy, what);
        rc = s->copy ? copy_entries(s, first, &n) : -1;
    }
    free(first);
    return rc;
}

/* ---- digests */

void wan_spread_sums(const wan_spread *s, uint32_t *sum)
{
    for (int k = 0; k < s->files; k++)
        memcpy(sum + s->file[k].first, s->file[k].sum, (size_t)s->file[k].ranges * sizeof *sum);
}

const uint32_t *wan_spread_digests(const wan_spread *s, int k, uint32_t *sum, int n)
{
    const file *f = &s->file[k];
    uint32_t *out = sum + f->first;
    for (int i = 0; i < f->ranges; i++) {
        const uint64_t at = (uint64_t)i * f->range, left = f->size - at;
        out[i] ^= wan_crc32c_zeros(left < f->range ? left : f->range);
        for (int r = 1; r < n; r++)
            out[i] ^= out[(size_t)r * (size_t)s->ranges + (size_t)i];
    }
    return out;
}
