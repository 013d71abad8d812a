/* SPDX-License-Identifier: Apache-2.0
 *
 * record_read.c - the reading half of the record stream, wan-record(5).  Nothing is believed
 * before its checksum and its limits were checked, and memory grows with what really arrives.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/crc32c.h"
#include "lib/base/file.h"
#include "lib/base/sha256.h"
#include "lib/rec/record/record_format.h"

enum { FIRST_CHUNK = 256 << 20 }; /* bytes taken on trust; more only after that many have come */

struct wan_reader {
    FILE *f;
    char *name;
    json_t *header;
    wan_writer *tee;
    wan_reader_stream_fn *on_stream;
    void *on_stream_arg;
    uint64_t returned; /* data records, over all streams of the input, or passed over */
    uint64_t records;  /* data records of the current stream */
    uint64_t ordinal;  /* records of any type of the current stream */
    uint64_t payload;  /* tensor bytes of the current stream */
    uint64_t at;       /* where the current record of any type begins in the input, */
    uint64_t length;   /* and its bytes, as far as its head could be read */
    wan_sha256 digest;
    uint64_t first,
        end;  /* of the bytes in which records begin that are returned; others are passed over */
    int open; /* between a stream header and its end record */
    int failed;
};

static int read_exact(wan_reader *r, void *buf, size_t n)
{
    size_t got = n ? fread(buf, 1, n, r->f) : 0;
    if (got == n)
        return 0;
    if (ferror(r->f))
        return wan_err_errno("read failed");
    return wan_err("truncated: the input ends inside it");
}

/* 1 head, 0 end of input before its first byte, -1. */
static int read_head(wan_reader *r, wan_head *h)
{
    uint8_t bytes[WAN_HEAD_BYTES];
    size_t got = fread(bytes, 1, sizeof bytes, r->f);
    r->at += r->length;
    r->length = got;
    if (got < sizeof bytes && ferror(r->f))
        return wan_err_errno("read failed");
    if (!got)
        return 0;
    /* foreign data is named as such even when shorter than a head */
    if (got < sizeof bytes && (got < 6 || !memcmp(bytes, "\x89WAN\r\n", 6)))
        return wan_err("truncated: the input ends inside it");
    if (got < sizeof bytes)
        memset(bytes + got, 0, sizeof bytes - got);
    WAN_TRY(wan_head_decode(h, bytes));
    r->length = h->length;
    if (h->type == WAN_T_HEAD) {
        r->ordinal = r->records = r->payload = 0;
        wan_sha256_init(&r->digest);
    }
    if (h->ordinal != r->ordinal)
        return wan_err("is number %" PRIu64 " of its stream, number %" PRIu64 " was expected",
                       h->ordinal, r->ordinal);
    r->ordinal++;
    if (h->type != WAN_T_DONE) /* the end record holds the digest of those before it */
        wan_sha256_add(&r->digest, bytes, sizeof bytes);
    return 1;
}

static int check_zero(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i])
            return wan_err("padding is not zero");
    return 0;
}

/* Key, JSON and table in one malloc'ed block, checksum and padding checked. */
static uint8_t *read_front(wan_reader *r, const wan_head *h)
{
    size_t n = wan_head_front(h), meta_at = wan_align(h->key_len, 8);
    size_t table_at = meta_at + wan_align(h->meta_len, 8), end = table_at + h->table_len;
    uint8_t *front = wan_malloc(n + 1, 1, "record head");
    if (!front)
        return NULL;
    WAN_GOTO(read_exact(r, front, n), fail);
    if (wan_crc32c(0, front, n) != h->front_crc) {
        wan_err("bad checksum of its metadata");
        goto fail;
    }
    if (h->type == WAN_T_IGNORE)
        return front;
    WAN_GOTO(check_zero(front + h->key_len, meta_at - h->key_len), fail);
    WAN_GOTO(check_zero(front + meta_at + h->meta_len, table_at - meta_at - h->meta_len), fail);
    WAN_GOTO(check_zero(front + end, n - end), fail);
    return front;
fail:
    free(front);
    return NULL;
}

/* Parses the JSON of a front; keys that start with '!' must not be ignored, and none is known. */
static json_t *parse_meta(const wan_head *h, const uint8_t *front)
{
    json_t *meta =
        wan_json_parse((const char *)front + wan_align(h->key_len, 8), h->meta_len, "metadata");
    if (!meta)
        return NULL;
    const char *key = NULL;
    json_t *value;
    if (!json_is_object(meta)) {
        wan_err("metadata is not a JSON object");
        goto fail;
    }
    json_object_foreach(meta, key, value) if (key[0] == '!')
    {
        wan_err("unknown metadata key \"%s\" that must not be ignored", key);
        goto fail;
    }
    return meta;
fail:
    json_decref(meta);
    return NULL;
}

/* n bytes of data, 64-byte aligned; crc is continued over them.  NULL on error, never for n = 0. */
static void *read_data(wan_reader *r, size_t n, uint32_t *crc)
{
    size_t got = 0, room = n < FIRST_CHUNK ? n : FIRST_CHUNK;
    uint8_t *p = aligned_alloc(64, wan_align(room + 1, 64));
    while (p && got < n) {
        if (read_exact(r, p + got, room - got) < 0)
            goto fail;
        *crc = wan_crc32c(*crc, p + got, room - got);
        got = room;
        if (got == n)
            break;
        room = n - got > got ? 2 * got : n;
        uint8_t *bigger = aligned_alloc(64, wan_align(room + 1, 64));
        if (bigger)
            memcpy(bigger, p, got);
        free(p);
        p = bigger;
    }
    if (!p)
        wan_err("out of memory (%zu bytes of tensor data)", n);
    return p;
fail:
    free(p);
    return NULL;
}

/* Decodes the table into rec's tensors (data still NULL), checks that they lie end to end. */
static int read_table(const wan_head *h, const uint8_t *front, wan_record *rec)
{
    const uint8_t *p = front + wan_align(wan_align(h->key_len, 8) + h->meta_len, 8);
    const uint8_t *end = p + h->table_len;
    uint64_t at = WAN_HEAD_BYTES + wan_head_front(h), begin;
    for (uint32_t i = 0; i < h->tensors; i++) {
        wan_tensor t;
        size_t used = wan_entry_decode(&t, &begin, p, (size_t)(end - p));
        if (!used)
            return -1;
        int rc = wan_record_add(rec, t.name, t.dtype, t.shape, t.rank, NULL, WAN_TAKE);
        free(t.name);
        WAN_TRY(rc);
        if (begin != at || t.bytes > h->length - at)
            return wan_err("tensor %s: does not lie where it must",
                           rec->tensors[rec->n_tensors - 1].name);
        at = wan_align(at + t.bytes, 64);
        p += used;
    }
    if (p != end || at != h->length)
        return wan_err("its length does not fit its tensors");
    return 0;
}

static int read_payload(wan_reader *r, const wan_head *h, wan_record *rec)
{
    uint8_t pad[64];
    uint32_t crc = 0;
    for (int i = 0; i < rec->n_tensors; i++) {
        wan_tensor *t = &rec->tensors[i];
        size_t rest = wan_align(t->bytes, 64) - t->bytes;
        t->data = read_data(r, t->bytes, &crc);
        if (!t->data || read_exact(r, pad, rest) < 0)
            return wan_err_prefix("tensor %s", t->name);
        WAN_TRY(check_zero(pad, rest));
        crc = wan_crc32c(crc, pad, rest);
        r->payload += t->bytes;
    }
    if (crc != h->payload_crc)
        return wan_err("bad checksum of its tensor data");
    return 0;
}

/* Whether the record at hand is of the part that is asked for. */
static int is_ours(const wan_reader *r)
{
    return r->at >= r->first && r->at < r->end;
}

/* Passes over the tensor data. */
static int skip_payload(wan_reader *r, const wan_head *h, wan_record *rec)
{
    for (int i = 0; i < rec->n_tensors; i++)
        r->payload += rec->tensors[i].bytes;
    off_t n = (off_t)(h->length - WAN_HEAD_BYTES - wan_head_front(h));
    return fseeko(r->f, n, SEEK_CUR) < 0 ? wan_err_errno("cannot be passed over") : 0;
}

static int read_record(wan_reader *r, const wan_head *h, wan_record *rec)
{
    int rc = -1;
    uint8_t *front = read_front(r, h);
    if (!front)
        return -1;
    WAN_GOTO(wan_key_check((char *)front, h->key_len), done);
    if (!(rec->key = strndup((char *)front, h->key_len))) {
        wan_err("out of memory (record key)");
        goto done;
    }
    if (!(rec->meta = parse_meta(h, front)))
        goto done;
    WAN_GOTO(read_table(h, front, rec), done);
    rc = is_ours(r) ? read_payload(r, h, rec) : skip_payload(r, h, rec);
done:
    free(front);
    return rc;
}

/* The JSON of a stream header or end record, which has nothing else. */
static json_t *read_meta_only(wan_reader *r, const wan_head *h)
{
    if (h->key_len || h->tensors || h->table_len ||
        h->length != WAN_HEAD_BYTES + wan_head_front(h) || h->payload_crc)
        return wan_err("has parts that do not belong to its type"), NULL;
    uint8_t *front = read_front(r, h);
    json_t *meta = front ? parse_meta(h, front) : NULL;
    free(front);
    return meta;
}

static int read_stream_header(wan_reader *r, const wan_head *h)
{
    if (h->type != WAN_T_HEAD)
        return wan_err("stream header missing");
    json_t *meta = read_meta_only(r, h);
    if (!meta)
        return -1;
    int another = r->header && !json_equal(r->header, meta);
    json_decref(r->header);
    r->header = meta;
    r->open = 1;
    return another && r->on_stream ? r->on_stream(r->on_stream_arg, meta) : 0;
}

static int read_end(wan_reader *r, const wan_head *h)
{
    char digest[8 + 64] = "sha256:";
    const char *said;
    int64_t records, bytes;
    json_t *meta = read_meta_only(r, h);
    if (!meta)
        return -1;
    wan_sha256_hex(&r->digest, digest + 7);
    int rc = -1;
    WAN_GOTO(wan_json_int(meta, "records", -1, 0, INT64_MAX, &records, "end record"), done);
    WAN_GOTO(wan_json_int(meta, "bytes", -1, 0, INT64_MAX, &bytes, "end record"), done);
    WAN_GOTO(wan_json_str(meta, "digest", "", &said, "end record"), done);
    if ((uint64_t)records != r->records || (uint64_t)bytes != r->payload) {
        wan_err("end record promises %" PRId64 " records with %" PRId64 " bytes, %" PRIu64
                " with %" PRIu64 " came",
                records, bytes, r->records, r->payload);
        goto done;
    }
    rc = strcmp(said, digest) ? wan_err("end record has another digest than the records") : 0;
    r->open = 0;
done:
    json_decref(meta);
    return rc;
}

/* A record of unknown, ignorable type: checked, copied to the tee if there is one. */
static int read_ignorable(wan_reader *r, wan_head *h)
{
    int rc = -1;
    uint32_t crc = 0;
    uint8_t *payload = NULL, *front = read_front(r, h);
    if (!front)
        return -1;
    payload = read_data(r, h->length - WAN_HEAD_BYTES - wan_head_front(h), &crc);
    if (!payload)
        goto done;
    if (crc != h->payload_crc)
        wan_err("bad checksum of its payload");
    else
        rc = r->tee && is_ours(r) ? wan_writer_raw(r->tee, h, front, payload) : 0;
done:
    free(front);
    free(payload);
    return rc;
}

/* 2: no data record yet, go on. */
static int next(wan_reader *r, wan_record *rec)
{
    wan_head h;
    int got = read_head(r, &h);
    if (got < 0)
        return -1;
    if (!got)
        return r->open ? wan_err("the input ends without an end record: truncated") : 0;
    if (!r->open)
        return read_stream_header(r, &h) < 0 ? -1 : 2;
    switch (h.type) {
    case WAN_T_DATA:
        WAN_TRY(read_record(r, &h, rec));
        r->records++;
        r->returned++;
        if (is_ours(r))
            return 1;
        wan_record_clear(rec);
        return 2;
    case WAN_T_DONE: return read_end(r, &h) < 0 ? -1 : 2;
    case WAN_T_IGNORE: return read_ignorable(r, &h) < 0 ? -1 : 2;
    default: return wan_err("a stream header before the end record of the stream before it");
    }
}

/* Adds which bytes of the input it is about. */
static void say_bytes(const wan_reader *r)
{
    if (r->length)
        wan_err_suffix(" (bytes %" PRIu64 " to %" PRIu64 ")", r->at, r->at + r->length - 1);
    else
        wan_err_suffix(" (behind byte %" PRIu64 ")", r->at);
}

int wan_reader_next(wan_reader *r, wan_record *rec)
{
    int rc;
    wan_record_clear(rec);
    if (r->failed)
        return wan_err("%s: reading on after an error", r->name);
    do
        rc = next(r, rec);
    while (rc == 2);
    if (rc < 0) {
        r->failed = 1;
        say_bytes(r);
        if (rec->key)
            wan_err_prefix("%s: record %" PRIu64 " (%s)", r->name, r->returned + 1, rec->key);
        else
            wan_err_prefix("%s: record %" PRIu64, r->name, r->returned + 1);
        wan_record_clear(rec);
    }
    return rc;
}

int wan_reader_open(wan_reader **out, FILE *f, const char *name)
{
    wan_head h;
    wan_reader *r = wan_calloc(1, sizeof *r, "record reader");
    *out = NULL;
    if (!r || !(r->name = strdup(name))) {
        free(r);
        return wan_err("out of memory (record reader)");
    }
    r->f = f;
    r->end = UINT64_MAX;
    int got = read_head(r, &h);
    if (!got)
        wan_err("empty input, not even a stream header");
    if (got <= 0 || read_stream_header(r, &h) < 0) {
        say_bytes(r);
        wan_err_prefix("%s: stream header (before record 1)", name);
        wan_reader_close(&r);
        return -1;
    }
    *out = r;
    return 0;
}

json_t *wan_reader_header(wan_reader *r)
{
    return r->header;
}

void wan_reader_tee(wan_reader *r, wan_writer *w)
{
    r->tee = w;
}

void wan_reader_on_stream(wan_reader *r, wan_reader_stream_fn *fn, void *arg)
{
    r->on_stream = fn;
    r->on_stream_arg = arg;
}

int wan_reader_part(wan_reader *r, int64_t i, int64_t n)
{
    struct stat s;
    off_t at = ftello(r->f);
    if (at < 0 || fstat(fileno(r->f), &s) < 0 || !S_ISREG(s.st_mode))
        return wan_err("%s: not a file that can be sought in", r->name);
    uint64_t from = r->at + r->length;
    uint64_t left = s.st_size > at ? (uint64_t)(s.st_size - at) : 0;
    uint64_t each = left / (uint64_t)n + 1;
    r->first = from + (uint64_t)i * each;
    r->end = i == n - 1 ? UINT64_MAX : r->first + each;
    return 0;
}

uint64_t wan_reader_count(const wan_reader *r)
{
    return r->returned;
}

void wan_reader_close(wan_reader **r)
{
    if (!*r)
        return;
    json_decref((*r)->header);
    free((*r)->name);
    free(*r);
    *r = NULL;
}
