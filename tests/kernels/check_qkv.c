/* SPDX-License-Identifier: Apache-2.0
 * One product for q, k and v, whose weights lie one after the other: forward and backward against
 * the reference with three.  q0, k0 and v are columns of one [S, 3D] matrix, and so are the gradients
 * of the projections; only the row strides of the ops are used, nothing is copied. */
#include "tests/kernels/compare.h"

static const double bound_f32 = 3e-5, bound_bf16 = 8e-3;

typedef struct shape {
    int64_t len[2], K;
    int H, hd;
} shape;

/* fused 0: q, k and v each in a matrix of its own; 1: all in qkv and dqkv */
typedef struct data {
    vec *x, *w, *b, *nq, *nk, *dout;      /* in: [S, K], [3D, K], [3D], [D] twice, [S, D] */
    vec *qkv, *q, *k, *o, *lse, *rq, *rk; /* forward */
    vec *dq, *dk, *dqkv, *dx, *dw, *db, *dnq, *dnk;
} data;

static data make(int64_t S, int64_t D, int64_t K, int H, wan_dtype t)
{
    size_t n = (size_t)(S * D), s = (size_t)S, d = (size_t)D, k = (size_t)K;
    return (data){ .x = vec_new(t, s * k, 0, 1),
                   .w = vec_new(t, 3 * d * k, 0, 1 / sqrt((double)K)),
                   .b = vec_new(WAN_REAL, 3 * d, 0, 0.5),
                   .nq = vec_new(WAN_REAL, d, 1, 0.3),
                   .nk = vec_new(WAN_REAL, d, 1, 0.3),
                   .dout = vec_new(t, n, 0, 1),
                   .qkv = vec_new(t, 3 * n, 7, 1),
                   .q = vec_new(t, n, 7, 1),
                   .k = vec_new(t, n, 7, 1),
                   .o = vec_new(t, n, 7, 1),
                   .lse = vec_new(WAN_REAL, s * (size_t)H, 7, 1),
                   .rq = vec_new(WAN_REAL, s, 7, 1),
                   .rk = vec_new(WAN_REAL, s, 7, 1),
                   .dq = vec_new(t, n, 7, 1),
                   .dk = vec_new(t, n, 7, 1),
                   .dqkv = vec_new(t, 3 * n, 7, 1),
                   .dx = vec_new(WAN_REAL, s * k, 7, 1),
                   .dw = vec_new(WAN_REAL, 3 * d * k, 0, 1),
                   .db = vec_new(WAN_REAL, 3 * d, 0, 1),
                   .dnq = vec_new(WAN_REAL, d, 0, 1),
                   .dnk = vec_new(WAN_REAL, d, 0, 1) };
}

/* Column block c of the projections on device i, and its row stride. */
static wan_buf block(const vec *v, int i, int c, int64_t S, int64_t D, int fused)
{
    return wan_buf_at(v->b[i], c * (fused ? D : S * D));
}

static void forward(const data *a, int i, const wan_pack *p, const shape *s, int fused)
{
    wan_dev *d = cmp_dev[i];
    const wan_ops *o = d->ops;
    int64_t S = p->S, D = s->H * s->hd, K = s->K, ld = fused ? 3 * D : D;
    wan_rms rms = wan_rms_of(S, D, 1e-6);
    wan_attn at = { p, p, s->H, s->hd, 1 / sqrt((double)s->hd), D, D, ld, D, NULL };
    wan_buf none = WAN_BUF_NONE;
    rms.ldx = ld;
    for (int c = 0; c < (fused ? 1 : 3); c++)
        cmp_must(o->linear_forward(d, block(a->qkv, i, c, S, D, fused), none, a->x->b[i],
                                   wan_buf_at(a->w->b[i], c * D * K), vec_p(a->b, i) + c * D, S, ld,
                                   K, WAN_ACT_NONE));
    cmp_must(o->rmsnorm_forward(d, &rms, a->q->b[i], vec_p(a->rq, i),
                                block(a->qkv, i, 0, S, D, fused), vec_p(a->nq, i)));
    cmp_must(o->rmsnorm_forward(d, &rms, a->k->b[i], vec_p(a->rk, i),
                                block(a->qkv, i, 1, S, D, fused), vec_p(a->nk, i)));
    cmp_must(o->attention_forward(d, &at, a->o->b[i], vec_p(a->lse, i), a->q->b[i], a->k->b[i],
                                  block(a->qkv, i, 2, S, D, fused)));
}

static void backward(const data *a, int i, const wan_pack *p, const shape *s, int fused)
{
    wan_dev *d = cmp_dev[i];
    const wan_ops *o = d->ops;
    int64_t S = p->S, D = s->H * s->hd, K = s->K, ld = fused ? 3 * D : D;
    wan_rms rms = wan_rms_of(S, D, 1e-6);
    wan_attn at = { p, p, s->H, s->hd, 1 / sqrt((double)s->hd), D, D, ld, D, NULL };
    rms.ldx = rms.lddx = ld;
    cmp_must(o->attention_backward(
        d, &at, a->dq->b[i], a->dk->b[i], block(a->dqkv, i, 2, S, D, fused), a->dout->b[i],
        a->o->b[i], vec_p(a->lse, i), a->q->b[i], a->k->b[i], block(a->qkv, i, 2, S, D, fused)));
    cmp_must(o->rmsnorm_backward(d, &rms, block(a->dqkv, i, 0, S, D, fused), vec_p(a->dnq, i),
                                 a->dq->b[i], block(a->qkv, i, 0, S, D, fused), vec_p(a->rq, i),
                                 vec_p(a->nq, i)));
    cmp_must(o->rmsnorm_backward(d, &rms, block(a->dqkv, i, 1, S, D, fused), vec_p(a->dnk, i),
                                 a->dk->b[i], block(a->qkv, i, 1, S, D, fused), vec_p(a->rk, i),
                                 vec_p(a->nk, i)));
    for (int c = 0; c < (fused ? 1 : 3); c++) {
        wan_buf g = block(a->dqkv, i, c, S, D, fused);
        cmp_must(
            o->linear_dgrad(d, a->dx->b[i], g, wan_buf_at(a->w->b[i], c * D * K), S, ld, K, c > 0));
        cmp_must(o->linear_wgrad(d, vec_p(a->dw, i) + c * D * K, vec_p(a->db, i) + c * D, g,
                                 a->x->b[i], S, ld, K, 1));
    }
}

static void run(const shape *s, wan_dtype t)
{
    const wan_pack *p[2] = { cmp_pack(s->len, 2, 0), cmp_pack(s->len, 2, 1) };
    double bound = t == WAN_BF16 ? bound_bf16 : bound_f32;
    data a = make(p[0]->S, s->H * s->hd, s->K, s->H, t);
    for (int i = 0; i < 2; i++) {
        forward(&a, i, p[i], s, i);
        backward(&a, i, p[i], s, i);
    }
    vec_ok(a.o, bound, "one product for q, k, v: S=%lld D=%d K=%lld %s", (long long)p[0]->S,
           s->H * s->hd, (long long)s->K, CMP_NAME(t));
    vec_ok(a.dx, bound, "  dx");
    vec_ok(a.dw, bound, "  dw");
    vec_ok(a.db, bound, "  db");
    vec_ok(a.dnq, bound, "  dnq");
    vec_ok(a.dnk, bound, "  dnk");
    cmp_reset();
}

int main(void)
{
    static const shape shapes[] = { { { 17, 46 }, 64, 2, 32 },
                                    { { 1, 64 }, 40, 3, 12 },
                                    { { 130, 70 }, 192, 3, 64 } };
    if (!cmp_open("qkv"))
        return tap_done();
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int t = 0; t < 2; t++)
            run(&shapes[i], cmp_types[t]);
    return cmp_done();
}
