/* SPDX-License-Identifier: Apache-2.0
 *
 * cp_ring.h - attention of the rows that a rank holds over those of all ranks, by a ring.
 *
 * Queries stay; keys and values go round.  At each hop a rank attends to one block of keys and merges
 * the result by its log-sum-exp (Liu et al., Ring Attention, 2023; attention.h).  In the backward keys
 * and values go round again, each block with the sums of its gradients, which arrive at its owner after
 * the last hop.  The next block is on its way while the present one is computed.
 */
#ifndef WAN_MODEL_CP_RING_H
#define WAN_MODEL_CP_RING_H

#include "lib/dist/group.h"
#include "lib/model/acts.h"

typedef struct wan_cp_ring wan_cp_ring;

/* Blocks of at most `rows` rows of `heads` heads of head_dim columns. */
typedef struct wan_cp_ring_size {
    wan_dtype compute;
    int64_t rows, heads, head_dim, samples;
    int train; /* whether there is a backward */
} wan_cp_ring_size;

/* g, w and d are borrowed; block k is that of rank k of g.  Collective. */
int wan_cp_ring_new(wan_cp_ring **out, wan_group *g, const wan_where *w, wan_dev *d,
                    const wan_cp_ring_size *z) WAN_MUST_CHECK;
void wan_cp_ring_free(wan_cp_ring **c); /* NULL-safe */
int64_t wan_cp_ring_bytes(const wan_cp_ring_size *z);
/* Block k holds len[i] rows of sample i. */
int wan_cp_ring_set(wan_cp_ring *c, int k, const int64_t *len, int n) WAN_MUST_CHECK;
/* As the ops of a wing (acts.h); rows lie end to end.  a->pq: the own block. */
int wan_cp_ring_attend(wan_cp_ring *c, wan_dev *d, const wan_attn *a, wan_buf o, wan_real *lse,
                       wan_buf q, wan_buf k, wan_buf v) WAN_MUST_CHECK;
int wan_cp_ring_attend_back(wan_cp_ring *c, wan_dev *d, const wan_attn *a, wan_buf dq, wan_buf dk,
                            wan_buf dv, wan_buf dout, wan_buf o, const wan_real *lse, wan_buf q,
                            wan_buf k, wan_buf v) WAN_MUST_CHECK;

#endif
