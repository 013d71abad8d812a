/* SPDX-License-Identifier: Apache-2.0
 *
 * share.h - how the ranks of a run share the work on one video: the two passes of guidance, the tokens of
 * a pass (context parallel, wing/cp.h), the heads and columns of its products (tensor parallel).
 *
 *     wan_share_open(&s, comm, &options, &arch, guided);
 *     wan_share_device(s, dev, &capacity, compute);       // then s->slice, wan_share_wing(s)
 *     wan_share_release(s);                               // the device's part
 *     wan_share_close(&s);
 *
 * Every rank holds the whole latent and makes the same steps of the solver; what is shared is the
 * transformer.  All calls are collective.
 */
#ifndef WAN_MODEL_SHARE_H
#define WAN_MODEL_SHARE_H

#include "lib/dist/mesh.h"
#include "lib/model/model.h"
#include "lib/model/wing/axes.h"

typedef struct wan_share_options {
    int passes;    /* 2: those of guidance apart; 0: where the ranks suffice */
    int cp, tp;    /* ranks of each; 0: what is left; 1 */
    int automatic; /* cp_kind follows from heads and ranks */
    enum wan_cp_kind cp_kind;
} wan_share_options;

typedef struct wan_share {
    wan_mesh mesh;    /* passes lie along WAN_DP_REPLICATE */
    int passes, pass; /* groups of ranks that make one each, and ours */
    wan_slice slice;
    int64_t heads, head_dim;
    enum wan_cp_kind cp_kind;
    wan_where *where;
    wan_cp *cp; /* NULL: all tokens */
    wan_axes axes;
} wan_share;

/* Numbers of ranks for passes, context and tensor parallel into size [3]; -1 with a sentence where they
 * do not make up `ranks`. */
int wan_share_layout(int size[3], const wan_share_options *o, int ranks, int guided) WAN_MUST_CHECK;
int wan_share_open(wan_share **out, wan_comm *c, const wan_share_options *o, const wan_arch *arch,
                   int guided) WAN_MUST_CHECK;
void wan_share_close(wan_share **s); /* NULL-safe */
/* What the axes need on the device for a video of cap->tokens. */
int wan_share_device(wan_share *s, wan_dev *d, const wan_capacity *cap, wan_dtype compute)
    WAN_MUST_CHECK;
void wan_share_release(wan_share *s); /* gives that back; NULL-safe */
int64_t wan_share_bytes(const wan_share *s, const wan_capacity *cap, wan_dtype compute);
wan_wing wan_share_wing(wan_share *s);
/* "2 passes x context 2 (a2a) x tensor 1" into text [80] */
void wan_share_text(const wan_share *s, char text[80]);

/* Tokens of n that this rank holds, from *first on. */
int64_t wan_share_tokens(const wan_share *s, int64_t n, int64_t *first);
/* Rows of n tokens, `width` numbers each, of which each rank has made its own: now all. */
int wan_share_rows(wan_share *s, wan_real *rows, int64_t n, int64_t width) WAN_MUST_CHECK;
/* Two answers [2][n], of which each pass has made its own: now both. */
int wan_share_answers(wan_share *s, wan_real *answers, int64_t n) WAN_MUST_CHECK;
/* Host memory of rank 0 to all: *n elements of *x, which on the other ranks is allocated. */
int wan_share_floats(wan_share *s, float **x, int64_t *n) WAN_MUST_CHECK;

#endif
