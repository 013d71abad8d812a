/* SPDX-License-Identifier: Apache-2.0
 * Gated residual and the LayerNorm behind it, double, against finite differences: both outputs in the loss. */
#include "tests/kernels/fd.h"

enum { GATED = 1, AFFINE = 2 };

typedef struct ctx {
    wan_dev *d;
    wan_resnorm a;
    wan_real *x, *y, *out, *u, *mean, *rstd, *dout, *du;
} ctx;

static double loss(void *arg)
{
    ctx *c = (ctx *)arg;
    int64_t N = c->a.pack->S * c->a.D;
    fd_must(c->d->ops->resnorm_forward(c->d, &c->a, c->out, WAN_RBUF(c->u), c->mean, c->rstd, c->x,
                                       WAN_RBUF(c->y)));
    return fd_dot(c->out, c->dout, N) + fd_dot(c->u, c->du, N);
}

static void run(wan_dev *d, const int64_t *len, int n, int64_t D, int how)
{
    wan_pack p = fd_pack(len, n);
    int64_t S = p.S, N = S * D, M = n * 3 * D, rows = how & AFFINE ? 1 : n;
    wan_real *mod = fd_rand(M, 0, 1), *dm = fd_rand(M, 0, 0);
    ctx c = { d,
              { &p, D, 1e-6, how & GATED ? mod : NULL, mod + D, mod + 2 * D, 3 * D,
                !!(how & AFFINE) },
              fd_rand(N, 0, 1),
              fd_rand(N, 0, 1),
              fd_rand(N, 0, 1),
              fd_rand(N, 0, 1),
              fd_rand(S, 0, 1),
              fd_rand(S, 0, 1),
              fd_rand(N, 0, 1),
              fd_rand(N, 0, 1) };
    const wan_resnorm_grad g = { dm, dm + D, dm + 2 * D, 3 * D };
    wan_real *dx = fd_rand(N, 0, 0), *dy = fd_rand(N, 0, 1);
    memcpy(dx, c.dout, (size_t)N * sizeof *dx);
    loss(&c);
    fd_must(d->ops->resnorm_backward(d, &c.a, &g, dx, WAN_RBUF(dy), WAN_RBUF(c.du), c.out, c.mean,
                                     c.rstd, WAN_RBUF(c.y)));
    fd_ok("dx", loss, &c, c.x, dx, N);
    fd_ok("dy", loss, &c, c.y, dy, N);
    for (int64_t i = 0; i < n; i++) {
        if (how & GATED)
            fd_ok("dgate", loss, &c, mod + i * 3 * D, dm + i * 3 * D, D);
        if (i < rows)
            fd_ok("dgain, dshift", loss, &c, mod + (i * 3 + 1) * D, dm + (i * 3 + 1) * D, 2 * D);
    }
}

int main(void)
{
    wan_dev *d = fd_open();
    for (int how = 0; how < 4; how++)
        run(d, (int64_t[]){ 3, 1, 5 }, 3, 37, how);
    return fd_done();
}
