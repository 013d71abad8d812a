/* SPDX-License-Identifier: Apache-2.0
 * Gated residual, double, against finite differences. */
#include "tests/kernels/fd.h"

typedef struct ctx {
    wan_dev *d;
    const wan_pack *p;
    int64_t D, stride;
    wan_real *x, *y, *gate, *out, *dout;
} ctx;

static double loss(void *arg)
{
    ctx *c = (ctx *)arg;
    fd_must(c->d->ops->residual_forward(c->d, c->out, c->x, WAN_RBUF(c->y), c->gate, c->stride,
                                        c->p, c->D));
    return fd_dot(c->out, c->dout, c->p->S * c->D);
}

static void run(wan_dev *d, const int64_t *len, int n, int64_t D, int gated)
{
    wan_pack p;
    p = fd_pack(len, n);
    int64_t S = p.S, stride = D + 2;
    ctx c = { d,
              &p,
              D,
              stride,
              fd_rand(S * D, 0, 1),
              fd_rand(S * D, 0, 1),
              gated ? fd_rand(n * stride, 0, 1) : NULL,
              fd_rand(S * D, 0, 1),
              fd_rand(S * D, 0, 1) };
    wan_real *dy = fd_rand(S * D, 0, 1), *dg = fd_rand(n * stride, 0, 0);
    for (int twice = 0; twice < 2; twice++)
        fd_must(d->ops->residual_backward(d, WAN_RBUF(dy), dg, stride, c.dout, WAN_RBUF(c.y),
                                          c.gate, stride, &p, D));
    for (int64_t i = 0; i < n * stride; i++)
        dg[i] /= 2;
    fd_ok("dx = dout", loss, &c, c.x, c.dout, S * D);
    fd_ok("dy", loss, &c, c.y, dy, S * D);
    if (gated)
        fd_ok("dgate", loss, &c, c.gate, dg, n * stride);
}

int main(void)
{
    wan_dev *d;
    d = fd_open();
    for (int gated = 0; gated < 2; gated++) {
        run(d, (int64_t[]){ 3, 1, 5 }, 3, 131, gated);
        run(d, (int64_t[]){ 1 }, 1, 1, gated);
    }
    return fd_done();
}
