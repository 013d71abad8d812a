/* SPDX-License-Identifier: Apache-2.0
 *
 * shard_read.c - streaming tar reader.  libarchive takes the headers apart; completeness is ours:
 * we know how many bytes there were and where the last one that is not zero stood, so a cut tar
 * and a tar with another one behind it are both seen.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/rec/record/record.h"
#include "lib/rec/shard/shard.h"

enum { CHUNK = 256 << 10, CHUNK_HEADERS = 16 << 10, GROW = 64 << 20, MAX_PROVENANCE = 16 << 20 };

struct wan_shard_reader {
    char *path;
    int fd, headers;
    int64_t size;                 /* of the file or range; -1 when it cannot seek */
    uint64_t base;                /* where reading began; everything below counts from there */
    int ranged;                   /* a range has no end blocks */
    uint64_t total, last_nonzero; /* bytes passed; 1 + offset of the last that is not zero */
    struct archive *tar;
    uint8_t *buf;
    wan_shard_part part[WAN_SHARD_PARTS];
    int n;
    char *key; /* of the sample being gathered */
    uint64_t begin;
    struct archive_entry *entry;
    struct archive_entry
        *ahead; /* entry, when it is the first member of the next sample, header read */
    char *ahead_key;
    const char *ahead_part;
    uint64_t ahead_at;
    int eof;
    uint64_t ignored, end;
    void (*on_other)(void *, uint64_t, uint64_t);
    void *other_arg;
    char *provenance, *provenance_ahead; /* of this sample; read since, NULL: the same */
};

static la_ssize_t on_read(struct archive *a, void *user, const void **data)
{
    wan_shard_reader *r = user;
    size_t want = r->headers ? CHUNK_HEADERS : CHUNK;
    if (r->ranged && want > (uint64_t)r->size - r->total)
        want = (uint64_t)r->size - r->total;
    ssize_t n;
    do
        n = read(r->fd, r->buf, want);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        archive_set_error(a, errno, "%s", strerror(errno));
        return -1;
    }
    for (ssize_t i = n; i-- > 0;)
        if (r->buf[i]) {
            r->last_nonzero = r->total + (uint64_t)i + 1;
            break;
        }
    r->total += (uint64_t)n;
    *data = r->buf;
    return n;
}

/* Seeks over payload; never behind the end of the file, so that a cut one is noticed. */
static la_int64_t on_skip(struct archive *a, void *user, la_int64_t want)
{
    (void)a;
    wan_shard_reader *r = user;
    int64_t left = r->size - (int64_t)r->total;
    if (r->size < 0 || left <= 0 || want <= 0)
        return 0;
    if (want > left)
        want = left;
    if (lseek(r->fd, (off_t)want, SEEK_CUR) < 0)
        return 0;
    r->total += (uint64_t)want;
    r->last_nonzero = r->total;
    return want;
}

static int tar_err(const wan_shard_reader *r)
{
    const char *why = archive_error_string(r->tar);
    int64_t at = archive_read_header_position(r->tar); /* no longer known after some errors */
    return wan_err("%s: offset %" PRIu64 ": %s", r->path,
                   r->base + (at < 0 ? r->total : (uint64_t)at), why ? why : "damaged tar");
}

static int start(wan_shard_reader *r)
{
    if (archive_read_support_format_tar(r->tar) != ARCHIVE_OK ||
        archive_read_set_read_callback(r->tar, on_read) != ARCHIVE_OK ||
        archive_read_set_skip_callback(r->tar, on_skip) != ARCHIVE_OK ||
        archive_read_set_callback_data(r->tar, r) != ARCHIVE_OK)
        return wan_err("out of memory (shard reader)");
    if (archive_read_open1(r->tar) == ARCHIVE_OK)
        return 0;
    int e = archive_errno(r->tar);
    return e == ENOMEM || e == EIO ? wan_err("%s: %s", r->path, strerror(e))
                                   : wan_err("%s: not a tar file, or a compressed one", r->path);
}

/* end = 0: the whole file. */
static int open_range(wan_shard_reader **out, const char *path, int headers, uint64_t begin,
                      uint64_t end)
{
    struct stat st;
    *out = NULL;
    wan_shard_reader *r = wan_calloc(1, sizeof *r, "shard reader");
    if (!r)
        return -1;
    r->headers = headers;
    r->fd = open(path, O_RDONLY | O_CLOEXEC);
    r->path = strdup(path);
    r->buf = wan_malloc(1, CHUNK, "shard reader");
    int rc = 0;
    if (r->fd < 0 || fstat(r->fd, &st) < 0)
        rc = wan_err_errno("%s", path);
    else if (end && (end < begin || end > (uint64_t)st.st_size))
        rc = wan_err("%s: %" PRIu64 " bytes wanted, the file has %" PRId64, path, end,
                     (int64_t)st.st_size);
    else if (begin && lseek(r->fd, (off_t)begin, SEEK_SET) < 0)
        rc = wan_err_errno("%s: cannot seek", path);
    else if (!r->path || !r->buf || !(r->tar = archive_read_new()) ||
             !(r->entry = archive_entry_new()))
        rc = wan_err("out of memory (shard reader)");
    if (rc == 0) {
        r->base = begin;
        r->ranged = end > 0;
        r->size = end ? (int64_t)(end - begin) : S_ISREG(st.st_mode) ? (int64_t)st.st_size : -1;
        rc = start(r);
    }
    if (rc < 0) {
        wan_shard_reader_close(&r);
        return -1;
    }
    *out = r;
    return 0;
}

int wan_shard_reader_open(wan_shard_reader **out, const char *path, int headers)
{
    return open_range(out, path, headers, 0, 0);
}

int wan_shard_reader_open_range(wan_shard_reader **out, const char *path, int headers,
                                uint64_t begin, uint64_t end)
{
    return open_range(out, path, headers, begin, end);
}

/* After libarchive met the zero blocks: there are two, and nothing but zeros to the end. */
static int check_end(wan_shard_reader *r)
{
    const void *data;
    la_ssize_t n;
    r->eof = 1;
    r->end = (uint64_t)archive_read_header_position(r->tar);
    if (r->ranged)
        return r->total == (uint64_t)r->size ? 0 : wan_err("%s: truncated", r->path);
    while ((n = on_read(r->tar, r, &data)) > 0)
        ;
    if (n < 0)
        return tar_err(r);
    if (r->last_nonzero > r->end)
        return wan_err("%s: something follows the end of the tar at %" PRIu64, r->path, r->end);
    if (r->total < r->end + 1024)
        return wan_err("%s: truncated at %" PRIu64 " bytes (no end blocks)", r->path, r->total);
    return 0;
}

static int read_payload(wan_shard_reader *r, uint64_t size, uint8_t **out, const char *name)
{
    uint64_t have = 0, room = size < GROW ? size : GROW;
    uint8_t *data = wan_malloc(1, room + 1, name);
    *out = NULL;
    if (!data)
        return -1;
    while (have < size) {
        if (have == room) {
            room = size - room < room ? size : 2 * room;
            uint8_t *more = realloc(data, room + 1);
            if (!more) {
                free(data);
                return wan_err("out of memory (%s)", name);
            }
            data = more;
        }
        la_ssize_t n = archive_read_data(r->tar, data + have, room - have);
        if (n <= 0) {
            int rc = n < 0 ? tar_err(r) : wan_err("%s: truncated", r->path);
            free(data);
            return rc < 0 ? wan_err_prefix("%s", name) : rc;
        }
        have += (uint64_t)n;
    }
    data[size] = 0;
    *out = data;
    return 0;
}

/* Refuses what a shard never holds; the size is checked before anything is allocated. */
static int check_member(wan_shard_reader *r, struct archive_entry *e, const char *name)
{
    int64_t size = archive_entry_size(e);
    if (archive_entry_sparse_count(e) > 0)
        return wan_err("%s: %s: sparse member", r->path, name);
    if (size < 0 || (uint64_t)size > WAN_MAX_RECORD)
        return wan_err("%s: %s: size %" PRId64, r->path, name, size);
    int64_t at = archive_read_header_position(r->tar);
    if (r->size >= 0 && size > r->size - at)
        return wan_err("%s: %s: truncated (%" PRId64 " bytes promised)", r->path, name, size);
    return 0;
}

static int read_provenance(wan_shard_reader *r, struct archive_entry *e, const char *name)
{
    static const char begin[] = "__provenance__/header";
    uint64_t size = (uint64_t)archive_entry_size(e);
    uint8_t *text;
    if (r->headers || strncmp(name, begin, sizeof begin - 1))
        return 0;
    if (size > MAX_PROVENANCE)
        return wan_err("%s: %s: %" PRIu64 " bytes", r->path, name, size);
    WAN_TRY(read_payload(r, size, &text, name));
    free(r->provenance_ahead);
    r->provenance_ahead = (char *)text;
    return 0;
}

/* Advances to the next member that belongs to a sample: 1, 0 at the end, -1. */
static int next_member(wan_shard_reader *r)
{
    for (;;) {
        struct archive_entry *e = r->entry;
        int rc = archive_read_next_header2(r->tar, e);
        if (rc == ARCHIVE_EOF)
            return check_end(r);
        const char *why = rc == ARCHIVE_WARN ? archive_error_string(r->tar) : NULL;
        int letters = why && strstr(why, "can't be converted"); /* then the name is as it is */
        if (rc != ARCHIVE_OK && !letters)
            return tar_err(r);
        const char *name = archive_entry_pathname(e);
        if (!name)
            return wan_err("%s: a member whose name cannot be read", r->path);
        if (archive_entry_filetype(e) != AE_IFREG || archive_entry_hardlink(e)) {
            r->ignored++;
            continue;
        }
        WAN_TRY(check_member(r, e, name));
        size_t len;
        rc = wan_shard_split(name, &len, &r->ahead_part);
        if (rc < 0)
            return wan_err_prefix("%s", r->path);
        if (rc == 0) {
            r->ignored += strncmp(name, "__", 2) != 0;
            if (r->on_other)
                r->on_other(r->other_arg, r->base + (uint64_t)archive_filter_bytes(r->tar, 0),
                            (uint64_t)archive_entry_size(e));
            WAN_TRY(read_provenance(r, e, name));
            continue;
        }
        free(r->ahead_key);
        if (!(r->ahead_key = strndup(name, len)))
            return wan_err("out of memory (key)");
        r->ahead = e;
        r->ahead_at = (uint64_t)archive_read_header_position(r->tar);
        return 1;
    }
}

static void clear_parts(wan_shard_reader *r)
{
    for (int i = 0; i < r->n; i++) {
        free(r->part[i].name);
        free(r->part[i].data);
    }
    r->n = 0;
}

/* Takes the member ahead into the sample being gathered. */
static int take_member(wan_shard_reader *r)
{
    if (r->n == WAN_SHARD_PARTS)
        return wan_err("%s: sample %s: more than %d parts", r->path, r->key, WAN_SHARD_PARTS);
    for (int i = 0; i < r->n; i++)
        if (!strcmp(r->part[i].name, r->ahead_part))
            return wan_err("%s: sample %s: part %s occurs twice", r->path, r->key, r->ahead_part);
    wan_shard_part *p = &r->part[r->n];
    *p = (wan_shard_part){ .size = (uint64_t)archive_entry_size(r->ahead) };
    if (!(p->name = strdup(r->ahead_part)))
        return wan_err("out of memory (part)");
    r->n++;
    p->at = r->base + (uint64_t)archive_filter_bytes(r->tar, 0);
    uint8_t *data = NULL;
    if (!r->headers) {
        WAN_TRY(read_payload(r, p->size, &data, r->key));
        p->data = data;
    }
    return 0;
}

int wan_shard_reader_next(wan_shard_reader *r, wan_shard_sample *s)
{
    clear_parts(r);
    if (r->eof)
        return 0;
    if (!r->ahead) {
        int rc = next_member(r);
        if (rc <= 0)
            return rc;
    }
    free(r->key);
    if (!(r->key = strdup(r->ahead_key)))
        return wan_err("out of memory (key)");
    r->begin = r->ahead_at;
    if (r->provenance_ahead) {
        free(r->provenance);
        r->provenance = r->provenance_ahead;
        r->provenance_ahead = NULL;
    }
    int rc;
    do {
        WAN_TRY(take_member(r));
        r->ahead = NULL;
        rc = next_member(r);
        WAN_TRY(rc);
    } while (rc && !strcmp(r->ahead_key, r->key));
    *s = (wan_shard_sample){ r->key, r->part, r->n, r->base + r->begin,
                             r->base + (rc ? r->ahead_at : r->end) };
    return 1;
}

uint64_t wan_shard_reader_ignored(const wan_shard_reader *r)
{
    return r->ignored;
}

void wan_shard_reader_on_other(wan_shard_reader *r, void (*fn)(void *, uint64_t, uint64_t),
                               void *arg)
{
    r->on_other = fn;
    r->other_arg = arg;
}

const char *wan_shard_reader_provenance(const wan_shard_reader *r)
{
    return r->provenance;
}

void wan_shard_reader_close(wan_shard_reader **pr)
{
    wan_shard_reader *r = *pr;
    if (!r)
        return;
    clear_parts(r);
    if (r->tar)
        archive_read_free(r->tar);
    archive_entry_free(r->entry);
    if (r->fd >= 0)
        close(r->fd);
    free(r->path);
    free(r->buf);
    free(r->key);
    free(r->ahead_key);
    free(r->provenance);
    free(r->provenance_ahead);
    free(r);
    *pr = NULL;
}
