/* SPDX-License-Identifier: Apache-2.0
 * Linear layer, double: gradients against finite differences. */
#include "tests/kernels/fd.h"

typedef struct ctx {
    wan_dev *d;
    int64_t M, N, K;
    enum wan_act act; /* what x is of z, where it is asked for the gradient of z */
    wan_real *x, *w, *b, *y, *dy, *z;
} ctx;

static double loss(void *arg)
{
    ctx *c = (ctx *)arg;
    wan_buf none = WAN_BUF_NONE;
    fd_must(c->d->ops->linear_forward(c->d, WAN_RBUF(c->y), none, WAN_RBUF(c->x), WAN_RBUF(c->w),
                                      c->b, c->M, c->N, c->K, WAN_ACT_NONE));
    return fd_dot(c->y, c->dy, c->M * c->N);
}

/* Of layers x = act(z), y = x w^T. */
static double loss_act(void *arg)
{
    ctx *c = (ctx *)arg;
    fd_must(c->d->ops->act_forward(c->d, WAN_RBUF(c->x), WAN_RBUF(c->z), c->M * c->K, c->act));
    return loss(c);
}

static void run_act(ctx *c, wan_real *dz)
{
    static const enum wan_act acts[] = { WAN_ACT_GELU_TANH, WAN_ACT_GELU_ERF, WAN_ACT_SILU };
    for (int i = 0; i < 3; i++) {
        c->act = acts[i];
        fd_must(c->d->ops->linear_dgrad_act(c->d, WAN_RBUF(dz), WAN_RBUF(c->dy), WAN_RBUF(c->w),
                                            WAN_RBUF(c->z), c->M, c->N, c->K, c->act));
        fd_ok("linear dx times act'", loss_act, c, c->z, dz, c->M * c->K);
    }
}

static void run(wan_dev *d, int64_t M, int64_t N, int64_t K)
{
    ctx c = { d,
              M,
              N,
              K,
              WAN_ACT_NONE,
              fd_rand(M * K, 0, 1),
              fd_rand(N * K, 0, 1),
              fd_rand(N, 0, 1),
              fd_rand(M * N, 0, 1),
              fd_rand(M * N, 0, 1),
              fd_rand(M * K, 0, 1) };
    wan_real *dx = fd_rand(M * K, 0, 1), *dw = fd_rand(N * K, 0, 1), *db = fd_rand(N, 0, 1);
    wan_real *dx2 = (wan_real *)fd_keep(malloc((size_t)(M * K) * sizeof *dx2));
    const wan_ops *o = d->ops;
    fd_must(o->linear_dgrad(d, WAN_RBUF(dx), WAN_RBUF(c.dy), WAN_RBUF(c.w), M, N, K, 0));
    fd_must(o->linear_wgrad(d, dw, db, WAN_RBUF(c.dy), WAN_RBUF(c.x), M, N, K, 0));
    fd_ok("linear dx", loss, &c, c.x, dx, M * K);
    fd_ok("linear dw", loss, &c, c.w, dw, N * K);
    fd_ok("linear db", loss, &c, c.b, db, N);
    memcpy(dx2, dx, (size_t)(M * K) * sizeof *dx2);
    fd_must(o->linear_dgrad(d, WAN_RBUF(dx2), WAN_RBUF(c.dy), WAN_RBUF(c.w), M, N, K, 1));
    fd_must(o->linear_wgrad(d, dw, db, WAN_RBUF(c.dy), WAN_RBUF(c.x), M, N, K, 1));
    double e = 0;
    for (int64_t i = 0; i < M * K; i++)
        e = worse(e, fabs(dx2[i] - 2 * dx[i]));
    ok(e < 1e-12, "accumulate adds dx (%.2g)", e);
    for (int64_t i = 0; i < N * K; i++)
        dw[i] /= 2;
    for (int64_t i = 0; i < N; i++)
        db[i] /= 2;
    fd_ok("linear dw accumulated twice", loss, &c, c.w, dw, N * K);
    fd_ok("linear db accumulated twice", loss, &c, c.b, db, N);
    run_act(&c, dx);
}

int main(void)
{
    wan_dev *d;
    d = fd_open();
    run(d, 5, 7, 3);
    run(d, 1, 1, 1);
    run(d, 17, 33, 65);
    return fd_done();
}
