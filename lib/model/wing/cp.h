/* SPDX-License-Identifier: Apache-2.0
 *
 * cp.h - context parallel: every sample's tokens cut evenly over ranks, self-attention by a ring.
 *
 *     rank 0 [tokens 0..a)   rank 1 [a..b)   rank 2 [b..n)        of each sample of the pack
 *
 * Queries stay; keys and values go round.  At each hop a rank attends to one block of keys and merges
 * the result by its log-sum-exp (Liu et al., Ring Attention, 2023; attention.h).  In the backward keys
 * and values go round again, each block with the sums of its gradients, which arrive at its owner after
 * the last hop.  The next block is on its way while the present one is computed.  Everything else of a
 * block is local: attention is not causal, so even cuts are balanced.
 */
#ifndef WAN_MODEL_CP_H
#define WAN_MODEL_CP_H

#include "lib/dist/group.h"
#include "lib/model/acts.h"

typedef struct wan_cp wan_cp;

/* Tokens that rank `rank` of `ranks` holds of a sample of n, from *first on; the first ranks one more
 * where they do not divide. */
int64_t wan_cp_share(int64_t *first, int64_t n, int rank, int ranks);
/* The largest micro-batch that a rank holds of one of the capacity cap. */
wan_capacity wan_cp_capacity(const wan_capacity *cap, int ranks);

/* Room for micro-batches of the whole capacity `cap`, rows of `width` elements (heads held together)
 * in `compute`.  g, w and d are borrowed. */
int wan_cp_new(wan_cp **out, wan_group *g, const wan_where *w, wan_dev *d, wan_dtype compute,
               const wan_capacity *cap, int64_t width) WAN_MUST_CHECK;
void wan_cp_free(wan_cp **c); /* NULL-safe */
/* Bytes of device memory that wan_cp_new takes. */
int64_t wan_cp_bytes(int ranks, wan_dtype compute, const wan_capacity *cap, int64_t width);
/* Before a micro-batch is run: the tokens of its n samples, whole. */
int wan_cp_set(wan_cp *c, const int64_t *tokens, int n) WAN_MUST_CHECK;
/* The ops of a wing; arg is the wan_cp. */
int wan_cp_attend(void *arg, wan_dev *d, const wan_attn *a, wan_buf o, wan_real *lse, wan_buf q,
                  wan_buf k, wan_buf v);
int wan_cp_attend_back(void *arg, wan_dev *d, const wan_attn *a, wan_buf dq, wan_buf dk, wan_buf dv,
                       wan_buf dout, wan_buf o, const wan_real *lse, wan_buf q, wan_buf k,
                       wan_buf v);

#endif
