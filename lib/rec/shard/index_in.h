/* SPDX-License-Identifier: Apache-2.0
 *
 * index_in.h - between reading shards (index_scan.c), index.sqlite (index_db.c) and the rest.
 */
#ifndef WAN_REC_INDEX_IN_H
#define WAN_REC_INDEX_IN_H

#include "lib/base/sha256.h"
#include "lib/rec/shard/index.h"
#include "lib/rec/shard/keyset.h"
#include "lib/rec/shard/measure.h"
#include "lib/rec/shard/shard.h"

typedef struct wan_index_db wan_index_db;

/* Writes through path.tmp; NULL-safe where a pointer comes in. */
int wan_index_db_open(wan_index_db **out, const char *path) WAN_MUST_CHECK;
int wan_index_db_add(wan_index_db *db, size_t shard, size_t number, const wan_shard_sample *s)
    WAN_MUST_CHECK;
int wan_index_db_finish(wan_index_db **db) WAN_MUST_CHECK;
void wan_index_db_abandon(wan_index_db **db);

struct wan_index_shard {
    size_t n;
    uint64_t bytes;     /* of the tar */
    uint64_t *offset;   /* [n + 1], owned */
    wan_sizes_row *row; /* [n], owned */
};

struct wan_index_scan {
    wan_keyset keys;
    wan_sha256 digest; /* of names, keys and offsets */
    wan_index_db *db;  /* rows go there, or NULL */
    uint64_t bytes, ignored, incomplete;
    uint64_t unreadable; /* complete samples whose sizes cannot be told */
    char *why;           /* of the first of them; owned */
};

/* Headers of one shard, and the sizes of its samples: number is its place in .info.json. */
int wan_index_scan_shard(struct wan_index_scan *scan, struct wan_index_shard *out, const char *dir,
                         const char *name, size_t number) WAN_MUST_CHECK;
void wan_index_shard_clear(struct wan_index_shard *s);
void wan_index_scan_clear(struct wan_index_scan *scan);

#endif
