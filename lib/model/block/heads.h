/* SPDX-License-Identifier: Apache-2.0
 *
 * heads.h - self-attention of a block: the projections to queries, keys and values, and attention
 * itself, local or by what an axis of parallelism puts in its place (acts.wing).
 *
 * Where the three weights lie one after the other in the store, they are one product: its rows are
 * read and packed once, and the gradient of its input is made in one pass.  q, k and v are then columns
 * of one matrix [S, 3A].  Elsewhere, and where an axis sends keys and values about, they are matrices
 * of their own, [S, A] each, in the same memory.
 */
#ifndef WAN_MODEL_HEADS_H
#define WAN_MODEL_HEADS_H

#include "lib/model/acts.h"
#include "lib/model/block/dense.h"

enum { WAN_HEADS_Q, WAN_HEADS_K, WAN_HEADS_V };

typedef struct wan_heads {
    wan_dense one[3]; /* of queries, keys, values */
    wan_dense all;    /* the three as one, N = 3A; N 0: they do not lie so */
} wan_heads;

/* Weights i, i + step, i + 2 step of the store; bias: each is followed by its own. */
void wan_heads_bind(wan_heads *w, const wan_store *s, int i, int step, int bias);
/* Elements from a row to the next of q, k and v and of their gradients; where `which` of them begins in
 * a matrix m of S rows. */
int64_t wan_heads_ld(const wan_heads *w, const wan_acts *a);
wan_buf wan_heads_of(const wan_heads *w, const wan_acts *a, wan_buf m, int which, int64_t S);

/* m = x times the three weights, x [S, K]. */
int wan_heads_forward(const wan_heads *w, const wan_acts *a, wan_buf m, wan_buf x, int64_t S)
    WAN_MUST_CHECK;
/* dx [S, K] from the gradients dm; those of the weights are added. */
int wan_heads_backward(const wan_heads *w, const wan_acts *a, wan_buf dx, wan_buf dm, wan_buf x,
                       int64_t S) WAN_MUST_CHECK;

/* As attention_forward and attention_backward (attention.h). */
int wan_heads_attend(const wan_acts *a, const wan_attn *at, wan_buf o, wan_real *lse, wan_buf q,
                     wan_buf k, wan_buf v) WAN_MUST_CHECK;
int wan_heads_attend_back(const wan_acts *a, const wan_attn *at, wan_buf dq, wan_buf dk, wan_buf dv,
                          wan_buf dout, wan_buf o, const wan_real *lse, wan_buf q, wan_buf k,
                          wan_buf v) WAN_MUST_CHECK;

#endif
