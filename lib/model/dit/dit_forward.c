/* SPDX-License-Identifier: Apache-2.0
 *
 * dit_forward.c - the DiT forward (wan-model(7), DiT forward), part by part, and pieces of a block
 * again for recompute.
 */
#include "lib/model/dit/dit_priv.h"

#define C(s) wan_dit_slot_buf(r->a, r->l, WAN_DIT_##s)
#define RL(s) wan_dit_slot_real(r->a, r->l, WAN_DIT_##s)

static const wan_buf nothing = WAN_BUF_NONE;

static int64_t tokens(const wan_dit_run *r)
{
    return r->a->tok.pack.S;
}

static int apply(const wan_dit_run *r, const wan_dense *w, wan_buf y, wan_buf x)
{
    return wan_dense_forward(r->d, w, y, x, tokens(r));
}

/* ---- part 0 */

/* cond [n, D]: the noise level's path, and in its first channels the frame rate's. */
static int conditioning(wan_dit_acts *a, const wan_dit_embed *w)
{
    wan_dev *d = a->base.d;
    int64_t n = a->tok.pack.n, D = a->z.D, Q = a->c.fps_dim;
    WAN_TRY(wan_dense_act(d, &w->time1, a->th, a->tz, a->emb, n, WAN_ACT_SILU));
    WAN_TRY(wan_dense_forward(d, &w->time2, a->cond, a->th, n));
    WAN_TRY(wan_dense_act(d, &w->fps1, a->fh, a->fz, a->femb, 1, WAN_ACT_SILU));
    WAN_TRY(wan_dense_forward(d, &w->fps2, a->f, a->fh, 1));
    for (int64_t i = 0; i < n; i++)
        WAN_TRY(d->ops->axpy(d, wan_buf_at(a->cond, i * D), 1, a->f, Q));
    return d->ops->act_forward(d, a->sc, a->cond, n * D, WAN_ACT_SILU);
}

static int embed(wan_dit_acts *a, const wan_store *s)
{
    wan_dev *d = a->base.d;
    int64_t S = a->tok.pack.S, D = a->z.D;
    wan_buf x = wan_dit_slot_buf(a, 0, WAN_DIT_XIN);
    wan_dit_embed w;
    wan_dit_bind_embed(&w, s);
    WAN_TRY(conditioning(a, &w));
    wan_buf every = a->base.slice.spread ? a->du : x;
    WAN_TRY(wan_dense_forward(d, &w.patch, every, a->x_rows, S));
    WAN_TRY(d->ops->gather_add(d, every.p, a->table, a->chunk.p, S * WAN_DIT_CHUNKS,
                               D / WAN_DIT_CHUNKS));
    return wan_seq_part(&a->base, x, every, S, D);
}

/* ---- a block */

wan_rms wan_dit_rms(const wan_dit_config *c, int64_t rows, int64_t heads)
{
    return wan_rms_of(rows * heads, c->head_dim, c->eps);
}

int wan_dit_text_kv(wan_dev *d, const wan_dit_config *c, const wan_dit_block *b, wan_buf k,
                    wan_buf v, wan_buf k0, wan_real *rstd, wan_buf text, int64_t R)
{
    wan_rms norm = wan_dit_rms(c, R, b->ck.N / c->head_dim);
    WAN_TRY(wan_dense_forward(d, &b->ck, k0, text, R));
    WAN_TRY(d->ops->rmsnorm_forward(d, &norm, k, rstd, k0, b->cnk.p));
    return wan_dense_forward(d, &b->cv, v, text, R);
}

wan_context_kv wan_dit_own_kv(const wan_dit_run *r)
{
    return (wan_context_kv){ &r->a->txt.pack, r->a->kbias.p, C(CK), C(CV) };
}

wan_attn wan_dit_attn_self(const wan_dit_run *r)
{
    const wan_dit_acts *a = r->a;
    int64_t A = a->z.A, hd = a->c.head_dim;
    return (wan_attn){
        &a->tok.pack, a->base.seen, (int)a->z.H, hd, 1 / sqrt((double)hd), A, A, A, A, NULL
    };
}

wan_attn wan_dit_attn_cross(const wan_dit_run *r, const wan_context_kv *kv)
{
    wan_attn a = wan_dit_attn_self(r);
    a.pk = kv->pack;
    a.kbias = kv->kbias;
    return a;
}

int wan_dit_block_mod(const wan_dit_run *r)
{
    wan_dit_acts *a = r->a;
    int64_t n = a->tok.pack.n;
    WAN_TRY(wan_dense_forward(r->d, &r->b.a1, a->ah, a->sc, n));
    return wan_dense_forward(r->d, &r->b.a2, a->mod, a->ah, n);
}

/* LayerNorm of the block's input, with shift and scale of self-attention. */
static int norm_input(const wan_dit_run *r)
{
    int64_t D = r->a->z.D;
    const wan_real *shift = (wan_real *)r->a->mod.p + WAN_DIT_SELF * D;
    const wan_acts *a = &r->a->base;
    WAN_TRY(r->op->ln_mod_forward(r->d, wan_seq_at(a, C(U1), tokens(r), D), RL(M1), RL(R1), RL(XIN),
                                  shift + D, shift, WAN_DIT_ROWS * D, r->a->stream, D,
                                  r->a->c.eps));
    return wan_seq_gather(a, C(U1), tokens(r), D);
}

static int norm_heads(const wan_dit_run *r, wan_buf y, wan_real *rstd, wan_buf x,
                      const wan_dense_vector *w, int64_t rows)
{
    wan_rms norm = wan_dit_rms(&r->a->c, rows, r->a->z.H);
    return r->op->rmsnorm_forward(r->d, &norm, y, rstd, x, w->p);
}

wan_resnorm wan_dit_seam(const wan_dit_run *r, int branch, int next)
{
    const wan_real *mod = r->a->mod.p;
    int64_t D = r->a->z.D;
    return (wan_resnorm){ .pack = r->a->stream,
                          .D = D,
                          .eps = r->a->c.eps,
                          .gate = mod + (branch + 2) * D,
                          .gain = mod + (next + 1) * D,
                          .shift = mod + next * D,
                          .stride = WAN_DIT_ROWS * D };
}

/* The stream behind self-attention, and what cross-attention reads of it. */
static int self_to_cross(const wan_dit_run *r)
{
    const wan_acts *a = &r->a->base;
    const wan_resnorm v = wan_dit_seam(r, WAN_DIT_SELF, WAN_DIT_CROSS);
    WAN_TRY(r->op->resnorm_forward(r->d, &v, RL(X1), wan_seq_at(a, C(U2), tokens(r), v.D), RL(M2),
                                   RL(R2), RL(XIN), C(Y1)));
    return wan_seq_gather(a, C(U2), tokens(r), v.D);
}

/* The stream behind cross-attention, and what the feed-forward reads of it. */
static int cross_to_hidden(const wan_dit_run *r)
{
    const wan_acts *a = &r->a->base;
    const wan_resnorm v = wan_dit_seam(r, WAN_DIT_CROSS, WAN_DIT_MLP);
    WAN_TRY(r->op->resnorm_forward(r->d, &v, RL(X2), wan_seq_at(a, C(U3), tokens(r), v.D), RL(M3),
                                   RL(R3), RL(X1), C(YC)));
    return wan_seq_gather(a, C(U3), tokens(r), v.D);
}

/* The block's output. */
static int output(const wan_dit_run *r, wan_real *out)
{
    int64_t D = r->a->z.D;
    const wan_real *gate = (wan_real *)r->a->mod.p + (WAN_DIT_MLP + 2) * D;
    return r->op->residual_forward(r->d, out, RL(X2), C(Y2), gate, WAN_DIT_ROWS * D, r->a->stream,
                                   D);
}

/* The product that brings a branch back to the residual stream. */
static int back_to_stream(const wan_dit_run *r, const wan_dense *w, wan_buf y, wan_buf x)
{
    return wan_seq_dense(&r->a->base, w, y, x, tokens(r), r->a->da);
}

static int self_attention(const wan_dit_run *r)
{
    const wan_dit_block *b = &r->b;
    wan_attn at = wan_dit_attn_self(r);
    WAN_TRY(norm_input(r));
    WAN_TRY(apply(r, &b->q, C(Q0), C(U1)));
    WAN_TRY(apply(r, &b->k, C(K0), C(U1)));
    WAN_TRY(apply(r, &b->v, C(V), C(U1)));
    WAN_TRY(norm_heads(r, C(Q), RL(RQ), C(Q0), &b->nq, tokens(r)));
    WAN_TRY(norm_heads(r, C(K), RL(RK), C(K0), &b->nk, tokens(r)));
    WAN_TRY(wan_heads_attend(&r->a->base, &at, C(O), RL(LSE), C(Q), C(K), C(V)));
    return back_to_stream(r, &b->o, C(Y1), C(O));
}

static int cross_attention(const wan_dit_run *r)
{
    wan_dit_acts *a = r->a;
    const wan_context *x = a->ctx;
    const wan_dit_block *b = &r->b;
    wan_context_kv kv = x ? wan_context_at(x, r->l) : wan_dit_own_kv(r);
    wan_attn at = wan_dit_attn_cross(r, &kv);
    WAN_TRY(self_to_cross(r));
    WAN_TRY(apply(r, &b->cq, C(CQ0), C(U2)));
    WAN_TRY(norm_heads(r, C(CQ), RL(RCQ), C(CQ0), &b->cnq, tokens(r)));
    if (!x)
        WAN_TRY(wan_dit_text_kv(r->d, &a->c, b, kv.k, kv.v, C(CK0), RL(RCK), a->tx, a->txt.pack.S));
    WAN_TRY(r->op->attention_forward(r->d, &at, C(CO), RL(CLSE), C(CQ), kv.k, kv.v));
    return back_to_stream(r, &b->co, C(YC), C(CO));
}

static int feed_forward(const wan_dit_run *r)
{
    WAN_TRY(cross_to_hidden(r));
    wan_buf pre = r->a->base.train ? C(Z) : nothing;
    WAN_TRY(wan_dense_act(r->d, &r->b.f1, C(HID), pre, C(U3), tokens(r), WAN_ACT_GELU_ERF));
    return back_to_stream(r, &r->b.f2, C(Y2), C(HID));
}

int wan_dit_block_forward(const wan_dit_run *r, wan_real *x_out)
{
    WAN_TRY(wan_dit_block_mod(r));
    WAN_TRY(self_attention(r));
    WAN_TRY(cross_attention(r));
    WAN_TRY(feed_forward(r));
    return x_out ? output(r, x_out) : 0;
}

int wan_dit_block_redo(const wan_dit_run *r)
{
    const wan_dit_block *b = &r->b;
    const int64_t S = tokens(r);
    const int spared = r->a->base.cap.spared;
    if (!(spared & WAN_REDO_NORMS)) {
        WAN_TRY(norm_input(r));
        WAN_TRY(self_to_cross(r));
        WAN_TRY(cross_to_hidden(r));
    }
    if (!(spared & WAN_REDO_QK)) {
        WAN_TRY(norm_heads(r, C(Q), RL(RQ), C(Q0), &b->nq, S));
        WAN_TRY(norm_heads(r, C(K), RL(RK), C(K0), &b->nk, S));
        WAN_TRY(norm_heads(r, C(CQ), RL(RCQ), C(CQ0), &b->cnq, S));
        WAN_TRY(norm_heads(r, C(CK), RL(RCK), C(CK0), &b->cnk, r->a->txt.pack.S));
    }
    if (spared & WAN_REDO_ACT)
        return 0;
    return r->op->act_forward(r->d, C(HID), C(Z), S * r->a->z.F, WAN_ACT_GELU_ERF);
}

int wan_dit_forward(wan_acts *base, wan_store *s, int part)
{
    wan_dit_acts *a = wan_dit_of(base);
    if (part == 0)
        return embed(a, s);
    wan_real *x = wan_dit_slot_real(a, part < a->c.layers ? part : a->c.layers, WAN_DIT_XIN);
    if (part == a->c.layers + 1) {
        wan_dense head;
        wan_dit_bind_head(&head, s);
        wan_buf every;
        WAN_TRY(wan_seq_whole(base, &every, WAN_RBUF(x), a->du, a->tok.pack.S, a->z.D));
        return wan_dense_forward(base->d, &head, WAN_RBUF(base->pred), every, a->tok.pack.S);
    }
    wan_dit_run r = { .a = a, .d = base->d, .op = base->d->ops, .l = part - 1 };
    wan_dit_bind_block(&r.b, s, r.l);
    return wan_dit_block_forward(&r, x);
}
