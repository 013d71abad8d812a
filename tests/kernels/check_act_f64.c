/* SPDX-License-Identifier: Apache-2.0
 * Activations, double: slopes against finite differences, values against published constants. */
#include "tests/kernels/fd.h"

typedef struct ctx {
    wan_dev *d;
    int64_t n;
    enum wan_act act;
    wan_real *x, *y, *dy;
} ctx;

static double loss(void *arg)
{
    ctx *c = (ctx *)arg;
    fd_must(c->d->ops->act_forward(c->d, WAN_RBUF(c->y), WAN_RBUF(c->x), c->n, c->act));
    return fd_dot(c->y, c->dy, c->n);
}

int main(void)
{
    /* torch.nn.functional in float64 at 1.0 and -0.7 */
    static const double want[4][2] = { { 1, -0.7 },
                                       { 0.84119199060827676, -0.16942986529488321 },
                                       { 0.84134474606854304, -0.16937455655615111 },
                                       { 0.73105857863000490, -0.23226855948228370 } };
    wan_dev *d;
    d = fd_open();
    for (int a = WAN_ACT_NONE; a <= WAN_ACT_SILU; a++) {
        int64_t n = 67;
        ctx c = { d, n, (enum wan_act)a, fd_rand(n, 0, 2), fd_rand(n, 0, 1), fd_rand(n, 0, 1) };
        wan_real *dx = fd_rand(n, 0, 1), *g = fd_rand(n, 0, 1), v[2] = { 1, -0.7 };
        fd_must(d->ops->act_backward(d, WAN_RBUF(dx), WAN_RBUF(c.dy), WAN_RBUF(c.x), n, c.act));
        fd_ok("act dx", loss, &c, c.x, dx, n);
        fd_must(d->ops->act_gated(d, WAN_RBUF(g), WAN_RBUF(c.x), WAN_RBUF(c.dy), n, c.act));
        double sum = 0;
        for (int64_t i = 0; i < n; i++)
            sum += g[i];
        ok(fabs(loss(&c) - sum) < 1e-12, "act %d: gated product", a);
        fd_must(d->ops->act_forward(d, WAN_RBUF(v), WAN_RBUF(v), 2, c.act));
        ok(fabs(v[0] - want[a][0]) < 1e-12 && fabs(v[1] - want[a][1]) < 1e-12,
           "act %d: %.15g %.15g", a, v[0], v[1]);
    }
    return fd_done();
}
