/* SPDX-License-Identifier: Apache-2.0
 *
 * acts.h - one micro-batch inside a model: what it was filled with, and what its forward keeps for
 * its backward.  Several can be alive at once, of one model or of two; the weights are elsewhere
 * (store.h).
 *
 * Samples lie end to end (a pack).  `held` are the rows that this rank computes; `seen` are the rows
 * that its attention reads keys and values of.  They are one thing unless tokens are shared out over
 * ranks; then a sample may be held in part, and micro.first says from which of its tokens on.
 */
#ifndef WAN_MODEL_ACTS_H
#define WAN_MODEL_ACTS_H

#include "kernels/ops.h"
#include "lib/model/stash.h"
#include "lib/model/store.h"
#include "lib/model/tapes.h"

struct wan_model;

enum wan_recompute { WAN_RECOMPUTE_NONE, WAN_RECOMPUTE_SELECTIVE, WAN_RECOMPUTE_FULL };

/* What WAN_RECOMPUTE_SELECTIVE does again: LayerNorms and the stream between branches, norms of queries and keys,
 * the activation of the feed-forward. */
enum wan_redo { WAN_REDO_NORMS = 1, WAN_REDO_QK = 2, WAN_REDO_ACT = 4, WAN_REDO_ALL = 7 };

/* The largest micro-batch that will come. */
typedef struct wan_capacity {
    int64_t tokens;               /* S, held */
    int64_t samples;              /* n */
    int64_t text_rows;            /* sum over samples of true rows + 1 */
    enum wan_recompute recompute; /* training only */
    int64_t recompute_blocks; /* in the first so many blocks of a range of parts alone; 0: in all */
    int64_t
        recompute_group; /* with `full`: of so many blocks in a row the first keeps its input, and all run forward
                              * again before the last runs backward (march.h); <= 1: each on its own */
    int spared;   /* enum wan_redo: of that, what is kept all the same */
    int64_t away; /* what the first so many blocks of a range keep waits in host memory (stash.h) */
} wan_capacity;

/* Place of block l among those that run where parts [first, ..) do. */
static inline int64_t wan_capacity_place(int first, int l)
{
    return l + 1 - (first > 1 ? first : 1);
}

/* How block l is recomputed where parts [first, ..) run. */
static inline enum wan_recompute wan_capacity_recompute(const wan_capacity *c, int first, int l)
{
    const int64_t at = wan_capacity_place(first, l);
    return c->recompute_blocks && at >= c->recompute_blocks ? WAN_RECOMPUTE_NONE : c->recompute;
}

/* Whether blocks are recomputed in groups; then what runs forward again leaves all that a backward reads. */
static inline int wan_capacity_grouped(const wan_capacity *c)
{
    return c->recompute == WAN_RECOMPUTE_FULL && c->recompute_group > 1;
}

/* What block l does again itself, before its backward. */
static inline enum wan_recompute wan_capacity_redo(const wan_capacity *c, int first, int l)
{
    return wan_capacity_grouped(c) ? WAN_RECOMPUTE_NONE : wan_capacity_recompute(c, first, l);
}

/* A micro-batch as it is given to a model. */
typedef struct wan_micro {
    int n;
    const int64_t (*grid)[3]; /* host [n]: patch grid (frames, rows, columns) of the whole sample */
    const int64_t *first;     /* host [n]: the first token held of each; NULL: 0 */
    const int64_t *tokens;    /* host [n]: how many are held; NULL: all of the grid; may be 0 */
    wan_buf rows;             /* device [S, in_width] */
    const wan_real *t;        /* host [n]: the number that conditions each sample (a timestep) */
    wan_buf text;             /* device [sum text_len, text_dim]: true rows of all samples */
    const int64_t *text_len;  /* host [n]: true rows, 0..text_len of the model */
} wan_micro;

/* What an axis of parallelism puts in place of the local op; NULL members: nothing. */
typedef struct wan_wing {
    void *arg;
    /* Self attention of the held rows over rows from elsewhere, and its backward (attention.h). */
    int (*attend)(void *arg, wan_dev *d, const wan_attn *a, wan_buf o, wan_real *lse, wan_buf q,
                  wan_buf k, wan_buf v);
    int (*attend_back)(void *arg, wan_dev *d, const wan_attn *a, wan_buf dq, wan_buf dk, wan_buf dv,
                       wan_buf dout, wan_buf o, const wan_real *lse, wan_buf q, wan_buf k,
                       wan_buf v);
    /* x [n] is the sum over the ranks that share a product: after a row-parallel product, after the
     * input gradient of a column-parallel one, of partial norms. */
    int (*sum)(void *arg, wan_dev *d, wan_buf x, int64_t n);
    /* Where those ranks share out the rows of the stream too (slice.spread): x [rows, width] with own rows
     * in place gets all; the own rows of x become the sum. */
    int (*gather)(void *arg, wan_dev *d, wan_buf x, int64_t rows, int64_t width);
    int (*scatter)(void *arg, wan_dev *d, wan_buf x, int64_t rows, int64_t width);
} wan_wing;

/* What the memory of acts depends on. */
typedef struct wan_acts_options {
    wan_dtype compute; /* of GEMM and attention operands */
    int train;
    wan_capacity cap;
    const wan_slice *slice; /* NULL: the whole model */
} wan_acts_options;

/* Bytes: kept is needed once for every acts alive, work once for all that run one after the other. */
typedef struct wan_acts_bytes {
    int64_t kept, work;
    int64_t away; /* host memory, for every acts alive */
} wan_acts_bytes;

/* The head of every model's acts. */
typedef struct wan_acts {
    const struct wan_model *model; /* set by wan_model_acts */
    const void *c;                 /* configuration of the model, copied */
    wan_dev *d;
    wan_dtype compute;
    int train;
    wan_capacity cap;
    wan_slice slice; /* what of the model the stores hold that run on it */
    wan_wing wing;
    wan_pack held;        /* set by fill */
    const wan_pack *seen; /* &held, unless an axis sets another after fill */
    wan_real *pred;       /* device [S, out_width], caller's: the head writes it */
    wan_buf dpred;        /* device [S, out_width], caller's: gradient of the loss */
    wan_stash *stash;     /* of what blocks keep; NULL: it stays */
    wan_tapes *tapes;     /* caller's: of parts that are done again; NULL: every part is run */
    int filled, done;     /* fill has been here; parts of the forward that have run since */
} wan_acts;

/* Keys and values of prompts, computed once and used for every step of a sampler. */
typedef struct wan_context wan_context;

#endif
