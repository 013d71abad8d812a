/* SPDX-License-Identifier: Apache-2.0
 *
 * dit_priv.h - what the dit_*.c files share: weights as one part sees them, activation slots, the
 * state of a micro-batch.
 *
 * Letters: S tokens, R text rows, n samples, D width of the residual stream, A width of attention
 * and F of the feed-forward as this rank holds them (D and ffn on one rank), H heads held, C the
 * compute type.
 */
#ifndef WAN_MODEL_DIT_PRIV_H
#define WAN_MODEL_DIT_PRIV_H

#include "lib/model/block/context.h"
#include "lib/model/block/dense.h"
#include "lib/model/block/heads.h"
#include "lib/model/block/lengths.h"
#include "lib/model/block/shared.h"
#include "lib/model/block/slots.h"
#include "lib/model/block/seq.h"
#include "lib/model/block/widths.h"
#include "lib/model/dit/dit.h"

typedef struct wan_dit_block {
    wan_dense q, k, v, o;     /* self-attention */
    wan_dense cq, ck, cv, co; /* cross-attention */
    wan_dense f1, f2;
    wan_dense a1, a2; /* conditioning to modulation */
    wan_dense_vector nq, nk, cnq, cnk;
} wan_dit_block;

typedef struct wan_dit_embed {
    wan_dense patch, time1, time2, fps1, fps2;
} wan_dit_embed;

/* Rows of a block's modulation [n, 9, D]: shift, scale, gate of each of the three branches. */
enum { WAN_DIT_SELF = 0, WAN_DIT_CROSS = 3, WAN_DIT_MLP = 6, WAN_DIT_ROWS = 9 };
enum { WAN_DIT_SIDE = 1024 }; /* positions per axis, and in the table of each */
enum {
    WAN_DIT_CHUNKS = 8
}; /* of a position's row: 2 of its frame, 3 of its column, 3 of its row */

/* Activations of one block (slots.h).  X(name, rows, width, type, keep, alias): rows S|O(own of
 * the stream)|R, width
 * D|A|F|H|1. */
/* clang-format off */
#define WAN_DIT_SLOTS(X)                                                                           \
    X(XIN, O, D, r, 0, XIN)  /* residual stream: block input */                                    \
    X(X1, O, D, r, 2, XIN)   /* ... after self-attention */                                        \
    X(X2, O, D, r, 2, XIN)   /* ... after cross-attention */                                       \
    X(M1, O, 1, r, 1, M1) X(R1, O, 1, r, 1, R1) /* LayerNorm statistics */                         \
    X(M2, O, 1, r, 1, M1) X(R2, O, 1, r, 1, R1)                                                    \
    X(M3, O, 1, r, 1, M1) X(R3, O, 1, r, 1, R1)                                                    \
    X(U1, S, D, c, 2, U1) X(U2, S, D, c, 2, U1) X(U3, S, D, c, 2, U1) /* LayerNorm outputs */      \
    X(Q0, S, A, c, 1, Q0) X(K0, S, A, c, 1, K0) X(V, S, A, c, 1, V)   /* projections */            \
    X(RQ, S, H, r, 1, RQ) X(RK, S, H, r, 1, RK) /* RMSNorm statistics of each head */              \
    X(Q, S, A, c, 4, Q) X(K, S, A, c, 4, K)     /* normalised */                                   \
    X(O, S, A, c, 1, K0) X(LSE, S, H, r, 1, LSE)                                                   \
    X(Y1, O, D, c, 1, Q0)                                                                          \
    X(CQ0, S, A, c, 1, Q0) X(RCQ, S, H, r, 1, RQ) X(CQ, S, A, c, 4, Q)                             \
    X(CK0, R, A, c, 1, CK0) X(RCK, R, H, r, 1, RCK) X(CK, R, A, c, 4, CK) X(CV, R, A, c, 1, CV)    \
    X(CO, S, A, c, 1, K0) X(CLSE, S, H, r, 1, LSE)                                                 \
    X(YC, O, D, c, 1, Q0)                                                                          \
    X(Z, S, F, c, 1, HID) X(HID, S, F, c, 5, HID) /* before and after GELU */                      \
    X(Y2, O, D, c, 1, Q0)
/* clang-format on */

enum wan_dit_slot {
#define X(name, rows, width, type, keep, alias) WAN_DIT_##name,
    WAN_DIT_SLOTS(X)
#undef X
        WAN_DIT_N_SLOTS
};

/* Buffers that exist once.  X(field, rows, width, type, train, kept): rows S|R|N(samples)|J(one more)|1;
 * width D|M(9D)|A|F|T(text_dim)|Q(fps_dim)|L(adaln_dim)|P(patch features)|C(chunks)|1; train: only
 * with gradients; kept: lives from forward to backward, so every acts has its own. */
/* clang-format off */
#define WAN_DIT_ONCE(X)                                                                            \
    X(emb, N, D, r, 0, 1) X(tz, N, D, r, 0, 1) X(th, N, D, r, 0, 1)                                \
    X(femb, 1, Q, r, 0, 1) X(fz, 1, Q, r, 0, 1) X(fh, 1, Q, r, 0, 1) X(f, 1, Q, r, 0, 0)           \
    X(cond, N, D, r, 0, 1) X(sc, N, D, r, 0, 1)                                                    \
    X(ah, N, L, r, 0, 0) X(mod, N, M, r, 0, 0)                                                     \
    X(rows, S, P, c, 0, 1) X(chunk, S, C, i, 0, 1)                                                 \
    X(tx, R, T, c, 0, 1) X(kbias, R, 1, r, 0, 1)                                                   \
    X(dx, S, D, r, 1, 0) X(du, S, D, r, 1, 0) X(dy, S, D, c, 1, 0) X(da, S, D, c, 1, 0)                                 \
    X(dq, S, A, c, 1, 0) X(dk, S, A, c, 1, 0) X(dv, S, A, c, 1, 0) X(dhid, S, F, c, 1, 0)          \
    X(dck, R, A, c, 1, 0) X(dcv, R, A, c, 1, 0)                                                    \
    X(dmod, J, M, r, 1, 0) X(dah, N, L, r, 1, 0) X(dsc, N, D, r, 1, 0) X(dth, N, D, r, 1, 0)       \
    X(df, 1, Q, r, 1, 0)
/* clang-format on */

typedef struct wan_dit_acts {
    wan_acts base; /* first: acts of every model begin with it */
    wan_dit_config c;
    wan_widths z;     /* the letters of this rank */
    void *mem, *work; /* device: what is kept; the rest, own or shared */
    int shared;       /* work belongs to other acts */
    wan_slots slots;
    void **slot; /* as wan_slots_lay makes it */
#define X(field, rows, width, type, train, kept) wan_buf field;
    WAN_DIT_ONCE(X)
#undef X
    wan_lengths tok, txt, own; /* own: rows of the stream, where they are spread */
    const wan_pack *stream;    /* that, or tok's */
    wan_real *table;           /* device [CHUNKS, SIDE, D/CHUNKS]: positions */
    int32_t *chunk_host;       /* [S, CHUNKS]: rows of it */
    wan_real *host;            /* staging: kbias, sinusoids */
    int64_t *len;              /* staging: lengths of the samples of a pack */
    int64_t (*grid)[3];        /* grids of the tokens now laid out */
    int64_t *from;             /* and the first token held of each */
    int n_grid;
    wan_buf x_rows;         /* the forward's patch rows in compute type */
    const wan_context *ctx; /* keys and values made elsewhere, or NULL */
} wan_dit_acts;

/* One block at work. */
typedef struct wan_dit_run {
    wan_dit_acts *a;
    wan_dev *d;
    const wan_ops *op;
    int l;           /* block */
    wan_dit_block b; /* its weights */
} wan_dit_run;

static inline wan_dit_acts *wan_dit_of(wan_acts *a)
{
    return (wan_dit_acts *)a;
}
static inline int64_t wan_dit_width(const wan_dit_config *c)
{
    return (int64_t)c->heads * c->head_dim;
}
/* Slot of block l, as an operand; the same for WAN_REAL slots. */
static inline wan_buf wan_dit_slot_buf(const wan_dit_acts *a, int l, enum wan_dit_slot s)
{
    return wan_slots_buf(&a->slots, a->slot, l, (int)s);
}
static inline wan_real *wan_dit_slot_real(const wan_dit_acts *a, int l, enum wan_dit_slot s)
{
    return a->slot[l * WAN_DIT_N_SLOTS + (int)s];
}

/* dit_params.c: weights of a part, as the store has them now. */
void wan_dit_bind_embed(wan_dit_embed *e, const wan_store *s);
void wan_dit_bind_block(wan_dit_block *b, const wan_store *s, int l);
void wan_dit_bind_head(wan_dense *h, const wan_store *s);

/* dit_json.c */
extern const wan_layout wan_dit_layout;
int wan_dit_recast(void *c, enum wan_naming naming, int writing) WAN_MUST_CHECK;

/* dit_memory.c */
int wan_dit_acts_plan(wan_acts_bytes *out, const void *c, const wan_acts_options *o) WAN_MUST_CHECK;
int wan_dit_acts_new(wan_acts **out, wan_dev *d, const void *c, const wan_acts_options *o,
                     wan_acts *share) WAN_MUST_CHECK;
void wan_dit_acts_free(wan_acts **a);

/* dit_prepare.c */
/* What never changes, into the memory that is laid out for it: positions, the frame rate. */
int wan_dit_constants(wan_dit_acts *a) WAN_MUST_CHECK;
/* Packs, positions, sinusoids; text too unless ctx has it. */
int wan_dit_fill(wan_acts *a, const wan_micro *in, const wan_context *ctx) WAN_MUST_CHECK;

/* dit_forward.c */
int wan_dit_forward(wan_acts *a, wan_store *s, int part) WAN_MUST_CHECK;
/* RMSNorm of every head of rows [rows, heads held] on its own. */
wan_rms wan_dit_rms(const wan_dit_config *c, int64_t rows, int64_t heads);
/* Keys and values of a block from the text rows; k0 and rstd are what backward needs. */
int wan_dit_text_kv(wan_dev *d, const wan_dit_config *c, const wan_dit_block *b, wan_buf k,
                    wan_buf v, wan_buf k0, wan_real *rstd, wan_buf text, int64_t R) WAN_MUST_CHECK;
/* The end of a branch and the next one's norm, in one op: gate, gain and shift of it. */
wan_resnorm wan_dit_seam(const wan_dit_run *r, int branch, int next);
/* The block of r from slot XIN to x_out (NULL: everything but the last sum, for recompute). */
int wan_dit_block_forward(const wan_dit_run *r, wan_real *x_out) WAN_MUST_CHECK;
/* Fills the shared slots of the block that `selective` does not keep. */
int wan_dit_block_redo(const wan_dit_run *r) WAN_MUST_CHECK;
/* The modulation rows of the block, into a->mod. */
int wan_dit_block_mod(const wan_dit_run *r) WAN_MUST_CHECK;
/* The attention calls of one block. */
wan_attn wan_dit_attn_self(const wan_dit_run *r);
wan_attn wan_dit_attn_cross(const wan_dit_run *r, const wan_context_kv *kv);
wan_context_kv wan_dit_own_kv(const wan_dit_run *r);

/* dit_backward.c */
int wan_dit_backward_begin(wan_acts *a) WAN_MUST_CHECK;
int wan_dit_backward(wan_acts *a, wan_store *s, int part) WAN_MUST_CHECK;
int wan_dit_input_grad(wan_acts *a, wan_store *s, wan_real *drows) WAN_MUST_CHECK;

/* dit_border.c */
int wan_dit_border(const void *config, const wan_acts *acts, int part, int back,
                   wan_border v[WAN_MODEL_BORDERS]);

/* dit_context.c */
int wan_dit_context_new(wan_context **out, const wan_acts *a, wan_store *s, wan_buf text,
                        const int64_t *text_len, int n) WAN_MUST_CHECK;

#endif
