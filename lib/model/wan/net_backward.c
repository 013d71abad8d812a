/* SPDX-License-Identifier: Apache-2.0
 *
 * net_backward.c - gradients of the WAN transformer (wan-model(7), Backward), part by part from
 * the end.
 *
 * a->dx is the gradient of the residual stream; every branch adds to it.  a->dmod collects the
 * gradient of the block's modulation rows, a->de0 that of e0 over all blocks, a->dctx that of the
 * context rows over all blocks.
 */
#include "lib/model/wan/net_priv.h"

#define C(s) wan_net_slot_buf(r->a, r->l, WAN_NET_##s)
#define RL(s) wan_net_slot_real(r->a, r->l, WAN_NET_##s)

static int64_t tokens(const wan_net_run *r)
{
    return r->a->tok.pack.S;
}

static wan_buf own(const wan_net_run *r, wan_buf x)
{
    return wan_seq_at(&r->a->base, x, tokens(r), r->a->z.D);
}

/* Of the gradient of rows that products read: own rows, of all ranks. */
static int scatter(const wan_net_run *r, wan_buf x)
{
    return wan_seq_scatter(&r->a->base, x, tokens(r), r->a->z.D);
}

/* LayerNorm of the block's input, from a->du. */
static int back_input(const wan_net_run *r)
{
    wan_net_acts *a = r->a;
    int64_t D = a->z.D;
    wan_real *dshift = a->dmod.p;
    const wan_real *scale = (wan_real *)a->mod.p + D;
    WAN_TRY(scatter(r, a->du));
    return r->op->ln_mod_backward(r->d, own(r, a->dx).p, dshift + D, dshift, 6 * D, own(r, a->du),
                                  RL(XIN), RL(M1), RL(R1), scale, 6 * D, a->stream, D);
}

/* The block's output, a gated sum: a->dy from a->dx. */
static int back_output(const wan_net_run *r)
{
    wan_net_acts *a = r->a;
    int64_t D = a->z.D;
    WAN_TRY(r->op->residual_backward(r->d, own(r, a->dy), (wan_real *)a->dmod.p + 5 * D, 6 * D,
                                     own(r, a->dx).p, C(Y2), (wan_real *)a->mod.p + 5 * D, 6 * D,
                                     a->stream, D));
    return wan_seq_gather(&a->base, a->dy, tokens(r), D);
}

/* Between two branches: a->da, the gradient of what the later one read, goes to a->dx, and a->dy to the
 * earlier. */
static int back_seam(const wan_net_run *r, enum wan_net_seam seam, const wan_resnorm_grad *g,
                     const wan_real *x, const wan_real *mean, const wan_real *rstd, wan_buf y)
{
    wan_net_acts *a = r->a;
    const wan_resnorm v = wan_net_seam(r, seam);
    WAN_TRY(scatter(r, a->da));
    WAN_TRY(r->op->resnorm_backward(r->d, &v, g, own(r, a->dx).p, own(r, a->dy), own(r, a->da), x,
                                    mean, rstd, y));
    return wan_seq_gather(&a->base, a->dy, tokens(r), a->z.D);
}

/* RMSNorm in place on g: gradient of the normalised rows becomes that of the projection; the sums of
 * a row over ranks, where there are several, in `sums`. */
static int back_rms(const wan_net_run *r, wan_buf g, const wan_dense_vector *w, wan_buf x,
                    wan_real *rstd, int64_t rows, wan_buf sums)
{
    const wan_rms rms = wan_net_rms(r->a, rows);
    const wan_shared_norm v = { &rms, g, x, rstd, *w, g };
    return wan_shared_rms_back(&r->a->base, &v, 1, sums);
}

/* Queries and keys of self-attention, from their own matrices into dqkv. */
static int back_rms_qk(const wan_net_run *r, wan_buf dq, wan_buf dk)
{
    wan_net_acts *a = r->a;
    const wan_rms rms = wan_net_rms_qk(r);
    enum { Q = WAN_HEADS_Q, K = WAN_HEADS_K };
    const wan_shared_norm v[2] = {
        { &rms, dq, wan_net_heads(r, C(QKV), Q), RL(RQ), r->b.nq, wan_net_heads(r, a->dqkv, Q) },
        { &rms, dk, wan_net_heads(r, C(QKV), K), RL(RK), r->b.nk, wan_net_heads(r, a->dqkv, K) }
    };
    return wan_shared_rms_back(&a->base, v, 2, a->part);
}

static int back_feed_forward(const wan_net_run *r)
{
    wan_net_acts *a = r->a;
    const wan_net_block *b = &r->b;
    int64_t S = tokens(r);
    WAN_TRY(back_output(r));
    WAN_TRY(wan_dense_backward_two(r->d, &b->f1, &b->f2, a->da, a->dhid, a->dy, C(U3), C(Z), C(HID),
                                   S, WAN_ACT_GELU_TANH));
    wan_real *dmod = a->dmod.p;
    int64_t D = a->z.D;
    const wan_resnorm_grad g = { NULL, dmod + 4 * D, dmod + 3 * D, 6 * D };
    return back_seam(r, WAN_NET_CROSS_TO_HIDDEN, &g, RL(X2), RL(M3), RL(R3), C(YC));
}

/* The context's share: keys and values of this block. */
static int back_text_kv(const wan_net_run *r)
{
    wan_net_acts *a = r->a;
    const wan_net_block *b = &r->b;
    int64_t R = a->txt.pack.S;
    WAN_TRY(back_rms(r, a->dck, &b->cnk, C(CK0), RL(RCK), R, a->partr));
    WAN_TRY(wan_dense_backward(r->d, &b->ck, a->dctx, a->dck, a->ctx_rows, R, 1));
    return wan_dense_backward(r->d, &b->cv, a->dctx, a->dcv, a->ctx_rows, R, 1);
}

/* Where rows are spread: gradients of the affine norm from own rows, behind those of the modulation. */
static wan_real *vectors(const wan_net_acts *a)
{
    return (wan_real *)a->dmod.p + a->tok.pack.n * 6 * a->z.D;
}

static int back_cross_attention(const wan_net_run *r)
{
    wan_net_acts *a = r->a;
    const wan_net_block *b = &r->b;
    int64_t S = tokens(r), D = a->z.D;
    wan_context_kv kv = wan_net_own_kv(r);
    wan_attn at = wan_net_attn_cross(r, &kv);
    WAN_TRY(wan_dense_backward(r->d, &b->co, a->da, a->dy, C(CO), S, 0));
    wan_buf dq = a->dy; /* read for the last time */
    WAN_TRY(r->op->attention_backward(r->d, &at, dq, a->dck, a->dcv, a->da, C(CO), RL(CLSE), C(CQ),
                                      kv.k, kv.v));
    WAN_TRY(back_text_kv(r));
    WAN_TRY(back_rms(r, dq, &b->cnq, C(CQ0), RL(RCQ), S, a->part));
    WAN_TRY(wan_dense_backward(r->d, &b->cq, a->da, dq, C(U2), S, 0));
    wan_real *dw = a->base.slice.spread ? vectors(a) : b->lnw.g;
    wan_real *db = a->base.slice.spread ? dw + D : b->lnb.g;
    const wan_resnorm_grad g = { (wan_real *)a->dmod.p + 2 * D, dw, db, 6 * D };
    return back_seam(r, WAN_NET_SELF_TO_CROSS, &g, RL(X1), RL(M2), RL(R2), C(Y1));
}

static int back_self_attention(const wan_net_run *r)
{
    wan_net_acts *a = r->a;
    const wan_net_block *b = &r->b;
    int64_t S = tokens(r);
    wan_attn at = wan_net_attn_self(r);
    WAN_TRY(wan_dense_backward(r->d, &b->o, a->da, a->dy, C(O), S, 0));
    wan_buf dq = a->dy, dk = a->dhid; /* read for the last time */
    WAN_TRY(wan_heads_attend_back(&a->base, &at, dq, dk, wan_net_heads(r, a->dqkv, WAN_HEADS_V),
                                  a->da, C(O), RL(LSE), C(Q), C(K),
                                  wan_net_heads(r, C(QKV), WAN_HEADS_V)));
    WAN_TRY(back_rms_qk(r, dq, dk));
    WAN_TRY(wan_heads_backward(&b->qkv, &a->base, a->du, a->dqkv, C(U1), S));
    return back_input(r);
}

/* Brings back what the block's backward reads and the forward did not keep. */
static int restore(const wan_net_run *r)
{
    enum wan_recompute mode = wan_capacity_redo(&r->a->base.cap, r->a->base.slice.first, r->l);
    if (mode == WAN_RECOMPUTE_FULL)
        return wan_net_block_forward(r, NULL);
    WAN_TRY(wan_net_block_mod(r));
    return mode == WAN_RECOMPUTE_SELECTIVE ? wan_net_block_redo(r) : 0;
}

/* What own rows gave becomes what all gave, once for the whole block. */
static int join(const wan_net_run *r)
{
    wan_net_acts *a = r->a;
    int64_t D = a->z.D;
    const wan_buf v = WAN_RBUF(vectors(a));
    if (!a->base.slice.spread)
        return 0;
    WAN_TRY(wan_shared_sum(&a->base, a->dmod, (a->tok.pack.n + 1) * 6 * D));
    WAN_TRY(r->op->axpy(r->d, WAN_RBUF(r->b.lnw.g), 1, v, D));
    return r->op->axpy(r->d, WAN_RBUF(r->b.lnb.g), 1, wan_buf_at(v, D), D);
}

static int back_block(const wan_net_run *r)
{
    wan_net_acts *a = r->a;
    int64_t n = a->tok.pack.n, D = a->z.D;
    WAN_TRY(restore(r));
    WAN_TRY(r->op->fill(r->d, a->dmod, 0, (n + 1) * 6 * D));
    WAN_TRY(back_feed_forward(r));
    WAN_TRY(back_cross_attention(r));
    WAN_TRY(back_self_attention(r));
    WAN_TRY(join(r));
    return r->op->modulation_backward(r->d, r->b.mod.g, a->de0.p, a->dmod.p, n, 6, D, 6);
}

static int back_head(wan_net_acts *a, const wan_store *s)
{
    wan_dev *d = a->base.d;
    const wan_pack *k = &a->tok.pack;
    int64_t D = a->z.D;
    wan_net_head w;
    wan_real *dshift = a->dmodh.p;
    const wan_real *scale = (wan_real *)a->modh.p + D;
    wan_net_bind_head(&w, s);
    WAN_TRY(d->ops->fill(d, a->dmodh, 0, k->n * 2 * D));
    wan_buf x;
    WAN_TRY(wan_dense_backward(d, &w.out, a->du, a->base.dpred, a->zh, k->S, 0));
    WAN_TRY(
        wan_seq_whole(&a->base, &x, wan_net_slot_buf(a, a->c.layers, WAN_NET_XIN), a->zh, k->S, D));
    WAN_TRY(d->ops->ln_mod_backward(d, a->dx.p, dshift + D, dshift, 2 * D, a->du, x.p, a->mh.p,
                                    a->rh.p, scale, 2 * D, k, D));
    return d->ops->modulation_backward(d, w.mod.g, a->de.p, dshift, k->n, 2, D, 1);
}

/* e gets the head's share (already in a->de) and, through the projection, that of e0. */
static int back_time(wan_net_acts *a, const wan_net_embed *w)
{
    wan_dev *d = a->base.d;
    const wan_ops *op = d->ops;
    int64_t n = a->tok.pack.n, D = a->z.D;
    WAN_TRY(wan_dense_backward(d, &w->proj, a->des, a->de0, a->es, n, 0));
    WAN_TRY(op->act_backward(d, a->des, a->des, a->e, n * D, WAN_ACT_SILU));
    WAN_TRY(op->axpy(d, a->de, 1, a->des, n * D));
    WAN_TRY(wan_dense_backward_act(d, &w->time2, a->des, a->de, a->th, a->tz, n, WAN_ACT_SILU));
    return wan_dense_wgrad(d, &w->time1, a->des, a->emb, n);
}

static int back_text(wan_net_acts *a, const wan_net_embed *w)
{
    wan_dev *d = a->base.d;
    int64_t R = a->txt.pack.S, D = a->z.D;
    WAN_TRY(wan_shared_sum(&a->base, a->dctx, R * D)); /* of all blocks at once */
    WAN_TRY(d->ops->cast(d, a->dctxc, a->dctx, R * D));
    WAN_TRY(
        wan_dense_backward_act(d, &w->text2, a->dck, a->dctxc, a->ch, a->cz, R, WAN_ACT_GELU_TANH));
    return wan_dense_wgrad(d, &w->text1, a->dck, a->tx, R);
}

static int back_embed(wan_net_acts *a, const wan_store *s)
{
    wan_net_embed w;
    wan_net_bind_embed(&w, s);
    WAN_TRY(back_time(a, &w));
    WAN_TRY(back_text(a, &w));
    WAN_TRY(wan_seq_gather(&a->base, a->dx, a->tok.pack.S, a->z.D));
    return wan_dense_wgrad(a->base.d, &w.patch, a->dx, a->x_rows, a->tok.pack.S);
}

int wan_net_backward_begin(wan_acts *base)
{
    wan_net_acts *a = wan_net_of(base);
    wan_dev *d = base->d;
    const wan_ops *op = d->ops;
    int64_t n = a->tok.pack.n, D = a->z.D;
    if (a->ctx)
        return wan_err("transformer: a backward with text that was computed elsewhere");
    WAN_TRY(op->fill(d, a->dx, 0, a->tok.pack.S * D));
    WAN_TRY(op->fill(d, a->dctx, 0, a->txt.pack.S * D));
    WAN_TRY(op->fill(d, a->de0, 0, n * 6 * D));
    return op->fill(d, a->de, 0, n * D);
}

int wan_net_backward(wan_acts *base, wan_store *s, int part)
{
    wan_net_acts *a = wan_net_of(base);
    if (part == 0)
        return back_embed(a, s);
    if (part == a->c.layers + 1)
        return back_head(a, s);
    wan_net_run r = { .a = a, .d = base->d, .op = base->d->ops, .l = part - 1 };
    wan_net_bind_block(&r.b, s, r.l);
    return back_block(&r);
}

int wan_net_input_grad(wan_acts *base, wan_store *s, wan_real *drows)
{
    wan_net_acts *a = wan_net_of(base);
    wan_net_embed w;
    if (!base->done || !a->dx.p)
        return wan_err("transformer: gradient of the input before backward");
    wan_net_bind_embed(&w, s);
    return wan_dense_dgrad(base->d, &w.patch, WAN_RBUF(drows), a->dx, a->tok.pack.S, 0);
}
