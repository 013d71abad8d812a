/* SPDX-License-Identifier: Apache-2.0
 * Loss of a regression, double: the formula, and dpred against finite differences. */
#include "tests/kernels/fd.h"

typedef struct ctx {
    wan_dev *d;
    const wan_pack *p;
    int64_t F;
    wan_real *pred, *target, *coef, *loss;
} ctx;

/* sum_i coef[i] * (tokens_i * F) * loss[i]: what dpred is the gradient of */
static double loss(void *arg)
{
    ctx *c = (ctx *)arg;
    wan_buf none = WAN_BUF_NONE;
    fd_must(c->d->ops->mse_loss(c->d, c->loss, none, c->pred, c->target, NULL, c->p, c->F));
    double s = 0;
    for (int i = 0; i < c->p->n; i++)
        s += c->coef[i] * c->loss[i] * (double)((c->p->cu[i + 1] - c->p->cu[i]) * c->F);
    return s;
}

static void run(wan_dev *d, const int64_t *len, int n, int64_t F)
{
    wan_pack p = fd_pack(len, n);
    int64_t N = p.S * F;
    ctx c = { d, &p, F, fd_rand(N, 0, 1), fd_rand(N, 0, 1), fd_rand(n, 1, 0.3), fd_rand(n, 0, 1) };
    wan_real *dp = fd_rand(N, 0, 1);
    fd_must(d->ops->mse_loss(d, c.loss, WAN_RBUF(dp), c.pred, c.target, c.coef, &p, F));
    fd_ok("dpred", loss, &c, c.pred, dp, N);
    double want = 0;
    loss(&c); /* the differences left c.loss at a shifted point */
    for (int64_t j = p.cu[n - 1] * F; j < N; j++)
        want += pow(c.pred[j] - c.target[j], 2) / (double)(len[n - 1] * F);
    ok(fabs(want / c.loss[n - 1] - 1) < 1e-12, "loss of the last sample");
}

int main(void)
{
    wan_dev *d = fd_open();
    run(d, (int64_t[]){ 3, 1, 5 }, 3, 12);
    run(d, (int64_t[]){ 1 }, 1, 1);
    return fd_done();
}
