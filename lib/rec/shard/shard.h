/* SPDX-License-Identifier: Apache-2.0
 *
 * shard.h - WebDataset tar shards through libarchive: what DFM's webdataset writes and Energon
 * reads (wan-data(7), Shards), without time stamps.
 *
 * A sample is a run of members KEY.PART with equal KEY; key and part are split at the first dot
 * behind the last slash.  Members whose first path component is __x__ are metadata.
 */
#ifndef WAN_REC_SHARD_H
#define WAN_REC_SHARD_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

#define WAN_SHARD_PARTS 4200 /* json, pickle, pth and one per unknown tensor */

typedef struct wan_shard_part {
    char *name; /* "json", "pth", ...; owned when the reader made it */
    void *data; /* owned likewise; NULL when the reader was asked for headers only */
    uint64_t size;
    uint64_t at; /* reader: offset of the payload in the tar */
} wan_shard_part;

/* ---- writing */

typedef struct wan_shard_options {
    const char *dir;   /* made when absent */
    int rank;          /* 0..99, part of the names */
    int64_t max_count; /* samples per shard */
    int64_t max_bytes; /* a shard that has this much payload takes no more samples */
    int force;         /* replace this rank's shards, all at once at the end (shard_replace.h) */
    int resume;        /* go on behind them */
} wan_shard_options;

typedef struct wan_shard_writer wan_shard_writer;

/* Refuses a folder that already holds shards of this rank, unless force or resume. */
int wan_shard_writer_open(wan_shard_writer **out, const wan_shard_options *opt) WAN_MUST_CHECK;
/* resume: whether a shard that was there holds this key. */
int wan_shard_writer_has(const wan_shard_writer *w, const char *key);
/* resume: path of a shard that was there, or NULL. */
const char *wan_shard_writer_earlier(const wan_shard_writer *w);
/* Whether the next sample begins a shard. */
int wan_shard_writer_begins(const wan_shard_writer *w);
/* Appends one sample; parts are borrowed and written in the order of their names.  A key that was
 * written before is an error. */
int wan_shard_writer_put(wan_shard_writer *w, const char *key, const wan_shard_part *part, int n)
    WAN_MUST_CHECK;
uint64_t wan_shard_writer_samples(const wan_shard_writer *w);
uint64_t wan_shard_writer_shards(const wan_shard_writer *w); /* finished ones */
uint64_t wan_shard_writer_bytes(const wan_shard_writer *w);  /* payload so far */
/* Finishes the last shard; with force, the new ones take the place of those that were there.  Frees w also on
 * failure. */
int wan_shard_writer_finish(wan_shard_writer **w) WAN_MUST_CHECK;
/* After a failure: finishes the open shard, unless writing it is what failed; samples and shards then
 * count finished ones.  Leaves the recorded error alone; abandon follows. */
void wan_shard_writer_stop(wan_shard_writer *w);
/* Drops the shard being written; finished ones stay.  NULL-safe. */
void wan_shard_writer_abandon(wan_shard_writer **w);

/* ---- reading */

typedef struct wan_shard_reader wan_shard_reader;

typedef struct wan_shard_sample {
    const char *key;
    const wan_shard_part *part; /* in file order */
    int n;
    uint64_t begin, end; /* headers included: what .tar.idx holds */
} wan_shard_sample;

/* headers: payloads are skipped (part.data is NULL). */
int wan_shard_reader_open(wan_shard_reader **out, const char *path, int headers) WAN_MUST_CHECK;
/* The same for bytes [begin, end) of a shard, as two neighbours in .tar.idx give them. */
int wan_shard_reader_open_range(wan_shard_reader **out, const char *path, int headers,
                                uint64_t begin, uint64_t end) WAN_MUST_CHECK;
/* 1 a sample (valid until the next call), 0 the proper end (two zero blocks, nothing but zeros
 * behind them), -1 error. */
int wan_shard_reader_next(wan_shard_reader *r, wan_shard_sample *s) WAN_MUST_CHECK;
/* Members that were no regular files or had no key. */
uint64_t wan_shard_reader_ignored(const wan_shard_reader *r);
/* Text of the last member __provenance__/header*.json in front of the sample last returned, as
 * wan-shard wrote them before samples told their history (samplemap.h), or NULL. */
const char *wan_shard_reader_provenance(const wan_shard_reader *r);
/* fn gets place and size of every payload that belongs to no sample, in file order. */
void wan_shard_reader_on_other(wan_shard_reader *r, void (*fn)(void *, uint64_t, uint64_t),
                               void *arg);
void wan_shard_reader_close(wan_shard_reader **r);

/* Splits a member name as WebDataset and Energon do; 1 sample member, 0 to be ignored, -1 unsafe name (error recorded). */
int wan_shard_split(const char *name, size_t *key_len, const char **part) WAN_MUST_CHECK;
/* "TAR.idx", malloc'ed; NULL: out of memory. */
char *wan_shard_idx(const char *tar);
/* Whether that file was written, and last changed (renamed, given a time), after the shard, and is these n bytes. */
int wan_shard_idx_fresh(const char *tar, const void *data, size_t n);
/* Part of that name, or NULL. */
const wan_shard_part *wan_shard_find(const wan_shard_sample *s, const char *name);

/* Paths below dir that end in .tar, relative, sorted bytewise; caller frees both levels.  Compressed
 * ones are listed too, so that they are refused where they are read and not passed over; other names
 * like those of shards are counted and named in the log.  Where wan-shard --force was stopped, NAME.tar.new
 * is listed for NAME.tar (shard_replace.h). */
int wan_shard_list(char ***names, size_t *n, const char *dir) WAN_MUST_CHECK;
/* The same, after what a killed wan-shard --force had begun has been ended: final names alone. */
int wan_shard_list_settled(char ***names, size_t *n, const char *dir) WAN_MUST_CHECK;
/* The same for names with one of these endings; NULL closes the list. */
int wan_shard_list_as(char ***names, size_t *n, const char *dir, const char *const *ends)
    WAN_MUST_CHECK;
void wan_shard_list_free(char **names, size_t n);

#endif
