/* SPDX-License-Identifier: Apache-2.0
 *
 * spread.h - safetensors files that all ranks write together, each the elements that it holds.
 *
 *     rank 0   header |#####    |   ##    |        one file of whole tensors: where an element lies
 *     rank 1          |     ####|         |        depends on the file alone, not on the ranks
 *     rank 2          |         |###  ####|
 *
 *     wan_spread_new(&s, ranks, store);
 *     wan_spread_file(s, "optimizer/exp_avg.safetensors");
 *     for each parameter i: wan_spread_add(s, i, WAN_F32, exp_avg);
 *     wan_spread_sized(s);                     // all tensors are known
 *     rank 0: wan_spread_create(s, dir);       // then the others may begin
 *     wan_spread_copy(s);                      // to write while the vectors change
 *     wan_spread_write(s, dir);                // by any one thread
 *     wan_spread_sums(s, sum);                 // wan_spread_digests of those of all ranks
 *
 * What several ranks hold is written by the first of them.  No rank holds more than its own share and
 * WAN_SPREAD_BYTES, wan_spread_copy's second copy of that share aside.
 */
#ifndef WAN_TRAIN_SPREAD_H
#define WAN_TRAIN_SPREAD_H

#include "lib/train/parallel/ranks.h"

typedef struct wan_spread wan_spread;

enum { WAN_SPREAD_BYTES = 3 << 18 }; /* host memory that elements pass through */

int wan_spread_new(wan_spread **out, wan_ranks *r, const wan_store *s) WAN_MUST_CHECK;
void wan_spread_free(wan_spread **s); /* NULL-safe */
/* Begins a file; name: below the folder. */
int wan_spread_file(wan_spread *s, const char *name) WAN_MUST_CHECK;
/* Parameter i of the flat vector x (laid out as the store's), next in that file. */
int wan_spread_add(wan_spread *s, int i, wan_dtype t, const wan_real *x) WAN_MUST_CHECK;

/* After the last tensor: how many ranges all files have that get a digest (manifest.h); -1. */
int wan_spread_sized(wan_spread *s) WAN_MUST_CHECK;
int wan_spread_files(const wan_spread *s);
const char *wan_spread_name(const wan_spread *s, int file);
int64_t wan_spread_bytes(const wan_spread *s, int file);

/* The files with their headers and sizes, in dir, whose folders are there. */
int wan_spread_create(wan_spread *s, const char *dir) WAN_MUST_CHECK;
/* This rank's elements into host memory. */
int wan_spread_copy(wan_spread *s) WAN_MUST_CHECK;
/* Writes this rank's elements, and reads them back; every file is on the disk afterwards. */
int wan_spread_write(wan_spread *s, const char *dir) WAN_MUST_CHECK;
/* What this rank has added to the CRC32C of each range of each file, [ranges]. */
void wan_spread_sums(const wan_spread *s, uint32_t *sum);
/* The CRC32C of each range of a file, in sum [n, ranges], from what all of n ranks added there; once. */
const uint32_t *wan_spread_digests(const wan_spread *s, int file, uint32_t *sum, int n);

#endif
