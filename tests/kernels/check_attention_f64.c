/* SPDX-License-Identifier: Apache-2.0
 * Attention, double: forward against the formula written out, backward against finite differences;
 * self and cross, several samples, strides, key bias. */
#include "tests/kernels/fd.h"

typedef struct ctx {
    wan_attn a;
    wan_dev *d;
    wan_real *q, *k, *v, *bias, *o, *lse, *dout;
} ctx;

static double loss(void *arg)
{
    ctx *c = (ctx *)arg;
    fd_must(c->d->ops->attention_forward(c->d, &c->a, WAN_RBUF(c->o), c->lse, WAN_RBUF(c->q),
                                         WAN_RBUF(c->k), WAN_RBUF(c->v)));
    double s = 0;
    for (int64_t i = 0; i < c->a.pq->S; i++)
        s += fd_dot(c->o + i * c->a.ldo, c->dout + i * c->a.ldo, c->a.H * c->a.hd);
    return s;
}

/* Largest difference from o and lse computed entry by entry. */
static double formula(const ctx *c)
{
    const wan_attn *a = &c->a;
    double worst = 0;
    for (int i = 0; i < a->pq->n; i++)
        for (int64_t s = a->pq->cu[i]; s < a->pq->cu[i + 1]; s++)
            for (int64_t h = 0; h < a->H; h++)
                for (int64_t x = 0; x < a->hd; x++) {
                    double z = 0, o = 0;
                    for (int64_t t = a->pk->cu[i]; t < a->pk->cu[i + 1]; t++) {
                        double e = a->scale * fd_dot(c->q + s * a->ldq + h * a->hd,
                                                     c->k + t * a->ldk + h * a->hd, a->hd);
                        e = exp(e + (a->kbias ? a->kbias[t] : 0));
                        z += e;
                        o += e * c->v[t * a->ldv + h * a->hd + x];
                    }
                    worst = worse(worst, fabs(o / z - c->o[s * a->ldo + h * a->hd + x]));
                    worst = worse(worst, fabs(log(z) - c->lse[h * a->pq->S + s]));
                }
    return worst;
}

static void run(wan_dev *d, const int64_t *lq, const int64_t *lk, int n, int H, int64_t hd, int pad,
                int biased)
{
    wan_pack pq, pk;
    pq = fd_pack(lq, n);
    pk = fd_pack(lk, n);
    int64_t ldq = H * hd + pad, ldk = H * hd + 2 * pad, ldv = H * hd + 3 * pad, ldo = ldq + pad;
    ctx c = { { &pq, &pk, H, hd, 0.37, ldq, ldk, ldv, ldo, NULL },
              d,
              fd_rand(pq.S * ldq, 0, 1),
              fd_rand(pk.S * ldk, 0, 1),
              fd_rand(pk.S * ldv, 0, 1),
              fd_rand(pk.S, 0, 1),
              fd_rand(pq.S * ldo, 0, 1),
              fd_rand(pq.S * H, 0, 1),
              fd_rand(pq.S * ldo, 0, 1) };
    c.a.kbias = biased ? c.bias : NULL;
    wan_real *dq = fd_rand(pq.S * ldq, 0, 0), *dk = fd_rand(pk.S * ldk, 0, 0);
    wan_real *dv = fd_rand(pk.S * ldv, 0, 0);
    loss(&c);
    ok(formula(&c) < 1e-12, "forward n=%d H=%d hd=%lld bias=%d: %.2g", n, H, (long long)hd, biased,
       formula(&c));
    fd_must(d->ops->attention_backward(d, &c.a, WAN_RBUF(dq), WAN_RBUF(dk), WAN_RBUF(dv),
                                       WAN_RBUF(c.dout), WAN_RBUF(c.o), c.lse, WAN_RBUF(c.q),
                                       WAN_RBUF(c.k), WAN_RBUF(c.v)));
    fd_ok("dv", loss, &c, c.v, dv, pk.S * ldv);
    if (pk.max_len > 1) { /* one key: the softmax is constant */
        fd_ok("dq", loss, &c, c.q, dq, pq.S * ldq);
        fd_ok("dk", loss, &c, c.k, dk, pk.S * ldk);
    }
}

/* Two parts of the keys, merged, are the whole; and so are the gradients of both, in double. */
static void parts(wan_dev *d)
{
    enum { Q = 7, K = 11, CUT = 4, H = 2, HD = 3, W = H * HD };
    int64_t lq = Q, lk = K, len[2] = { CUT, K - CUT };
    wan_pack pq = fd_pack(&lq, 1), pk = fd_pack(&lk, 1);
    wan_pack pp[2] = { fd_pack(&len[0], 1), fd_pack(&len[1], 1) };
    wan_attn a = { &pq, &pk, H, HD, 0.4, W, W, W, W, NULL };
    wan_real *q = fd_rand(Q * W, 0, 2), *k = fd_rand(K * W, 0, 2), *v = fd_rand(K * W, 0, 1);
    wan_real *o = fd_rand(Q * W, 0, 1), *g = fd_rand(Q * W, 0, 1), *lse = fd_rand(Q * H, 0, 1);
    wan_real *dq = fd_rand(Q * W, 0, 1), *dk = fd_rand(K * W, 0, 1), *dv = fd_rand(K * W, 0, 1);
    wan_real *o1[2] = { fd_rand(Q * W, 0, 1), fd_rand(Q * W, 0, 1) }, worst = 0;
    wan_real *l1[2] = { fd_rand(Q * H, 0, 1), fd_rand(Q * H, 0, 1) };
    wan_real *dq1[2] = { fd_rand(Q * W, 0, 1), fd_rand(Q * W, 0, 1) };
    wan_real *dk1 = fd_rand(K * W, 0, 1), *dv1 = fd_rand(K * W, 0, 1);
    const wan_ops *op = d->ops;
#define R(p) WAN_RBUF(p)
    fd_must(op->attention_forward(d, &a, R(o), lse, R(q), R(k), R(v)));
    fd_must(op->attention_backward(d, &a, R(dq), R(dk), R(dv), R(g), R(o), lse, R(q), R(k), R(v)));
    for (int p = 0; p < 2; p++) {
        a.pk = &pp[p];
        fd_must(op->attention_forward(d, &a, R(o1[p]), l1[p], R(q), R(k + p * CUT * W),
                                      R(v + p * CUT * W)));
    }
    fd_must(op->attention_merge(d, &a, R(o1[0]), l1[0], R(o1[1]), l1[1]));
    for (int p = 0; p < 2; p++) {
        int at = p * CUT * W;
        a.pk = &pp[p];
        fd_must(op->attention_backward(d, &a, R(dq1[p]), R(dk1 + at), R(dv1 + at), R(g), R(o1[0]),
                                       l1[0], R(q), R(k + at), R(v + at)));
    }
    for (int i = 0; i < Q * W; i++)
        worst = worse(worst, worse(fabs(o[i] - o1[0][i]), fabs(dq[i] - dq1[0][i] - dq1[1][i])));
    for (int i = 0; i < K * W; i++)
        worst = worse(worst, worse(fabs(dk[i] - dk1[i]), fabs(dv[i] - dv1[i])));
    for (int i = 0; i < Q * H; i++)
        worst = worse(worst, fabs(lse[i] - l1[0][i]));
    ok(worst < 1e-13, "keys in two parts: %.2g", worst);
}

/* The T5 form is a bias per pair, looked up by bucket; wan-model(7), Buckets. */
static void t5(wan_dev *d)
{
    static const int at[] = { 0, 1, 7, 8, 11, 12, 16, 22, 23, 31, 32, 45, 46, 63, 64, 90, 91, 500 };
    static const int is[] = { 0, 1, 7, 8, 8, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15 };
    int good = 1;
    for (size_t i = 0; i < sizeof at / sizeof *at; i++)
        good &= wan_attention_bucket(-at[i]) == is[i] &&
                wan_attention_bucket(at[i]) == is[i] + (at[i] ? 16 : 0);
    ok(good, "t5 buckets");
    enum { N = 37, H = 2, HD = 3 };
    int64_t len[1] = { N };
    wan_pack p;
    p = fd_pack(len, 1);
    wan_attn a = { &p, &p, H, HD, 1, H * HD, H * HD, H * HD, H * HD, NULL };
    wan_real *q = fd_rand(N * H * HD, 0, 1), *k = fd_rand(N * H * HD, 0, 1), worst = 0;
    wan_real *v = fd_rand(N * H * HD, 0, 1), *o = fd_rand(N * H * HD, 0, 1);
    wan_real *table = fd_rand(32 * H, 0, 1);
    fd_must(d->ops->attention_t5(d, &a, WAN_RBUF(o), WAN_RBUF(q), WAN_RBUF(k), WAN_RBUF(v), table));
    for (int i = 0; i < N; i++)
        for (int h = 0; h < H; h++) {
            double z = 0, s = 0;
            for (int j = 0; j < N; j++) {
                double e = exp(fd_dot(q + (i * H + h) * HD, k + (j * H + h) * HD, HD) +
                               table[wan_attention_bucket(j - i) * H + h]);
                z += e;
                s += e * v[(j * H + h) * HD + 1];
            }
            worst = worse(worst, fabs(s / z - o[(i * H + h) * HD + 1]));
        }
    ok(worst < 1e-12, "t5 forward: %.2g", worst);
}

int main(void)
{
    wan_dev *d;
    d = fd_open();
    run(d, (int64_t[]){ 5, 1, 7 }, (int64_t[]){ 5, 1, 7 }, 3, 2, 6, 0, 0);
    run(d, (int64_t[]){ 3, 9 }, (int64_t[]){ 17, 2 }, 2, 3, 5, 4, 1);
    run(d, (int64_t[]){ 1 }, (int64_t[]){ 1 }, 1, 1, 1, 0, 0);
    run(d, (int64_t[]){ 19 }, (int64_t[]){ 33 }, 1, 1, 20, 1, 1);
    parts(d);
    t5(d);
    return fd_done();
}
