/* SPDX-License-Identifier: Apache-2.0
 *
 * dit_backward.c - gradients of the DiT (wan-model(7), DiT forward), part by part from the end.
 *
 * a->dx is the gradient of the residual stream; every branch adds to it.  a->dmod collects the
 * gradient of the block's modulation rows, a->dsc that of silu(cond) over all blocks.
 */
#include "lib/model/dit/dit_priv.h"

#define C(s) wan_dit_slot_buf(r->a, r->l, WAN_DIT_##s)
#define RL(s) wan_dit_slot_real(r->a, r->l, WAN_DIT_##s)

static int64_t tokens(const wan_dit_run *r)
{
    return r->a->tok.pack.S;
}

static wan_buf own(const wan_dit_run *r, wan_buf x)
{
    return wan_seq_at(&r->a->base, x, tokens(r), r->a->z.D);
}

/* LayerNorm of the block's input; a->du is the gradient of the rows that products divided over ranks read. */
static int back_input(const wan_dit_run *r)
{
    wan_dit_acts *a = r->a;
    int64_t D = a->z.D, all = WAN_DIT_ROWS * D;
    wan_real *dshift = (wan_real *)a->dmod.p + WAN_DIT_SELF * D;
    const wan_real *scale = (wan_real *)a->mod.p + (WAN_DIT_SELF + 1) * D;
    WAN_TRY(wan_seq_scatter(&a->base, a->du, tokens(r), D));
    return r->op->ln_mod_backward(r->d, own(r, a->dx).p, dshift + D, dshift, all, own(r, a->du),
                                  RL(XIN), RL(M1), RL(R1), scale, all, a->stream, D);
}

/* The block's output, a gated sum: a->dy from a->dx, and the gradient of the gate. */
static int back_output(const wan_dit_run *r)
{
    wan_dit_acts *a = r->a;
    int64_t D = a->z.D, all = WAN_DIT_ROWS * D, at = (WAN_DIT_MLP + 2) * D;
    WAN_TRY(r->op->residual_backward(r->d, own(r, a->dy), (wan_real *)a->dmod.p + at, all,
                                     own(r, a->dx).p, C(Y2), (wan_real *)a->mod.p + at, all,
                                     a->stream, D));
    return wan_seq_gather(&a->base, a->dy, tokens(r), D);
}

/* Between two branches: a->du, the gradient of what the later one read, goes to a->dx, and a->dy to the
 * earlier. */
static int back_seam(const wan_dit_run *r, int branch, int next, const wan_real *x,
                     const wan_real *mean, const wan_real *rstd, wan_buf y)
{
    wan_dit_acts *a = r->a;
    int64_t D = a->z.D;
    wan_real *dmod = a->dmod.p;
    const wan_resnorm v = wan_dit_seam(r, branch, next);
    const wan_resnorm_grad g = { dmod + (branch + 2) * D, dmod + (next + 1) * D, dmod + next * D,
                                 WAN_DIT_ROWS * D };
    WAN_TRY(wan_seq_scatter(&a->base, a->du, tokens(r), D));
    WAN_TRY(r->op->resnorm_backward(r->d, &v, &g, own(r, a->dx).p, own(r, a->dy), own(r, a->du), x,
                                    mean, rstd, y));
    return wan_seq_gather(&a->base, a->dy, tokens(r), D);
}

/* Behind the gradients of the modulation: those of the norms of heads from this rank's heads, where each
 * rank has some. */
static wan_real *vectors(const wan_dit_acts *a)
{
    return (wan_real *)a->dmod.p + a->tok.pack.n * WAN_DIT_ROWS * a->z.D;
}

enum { NQ, NK, CNQ, CNK, NORMS };
static const wan_dense_vector *norm_of(const wan_dit_run *r, int which)
{
    const wan_dense_vector *const w[] = { &r->b.nq, &r->b.nk, &r->b.cnq, &r->b.cnk };
    return w[which];
}

/* RMSNorm of heads in place on g: gradient of the normalised rows becomes that of the projection. */
static int back_heads(const wan_dit_run *r, wan_buf g, int which, wan_buf x, const wan_real *rstd,
                      int64_t rows)
{
    wan_rms norm = wan_dit_rms(&r->a->c, rows, r->a->z.H);
    const wan_dense_vector *w = norm_of(r, which);
    wan_real *dw = r->a->base.wing.sum ? vectors(r->a) + which * r->a->c.head_dim : w->g;
    return r->op->rmsnorm_backward(r->d, &norm, g, dw, g, x, rstd, w->p);
}

static int back_feed_forward(const wan_dit_run *r)
{
    wan_dit_acts *a = r->a;
    const wan_dit_block *b = &r->b;
    int64_t S = tokens(r);
    WAN_TRY(back_output(r));
    WAN_TRY(wan_dense_backward_two(r->d, &b->f1, &b->f2, a->du, a->dhid, a->dy, C(U3), C(Z), C(HID),
                                   S, WAN_ACT_GELU_ERF));
    return back_seam(r, WAN_DIT_CROSS, WAN_DIT_MLP, RL(X2), RL(M3), RL(R3), C(YC));
}

static int back_cross_attention(const wan_dit_run *r)
{
    wan_dit_acts *a = r->a;
    const wan_dit_block *b = &r->b;
    int64_t S = tokens(r), R = a->txt.pack.S;
    wan_context_kv kv = wan_dit_own_kv(r);
    wan_attn at = wan_dit_attn_cross(r, &kv);
    WAN_TRY(wan_dense_backward(r->d, &b->co, a->da, a->dy, C(CO), S, 0));
    WAN_TRY(r->op->attention_backward(r->d, &at, a->dq, a->dck, a->dcv, a->da, C(CO), RL(CLSE),
                                      C(CQ), kv.k, kv.v));
    WAN_TRY(back_heads(r, a->dck, CNK, C(CK0), RL(RCK), R));
    WAN_TRY(wan_dense_wgrad(r->d, &b->ck, a->dck, a->tx, R));
    WAN_TRY(wan_dense_wgrad(r->d, &b->cv, a->dcv, a->tx, R));
    WAN_TRY(back_heads(r, a->dq, CNQ, C(CQ0), RL(RCQ), S));
    WAN_TRY(wan_dense_backward(r->d, &b->cq, a->du, a->dq, C(U2), S, 0));
    return back_seam(r, WAN_DIT_SELF, WAN_DIT_CROSS, RL(X1), RL(M2), RL(R2), C(Y1));
}

static int back_self_attention(const wan_dit_run *r)
{
    wan_dit_acts *a = r->a;
    const wan_dit_block *b = &r->b;
    int64_t S = tokens(r);
    wan_attn at = wan_dit_attn_self(r);
    WAN_TRY(wan_dense_backward(r->d, &b->o, a->da, a->dy, C(O), S, 0));
    WAN_TRY(wan_heads_attend_back(&a->base, &at, a->dq, a->dk, a->dv, a->da, C(O), RL(LSE), C(Q),
                                  C(K), C(V)));
    WAN_TRY(back_heads(r, a->dq, NQ, C(Q0), RL(RQ), S));
    WAN_TRY(back_heads(r, a->dk, NK, C(K0), RL(RK), S));
    WAN_TRY(wan_dense_backward(r->d, &b->q, a->du, a->dq, C(U1), S, 0));
    WAN_TRY(wan_dense_backward(r->d, &b->k, a->du, a->dk, C(U1), S, 1));
    WAN_TRY(wan_dense_backward(r->d, &b->v, a->du, a->dv, C(U1), S, 1));
    return back_input(r);
}

/* Brings back what the block's backward reads and the forward did not keep. */
static int restore(const wan_dit_run *r)
{
    enum wan_recompute mode = wan_capacity_redo(&r->a->base.cap, r->a->base.slice.first, r->l);
    if (mode == WAN_RECOMPUTE_FULL)
        return wan_dit_block_forward(r, NULL);
    WAN_TRY(wan_dit_block_mod(r));
    return mode == WAN_RECOMPUTE_SELECTIVE ? wan_dit_block_redo(r) : 0;
}

/* What own heads and own rows gave becomes what all gave, once for the whole block. */
static int join(const wan_dit_run *r)
{
    wan_dit_acts *a = r->a;
    int64_t hd = a->c.head_dim, all = a->tok.pack.n * WAN_DIT_ROWS * a->z.D;
    const wan_buf v = WAN_RBUF(vectors(a));
    if (!a->base.wing.sum)
        return 0;
    WAN_TRY(a->base.slice.spread ? wan_shared_sum(&a->base, a->dmod, all + NORMS * hd)
                                 : wan_shared_sum(&a->base, v, NORMS * hd));
    for (int i = 0; i < NORMS; i++)
        WAN_TRY(r->op->axpy(r->d, WAN_RBUF(norm_of(r, i)->g), 1, wan_buf_at(v, i * hd), hd));
    return 0;
}

/* From the modulation rows to silu(cond). */
static int back_mod(const wan_dit_run *r)
{
    wan_dit_acts *a = r->a;
    int64_t n = a->tok.pack.n;
    WAN_TRY(wan_dense_backward(r->d, &r->b.a2, a->dah, a->dmod, a->ah, n, 0));
    return wan_dense_backward(r->d, &r->b.a1, a->dsc, a->dah, a->sc, n, 1);
}

static int back_block(const wan_dit_run *r)
{
    wan_dit_acts *a = r->a;
    WAN_TRY(restore(r));
    WAN_TRY(r->op->fill(r->d, a->dmod, 0, (a->tok.pack.n + 1) * WAN_DIT_ROWS * a->z.D));
    WAN_TRY(back_feed_forward(r));
    WAN_TRY(back_cross_attention(r));
    WAN_TRY(back_self_attention(r));
    WAN_TRY(join(r));
    return back_mod(r);
}

static int back_head(wan_dit_acts *a, const wan_store *s)
{
    wan_buf x = wan_dit_slot_buf(a, a->c.layers, WAN_DIT_XIN);
    wan_dense head;
    wan_dit_bind_head(&head, s);
    WAN_TRY(wan_seq_whole(&a->base, &x, x, a->du, a->tok.pack.S, a->z.D));
    return wan_dense_backward(a->base.d, &head, a->dx, a->base.dpred, x, a->tok.pack.S, 1);
}

/* The frame rate is the same for all samples: its gradient is the sum of theirs. */
static int back_fps(wan_dit_acts *a, const wan_dit_embed *w)
{
    wan_dev *d = a->base.d;
    int64_t n = a->tok.pack.n, D = a->z.D, Q = a->c.fps_dim;
    WAN_TRY(d->ops->fill(d, a->df, 0, Q));
    for (int64_t i = 0; i < n; i++)
        WAN_TRY(d->ops->axpy(d, a->df, 1, wan_buf_at(a->dsc, i * D), Q));
    WAN_TRY(wan_dense_backward_act(d, &w->fps2, a->f, a->df, a->fh, a->fz, 1, WAN_ACT_SILU));
    return wan_dense_wgrad(d, &w->fps1, a->f, a->femb, 1);
}

static int back_embed(wan_dit_acts *a, const wan_store *s)
{
    wan_dev *d = a->base.d;
    int64_t n = a->tok.pack.n, D = a->z.D;
    wan_dit_embed w;
    wan_dit_bind_embed(&w, s);
    WAN_TRY(d->ops->act_backward(d, a->dsc, a->dsc, a->cond, n * D, WAN_ACT_SILU));
    WAN_TRY(back_fps(a, &w));
    WAN_TRY(wan_dense_backward_act(d, &w.time2, a->dth, a->dsc, a->th, a->tz, n, WAN_ACT_SILU));
    WAN_TRY(wan_dense_wgrad(d, &w.time1, a->dth, a->emb, n));
    WAN_TRY(wan_seq_gather(&a->base, a->dx, a->tok.pack.S, D));
    return wan_dense_wgrad(d, &w.patch, a->dx, a->x_rows, a->tok.pack.S);
}

int wan_dit_backward_begin(wan_acts *base)
{
    wan_dit_acts *a = wan_dit_of(base);
    wan_dev *d = base->d;
    if (a->ctx)
        return wan_err("DiT: a backward with text that was computed elsewhere");
    WAN_TRY(d->ops->fill(d, a->dx, 0, a->tok.pack.S * a->z.D));
    return d->ops->fill(d, a->dsc, 0, a->tok.pack.n * a->z.D);
}

int wan_dit_backward(wan_acts *base, wan_store *s, int part)
{
    wan_dit_acts *a = wan_dit_of(base);
    if (part == 0)
        return back_embed(a, s);
    if (part == a->c.layers + 1)
        return back_head(a, s);
    wan_dit_run r = { .a = a, .d = base->d, .op = base->d->ops, .l = part - 1 };
    wan_dit_bind_block(&r.b, s, r.l);
    return back_block(&r);
}

int wan_dit_input_grad(wan_acts *base, wan_store *s, wan_real *drows)
{
    wan_dit_acts *a = wan_dit_of(base);
    wan_dit_embed w;
    if (!base->done || !a->dx.p)
        return wan_err("DiT: gradient of the input before backward");
    wan_dit_bind_embed(&w, s);
    return wan_dense_dgrad(base->d, &w.patch, WAN_RBUF(drows), a->dx, a->tok.pack.S, 0);
}
