/* SPDX-License-Identifier: Apache-2.0
 *
 * index_in.h - between the parts of wan-index: reading shards (index_scan.c), what the old index
 * knows (index_old.c), index.sqlite (index_db.c), the new folder of metadata (index_write.c) and its manifest
 * (index_manifest.c).
 */
#ifndef WAN_REC_INDEX_IN_H
#define WAN_REC_INDEX_IN_H

#include "lib/base/json.h"
#include "lib/base/sha256.h"
#include "lib/rec/shard/index.h"
#include "lib/rec/shard/measure.h"
#include "lib/rec/shard/shard.h"
#include "lib/rec/shard/split.h"

#define WAN_INDEX_MANIFEST "wan-index.json"

/* ---- index.sqlite */

typedef struct wan_index_db wan_index_db;

/* path NULL: a temporary database, for the sake of the keys. */
int wan_index_db_open(wan_index_db **out, const char *path) WAN_MUST_CHECK;
/* 1 added, 0 the key is there already. */
int wan_index_db_add(wan_index_db *db, size_t shard, size_t number, const wan_shard_sample *s)
    WAN_MUST_CHECK;
/* The shard of a key that is there. */
int wan_index_db_find(wan_index_db *db, const char *key, size_t *shard) WAN_MUST_CHECK;
int wan_index_db_finish(wan_index_db **db) WAN_MUST_CHECK; /* closes it also on failure */
void wan_index_db_close(wan_index_db **db);                /* NULL-safe */

/* ---- one shard */

struct wan_index_shard {
    size_t n;
    uint64_t bytes;     /* of the tar */
    uint64_t ignored;   /* members passed over */
    uint32_t other;     /* CRC32C of payloads that belong to no sample */
    uint64_t *offset;   /* [n + 1], owned */
    wan_sizes_row *row; /* [n], owned */
};
void wan_index_shard_clear(struct wan_index_shard *s);

/* ---- what the index that is there knows of shards that have not changed since */

typedef struct wan_index_old wan_index_old;

/* *out is NULL where there is no index to take anything from. */
int wan_index_old_open(wan_index_old **out, const char *dir) WAN_MUST_CHECK;
void wan_index_old_close(wan_index_old **o); /* NULL-safe */
/* 1: it knows this shard, which is as it was; 0: the shard must be read. */
int wan_index_old_find(wan_index_old *o, struct wan_index_shard *out, const char *name)
    WAN_MUST_CHECK;
/* Calls each() with key, range and parts of every sample. */
int wan_index_old_samples(wan_index_old *o, const char *name, const struct wan_index_shard *s,
                          int (*each)(void *arg, const wan_shard_sample *s, size_t i), void *arg)
    WAN_MUST_CHECK;

/* ---- the pass over all of them */

struct wan_index_scan {
    wan_sha256 digest; /* of names, keys and offsets */
    wan_index_db *db;  /* rows go there */
    wan_names seen;    /* shards, by their number */
    uint64_t bytes, ignored, incomplete;
    uint64_t unreadable; /* complete samples whose sizes cannot be told */
    uint64_t reused;     /* shards taken from the old index */
    char *why;           /* of the first unreadable one; owned */
};

/* Headers of one shard, and the sizes of its samples: number is its place in .info.json. */
int wan_index_scan_shard(struct wan_index_scan *scan, struct wan_index_shard *out, const char *dir,
                         const char *name, size_t number) WAN_MUST_CHECK;
/* The same from the old index: 1, or 0 when the shard must be read. */
int wan_index_scan_old(struct wan_index_scan *scan, struct wan_index_shard *out, wan_index_old *old,
                       const char *name, size_t number) WAN_MUST_CHECK;
void wan_index_scan_clear(struct wan_index_scan *scan);

/* ---- the new metadata: a folder beside the old one, which takes its place in one step */

typedef struct wan_index_write wan_index_write;

/* Keeps other writers of this dataset out.  *db is made in the new folder. */
int wan_index_write_open(wan_index_write **out, wan_index_db **db, const char *dir) WAN_MUST_CHECK;
int wan_index_write_shard(wan_index_write *w, const char *name, const struct wan_index_shard *s)
    WAN_MUST_CHECK;
/* id: the uuid.  Everything is on disk before the first name changes. */
int wan_index_write_finish(wan_index_write **w, wan_index_db **db, const wan_split *split,
                           const char *id) WAN_MUST_CHECK;
void wan_index_write_abandon(wan_index_write **w); /* NULL-safe */
/* A file or folder under another name as well: linked, or copied. */
int wan_index_carry(const char *from, const char *to) WAN_MUST_CHECK;

/* ---- wan-index.json in a folder of metadata */

/* Whether a file of that name is ours. */
int wan_index_manifest_own(const char *name);
/* Of all that is in the folder; id: the uuid. */
int wan_index_manifest_save(const char *meta, const char *id) WAN_MUST_CHECK;
/* Compares the files of the folder meta with its manifest: calls problem() for each that differs,
 * which split.yaml may (people edit it; then note() is called). */
int wan_index_manifest_check(const char *meta, void (*problem)(void *arg, const char *sentence),
                             void (*note)(void *arg, const char *sentence), void *arg)
    WAN_MUST_CHECK;
/* Whether the file of that name is as the manifest has it: 1, also where that says nothing of it; 0. */
int wan_index_manifest_same(const char *meta, const char *name);

#endif
