/* SPDX-License-Identifier: Apache-2.0
 * LayerNorm, double: both forms against finite differences, packs of several samples. */
#include "tests/kernels/fd.h"

typedef struct ctx {
    wan_dev *d;
    const wan_pack *p;
    int64_t D, stride;
    int affine;
    wan_real *x, *gain, *shift, *mean, *rstd, *y, *dy;
} ctx;

static double loss(void *arg)
{
    ctx *c = (ctx *)arg;
    const wan_ops *o = c->d->ops;
    if (c->affine)
        fd_must(o->ln_affine_forward(c->d, WAN_RBUF(c->y), c->mean, c->rstd, c->x, c->gain,
                                     c->shift, c->p->S, c->D, 1e-6));
    else
        fd_must(o->ln_mod_forward(c->d, WAN_RBUF(c->y), c->mean, c->rstd, c->x, c->gain, c->shift,
                                  c->stride, c->p, c->D, 1e-6));
    return fd_dot(c->y, c->dy, c->p->S * c->D);
}

static void run(wan_dev *d, const int64_t *len, int n, int64_t D, int affine)
{
    wan_pack p;
    p = fd_pack(len, n);
    int64_t S = p.S, stride = affine ? 0 : 2 * D + 3, rows = affine ? D : n * stride;
    ctx c = { d,
              &p,
              D,
              stride,
              affine,
              fd_rand(S * D, 0.3, 1),
              fd_rand(rows, 0, 1),
              fd_rand(rows, 0, 1),
              fd_rand(S, 0, 1),
              fd_rand(S, 0, 1),
              fd_rand(S * D, 0, 1),
              fd_rand(S * D, 0, 1) };
    wan_real *dx = fd_rand(S * D, 0, 0), *dg = fd_rand(rows, 0, 0), *ds = fd_rand(rows, 0, 0);
    const wan_ops *o = d->ops;
    loss(&c);
    for (int twice = 0; twice < 2; twice++) /* all gradients accumulate */
        if (affine)
            fd_must(o->ln_affine_backward(d, dx, dg, ds, WAN_RBUF(c.dy), c.x, c.mean, c.rstd,
                                          c.gain, S, D));
        else
            fd_must(o->ln_mod_backward(d, dx, dg, ds, stride, WAN_RBUF(c.dy), c.x, c.mean, c.rstd,
                                       c.gain, stride, &p, D));
    for (int64_t i = 0; i < S * D; i++)
        dx[i] /= 2;
    for (int64_t i = 0; i < rows; i++)
        dg[i] /= 2, ds[i] /= 2;
    fd_ok(affine ? "affine dx" : "mod dx", loss, &c, c.x, dx, S * D);
    fd_ok(affine ? "affine dw" : "mod dscale", loss, &c, c.gain, dg, rows);
    fd_ok(affine ? "affine db" : "mod dshift", loss, &c, c.shift, ds, rows);
}

int main(void)
{
    wan_dev *d;
    d = fd_open();
    for (int affine = 0; affine < 2; affine++) {
        run(d, (int64_t[]){ 3, 1, 5 }, 3, 131, affine);
        run(d, (int64_t[]){ 1 }, 1, 5, affine);
        run(d, (int64_t[]){ 20, 13 }, 2, 33, affine);
    }
    return fd_done();
}
