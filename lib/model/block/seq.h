/* SPDX-License-Identifier: Apache-2.0
 *
 * seq.h - sequence parallel: the ranks that share out products share out the rows of the residual
 * stream too, so that norms, gates and what they keep are not made once on every rank.
 *
 *     stream [own, D] -> norm -> [own, D] -> gather -> [S, D] -> products of own columns -> [S, A]
 *     stream [own, D] <- gate <- [own, D] <- scatter <- [S, D] <- products of own rows   <-
 *
 * In a buffer of S rows this rank's own are rows [from, from + own).  A gather and a scatter together
 * send what one sum over ranks sends (Korthikanti et al., Reducing Activation Recomputation, 2022).
 * Where rows are not spread (slice.spread 0) every rank has all of them, a gather is nothing and a scatter
 * is the sum.
 */
#ifndef WAN_MODEL_SEQ_H
#define WAN_MODEL_SEQ_H

#include "lib/model/acts.h"
#include "lib/model/block/dense.h"
#include "lib/model/block/lengths.h"

/* Rows of S that are this rank's own, from *from on. */
int64_t wan_seq_own(const wan_acts *a, int64_t *from, int64_t S);
/* The most of them, of at most S. */
int64_t wan_seq_most(const wan_slice *s, int64_t S);
/* The own rows of samples of len[i] rows each: how many of each, in `own`; unused where not spread. */
int wan_seq_set(const wan_acts *a, wan_lengths *own, const int64_t *len, int n) WAN_MUST_CHECK;
/* Own rows of x [S, width]. */
wan_buf wan_seq_at(const wan_acts *a, wan_buf x, int64_t S, int64_t width);

/* x [S, width] with own rows in place gets those of the others. */
int wan_seq_gather(const wan_acts *a, wan_buf x, int64_t S, int64_t width) WAN_MUST_CHECK;
/* The own rows of x [S, width] become the sum over ranks; the others are lost. */
int wan_seq_scatter(const wan_acts *a, wan_buf x, int64_t S, int64_t width) WAN_MUST_CHECK;
/* A product whose inputs are shared out (row-parallel), back to the stream: y [own rows of M, N]; the
 * bias is added by one rank.  room [M, N] is used where rows are spread. */
int wan_seq_dense(const wan_acts *a, const wan_dense *w, wan_buf y, wan_buf x, int64_t M,
                  wan_buf room) WAN_MUST_CHECK;
/* All rows of a stream: own itself where not spread, else gathered in room [S, width]. */
int wan_seq_whole(const wan_acts *a, wan_buf *whole, wan_buf own, wan_buf room, int64_t S,
                  int64_t width) WAN_MUST_CHECK;
/* Own rows of whole [S, width] to own, which is another buffer exactly where rows are spread. */
int wan_seq_part(const wan_acts *a, wan_buf own, wan_buf whole, int64_t S, int64_t width)
    WAN_MUST_CHECK;

#endif
