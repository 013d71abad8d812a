/* SPDX-License-Identifier: Apache-2.0
 *
 * net_priv.h - what the net_*.c files share: weights as one part sees them, activation slots, the
 * state of a micro-batch.
 *
 * Letters: S tokens, R text rows, n samples, D width of the residual stream, A width of attention
 * and F of the feed-forward as this rank holds them (D and ffn on one rank), H heads held, C the
 * compute type.
 */
#ifndef WAN_MODEL_NET_PRIV_H
#define WAN_MODEL_NET_PRIV_H

#include "lib/model/block/context.h"
#include "lib/model/block/dense.h"
#include "lib/model/block/heads.h"
#include "lib/model/block/shared.h"
#include "lib/model/block/lengths.h"
#include "lib/model/block/slots.h"
#include "lib/model/block/seq.h"
#include "lib/model/block/widths.h"
#include "lib/model/wan/net.h"

typedef struct wan_net_block {
    wan_heads qkv; /* self-attention */
    wan_dense o;
    wan_dense cq, ck, cv, co; /* cross-attention */
    wan_dense f1, f2;
    wan_dense_vector nq, nk, cnq, cnk, lnw, lnb, mod;
} wan_net_block;

typedef struct wan_net_embed {
    wan_dense patch, text1, text2, time1, time2, proj;
} wan_net_embed;

typedef struct wan_net_head {
    wan_dense out;
    wan_dense_vector mod;
} wan_net_head;

/* Activations of one block (slots.h).  X(name, rows, width, type, keep, alias): rows S|O(own of
 * the stream)|R, width
 * D|A|W(3A)|F|H|1. */
/* clang-format off */
#define WAN_NET_SLOTS(X)                                                                           \
    X(XIN, O, D, r, 0, XIN)  /* residual stream: block input */                                    \
    X(X1, O, D, r, 2, XIN)   /* ... after self-attention */                                        \
    X(X2, O, D, r, 2, XIN)   /* ... after cross-attention */                                       \
    X(M1, O, 1, r, 1, M1) X(R1, O, 1, r, 1, R1) /* LayerNorm statistics */                         \
    X(M2, O, 1, r, 1, M1) X(R2, O, 1, r, 1, R1)                                                    \
    X(M3, O, 1, r, 1, M1) X(R3, O, 1, r, 1, R1)                                                    \
    X(U1, S, D, c, 2, U1) X(U2, S, D, c, 2, U1) X(U3, S, D, c, 2, U1) /* LayerNorm outputs */      \
    X(QKV, S, W, c, 1, QKV) /* projections (heads.h) */                                              \
    X(RQ, S, 1, r, 1, RQ) X(RK, S, 1, r, 1, RK) /* RMSNorm statistics */                           \
    X(Q, S, A, c, 4, Q) X(K, S, A, c, 4, K)     /* normalised and rotated */                       \
    X(O, S, A, c, 1, U1) X(LSE, S, H, r, 1, LSE)                                                   \
    X(Y1, O, D, c, 1, QKV)                                                                          \
    X(CQ0, S, A, c, 1, QKV) X(RCQ, S, 1, r, 1, RQ) X(CQ, S, A, c, 4, Q)                             \
    X(CK0, R, A, c, 1, CK0) X(RCK, R, 1, r, 1, RCK) X(CK, R, A, c, 4, CK) X(CV, R, A, c, 1, CV)    \
    X(CO, S, A, c, 1, U1) X(CLSE, S, H, r, 1, LSE)                                                 \
    X(YC, O, D, c, 1, QKV)                                                                          \
    X(Z, S, F, c, 1, HID) X(HID, S, F, c, 5, HID) /* before and after GELU */                      \
    X(Y2, O, D, c, 1, QKV)
/* clang-format on */

enum wan_net_slot {
#define X(name, rows, width, type, keep, alias) WAN_NET_##name,
    WAN_NET_SLOTS(X)
#undef X
        WAN_NET_N_SLOTS
};

/* Buffers that exist once.  X(field, rows, width, type, train, kept): rows S|R|N(samples)|M(one more);
 * width D|E(6D)|B(2D)|A|W(3A)|F|G(F or A)|T(text_dim)|Q(freq_dim)|P(patch features)|1; train: only with gradients;
 * kept: lives from forward to backward, so every acts has its own. */
/* clang-format off */
#define WAN_NET_ONCE(X)                                                                            \
    X(t, N, 1, r, 0, 1) X(emb, N, Q, r, 0, 1) X(tz, N, D, r, 0, 1) X(th, N, D, r, 0, 1)            \
    X(e, N, D, r, 0, 1) X(es, N, D, r, 0, 1) X(e0, N, E, r, 0, 1)                                  \
    X(mod, N, E, r, 0, 0) X(modh, N, B, r, 0, 1)                                                   \
    X(rows, S, P, c, 0, 1)                                                                         \
    X(tx, R, T, c, 0, 1) X(cz, R, D, c, 1, 1) X(ch, R, D, c, 0, 1) X(ctx_rows, R, D, c, 0, 1)          \
    X(kbias, R, 1, r, 0, 1)                                                                        \
    X(mh, S, 1, r, 0, 1) X(rh, S, 1, r, 0, 1) X(zh, S, D, r, 0, 1)                                 \
    X(dx, S, D, r, 1, 0) X(du, S, D, r, 1, 0) X(dy, S, D, c, 1, 0) X(da, S, D, c, 1, 0)            \
    X(dqkv, S, W, c, 1, 0) X(dhid, S, G, c, 1, 0)          \
    X(dck, R, D, c, 1, 0) X(dcv, R, A, c, 1, 0) X(dctx, R, D, r, 1, 0) X(dctxc, R, D, c, 1, 0)     \
    X(dmod, M, E, r, 1, 0) X(dmodh, N, B, r, 1, 0) X(de0, N, E, r, 1, 0) X(de, N, D, r, 1, 0)      \
    X(des, N, D, r, 1, 0)                                                                          \
    X(part, S, 2, r, 0, 0) X(partr, R, 1, r, 0, 0) /* sums of a row over ranks: q and k; context */
/* clang-format on */

enum { WAN_NET_ROPE_MAX = 1024 }; /* positions per axis the model was made for */

typedef struct wan_net_acts {
    wan_acts base; /* first: acts of every model begin with it */
    wan_net_config c;
    wan_widths z;     /* the letters of this rank */
    void *mem, *work; /* device: what is kept; the rest, own or shared */
    int shared;       /* work belongs to other acts */
    wan_slots slots;
    void **slot; /* as wan_slots_lay makes it */
#define X(field, rows, width, type, train, kept) wan_buf field;
    WAN_NET_ONCE(X)
#undef X
    wan_lengths tok, txt, own; /* own: rows of the stream, where they are spread */
    const wan_pack *stream;    /* that, or tok's */
    wan_rope rope;             /* of the tokens now laid out */
    int32_t *pos, *pos_host;   /* [S, 3] */
    wan_real *host;            /* staging: kbias, timesteps */
    int64_t *len;              /* staging: lengths of the samples of a pack */
    int64_t (*grid)[3];        /* grids of the tokens now laid out */
    int n_grid;
    wan_buf x_rows;         /* the forward's patch rows in compute type */
    const wan_context *ctx; /* keys and values made elsewhere, or NULL */
} wan_net_acts;

/* One part at work. */
typedef struct wan_net_run {
    wan_net_acts *a;
    wan_dev *d;
    const wan_ops *op;
    int l;           /* block */
    wan_net_block b; /* its weights */
} wan_net_run;

static inline wan_net_acts *wan_net_of(wan_acts *a)
{
    return (wan_net_acts *)a;
}
static inline int64_t wan_net_width(const wan_net_config *c)
{
    return (int64_t)c->heads * c->head_dim;
}
/* Slot of block l, as an operand. */
wan_buf wan_net_slot_buf(const wan_net_acts *a, int l, enum wan_net_slot s);
/* The same for WAN_REAL slots. */
wan_real *wan_net_slot_real(const wan_net_acts *a, int l, enum wan_net_slot s);

/* net_params.c: weights of a part, as the store has them now. */
void wan_net_bind_embed(wan_net_embed *e, const wan_store *s);
void wan_net_bind_block(wan_net_block *b, const wan_store *s, int l);
void wan_net_bind_head(wan_net_head *h, const wan_store *s);

/* net_json.c */
extern const wan_layout wan_net_hf, wan_net_official;
int wan_net_recast(void *c, enum wan_naming naming, int writing) WAN_MUST_CHECK;

/* net_memory.c */
int wan_net_acts_plan(wan_acts_bytes *out, const void *c, const wan_acts_options *o) WAN_MUST_CHECK;
int wan_net_acts_new(wan_acts **out, wan_dev *d, const void *c, const wan_acts_options *o,
                     wan_acts *share) WAN_MUST_CHECK;
void wan_net_acts_free(wan_acts **a);

/* net_prepare.c */
/* The table of rotations, into the memory that is laid out for it. */
int wan_net_rope_make(wan_net_acts *a) WAN_MUST_CHECK;
/* Packs, positions, timesteps; text too unless ctx has it. */
int wan_net_fill(wan_acts *a, const wan_micro *in, const wan_context *ctx) WAN_MUST_CHECK;

/* net_forward.c */
int wan_net_forward(wan_acts *a, wan_store *s, int part) WAN_MUST_CHECK;
int wan_net_text_mlp(wan_dev *d, const wan_net_embed *e, wan_buf ctx, wan_buf h, wan_buf z,
                     wan_buf x, int64_t R) WAN_MUST_CHECK;
/* RMSNorm over all heads, of which this rank may hold a part; that of self-attention's queries and
 * keys, rotated. */
wan_rms wan_net_rms(const wan_net_acts *a, int64_t rows);
wan_rms wan_net_rms_qk(const wan_net_run *r);
/* Self-attention's projections in matrix m: WAN_HEADS_Q, K, V. */
wan_buf wan_net_heads(const wan_net_run *r, wan_buf m, int which);
/* Keys and values of a block from the context rows; k0 and rstd are what backward needs; sums [R]. */
int wan_net_text_kv(const wan_acts *a, const wan_net_block *b, wan_buf k, wan_buf v, wan_buf k0,
                    wan_real *rstd, wan_buf sums, wan_buf ctx, int64_t R) WAN_MUST_CHECK;
/* A branch's end and the next one's norm, in one op: gate, gain and shift of it. */
enum wan_net_seam { WAN_NET_SELF_TO_CROSS, WAN_NET_CROSS_TO_HIDDEN };
wan_resnorm wan_net_seam(const wan_net_run *r, enum wan_net_seam seam);
/* The block of r from slot XIN to x_out (NULL: everything but the last sum, for recompute). */
int wan_net_block_forward(const wan_net_run *r, wan_real *x_out) WAN_MUST_CHECK;
/* Fills the shared slots of the block that `selective` does not keep. */
int wan_net_block_redo(const wan_net_run *r) WAN_MUST_CHECK;
/* The modulation rows of the block, into a->mod. */
int wan_net_block_mod(const wan_net_run *r) WAN_MUST_CHECK;
/* The attention calls of one block. */
wan_attn wan_net_attn_self(const wan_net_run *r);
wan_attn wan_net_attn_cross(const wan_net_run *r, const wan_context_kv *kv);
wan_context_kv wan_net_own_kv(const wan_net_run *r);

/* net_backward.c */
int wan_net_backward_begin(wan_acts *a) WAN_MUST_CHECK;
int wan_net_backward(wan_acts *a, wan_store *s, int part) WAN_MUST_CHECK;
int wan_net_input_grad(wan_acts *a, wan_store *s, wan_real *drows) WAN_MUST_CHECK;

/* net_border.c */
int wan_net_border(const void *config, const wan_acts *acts, int part, int back,
                   wan_border v[WAN_MODEL_BORDERS]);

/* net_context.c */
int wan_net_context_new(wan_context **out, const wan_acts *a, wan_store *s, wan_buf text,
                        const int64_t *text_len, int n) WAN_MUST_CHECK;

#endif
