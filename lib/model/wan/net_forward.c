/* SPDX-License-Identifier: Apache-2.0
 *
 * net_forward.c - the transformer forward (wan-model(7), Transformer), and its parts again for
 * recompute.
 */
#include "lib/model/wan/net_priv.h"

#define C(s) wan_net_slot_buf(m, l, WAN_NET_##s)
#define RL(s) wan_net_slot_real(m, l, WAN_NET_##s)

static const wan_buf nothing = { NULL, WAN_REAL };

static int64_t tokens(const wan_net *m)
{
    return wan_net_p(m)->tok.pack.S;
}

int wan_net_apply(wan_net *m, const wan_net_linear *w, wan_buf y, wan_buf x, int64_t M)
{
    return m->d->ops->linear_forward(m->d, y, nothing, x, w->w, w->b, M, w->N, w->K, WAN_ACT_NONE);
}

/* y = act(w x + b), keeping what act was applied to in pre unless pre.p is NULL. */
static int apply_act(wan_net *m, const wan_net_linear *w, wan_buf y, wan_buf pre, wan_buf x,
                     int64_t M, enum wan_act act)
{
    return m->d->ops->linear_forward(m->d, y, pre, x, w->w, w->b, M, w->N, w->K, act);
}

/* e (for the head) and e0 (for the blocks) from the timesteps. */
static int time_path(wan_net *m, int64_t n)
{
    wan_net_priv *p = wan_net_p(m);
    const wan_ops *op = m->d->ops;
    WAN_TRY(op->sinusoid(m->d, p->emb.p, p->t.p, n, m->c.freq_dim));
    WAN_TRY(apply_act(m, &p->ends.time1, p->th, p->tz, p->emb, n, WAN_ACT_SILU));
    WAN_TRY(wan_net_apply(m, &p->ends.time2, p->e, p->th, n));
    WAN_TRY(op->act_forward(m->d, p->es, p->e, n * wan_net_width(&m->c), WAN_ACT_SILU));
    return wan_net_apply(m, &p->ends.proj, p->e0, p->es, n);
}

int wan_net_text_mlp(wan_net *m, wan_buf ctx, wan_buf h, wan_buf z, wan_buf x, int64_t R)
{
    wan_net_priv *p = wan_net_p(m);
    WAN_TRY(apply_act(m, &p->ends.text1, h, z, x, R, WAN_ACT_GELU_TANH));
    return wan_net_apply(m, &p->ends.text2, ctx, h, R);
}

int wan_net_text_kv(wan_net *m, int l, wan_buf k, wan_buf v, wan_buf k0, wan_real *rstd,
                    wan_buf ctx, int64_t R)
{
    const wan_net_block *b = &wan_net_p(m)->block[l];
    WAN_TRY(wan_net_apply(m, &b->ck, k0, ctx, R));
    WAN_TRY(m->d->ops->rmsnorm_forward(m->d, k, rstd, k0, b->cnk.p, NULL, R, wan_net_width(&m->c),
                                       m->c.head_dim, m->c.eps));
    return wan_net_apply(m, &b->cv, v, ctx, R);
}

wan_net_kv wan_net_own_kv(const wan_net *m, int l)
{
    const wan_net_priv *p = wan_net_p(m);
    return (wan_net_kv){ &p->txt.pack, p->kbias.p, C(CK), C(CV) };
}

wan_attn wan_net_attn_self(const wan_net *m)
{
    const wan_pack *k = &wan_net_p(m)->tok.pack;
    int64_t D = wan_net_width(&m->c);
    return (wan_attn){ k, k, m->c.heads, m->c.head_dim, 1 / sqrt((double)m->c.head_dim), D,
                       D, D, D,          NULL };
}

wan_attn wan_net_attn_cross(const wan_net *m, const wan_net_kv *kv)
{
    wan_attn a = wan_net_attn_self(m);
    a.pk = kv->pack;
    a.kbias = kv->kbias;
    return a;
}

int wan_net_block_mod(wan_net *m, int l)
{
    wan_net_priv *p = wan_net_p(m);
    return m->d->ops->modulation_forward(m->d, p->mod.p, p->block[l].mod.p, p->e0.p, p->tok.pack.n,
                                         6, wan_net_width(&m->c), 6);
}

/* LayerNorm with rows shift, scale = `row`, `row`+1 of the block's modulation. */
static int norm_mod(wan_net *m, wan_buf u, wan_real *mean, wan_real *rstd, const wan_real *x,
                    int row)
{
    wan_net_priv *p = wan_net_p(m);
    int64_t D = wan_net_width(&m->c);
    const wan_real *shift = (wan_real *)p->mod.p + row * D;
    return m->d->ops->ln_mod_forward(m->d, u, mean, rstd, x, shift + D, shift, 6 * D, &p->tok.pack,
                                     D, m->c.eps);
}

static int norm_affine(wan_net *m, int l)
{
    const wan_net_block *b = &wan_net_p(m)->block[l];
    return m->d->ops->ln_affine_forward(m->d, C(U2), RL(M2), RL(R2), RL(X1), b->lnw.p, b->lnb.p,
                                        tokens(m), wan_net_width(&m->c), m->c.eps);
}

static int norm_q(wan_net *m, wan_buf y, wan_real *rstd, wan_buf x, const wan_real *w, int rope)
{
    return m->d->ops->rmsnorm_forward(m->d, y, rstd, x, w, rope ? wan_net_p(m)->rope : NULL,
                                      tokens(m), wan_net_width(&m->c), m->c.head_dim, m->c.eps);
}

/* out = x + y * gate, gate row `row` of the modulation; row < 0: no gate. */
static int residual(wan_net *m, wan_real *out, const wan_real *x, wan_buf y, int row)
{
    wan_net_priv *p = wan_net_p(m);
    int64_t D = wan_net_width(&m->c);
    const wan_real *gate = row < 0 ? NULL : (wan_real *)p->mod.p + row * D;
    return m->d->ops->residual_forward(m->d, out, x, y, gate, 6 * D, &p->tok.pack, D);
}

static int self_attention(wan_net *m, int l)
{
    const wan_net_block *b = &wan_net_p(m)->block[l];
    int64_t S = tokens(m);
    wan_attn a = wan_net_attn_self(m);
    WAN_TRY(norm_mod(m, C(U1), RL(M1), RL(R1), RL(XIN), 0));
    WAN_TRY(wan_net_apply(m, &b->q, C(Q0), C(U1), S));
    WAN_TRY(wan_net_apply(m, &b->k, C(K0), C(U1), S));
    WAN_TRY(wan_net_apply(m, &b->v, C(V), C(U1), S));
    WAN_TRY(norm_q(m, C(Q), RL(RQ), C(Q0), b->nq.p, 1));
    WAN_TRY(norm_q(m, C(K), RL(RK), C(K0), b->nk.p, 1));
    WAN_TRY(m->d->ops->attention_forward(m->d, &a, C(O), RL(LSE), C(Q), C(K), C(V)));
    WAN_TRY(wan_net_apply(m, &b->o, C(Y1), C(O), S));
    return residual(m, RL(X1), RL(XIN), C(Y1), 2);
}

static int cross_attention(wan_net *m, int l, const wan_net_kv *cached)
{
    wan_net_priv *p = wan_net_p(m);
    const wan_net_block *b = &p->block[l];
    int64_t S = tokens(m);
    wan_net_kv own = wan_net_own_kv(m, l);
    const wan_net_kv *kv = cached ? cached : &own;
    wan_attn a = wan_net_attn_cross(m, kv);
    WAN_TRY(norm_affine(m, l));
    WAN_TRY(wan_net_apply(m, &b->cq, C(CQ0), C(U2), S));
    WAN_TRY(norm_q(m, C(CQ), RL(RCQ), C(CQ0), b->cnq.p, 0));
    if (!cached)
        WAN_TRY(wan_net_text_kv(m, l, C(CK), C(CV), C(CK0), RL(RCK), p->ctx, p->txt.pack.S));
    WAN_TRY(m->d->ops->attention_forward(m->d, &a, C(CO), RL(CLSE), C(CQ), kv->k, kv->v));
    WAN_TRY(wan_net_apply(m, &b->co, C(YC), C(CO), S));
    return residual(m, RL(X2), RL(X1), C(YC), -1);
}

static int feed_forward(wan_net *m, int l)
{
    const wan_net_block *b = &wan_net_p(m)->block[l];
    WAN_TRY(norm_mod(m, C(U3), RL(M3), RL(R3), RL(X2), 3));
    wan_buf pre = m->flags & WAN_NET_TRAIN ? C(Z) : nothing;
    WAN_TRY(apply_act(m, &b->f1, C(HID), pre, C(U3), tokens(m), WAN_ACT_GELU_TANH));
    return wan_net_apply(m, &b->f2, C(Y2), C(HID), tokens(m));
}

int wan_net_block_forward(wan_net *m, int l, wan_real *x_out, const wan_net_kv *kv)
{
    WAN_TRY(wan_net_block_mod(m, l));
    WAN_TRY(self_attention(m, l));
    WAN_TRY(cross_attention(m, l, kv));
    WAN_TRY(feed_forward(m, l));
    return x_out ? residual(m, x_out, RL(X2), C(Y2), 5) : 0;
}

int wan_net_block_redo(wan_net *m, int l)
{
    wan_net_priv *p = wan_net_p(m);
    const wan_net_block *b = &p->block[l];
    int64_t S = tokens(m), R = p->txt.pack.S, D = wan_net_width(&m->c);
    WAN_TRY(norm_mod(m, C(U1), RL(M1), RL(R1), RL(XIN), 0));
    WAN_TRY(norm_q(m, C(Q), RL(RQ), C(Q0), b->nq.p, 1));
    WAN_TRY(norm_q(m, C(K), RL(RK), C(K0), b->nk.p, 1));
    WAN_TRY(residual(m, RL(X1), RL(XIN), C(Y1), 2));
    WAN_TRY(norm_affine(m, l));
    WAN_TRY(norm_q(m, C(CQ), RL(RCQ), C(CQ0), b->cnq.p, 0));
    WAN_TRY(m->d->ops->rmsnorm_forward(m->d, C(CK), RL(RCK), C(CK0), b->cnk.p, NULL, R, D,
                                       m->c.head_dim, m->c.eps));
    WAN_TRY(norm_mod(m, C(U3), RL(M3), RL(R3), RL(X2), 3));
    return m->d->ops->act_forward(m->d, C(HID), C(Z), S * m->c.ffn, WAN_ACT_GELU_TANH);
}

static int patches(wan_net *m, const wan_net_input *in)
{
    wan_net_priv *p = wan_net_p(m);
    const wan_net_linear *w = &p->ends.patch;
    p->x_rows = in->rows;
    if (in->rows.t != m->compute) {
        WAN_TRY(m->d->ops->cast(m->d, p->rows, in->rows, tokens(m) * w->K));
        p->x_rows = p->rows;
    }
    return wan_net_apply(m, w, wan_net_slot_buf(m, 0, WAN_NET_XIN), p->x_rows, tokens(m));
}

static int head(wan_net *m, wan_real *pred)
{
    wan_net_priv *p = wan_net_p(m);
    const wan_pack *k = &p->tok.pack;
    int64_t D = wan_net_width(&m->c);
    wan_real *shift = p->modh.p;
    WAN_TRY(m->d->ops->modulation_forward(m->d, shift, p->ends.mod.p, p->e.p, k->n, 2, D, 1));
    WAN_TRY(m->d->ops->ln_mod_forward(m->d, p->zh, p->mh.p, p->rh.p,
                                      wan_net_slot_real(m, m->c.layers, WAN_NET_XIN), shift + D,
                                      shift, 2 * D, k, D, m->c.eps));
    return wan_net_apply(m, &p->ends.head, WAN_RBUF(pred), p->zh, k->S);
}

/* Blocks and head; ctx NULL: the text of this input. */
static int run(wan_net *m, const wan_net_input *in, const wan_net_context *ctx, wan_real *pred)
{
    WAN_TRY(time_path(m, in->n));
    WAN_TRY(patches(m, in));
    for (int l = 0; l < m->c.layers; l++) {
        wan_net_kv kv;
        if (ctx)
            kv = wan_net_context_kv(ctx, l);
        wan_real *x_out = wan_net_slot_real(m, l + 1, WAN_NET_XIN);
        WAN_TRY(wan_net_block_forward(m, l, x_out, ctx ? &kv : NULL));
    }
    return head(m, pred);
}

int wan_net_forward(wan_net *m, const wan_net_input *in, wan_real *pred)
{
    wan_net_priv *p = wan_net_p(m);
    WAN_TRY(wan_net_prepare(m, in, 0));
    wan_buf z = m->flags & WAN_NET_TRAIN ? p->cz : nothing;
    WAN_TRY(wan_net_text_mlp(m, p->ctx, p->ch, z, p->tx, p->txt.pack.S));
    WAN_TRY(run(m, in, NULL, pred));
    p->forward_done = 1;
    return 0;
}

int wan_net_forward_cached(wan_net *m, const wan_net_input *in, const wan_net_context *ctx,
                           wan_real *pred)
{
    if (ctx->pack.pack.n != in->n)
        return wan_err("transformer: %d samples with the text of %d", in->n, ctx->pack.pack.n);
    WAN_TRY(wan_net_prepare(m, in, 1));
    return run(m, in, ctx, pred);
}
