/* SPDX-License-Identifier: Apache-2.0
 * RMSNorm with and without rotary embedding, double, against finite differences; the rotation
 * against its formula. */
#include "tests/kernels/fd.h"

enum { POSITIONS = 9 };

typedef struct ctx {
    wan_dev *d;
    wan_rms a;
    wan_rope rope;
    wan_real *x, *w, *rstd, *y, *dy;
} ctx;

static double loss(void *arg)
{
    ctx *c = (ctx *)arg;
    fd_must(c->d->ops->rmsnorm_forward(c->d, &c->a, WAN_RBUF(c->y), c->rstd, WAN_RBUF(c->x), c->w));
    double sum = 0;
    for (int64_t s = 0; s < c->a.S; s++)
        sum += fd_dot(c->y + s * c->a.ldy, c->dy + s * c->a.ldy, c->a.D);
    return sum;
}

static void rotation(ctx *c, int first, int second, int third)
{
    int64_t S = c->a.S, hd = first + second + third;
    const int64_t grid[3] = { 4, 3, POSITIONS };
    wan_real *table = fd_rand(POSITIONS * hd, 0, 0);
    int32_t *pos = (int32_t *)fd_rand(3 * S, 0, 0);
    c->rope = (wan_rope){ pos, table, POSITIONS, { first, second, third } };
    wan_rope_table(table, POSITIONS, c->rope.axis, 50);
    wan_rope_positions(pos, grid, 7, S);
    c->a.rope = &c->rope;
}

static ctx make(wan_dev *d, int64_t S, int64_t D, int64_t pad)
{
    ctx c = { .d = d, .a = wan_rms_of(S, D, 1e-6) };
    c.a.ldx += pad;
    c.a.ldy += 2 * pad;
    c.x = fd_rand(S * c.a.ldx, 0, 1);
    c.w = fd_rand(D, 1, 0.3);
    c.rstd = fd_rand(S, 0, 1);
    c.y = fd_rand(S * c.a.ldy, 0, 1);
    c.dy = fd_rand(S * c.a.ldy, 0, 1);
    return c;
}

/* Columns of x between the rows must have no gradient: dx is laid out as x is. */
static void check(ctx *c)
{
    int64_t S = c->a.S, D = c->a.D;
    c->a.lddx = c->a.ldx;
    wan_real *dx = fd_rand(S * c->a.ldx, 0, 0), *dw = fd_rand(D, 0, 0);
    loss(c);
    for (int twice = 0; twice < 2; twice++) /* dw accumulates, dx does not */
        fd_must(c->d->ops->rmsnorm_backward(c->d, &c->a, WAN_RBUF(dx), dw, WAN_RBUF(c->dy),
                                            WAN_RBUF(c->x), c->rstd, c->w));
    for (int64_t i = 0; i < D; i++)
        dw[i] /= 2;
    fd_ok(c->a.rope ? "rope dx" : "dx", loss, c, c->x, dx, S * c->a.ldx);
    fd_ok(c->a.rope ? "rope dw" : "dw", loss, c, c->w, dw, D);
    wan_real *same = fd_rand(S * c->a.ldy, 0, 0);
    memcpy(same, c->dy, (size_t)(S * c->a.ldy) * sizeof *same);
    c->a.lddx = c->a.ldy;
    fd_must(c->d->ops->rmsnorm_backward(c->d, &c->a, WAN_RBUF(same), dw, WAN_RBUF(same),
                                        WAN_RBUF(c->x), c->rstd, c->w));
    int eq = 1;
    for (int64_t s = 0; s < S; s++)
        eq &= !memcmp(same + s * c->a.ldy, dx + s * c->a.ldx, (size_t)D * sizeof *dx);
    ok(eq, "dx may equal dy");
}

/* y against the formula of rope.h, with angles from the grid itself */
static void formula(ctx *c)
{
    double worst = 0;
    loss(c);
    int hd = wan_rope_width(c->rope.axis);
    for (int64_t s = 0; s < c->a.S; s++)
        for (int64_t h = 0; h < c->a.D; h += hd) {
            int64_t at = h, t = s + 7,
                    pos[3] = { t / (3 * POSITIONS), t / POSITIONS % 3, t % POSITIONS };
            for (int k = 0; k < 3; k++)
                for (int j = 0; j < c->rope.axis[k]; j += 2, at += 2) {
                    double a = (double)pos[k] * pow(50, -(double)j / c->rope.axis[k]);
                    const wan_real *x = c->x + s * c->a.ldx + at, *y = c->y + s * c->a.ldy + at;
                    double p = x[0] * c->rstd[s] * c->w[at], q = x[1] * c->rstd[s] * c->w[at + 1];
                    worst = worse(worst, fabs(y[0] - (p * cos(a) - q * sin(a))));
                    worst = worse(worst, fabs(y[1] - (p * sin(a) + q * cos(a))));
                }
        }
    ok(worst < 1e-12, "the rotation is the formula's: %.2g", worst);
}

int main(void)
{
    wan_dev *d = fd_open();
    ctx c = make(d, 3, 36, 0);
    rotation(&c, 4, 4, 4);
    check(&c);
    formula(&c);
    c = make(d, 1, 6, 0);
    check(&c);
    c = make(d, 7, 260, 3);
    rotation(&c, 8, 6, 6);
    check(&c);
    formula(&c);
    c = make(d, 5, 131, 2);
    check(&c);
    c = make(d, 1, 2, 0);
    rotation(&c, 2, 0, 0);
    check(&c);
    return fd_done();
}
