/* SPDX-License-Identifier: Apache-2.0
 *
 * sizes.h - .nv-meta/samples.bin: where each sample lies and how large it is, so that a dataset
 * opens without opening its shards.  wan-index writes it; Energon does not know it.
 *
 * Little-endian, mapped for reading:
 *
 *     header   64 bytes: magic, version, counts, place of the table, CRC32C of table and header
 *     blocks   for each shard: offsets u64 [n + 1] as in NAME.tar.idx, then rows [n]
 *     table    for each shard, sorted by name: place and CRC32C of its block, n, bytes of the tar,
 *              members that belong to no sample, SHA-256 of the offsets, place of its name
 *     names    one after the other, each with a NUL
 *
 * A block counts only for a shard of that name, size and number of samples; what else there is on
 * disk is measured anew (dataset.h).
 */
#ifndef WAN_REC_SIZES_H
#define WAN_REC_SIZES_H

#include <stdint.h>

#include "lib/base/err.h"

/* As it lies in the file.  latent[0] = 0: a sample that cannot be measured. */
typedef struct wan_sizes_row {
    uint32_t latent[4];
    uint32_t text_rows, text_dim;
    /* CRC32C of the json member, and of the other members' payloads in file order; rest is 0 when
     * the json member holds their digests (samplemap.h) */
    uint32_t json, rest;
} wan_sizes_row;

typedef struct wan_sizes_shard {
    const char *name;
    uint64_t n, bytes;        /* samples; size of the tar */
    uint64_t ignored;         /* members passed over */
    uint32_t other;           /* CRC32C of the payloads that belong to no sample */
    const uint64_t *offset;   /* [n + 1] */
    const wan_sizes_row *row; /* [n] */
    uint8_t digest[32];       /* SHA-256 of the offsets; set by the writer */
} wan_sizes_shard;

typedef struct wan_sizes wan_sizes;

/* *out is NULL, without an error, when there is no such file, or one of another version. */
int wan_sizes_open(wan_sizes **out, const char *path) WAN_MUST_CHECK;
uint64_t wan_sizes_count(const wan_sizes *t); /* shards */
/* Shard i in the order of the names; its block is checked.  Pointers last as long as t. */
int wan_sizes_at(const wan_sizes *t, uint64_t i, wan_sizes_shard *out) WAN_MUST_CHECK;
/* The shard of that name: 1, 0 when there is none, -1 damaged. */
int wan_sizes_find(const wan_sizes *t, const char *name, wan_sizes_shard *out) WAN_MUST_CHECK;
void wan_sizes_close(wan_sizes **t); /* NULL-safe */

typedef struct wan_sizes_writer wan_sizes_writer;

int wan_sizes_writer_open(wan_sizes_writer **out, const char *path) WAN_MUST_CHECK;
/* Appends a shard, in any order; everything is copied. */
int wan_sizes_writer_put(wan_sizes_writer *w, const wan_sizes_shard *s) WAN_MUST_CHECK;
int wan_sizes_writer_finish(wan_sizes_writer **w) WAN_MUST_CHECK;
void wan_sizes_writer_abandon(wan_sizes_writer **w); /* NULL-safe */

#endif
