/* SPDX-License-Identifier: Apache-2.0
 *
 * cp_a2a.h - rows of all heads on every rank become all rows of some heads, and back: the all-to-all of
 * sequence-parallel attention (Jacobs et al., DeepSpeed Ulysses, 2023), with uneven cuts of both.
 *
 *             heads 0 1 2 3                        heads 0 1        2 3
 *     rank 0  rows a..b  * * * *      ->    rows a..b    * *        * *
 *     rank 1  rows b..c  * * * *            rows b..c    * *        * *
 *                                                       rank 0     rank 1
 *
 * On the far side rows lie sample by sample, those of the first rank first; attention does not mind
 * where in its sample a row stands.
 */
#ifndef WAN_MODEL_CP_A2A_H
#define WAN_MODEL_CP_A2A_H

#include "lib/dist/group.h"
#include "lib/model/acts.h"

typedef struct wan_cp_a2a wan_cp_a2a;

typedef struct wan_cp_a2a_size {
    wan_dtype compute;
    int64_t rows;  /* held at most */
    int64_t block; /* ... by all ranks of the group together */
    int64_t heads, head_dim, samples;
} wan_cp_a2a_size;

/* g, w and d are borrowed. */
int wan_cp_a2a_new(wan_cp_a2a **out, wan_group *g, const wan_where *w, wan_dev *d,
                   const wan_cp_a2a_size *z) WAN_MUST_CHECK;
void wan_cp_a2a_free(wan_cp_a2a **x); /* NULL-safe */
/* Bytes of device memory on that rank of the group. */
int64_t wan_cp_a2a_bytes(const wan_cp_a2a_size *z, int rank, int ranks);
/* Rank r of the group holds len[r][i] rows of sample i. */
int wan_cp_a2a_set(wan_cp_a2a *x, const int64_t *const *len, int n) WAN_MUST_CHECK;
const wan_pack *wan_cp_a2a_pack(const wan_cp_a2a *x); /* all rows: the far side's */
int64_t wan_cp_a2a_heads(const wan_cp_a2a *x);        /* this rank's there */

/* A tensor on both sides: rows held [S, heads, head_dim], ld elements apart, and the block
 * [sum of all S, own heads, head_dim] without gaps. */
typedef struct wan_cp_a2a_pair {
    wan_buf held;
    int64_t ld;
    wan_buf block;
} wan_cp_a2a_pair;
/* n pairs: to the blocks, and back; each pair travels while the next is made ready. */
int wan_cp_a2a_go(wan_cp_a2a *x, const wan_cp_a2a_pair *p, int n) WAN_MUST_CHECK;
int wan_cp_a2a_back(wan_cp_a2a *x, const wan_cp_a2a_pair *p, int n) WAN_MUST_CHECK;
/* One number for each head and row: held [heads, S], block [own heads, sum of all S]. */
int wan_cp_a2a_lse_go(wan_cp_a2a *x, wan_real *block, const wan_real *held) WAN_MUST_CHECK;
int wan_cp_a2a_lse_back(wan_cp_a2a *x, wan_real *held, const wan_real *block) WAN_MUST_CHECK;

#endif
