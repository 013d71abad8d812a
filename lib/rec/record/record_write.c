/* SPDX-License-Identifier: Apache-2.0
 *
 * record_write.c - the writing half of the record stream, wan-record(5).
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/base/crc32c.h"
#include "lib/base/file.h"
#include "lib/base/sha256.h"
#include "lib/rec/record/record_format.h"

struct wan_writer {
    FILE *f;
    char *name;
    uint64_t ordinal;  /* records written, of any type */
    uint64_t records;  /* data records written */
    uint64_t payload;  /* tensor bytes written, without padding */
    wan_sha256 digest; /* over all heads so far */
    struct {
        off_t at;       /* where it begins; -1: none is open */
        uint64_t front; /* room left for its front */
        uint64_t bytes; /* of its tensor so far, and their checksum */
        uint32_t crc;
    } late;
};

static const uint8_t zeros[64];

static int put(wan_writer *w, const void *data, size_t n)
{
    if (n && fwrite(data, 1, n, w->f) != n)
        return wan_err_errno("%s: record %" PRIu64 ": write failed", w->name, w->records + 1);
    return 0;
}

static int put_head(wan_writer *w, wan_head *h)
{
    uint8_t bytes[WAN_HEAD_BYTES];
    h->ordinal = w->ordinal++;
    wan_head_encode(bytes, h);
    wan_sha256_add(&w->digest, bytes, sizeof bytes);
    return put(w, bytes, sizeof bytes);
}

int wan_writer_raw(wan_writer *w, wan_head *h, const uint8_t *front, const uint8_t *payload)
{
    size_t front_len = wan_head_front(h);
    size_t payload_len = h->length - WAN_HEAD_BYTES - front_len;
    h->front_crc = wan_crc32c(0, front, front_len);
    h->payload_crc = wan_crc32c(0, payload, payload_len);
    WAN_TRY(put_head(w, h));
    WAN_TRY(put(w, front, front_len));
    return put(w, payload, payload_len);
}

/* Fills h's lengths and returns the malloc'ed front: key, JSON, table. */
static uint8_t *make_front(wan_head *h, const char *key, const char *meta, const wan_tensor *t,
                           int n)
{
    size_t key_len = key ? strlen(key) : 0, meta_len = strlen(meta), table_len = 0;
    for (int i = 0; i < n; i++)
        table_len += wan_entry_encode(NULL, &t[i], 0);
    if (meta_len > WAN_MAX_JSON)
        return wan_err("metadata of %zu bytes, more than the allowed %u", meta_len, WAN_MAX_JSON),
               NULL;
    h->key_len = (uint32_t)key_len;
    h->meta_len = (uint32_t)meta_len;
    h->table_len = (uint32_t)table_len;
    h->tensors = (uint32_t)n;
    size_t front_len = wan_head_front(h);
    uint8_t *front = wan_calloc(front_len + 1, 1, "record head");
    if (!front)
        return NULL;
    if (key_len)
        memcpy(front, key, key_len);
    uint8_t *p = front + wan_align(key_len, 8);
    memcpy(p, meta, meta_len);
    p += wan_align(meta_len, 8);
    uint64_t at = WAN_HEAD_BYTES + front_len;
    for (int i = 0; i < n; i++) {
        p += wan_entry_encode(p, &t[i], at);
        at = wan_align(at + t[i].bytes, 64);
    }
    h->length = at;
    return front;
}

static uint32_t payload_crc(const wan_tensor *t, int n)
{
    uint32_t crc = 0;
    for (int i = 0; i < n; i++) {
        if (t[i].bytes)
            crc = wan_crc32c(crc, t[i].data, t[i].bytes);
        crc = wan_crc32c(crc, zeros, wan_align(t[i].bytes, 64) - t[i].bytes);
    }
    return crc;
}

static int put_payload(wan_writer *w, const wan_tensor *t, int n)
{
    for (int i = 0; i < n; i++) {
        WAN_TRY(put(w, t[i].data, t[i].bytes));
        WAN_TRY(put(w, zeros, wan_align(t[i].bytes, 64) - t[i].bytes));
        w->payload += t[i].bytes;
    }
    return 0;
}

/* What goes in front of the tensors; what a reader would refuse is not written. */
static uint8_t *front_of(wan_head *h, const char *key, const json_t *meta, const wan_tensor *t,
                         int n)
{
    const char *name = NULL;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)meta, name, value)
    {
        if (name[0] == '!')
            return wan_err("metadata key \"%s\": no key of ours begins with ! (wan-record(5))",
                           name),
                   NULL;
    }
    char *text = wan_json_dump(meta);
    uint8_t *front = text ? make_front(h, key, text, t, n) : NULL;
    free(text);
    if (!front || h->length <= WAN_MAX_RECORD)
        return front;
    wan_err("%" PRIu64 " bytes, more than the allowed 2^36", h->length);
    free(front);
    return NULL;
}

static int put_record(wan_writer *w, wan_head *h, const char *key, const json_t *meta,
                      const wan_tensor *t, int n)
{
    uint8_t *front = front_of(h, key, meta, t, n);
    if (!front)
        return wan_err_prefix("%s: record %" PRIu64, w->name, w->records + 1);
    int rc = -1;
    size_t front_len = wan_head_front(h);
    h->front_crc = wan_crc32c(0, front, front_len);
    h->payload_crc = payload_crc(t, n);
    WAN_GOTO(put_head(w, h), done);
    WAN_GOTO(put(w, front, front_len), done);
    rc = put_payload(w, t, n);
done:
    free(front);
    return rc;
}

/* Begins a stream. */
static int put_header(wan_writer *w, const json_t *header)
{
    w->ordinal = w->records = w->payload = 0;
    wan_sha256_init(&w->digest);
    json_t *empty = header ? NULL : wan_json_object();
    int rc =
        put_record(w, &(wan_head){ .type = WAN_T_HEAD }, NULL, header ? header : empty, NULL, 0);
    json_decref(empty);
    return rc;
}

int wan_writer_open(wan_writer **out, FILE *f, const char *name, const json_t *header)
{
    wan_writer *w = wan_calloc(1, sizeof *w, "record writer");
    *out = NULL;
    if (!w || !(w->name = strdup(name))) {
        free(w);
        return wan_err("out of memory (record writer)");
    }
    w->f = f;
    w->late.at = -1;
    int rc = put_header(w, header);
    if (rc < 0)
        wan_writer_abandon(&w);
    *out = w;
    return rc;
}

int wan_writer_put(wan_writer *w, const wan_record *rec)
{
    if (!rec->key || !json_is_object(rec->meta))
        return wan_err("%s: record %" PRIu64 ": has no key", w->name, w->records + 1);
    WAN_TRY(put_record(w, &(wan_head){ .type = WAN_T_DATA }, rec->key, rec->meta, rec->tensors,
                       rec->n_tensors));
    w->records++;
    return 0;
}

/* ---- a record whose front is known last */

/* 1 a device that keeps nothing, 2 a file that can be read back and cut, 0 neither. */
static int kind(wan_writer *w)
{
    struct stat s;
    int fd = fileno(w->f), flags = fd < 0 ? -1 : fcntl(fd, F_GETFL);
    if (flags < 0 || fstat(fd, &s) < 0)
        return 0;
    if (S_ISCHR(s.st_mode))
        return s.st_rdev == makedev(1, 3);
    return S_ISREG(s.st_mode) && (flags & O_ACCMODE) == O_RDWR && !(flags & O_APPEND) ? 2 : 0;
}

int wan_writer_late(wan_writer *w)
{
    return kind(w) && ftello(w->f) >= 0;
}

static int lost(const wan_writer *w)
{
    return wan_err_errno("%s: record %" PRIu64 ": write failed", w->name, w->records + 1);
}

int wan_writer_begin(wan_writer *w, const wan_record *like)
{
    wan_head h = { .type = WAN_T_DATA };
    uint8_t *front = front_of(&h, like->key, like->meta, like->tensors, like->n_tensors);
    int made = front != NULL;
    free(front);
    if (!made)
        return wan_err_prefix("%s: record %" PRIu64, w->name, w->records + 1);
    if ((w->late.at = ftello(w->f)) < 0)
        return lost(w);
    w->late.front = wan_head_front(&h);
    w->late.bytes = w->late.crc = 0;
    for (uint64_t n = 0; n < WAN_HEAD_BYTES + w->late.front; n += sizeof zeros)
        WAN_TRY(put(w, zeros, sizeof zeros));
    return 0;
}

int wan_writer_data(wan_writer *w, const void *data, size_t n)
{
    if (n > WAN_MAX_RECORD - w->late.bytes)
        return wan_err("%s: record %" PRIu64 ": more than the allowed 2^36 bytes", w->name,
                       w->records + 1);
    w->late.crc = wan_crc32c(w->late.crc, data, n);
    w->late.bytes += n;
    return put(w, data, n);
}

/* n bytes from one place of the file to another one, which may overlap. */
static int move(wan_writer *w, off_t to, off_t from, uint64_t n)
{
    enum { CHUNK = 1 << 20 };
    uint8_t *buf = fflush(w->f) ? NULL : wan_malloc(CHUNK, 1, "record");
    int fd = fileno(w->f), bad = !buf;
    for (uint64_t done = 0; !bad && done < n;) {
        size_t k = n - done < CHUNK ? (size_t)(n - done) : CHUNK;
        off_t at = (off_t)(to < from ? done : n - done - k);
        bad =
            pread(fd, buf, k, from + at) != (ssize_t)k || pwrite(fd, buf, k, to + at) != (ssize_t)k;
        done += k;
    }
    free(buf);
    return bad ? lost(w) : 0;
}

/* Tensor data to where the front, now known, ends; the file ends behind them. */
static int settle(wan_writer *w, uint64_t front, uint64_t payload)
{
    off_t from = w->late.at + WAN_HEAD_BYTES + (off_t)w->late.front,
          to = w->late.at + WAN_HEAD_BYTES + (off_t)front;
    if (from == to || kind(w) == 1)
        return 0;
    WAN_TRY(move(w, to, from, payload));
    return ftruncate(fileno(w->f), to + (off_t)payload) < 0 ? lost(w) : 0;
}

/* The head and front of what lies there. */
static int put_late(wan_writer *w, wan_head *h, const uint8_t *front)
{
    size_t front_len = wan_head_front(h);
    h->front_crc = wan_crc32c(0, front, front_len);
    h->payload_crc = w->late.crc;
    WAN_TRY(settle(w, front_len, h->length - WAN_HEAD_BYTES - front_len));
    if (fseeko(w->f, w->late.at, SEEK_SET) < 0)
        return lost(w);
    WAN_TRY(put_head(w, h));
    WAN_TRY(put(w, front, front_len));
    if (fseeko(w->f, w->late.at + (off_t)h->length, SEEK_SET) < 0)
        return lost(w);
    w->payload += w->late.bytes;
    w->late.at = -1;
    w->records++;
    return 0;
}

int wan_writer_end(wan_writer *w, const wan_record *rec)
{
    wan_head h = { .type = WAN_T_DATA };
    size_t rest = wan_align(w->late.bytes, 64) - w->late.bytes;
    if (w->late.at < 0 || rec->n_tensors != 1 || rec->tensors[0].bytes != w->late.bytes)
        return wan_err("%s: record %" PRIu64 ": %" PRIu64 " bytes came of its tensor", w->name,
                       w->records + 1, w->late.bytes);
    uint8_t *front = front_of(&h, rec->key, rec->meta, rec->tensors, 1);
    if (!front)
        return wan_err_prefix("%s: record %" PRIu64, w->name, w->records + 1);
    w->late.crc = wan_crc32c(w->late.crc, zeros, rest);
    int rc = put(w, zeros, rest);
    if (rc == 0)
        rc = put_late(w, &h, front);
    free(front);
    return rc;
}

int wan_writer_undo(wan_writer *w)
{
    off_t at = w->late.at;
    if (at < 0)
        return 0;
    w->late.at = -1;
    if (fseeko(w->f, at, SEEK_SET) < 0 || (kind(w) == 2 && ftruncate(fileno(w->f), at) < 0))
        return lost(w);
    return 0;
}

/* ---- the end */

static int put_end(wan_writer *w)
{
    char text[8 + 64] = "sha256:";
    wan_sha256 digest = w->digest;
    wan_sha256_hex(&digest, text + 7);
    json_t *meta = wan_json_object();
    wan_json_put(&meta, "bytes", json_integer((json_int_t)w->payload));
    wan_json_put(&meta, "digest", json_string(text));
    wan_json_put(&meta, "records", json_integer((json_int_t)w->records));
    int rc = put_record(w, &(wan_head){ .type = WAN_T_DONE }, NULL, meta, NULL, 0);
    json_decref(meta);
    return rc;
}

int wan_writer_next_stream(wan_writer *w, const json_t *header)
{
    WAN_TRY(put_end(w));
    return put_header(w, header);
}

int wan_writer_finish(wan_writer **w)
{
    int rc = put_end(*w);
    if (rc == 0 && fflush((*w)->f))
        rc = wan_err_errno("%s: write failed", (*w)->name);
    wan_writer_abandon(w);
    return rc;
}

void wan_writer_abandon(wan_writer **w)
{
    if (!*w)
        return;
    free((*w)->name);
    free(*w);
    *w = NULL;
}
