/* SPDX-License-Identifier: Apache-2.0
 *
 * net_forward.c - the WAN transformer forward (wan-model(7), Transformer), part by part, and
 * pieces of a block again for recompute.
 */
#include "lib/model/wan/net_priv.h"

#define C(s) wan_net_slot_buf(r->a, r->l, WAN_NET_##s)
#define RL(s) wan_net_slot_real(r->a, r->l, WAN_NET_##s)

static const wan_buf nothing = WAN_BUF_NONE;

static int64_t tokens(const wan_net_run *r)
{
    return r->a->tok.pack.S;
}

static int apply(const wan_net_run *r, const wan_dense *w, wan_buf y, wan_buf x)
{
    return wan_dense_forward(r->d, w, y, x, tokens(r));
}

/* The product that brings a branch back to the stream. */
static int apply_row(const wan_net_run *r, const wan_dense *w, wan_buf y, wan_buf x)
{
    return wan_seq_dense(&r->a->base, w, y, x, tokens(r), r->a->da);
}

/* Own rows of what is made of the stream for products, and of all rows then. */
static wan_buf own(const wan_net_run *r, wan_buf u)
{
    return wan_seq_at(&r->a->base, u, tokens(r), r->a->z.D);
}

static int all(const wan_net_run *r, wan_buf u)
{
    return wan_seq_gather(&r->a->base, u, tokens(r), r->a->z.D);
}

/* ---- part 0 */

/* e (for the head) and e0 (for the blocks) from the timesteps. */
static int time_path(wan_net_acts *a, const wan_net_embed *w)
{
    wan_dev *d = a->base.d;
    const wan_ops *op = d->ops;
    int64_t n = a->tok.pack.n;
    WAN_TRY(op->sinusoid(d, a->emb.p, a->t.p, n, a->c.freq_dim));
    WAN_TRY(wan_dense_act(d, &w->time1, a->th, a->tz, a->emb, n, WAN_ACT_SILU));
    WAN_TRY(wan_dense_forward(d, &w->time2, a->e, a->th, n));
    WAN_TRY(op->act_forward(d, a->es, a->e, n * a->z.D, WAN_ACT_SILU));
    return wan_dense_forward(d, &w->proj, a->e0, a->es, n);
}

int wan_net_text_mlp(wan_dev *d, const wan_net_embed *e, wan_buf ctx, wan_buf h, wan_buf z,
                     wan_buf x, int64_t R)
{
    WAN_TRY(wan_dense_act(d, &e->text1, h, z, x, R, WAN_ACT_GELU_TANH));
    return wan_dense_forward(d, &e->text2, ctx, h, R);
}

static int embed(wan_net_acts *a, const wan_store *s)
{
    wan_dev *d = a->base.d;
    wan_net_embed w;
    wan_net_bind_embed(&w, s);
    if (!a->ctx) {
        wan_buf z = a->base.train ? a->cz : nothing;
        WAN_TRY(wan_net_text_mlp(d, &w, a->ctx_rows, a->ch, z, a->tx, a->txt.pack.S));
    }
    WAN_TRY(time_path(a, &w));
    int64_t S = a->tok.pack.S;
    wan_buf x = wan_net_slot_buf(a, 0, WAN_NET_XIN), every = a->base.slice.spread ? a->du : x;
    WAN_TRY(wan_dense_forward(d, &w.patch, every, a->x_rows, S));
    return wan_seq_part(&a->base, x, every, S, a->z.D);
}

/* ---- a block */

int wan_net_text_kv(const wan_acts *a, const wan_net_block *b, wan_buf k, wan_buf v, wan_buf k0,
                    wan_real *rstd, wan_buf sums, wan_buf ctx, int64_t R)
{
    const wan_net_config *c = a->c;
    wan_rms rms = wan_rms_of(R, b->ck.N, c->eps);
    rms.width = wan_net_width(c);
    const wan_shared_norm norm = { .rms = &rms, k, k0, rstd, b->cnk };
    WAN_TRY(wan_dense_forward(a->d, &b->ck, k0, ctx, R));
    WAN_TRY(wan_shared_rms(a, &norm, 1, sums));
    return wan_dense_forward(a->d, &b->cv, v, ctx, R);
}

wan_context_kv wan_net_own_kv(const wan_net_run *r)
{
    return (wan_context_kv){ &r->a->txt.pack, r->a->kbias.p, C(CK), C(CV) };
}

wan_attn wan_net_attn_self(const wan_net_run *r)
{
    const wan_net_acts *a = r->a;
    int64_t A = a->z.A, hd = a->c.head_dim, ldv = wan_heads_ld(&r->b.qkv, &a->base);
    return (wan_attn){
        &a->tok.pack, a->base.seen, (int)a->z.H, hd, 1 / sqrt((double)hd), A, A, ldv, A, NULL
    };
}

wan_attn wan_net_attn_cross(const wan_net_run *r, const wan_context_kv *kv)
{
    wan_attn a = wan_net_attn_self(r);
    a.pk = kv->pack;
    a.ldv = r->a->z.A;
    a.kbias = kv->kbias;
    return a;
}

int wan_net_block_mod(const wan_net_run *r)
{
    wan_net_acts *a = r->a;
    return r->op->modulation_forward(r->d, a->mod.p, r->b.mod.p, a->e0.p, a->tok.pack.n, 6, a->z.D,
                                     6);
}

/* LayerNorm of the block's input, rows shift, scale = 0, 1 of its modulation. */
static int norm_input(const wan_net_run *r)
{
    int64_t D = r->a->z.D;
    const wan_real *shift = r->a->mod.p;
    WAN_TRY(r->op->ln_mod_forward(r->d, own(r, C(U1)), RL(M1), RL(R1), RL(XIN), shift + D, shift,
                                  6 * D, r->a->stream, D, r->a->c.eps));
    return all(r, C(U1));
}

wan_resnorm wan_net_seam(const wan_net_run *r, enum wan_net_seam seam)
{
    const wan_net_acts *a = r->a;
    const wan_real *mod = a->mod.p;
    int64_t D = a->z.D;
    wan_resnorm v = { .pack = a->stream, .D = D, .eps = a->c.eps, .stride = 6 * D };
    if (seam == WAN_NET_SELF_TO_CROSS) {
        v.gate = mod + 2 * D;
        v.gain = r->b.lnw.p;
        v.shift = r->b.lnb.p;
        v.affine = 1;
    } else {
        v.gain = mod + 4 * D;
        v.shift = mod + 3 * D;
    }
    return v;
}

/* The stream behind self-attention, and what cross-attention reads of it. */
static int self_to_cross(const wan_net_run *r)
{
    const wan_resnorm v = wan_net_seam(r, WAN_NET_SELF_TO_CROSS);
    WAN_TRY(
        r->op->resnorm_forward(r->d, &v, RL(X1), own(r, C(U2)), RL(M2), RL(R2), RL(XIN), C(Y1)));
    return all(r, C(U2));
}

/* The stream behind cross-attention, and what the feed-forward reads of it. */
static int cross_to_hidden(const wan_net_run *r)
{
    const wan_resnorm v = wan_net_seam(r, WAN_NET_CROSS_TO_HIDDEN);
    WAN_TRY(r->op->resnorm_forward(r->d, &v, RL(X2), own(r, C(U3)), RL(M3), RL(R3), RL(X1), C(YC)));
    return all(r, C(U3));
}

wan_rms wan_net_rms(const wan_net_acts *a, int64_t rows)
{
    wan_rms rms = wan_rms_of(rows, a->z.A, a->c.eps);
    rms.width = a->z.D;
    return rms;
}

wan_rms wan_net_rms_qk(const wan_net_run *r)
{
    wan_rms rms = wan_net_rms(r->a, tokens(r));
    rms.ldx = rms.lddx = wan_heads_ld(&r->b.qkv, &r->a->base);
    rms.rope = &r->a->rope;
    return rms;
}

wan_buf wan_net_heads(const wan_net_run *r, wan_buf m, int which)
{
    return wan_heads_of(&r->b.qkv, &r->a->base, m, which, tokens(r));
}

/* Queries and keys of self-attention. */
static int norm_qk(const wan_net_run *r)
{
    wan_net_acts *a = r->a;
    const wan_rms rms = wan_net_rms_qk(r);
    wan_buf q = wan_net_heads(r, C(QKV), WAN_HEADS_Q), k = wan_net_heads(r, C(QKV), WAN_HEADS_K);
    const wan_shared_norm v[2] = { { .rms = &rms, C(Q), q, RL(RQ), r->b.nq },
                                   { .rms = &rms, C(K), k, RL(RK), r->b.nk } };
    return wan_shared_rms(&a->base, v, 2, a->part);
}

/* The norm again, from the statistics that were kept. */
static int norm_again(const wan_net_run *r, const wan_rms *rms, wan_buf y, wan_real *rstd,
                      wan_buf x, const wan_dense_vector *w)
{
    return r->op->rms_apply(r->d, rms, y, rstd, NULL, x, w->p);
}

/* The block's output: gate row 5 of the modulation. */
static int output(const wan_net_run *r, wan_real *out)
{
    int64_t D = r->a->z.D;
    const wan_real *gate = (wan_real *)r->a->mod.p + 5 * D;
    return r->op->residual_forward(r->d, out, RL(X2), C(Y2), gate, 6 * D, r->a->stream, D);
}

static int self_attention(const wan_net_run *r)
{
    const wan_acts *a = &r->a->base;
    wan_attn at = wan_net_attn_self(r);
    WAN_TRY(norm_input(r));
    WAN_TRY(wan_heads_forward(&r->b.qkv, a, C(QKV), C(U1), tokens(r)));
    WAN_TRY(norm_qk(r));
    WAN_TRY(
        wan_heads_attend(a, &at, C(O), RL(LSE), C(Q), C(K), wan_net_heads(r, C(QKV), WAN_HEADS_V)));
    return apply_row(r, &r->b.o, C(Y1), C(O));
}

/* Keys and values of this block from the micro-batch's own text. */
static int text_kv(const wan_net_run *r)
{
    wan_net_acts *a = r->a;
    return wan_net_text_kv(&a->base, &r->b, C(CK), C(CV), C(CK0), RL(RCK), a->partr, a->ctx_rows,
                           a->txt.pack.S);
}

static int cross_attention(const wan_net_run *r)
{
    wan_net_acts *a = r->a;
    const wan_net_block *b = &r->b;
    wan_context_kv kv = a->ctx ? wan_context_at(a->ctx, r->l) : wan_net_own_kv(r);
    wan_attn at = wan_net_attn_cross(r, &kv);
    WAN_TRY(self_to_cross(r));
    WAN_TRY(apply(r, &b->cq, C(CQ0), C(U2)));
    const wan_rms rms = wan_net_rms(a, tokens(r));
    const wan_shared_norm v = { .rms = &rms, C(CQ), C(CQ0), RL(RCQ), b->cnq };
    WAN_TRY(wan_shared_rms(&a->base, &v, 1, a->part));
    if (!a->ctx)
        WAN_TRY(text_kv(r));
    WAN_TRY(r->op->attention_forward(r->d, &at, C(CO), RL(CLSE), C(CQ), kv.k, kv.v));
    return apply_row(r, &b->co, C(YC), C(CO));
}

static int feed_forward(const wan_net_run *r)
{
    WAN_TRY(cross_to_hidden(r));
    wan_buf pre = r->a->base.train ? C(Z) : nothing;
    WAN_TRY(wan_dense_act(r->d, &r->b.f1, C(HID), pre, C(U3), tokens(r), WAN_ACT_GELU_TANH));
    return apply_row(r, &r->b.f2, C(Y2), C(HID));
}

int wan_net_block_forward(const wan_net_run *r, wan_real *x_out)
{
    WAN_TRY(wan_net_block_mod(r));
    WAN_TRY(self_attention(r));
    WAN_TRY(cross_attention(r));
    WAN_TRY(feed_forward(r));
    return x_out ? output(r, x_out) : 0;
}

/* Queries and keys, of both attentions. */
static int norms_again(const wan_net_run *r)
{
    wan_net_acts *a = r->a;
    const wan_net_block *b = &r->b;
    const wan_rms qk = wan_net_rms_qk(r), cq = wan_net_rms(a, tokens(r)),
                  ck = wan_net_rms(a, a->txt.pack.S);
    WAN_TRY(norm_again(r, &qk, C(Q), RL(RQ), wan_net_heads(r, C(QKV), WAN_HEADS_Q), &b->nq));
    WAN_TRY(norm_again(r, &qk, C(K), RL(RK), wan_net_heads(r, C(QKV), WAN_HEADS_K), &b->nk));
    WAN_TRY(norm_again(r, &cq, C(CQ), RL(RCQ), C(CQ0), &b->cnq));
    return norm_again(r, &ck, C(CK), RL(RCK), C(CK0), &b->cnk);
}

int wan_net_block_redo(const wan_net_run *r)
{
    const int spared = r->a->base.cap.spared;
    if (!(spared & WAN_REDO_NORMS)) {
        WAN_TRY(norm_input(r));
        WAN_TRY(self_to_cross(r));
        WAN_TRY(cross_to_hidden(r));
    }
    if (!(spared & WAN_REDO_QK))
        WAN_TRY(norms_again(r));
    if (spared & WAN_REDO_ACT)
        return 0;
    return r->op->act_forward(r->d, C(HID), C(Z), tokens(r) * r->a->z.F, WAN_ACT_GELU_TANH);
}

/* ---- the head */

static int head(wan_net_acts *a, const wan_store *s)
{
    wan_dev *d = a->base.d;
    const wan_pack *k = &a->tok.pack;
    int64_t D = a->z.D;
    wan_net_head w;
    wan_real *shift = a->modh.p;
    wan_net_bind_head(&w, s);
    WAN_TRY(d->ops->modulation_forward(d, shift, w.mod.p, a->e.p, k->n, 2, D, 1));
    wan_buf x;
    WAN_TRY(
        wan_seq_whole(&a->base, &x, wan_net_slot_buf(a, a->c.layers, WAN_NET_XIN), a->du, k->S, D));
    WAN_TRY(d->ops->ln_mod_forward(d, a->zh, a->mh.p, a->rh.p, x.p, shift + D, shift, 2 * D, k, D,
                                   a->c.eps));
    return wan_dense_forward(d, &w.out, WAN_RBUF(a->base.pred), a->zh, k->S);
}

int wan_net_forward(wan_acts *base, wan_store *s, int part)
{
    wan_net_acts *a = wan_net_of(base);
    if (part == 0)
        return embed(a, s);
    if (part == a->c.layers + 1)
        return head(a, s);
    wan_net_run r = { .a = a, .d = base->d, .op = base->d->ops, .l = part - 1 };
    wan_net_bind_block(&r.b, s, r.l);
    return wan_net_block_forward(&r, wan_net_slot_real(a, part, WAN_NET_XIN));
}
