/* SPDX-License-Identifier: Apache-2.0
 *
 * cp.h - context parallel: every sample's tokens cut evenly over ranks; what self-attention then does.
 *
 *     rank 0 [tokens 0..a)   rank 1 [a..b)   rank 2 [b..n)        of each sample of the pack
 *
 *     p2p      keys and values go round (cp_ring.h): any number of ranks
 *     a2a      all rows of some heads on each rank (cp_a2a.h): at least one head for each
 *     a2a+p2p  all-to-all among neighbours, as many as divide the ranks and leave each a head, and rings
 *              across: a ring moves the keys of fewer heads, an all-to-all stays inside a node
 *
 * Everything else of a block is local: attention is not causal, so even cuts are balanced.
 */
#ifndef WAN_MODEL_CP_H
#define WAN_MODEL_CP_H

#include "lib/dist/group.h"
#include "lib/model/acts.h"
#include "lib/model/wing/cp_share.h"

enum wan_cp_kind { WAN_CP_P2P, WAN_CP_A2A, WAN_CP_A2A_P2P };

typedef struct wan_cp wan_cp;

typedef struct wan_cp_size {
    enum wan_cp_kind kind;
    int rank, ranks;
    wan_dtype compute;       /* of rows */
    wan_capacity cap;        /* of whole micro-batches */
    int64_t heads, head_dim; /* held together by the ranks of the group */
    int64_t fewest;          /* heads of any such group: what all agree on depends on it */
    int train;               /* whether there is a backward */
} wan_cp_size;

/* Ranks of each all-to-all (1: a ring of all); the ring has ranks / this.  -1 with a sentence where a rank
 * would have no head. */
int wan_cp_inner(const wan_cp_size *z) WAN_MUST_CHECK;
/* z->ranks and z->rank are those of g; g, w and d are borrowed.  Collective over g. */
int wan_cp_new(wan_cp **out, wan_group *g, const wan_where *w, wan_dev *d, const wan_cp_size *z)
    WAN_MUST_CHECK;
void wan_cp_free(wan_cp **c); /* NULL-safe */
/* Bytes of device memory that wan_cp_new takes. */
int64_t wan_cp_bytes(const wan_cp_size *z);
/* Before a micro-batch is run: the tokens of its n samples, whole. */
int wan_cp_set(wan_cp *c, const int64_t *tokens, int n) WAN_MUST_CHECK;
/* The ops of a wing; arg is the wan_cp. */
int wan_cp_attend(void *arg, wan_dev *d, const wan_attn *a, wan_buf o, wan_real *lse, wan_buf q,
                  wan_buf k, wan_buf v);
int wan_cp_attend_back(void *arg, wan_dev *d, const wan_attn *a, wan_buf dq, wan_buf dk, wan_buf dv,
                       wan_buf dout, wan_buf o, const wan_real *lse, wan_buf q, wan_buf k,
                       wan_buf v);

#endif
