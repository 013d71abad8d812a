/* SPDX-License-Identifier: Apache-2.0
 *
 * net_backward.c - gradients of the transformer (wan-model(7), Backward), block by block from
 * the end.
 *
 * p->dx is the gradient of the residual stream; every branch adds to it.  p->dmod collects the
 * gradient of the block's modulation rows, p->de0 that of e0 over all blocks, p->dctx that of the
 * context rows over all blocks.
 */
#include "lib/model/wan/net_priv.h"

#define C(s) wan_net_slot_buf(m, l, WAN_NET_##s)
#define RL(s) wan_net_slot_real(m, l, WAN_NET_##s)

static int64_t tokens(const wan_net *m)
{
    return wan_net_p(m)->tok.pack.S;
}

/* Weight and bias gradient of w from its output gradient dy and its input x. */
static int back_w(wan_net *m, const wan_net_linear *w, wan_buf dy, wan_buf x, int64_t M)
{
    return m->d->ops->linear_wgrad(m->d, w->dw, w->db, dy, x, M, w->N, w->K, 1);
}

static int back_x(wan_net *m, const wan_net_linear *w, wan_buf dx, wan_buf dy, int64_t M, int add)
{
    return m->d->ops->linear_dgrad(m->d, dx, dy, w->w, M, w->N, w->K, add);
}

static int back_both(wan_net *m, const wan_net_linear *w, wan_buf dx, wan_buf dy, wan_buf x,
                     int64_t M, int add)
{
    WAN_TRY(back_w(m, w, dy, x, M));
    return back_x(m, w, dx, dy, M, add);
}

/* Modulated LayerNorm, rows shift, scale = `row`, `row`+1. */
static int back_norm_mod(wan_net *m, wan_buf du, const wan_real *x, const wan_real *mean,
                         const wan_real *rstd, int row)
{
    wan_net_priv *p = wan_net_p(m);
    int64_t D = wan_net_width(&m->c);
    wan_real *dshift = (wan_real *)p->dmod.p + row * D;
    const wan_real *scale = (wan_real *)p->mod.p + (row + 1) * D;
    return m->d->ops->ln_mod_backward(m->d, p->dx.p, dshift + D, dshift, 6 * D, du, x, mean, rstd,
                                      scale, 6 * D, &p->tok.pack, D);
}

/* Gated sum: p->dy from p->dx, gate row `row`. */
static int back_residual(wan_net *m, wan_buf y, int row)
{
    wan_net_priv *p = wan_net_p(m);
    int64_t D = wan_net_width(&m->c);
    return m->d->ops->residual_backward(m->d, p->dy, (wan_real *)p->dmod.p + row * D, 6 * D,
                                        p->dx.p, y, (wan_real *)p->mod.p + row * D, 6 * D,
                                        &p->tok.pack, D);
}

/* RMSNorm in place on g: gradient of the normalised rows becomes that of the projection. */
static int back_rms(wan_net *m, wan_buf g, const wan_net_vector *w, wan_buf x, const wan_real *rstd,
                    const wan_real *rope, int64_t rows)
{
    return m->d->ops->rmsnorm_backward(m->d, g, w->g, g, x, rstd, w->p, rope, rows,
                                       wan_net_width(&m->c), m->c.head_dim);
}

static int back_feed_forward(wan_net *m, int l)
{
    wan_net_priv *p = wan_net_p(m);
    const wan_net_block *b = &p->block[l];
    int64_t S = tokens(m);
    WAN_TRY(back_residual(m, C(Y2), 5));
    WAN_TRY(back_both(m, &b->f2, p->dhid, p->dy, C(HID), S, 0));
    WAN_TRY(m->d->ops->act_backward(m->d, p->dhid, p->dhid, C(Z), S * m->c.ffn, WAN_ACT_GELU_TANH));
    WAN_TRY(back_both(m, &b->f1, p->da, p->dhid, C(U3), S, 0));
    return back_norm_mod(m, p->da, RL(X2), RL(M3), RL(R3), 3);
}

/* The context's share: keys and values of this block. */
static int back_text_kv(wan_net *m, int l)
{
    wan_net_priv *p = wan_net_p(m);
    const wan_net_block *b = &p->block[l];
    int64_t R = p->txt.pack.S;
    WAN_TRY(back_rms(m, p->dck, &b->cnk, C(CK0), RL(RCK), NULL, R));
    WAN_TRY(back_both(m, &b->ck, p->dctx, p->dck, p->ctx, R, 1));
    return back_both(m, &b->cv, p->dctx, p->dcv, p->ctx, R, 1);
}

static int back_cross_attention(wan_net *m, int l)
{
    wan_net_priv *p = wan_net_p(m);
    const wan_net_block *b = &p->block[l];
    int64_t S = tokens(m), D = wan_net_width(&m->c);
    wan_net_kv kv = wan_net_own_kv(m, l);
    wan_attn a = wan_net_attn_cross(m, &kv);
    WAN_TRY(m->d->ops->cast(m->d, p->dy, p->dx, S * D));
    WAN_TRY(back_both(m, &b->co, p->da, p->dy, C(CO), S, 0));
    WAN_TRY(m->d->ops->attention_backward(m->d, &a, p->dq, p->dck, p->dcv, p->da, C(CO), RL(CLSE),
                                          C(CQ), kv.k, kv.v));
    WAN_TRY(back_text_kv(m, l));
    WAN_TRY(back_rms(m, p->dq, &b->cnq, C(CQ0), RL(RCQ), NULL, S));
    WAN_TRY(back_both(m, &b->cq, p->da, p->dq, C(U2), S, 0));
    return m->d->ops->ln_affine_backward(m->d, p->dx.p, b->lnw.g, b->lnb.g, p->da, RL(X1), RL(M2),
                                         RL(R2), b->lnw.p, S, D);
}

static int back_self_attention(wan_net *m, int l)
{
    wan_net_priv *p = wan_net_p(m);
    const wan_net_block *b = &p->block[l];
    int64_t S = tokens(m);
    wan_attn a = wan_net_attn_self(m);
    WAN_TRY(back_residual(m, C(Y1), 2));
    WAN_TRY(back_both(m, &b->o, p->da, p->dy, C(O), S, 0));
    WAN_TRY(m->d->ops->attention_backward(m->d, &a, p->dq, p->dk, p->dv, p->da, C(O), RL(LSE), C(Q),
                                          C(K), C(V)));
    WAN_TRY(back_rms(m, p->dq, &b->nq, C(Q0), RL(RQ), p->rope, S));
    WAN_TRY(back_rms(m, p->dk, &b->nk, C(K0), RL(RK), p->rope, S));
    WAN_TRY(back_both(m, &b->q, p->du, p->dq, C(U1), S, 0));
    WAN_TRY(back_both(m, &b->k, p->du, p->dk, C(U1), S, 1));
    WAN_TRY(back_both(m, &b->v, p->du, p->dv, C(U1), S, 1));
    return back_norm_mod(m, p->du, RL(XIN), RL(M1), RL(R1), 0);
}

/* Brings back what the block's backward reads and the forward did not keep. */
static int restore(wan_net *m, int l)
{
    switch (wan_net_p(m)->cap.recompute) {
    case WAN_RECOMPUTE_FULL: return wan_net_block_forward(m, l, NULL, NULL);
    case WAN_RECOMPUTE_SELECTIVE: WAN_TRY(wan_net_block_mod(m, l)); return wan_net_block_redo(m, l);
    default: return wan_net_block_mod(m, l);
    }
}

static int back_block(wan_net *m, int l)
{
    wan_net_priv *p = wan_net_p(m);
    int64_t n = p->tok.pack.n, D = wan_net_width(&m->c);
    WAN_TRY(restore(m, l));
    WAN_TRY(m->d->ops->fill(m->d, p->dmod, 0, n * 6 * D));
    WAN_TRY(back_feed_forward(m, l));
    WAN_TRY(back_cross_attention(m, l));
    WAN_TRY(back_self_attention(m, l));
    return m->d->ops->modulation_backward(m->d, p->block[l].mod.g, p->de0.p, p->dmod.p, n, 6, D, 6);
}

static int back_head(wan_net *m, wan_buf dpred)
{
    wan_net_priv *p = wan_net_p(m);
    const wan_pack *k = &p->tok.pack;
    int64_t D = wan_net_width(&m->c);
    wan_real *dshift = p->dmodh.p;
    const wan_real *scale = (wan_real *)p->modh.p + D;
    WAN_TRY(m->d->ops->fill(m->d, p->dmodh, 0, k->n * 2 * D));
    WAN_TRY(back_both(m, &p->ends.head, p->du, dpred, p->zh, k->S, 0));
    WAN_TRY(m->d->ops->ln_mod_backward(m->d, p->dx.p, dshift + D, dshift, 2 * D, p->du,
                                       wan_net_slot_real(m, m->c.layers, WAN_NET_XIN), p->mh.p,
                                       p->rh.p, scale, 2 * D, k, D));
    return m->d->ops->modulation_backward(m->d, p->ends.mod.g, p->de.p, dshift, k->n, 2, D, 1);
}

/* e gets the head's share (already in p->de) and, through the projection, that of e0. */
static int back_time(wan_net *m)
{
    wan_net_priv *p = wan_net_p(m);
    const wan_ops *op = m->d->ops;
    int64_t n = p->tok.pack.n, D = wan_net_width(&m->c);
    WAN_TRY(back_both(m, &p->ends.proj, p->des, p->de0, p->es, n, 0));
    WAN_TRY(op->act_backward(m->d, p->des, p->des, p->e, n * D, WAN_ACT_SILU));
    WAN_TRY(op->axpy(m->d, p->de, 1, p->des, n * D));
    WAN_TRY(back_both(m, &p->ends.time2, p->des, p->de, p->th, n, 0));
    WAN_TRY(op->act_backward(m->d, p->des, p->des, p->tz, n * D, WAN_ACT_SILU));
    return back_w(m, &p->ends.time1, p->des, p->emb, n);
}

static int back_text(wan_net *m)
{
    wan_net_priv *p = wan_net_p(m);
    int64_t R = p->txt.pack.S, D = wan_net_width(&m->c);
    WAN_TRY(m->d->ops->cast(m->d, p->dctxc, p->dctx, R * D));
    WAN_TRY(back_both(m, &p->ends.text2, p->dck, p->dctxc, p->ch, R, 0));
    WAN_TRY(m->d->ops->act_backward(m->d, p->dck, p->dck, p->cz, R * D, WAN_ACT_GELU_TANH));
    return back_w(m, &p->ends.text1, p->dck, p->tx, R);
}

static int zero_sums(wan_net *m)
{
    wan_net_priv *p = wan_net_p(m);
    const wan_ops *op = m->d->ops;
    int64_t n = p->tok.pack.n, D = wan_net_width(&m->c);
    WAN_TRY(op->fill(m->d, p->dx, 0, tokens(m) * D));
    WAN_TRY(op->fill(m->d, p->dctx, 0, p->txt.pack.S * D));
    WAN_TRY(op->fill(m->d, p->de0, 0, n * 6 * D));
    return op->fill(m->d, p->de, 0, n * D);
}

int wan_net_backward(wan_net *m, const wan_net_input *in, wan_buf dpred, wan_net_on_grad *on_grad,
                     void *arg)
{
    wan_net_priv *p = wan_net_p(m);
    if (!(m->flags & WAN_NET_TRAIN))
        return wan_err("transformer: backward in a model that is not trained");
    if (!p->forward_done || in->n != p->tok.pack.n)
        return wan_err("transformer: backward without the forward of the same samples");
    WAN_TRY(zero_sums(m));
    WAN_TRY(back_head(m, dpred));
    for (int l = m->c.layers - 1; l >= 0; l--) {
        WAN_TRY(back_block(m, l));
        if (on_grad)
            WAN_TRY(on_grad(arg, l));
    }
    WAN_TRY(back_time(m));
    WAN_TRY(back_text(m));
    WAN_TRY(back_w(m, &p->ends.patch, p->dx, p->x_rows, tokens(m)));
    return on_grad ? on_grad(arg, -1) : 0;
}

int wan_net_input_grad(wan_net *m, wan_real *drows)
{
    wan_net_priv *p = wan_net_p(m);
    if (!p->forward_done || !p->dx.p)
        return wan_err("transformer: gradient of the input before backward");
    return back_x(m, &p->ends.patch, WAN_RBUF(drows), p->dx, tokens(m), 0);
}
