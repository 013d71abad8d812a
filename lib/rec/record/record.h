/* SPDX-License-Identifier: Apache-2.0
 *
 * record.h - the stream between all tools (wan-record(5)): read and write.
 *
 *     wan_writer *w;
 *     wan_writer_open(&w, stdout, "<stdout>", header);   // header: provenance so far + our entry
 *     wan_record r = WAN_RECORD_INIT;
 *     wan_record_set_key(&r, "clip_000017");
 *     json_object_set_new(r.meta, "caption", json_string("a cat"));
 *     wan_record_add(&r, "frames", WAN_U8, shape, 4, pixels, WAN_BORROW);
 *     wan_writer_put(w, &r);
 *     wan_record_clear(&r);
 *     wan_writer_finish(&w);                             // end record: counts and digest
 *
 * Reading: wan_reader_next returns 1 with a record, 0 at a proper end, -1 on error; the end of
 * input without an end record is an error that names the record.  `cat a b` is one valid stream.
 * Well-known tensors (kinds may be mixed in one record, unknown ones pass through filters):
 *     frames  U8   [T, H, W, 3]   RGB, full range
 *     latent  F32|BF16|F16 [16, T', h, w]   normalised VAE latent, T' = 1+(T-1)/4, h = H/8
 *     text    F32|BF16|F16 [n, text_dim]    text encoder rows of the true length
 *     token_ids I32 [n]
 * Well-known meta keys: caption, fps, source (file name), frames_in, frames_out, ...
 */
#ifndef WAN_REC_RECORD_H
#define WAN_REC_RECORD_H

#include <stdint.h>
#include <stdio.h>

#include "lib/base/dtype.h"
#include "lib/base/err.h"
#include "lib/base/json.h"

#define WAN_MAX_RANK 16
#define WAN_MAX_TENSORS 4096
#define WAN_MAX_KEY 255
#define WAN_MAX_CAPTION (128 << 10) /* bytes; a longer text is refused by every tool */
#define WAN_MAX_NAME 255
#define WAN_MAX_JSON (16u << 20)
#define WAN_MAX_RECORD (1ull << 36)

typedef struct wan_tensor {
    char *name; /* owned */
    wan_dtype dtype;
    int rank;
    int64_t shape[WAN_MAX_RANK];
    size_t bytes;
    void *data; /* 64-byte aligned when the reader made it */
    int owned;  /* data is free()d with the record */
} wan_tensor;

typedef struct wan_record {
    char *key;           /* owned; [A-Za-z0-9_/-]+, at most 255 bytes, no '.' (tar keys) */
    json_t *meta;        /* owned; a JSON object */
    wan_tensor *tensors; /* owned */
    int n_tensors;
} wan_record;

#define WAN_RECORD_INIT                                                                            \
    {                                                                                              \
        0, 0, 0, 0                                                                                 \
    }

enum wan_own { WAN_BORROW = 0, WAN_TAKE = 1 }; /* TAKE: record frees data, also on error */

int wan_record_set_key(wan_record *r, const char *key) WAN_MUST_CHECK; /* checks; makes meta {} */
int wan_record_add(wan_record *r, const char *name, wan_dtype t, const int64_t *shape, int rank,
                   void *data, enum wan_own own) WAN_MUST_CHECK;    /* duplicate name: error */
wan_tensor *wan_record_find(const wan_record *r, const char *name); /* NULL when absent */
void wan_record_drop(wan_record *r, const char *name);              /* removes, frees; no-op */
void wan_record_clear(wan_record *r);

typedef struct wan_reader wan_reader;
typedef struct wan_writer wan_writer;
/* f stays the caller's; name is for messages (copied).  Reads the stream header. */
int wan_reader_open(wan_reader **out, FILE *f, const char *name) WAN_MUST_CHECK;
/* Provenance list so far (JSON object, owned by the reader; last stream header read). */
json_t *wan_reader_header(wan_reader *r);
/* 1 record (clears and fills *rec), 0 end, -1 error. */
int wan_reader_next(wan_reader *r, wan_record *rec) WAN_MUST_CHECK;
/* Filters: records of unknown types that may be ignored are from now on copied to w unchanged, at
 * their place (otherwise they are skipped).  w NULL ends it. */
void wan_reader_tee(wan_reader *r, wan_writer *w);
/* Filters: when the input goes on with a stream of another header, fn gets that header before
 * anything of the stream is returned or copied; its -1 ends the reading.  The filter then begins
 * an output stream of its own for it (wan_writer_next_stream). */
typedef int wan_reader_stream_fn(void *arg, const json_t *header);
void wan_reader_on_stream(wan_reader *r, wan_reader_stream_fn *fn, void *arg);
/* From now on only the records whose first byte lies in the i-th (from 0) of n equal ranges of what is left of f,
 * a file that can be sought in: those of all i, one after the other, are all records.  Of the others only
 * heads and metadata are read and checked.  -1: not such a file. */
int wan_reader_part(wan_reader *r, int64_t i, int64_t n) WAN_MUST_CHECK;
uint64_t wan_reader_count(const wan_reader *r); /* records returned or passed over so far */
void wan_reader_close(wan_reader **r);

/* header: JSON object {"provenance":[...]} (borrowed; NULL: empty). */
int wan_writer_open(wan_writer **out, FILE *f, const char *name, const json_t *header)
    WAN_MUST_CHECK;
int wan_writer_put(wan_writer *w, const wan_record *rec) WAN_MUST_CHECK;
/* A record of one tensor, whose data come before its shape and metadata are known: begin, data..., end.  Only
 * where late says so: in a file that can be read and sought in, or a device that keeps nothing. */
int wan_writer_late(wan_writer *w);
/* like: what the record will be, as far as is known: the nearer its front in length, the less is moved. */
int wan_writer_begin(wan_writer *w, const wan_record *like) WAN_MUST_CHECK;
int wan_writer_data(wan_writer *w, const void *data, size_t n) WAN_MUST_CHECK;
/* The bytes are those of wan_writer_put; rec's tensor is looked at but for its data. */
int wan_writer_end(wan_writer *w, const wan_record *rec) WAN_MUST_CHECK;
/* As if it had not been begun; nothing where none was. */
int wan_writer_undo(wan_writer *w) WAN_MUST_CHECK;
/* Ends the stream and begins the next one behind it. */
int wan_writer_next_stream(wan_writer *w, const json_t *header) WAN_MUST_CHECK;
/* Writes the end record and flushes; frees w also on failure.  f stays open. */
int wan_writer_finish(wan_writer **w) WAN_MUST_CHECK;
void wan_writer_abandon(wan_writer **w); /* no end record: the reader will see truncation */

/* A copy of `from`'s header (or {}) with one provenance entry appended:
 * {"id","prev","program","version","options"{...}}.  options is borrowed, may be NULL.  No time, no
 * host and no absolute path goes in.  New reference; NULL: out of memory, and the history would be
 * lost. */
json_t *wan_provenance_append(const json_t *from, const char *program, const json_t *options);

#endif
