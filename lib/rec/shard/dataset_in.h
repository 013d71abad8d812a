/* SPDX-License-Identifier: Apache-2.0
 *
 * dataset_in.h - between opening (dataset.c), reading samples (dataset_read.c) and the checks of
 * wan-index (index_check.c).
 */
#ifndef WAN_REC_DATASET_IN_H
#define WAN_REC_DATASET_IN_H

#include "lib/rec/shard/dataset.h"
#include "lib/rec/shard/split.h"

struct wan_dataset_shard {
    char *name, *path;
    size_t n;         /* samples in the file */
    uint64_t *offset; /* [n + 1] */
    size_t *keep;     /* [kept] numbers of the samples left, or NULL: all */
    size_t kept;
    int64_t first; /* index of its first sample in the split */
};

struct wan_dataset {
    struct wan_dataset_shard *shard;
    size_t n_shards;
    int64_t count;
    char digest[65];
};

/* Reads TAR.idx of n samples and checks it against the size of TAR; caller frees. */
int wan_dataset_load_idx(uint64_t **offset, size_t n, const char *tar) WAN_MUST_CHECK;
/* Shard counts (new reference) and parts of the dataset in dir. */
int wan_dataset_meta(json_t **counts, wan_split *s, const char *dir) WAN_MUST_CHECK;

#endif
