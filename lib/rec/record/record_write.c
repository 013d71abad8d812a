/* SPDX-License-Identifier: Apache-2.0
 *
 * record_write.c - the writing half of the record stream, wan-record(5).
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

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

static int put_record(wan_writer *w, wan_head *h, const char *key, const json_t *meta,
                      const wan_tensor *t, int n)
{
    char *text = wan_json_dump(meta);
    uint8_t *front = text ? make_front(h, key, text, t, n) : NULL;
    free(text);
    if (!front)
        return wan_err_prefix("%s: record %" PRIu64, w->name, w->records + 1);
    int rc = -1;
    if (h->length > WAN_MAX_RECORD) {
        wan_err("%s: record %" PRIu64 ": %" PRIu64 " bytes, more than the allowed 2^36", w->name,
                w->records + 1, h->length);
        goto done;
    }
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
