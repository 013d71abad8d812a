/* SPDX-License-Identifier: Apache-2.0
 *
 * mix.h - the endless row of samples of a run, over one dataset or several that are mixed.
 *
 * The row is cut into blocks of L = sum of quota positions.  In every block dataset j stands quota_j
 * times, at places drawn from (seed, block) alone; the k-th place of dataset j in the whole row is
 * sample perm_e[k mod N_j] of its own epoch e = k / N_j, with perm_e drawn from (seed, e, j) alone.
 * So each dataset has exactly its part of every block, every one of its samples is used once before
 * any is used again, and a position says everything: there is no other state.
 *
 * One dataset with quota = N is the plain case: perm_e[p mod N] at position p.
 */
#ifndef WAN_TRAIN_MIX_H
#define WAN_TRAIN_MIX_H

#include <stdint.h>

#include "lib/base/err.h"

typedef struct wan_mix_part {
    int64_t count; /* its samples, at least 1 */
    int64_t quota; /* its places in a block, at least 1 */
} wan_mix_part;

typedef struct wan_mix_options {
    uint64_t seed;
    int shuffle; /* 0: samples in their order */
    int spread;  /* without shuffle: places evenly over the block, not one dataset after another */
} wan_mix_options;

typedef struct wan_mix wan_mix;

enum { WAN_MIX_PARTS = 65535 }; /* at most */

/* part [n] is copied.  A block may have at most 2^31 - 1 positions. */
int wan_mix_new(wan_mix **out, const wan_mix_part *part, int n, const wan_mix_options *o)
    WAN_MUST_CHECK;
void wan_mix_free(wan_mix **m); /* NULL-safe */
/* The dataset and the number of the sample in it at a position (>= 0).  Positions in ascending order
 * are fast; others may draw orders anew. */
int wan_mix_at(wan_mix *m, int64_t position, int *part, int64_t *sample) WAN_MUST_CHECK;

/* Quotas for weights (> 0, finite): the smallest block, up to 10,000 positions, that has them
 * exactly, else 65,536 positions with the nearest numbers, none of them 0. */
int wan_mix_quotas(int64_t *quota, const double *weight, int n) WAN_MUST_CHECK;

#endif
