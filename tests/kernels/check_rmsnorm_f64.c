/* SPDX-License-Identifier: Apache-2.0
 * RMSNorm with and without rotary embedding, double, against finite differences. */
#include "tests/kernels/fd.h"

typedef struct ctx {
    wan_dev *d;
    int64_t S, D, hd;
    wan_real *x, *w, *rope, *rstd, *y, *dy;
} ctx;

static double loss(void *arg)
{
    ctx *c = (ctx *)arg;
    fd_must(c->d->ops->rmsnorm_forward(c->d, WAN_RBUF(c->y), c->rstd, WAN_RBUF(c->x), c->w, c->rope,
                                       c->S, c->D, c->hd, 1e-6));
    return fd_dot(c->y, c->dy, c->S * c->D);
}

static void run(wan_dev *d, int64_t S, int64_t D, int64_t hd)
{
    ctx c = { d,
              S,
              D,
              hd,
              fd_rand(S * D, 0, 1),
              fd_rand(D, 1, 0.3),
              NULL,
              fd_rand(S, 0, 1),
              fd_rand(S * D, 0, 1),
              fd_rand(S * D, 0, 1) };
    if (hd) {
        c.rope = fd_rand(S * hd, 0, 1);
        for (int64_t i = 0; i < S * hd; i += 2) {
            double a = 3 * c.rope[i];
            c.rope[i] = cos(a);
            c.rope[i + 1] = sin(a);
        }
    }
    wan_real *dx = fd_rand(S * D, 0, 1), *dw = fd_rand(D, 0, 0);
    loss(&c);
    for (int twice = 0; twice < 2; twice++) /* dw accumulates, dx does not */
        fd_must(d->ops->rmsnorm_backward(d, WAN_RBUF(dx), dw, WAN_RBUF(c.dy), WAN_RBUF(c.x), c.rstd,
                                         c.w, c.rope, S, D, hd));
    for (int64_t i = 0; i < D; i++)
        dw[i] /= 2;
    fd_ok(hd ? "rope dx" : "dx", loss, &c, c.x, dx, S * D);
    fd_ok(hd ? "rope dw" : "dw", loss, &c, c.w, dw, D);
    wan_real *same = fd_rand(S * D, 0, 0);
    memcpy(same, c.dy, (size_t)(S * D) * sizeof *same);
    fd_must(d->ops->rmsnorm_backward(d, WAN_RBUF(same), dw, WAN_RBUF(same), WAN_RBUF(c.x), c.rstd,
                                     c.w, c.rope, S, D, hd));
    ok(memcmp(same, dx, (size_t)(S * D) * sizeof *same) == 0, "dx may equal dy");
}

int main(void)
{
    wan_dev *d;
    d = fd_open();
    run(d, 3, 36, 12);
    run(d, 1, 6, 0);
    run(d, 7, 260, 20);
    run(d, 5, 131, 0);
    run(d, 1, 2, 2);
    return fd_done();
}
