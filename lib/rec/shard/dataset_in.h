/* SPDX-License-Identifier: Apache-2.0
 *
 * dataset_in.h - between opening (dataset.c), the sizes of samples (dataset_sizes.c), reading them
 * (dataset_read.c) and the checks of wan-index (index_check.c).
 */
#ifndef WAN_REC_DATASET_IN_H
#define WAN_REC_DATASET_IN_H

#include "lib/rec/shard/dataset.h"
#include "lib/rec/shard/split.h"

struct wan_dataset_shard {
    char *name, *path;
    size_t n;                 /* samples in the file */
    const uint64_t *offset;   /* [n + 1] */
    const wan_sizes_row *row; /* [n] */
    uint8_t digest[32];       /* SHA-256 of the offsets */
    uint64_t bytes;           /* of the tar */
    uint64_t ignored;         /* measured: as in wan_sizes_shard */
    uint32_t other;
    uint64_t *own_offset; /* where offset and row are not in samples.bin */
    wan_sizes_row *own_row;
    size_t *keep; /* [kept] numbers of the samples left, or NULL: all */
    size_t kept;
    int64_t first; /* index of its first sample in the split */
};

struct wan_dataset {
    struct wan_dataset_shard *shard;
    size_t n_shards;
    int64_t count;
    char digest[65];
    char *dir, *sizes_path;
    wan_sizes *sizes; /* or NULL */
    size_t measured;  /* shards that it did not know */
};

/* Reads TAR.idx of n samples and checks it against the size of TAR; caller frees. */
int wan_dataset_load_idx(uint64_t **offset, size_t n, const char *tar) WAN_MUST_CHECK;
/* Shard counts (new reference) and parts of the dataset in dir. */
int wan_dataset_meta(json_t **counts, wan_split *s, const char *dir) WAN_MUST_CHECK;

/* Offsets and sizes of a shard, from the index or measured. */
int wan_dataset_sizes(wan_dataset *d, struct wan_dataset_shard *sh) WAN_MUST_CHECK;
/* Writes what was measured into samples.bin, or says that this is not possible. */
void wan_dataset_keep(wan_dataset *d);

#endif
