/* SPDX-License-Identifier: Apache-2.0
 *
 * index.h - the side files Energon trains from (wan-data(7), Index): NAME.tar.idx beside each
 * shard and .nv-meta/{.info.json,split.yaml,dataset.yaml,index.sqlite,index.uuid}, beside them our
 * samples.bin (sizes.h); and the check that they, the shards and the payload agree.
 *
 * Everything is derived from the shards: the same shards and options give the same bytes.
 */
#ifndef WAN_REC_INDEX_H
#define WAN_REC_INDEX_H

#include <stdint.h>

#include "lib/base/err.h"
#include "lib/rec/shard/names.h"

typedef struct wan_index_options {
    uint64_t weight[3];       /* of train, val, test; their sum > 0 */
    const char *const *parts; /* "NAME:PATTERN", n_parts > 0: instead of the weights */
    size_t n_parts;
    const char *exclude; /* POSIX extended expression: matching shards are left out, or NULL */
    int reread;          /* also shards that the index that is there knows */
    int shuffle;         /* shuffle shards (seed 42) before they are divided */
    void (*progress)(size_t done, size_t all); /* or NULL */
} wan_index_options;

typedef struct wan_index_report {
    uint64_t shards, samples, bytes;
    uint64_t excluded;   /* shards left out by `exclude` */
    uint64_t ignored;    /* members that belong to no sample */
    uint64_t incomplete; /* samples without one of json, pth, pickle */
    uint64_t unreadable; /* complete ones whose sizes cannot be told */
    uint64_t reused;     /* shards that had not changed since they were indexed */
    uint64_t missing;    /* numbers that wan-shard's names leave out */
    char gap[256];       /* the first of them */
    char empty[256];     /* "val, test": parts asked for that got no shard */
    char why[512];       /* of the first of them */
    char lines[512];     /* "train 8 shards 64 samples, ..." */
} wan_index_report;

/* Reads the shards below dir that have changed since they were indexed.  Nothing that is there
 * changes when one of them is bad, a key occurs twice, or a shard would belong to no part; and else
 * all of .nv-meta at once, when everything is on disk. */
int wan_index_build(wan_index_report *rep, const char *dir, const wan_index_options *opt)
    WAN_MUST_CHECK;

/* Compares index, info, split, shards and payload.  Calls problem() for each thing that is wrong;
 * returns their number, or -1 when the check itself could not be done. */
int64_t wan_index_check(wan_index_report *rep, const char *dir,
                        void (*problem)(const char *sentence),
                        void (*progress)(size_t done, size_t all)) WAN_MUST_CHECK;

#endif
