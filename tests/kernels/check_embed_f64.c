/* SPDX-License-Identifier: Apache-2.0
 * Embeddings, double: modulation gradients, the sinusoid's definition, patch order and inverse. */
#include "tests/kernels/fd.h"

typedef struct ctx {
    wan_dev *d;
    int64_t n, R, D, rows;
    wan_real *table, *e, *out, *dout;
} ctx;

static double loss(void *arg)
{
    ctx *c = (ctx *)arg;
    fd_must(c->d->ops->modulation_forward(c->d, c->out, c->table, c->e, c->n, c->R, c->D, c->rows));
    return fd_dot(c->out, c->dout, c->n * c->R * c->D);
}

static void modulation(wan_dev *d, int64_t n, int64_t R, int64_t D, int64_t rows)
{
    ctx c = { d,
              n,
              R,
              D,
              rows,
              fd_rand(R * D, 0, 1),
              fd_rand(n * rows * D, 0, 1),
              fd_rand(n * R * D, 0, 1),
              fd_rand(n * R * D, 0, 1) };
    wan_real *dt = fd_rand(R * D, 0, 0), *de = fd_rand(n * rows * D, 0, 0);
    for (int twice = 0; twice < 2; twice++)
        fd_must(d->ops->modulation_backward(d, dt, de, c.dout, n, R, D, rows));
    for (int64_t i = 0; i < R * D; i++)
        dt[i] /= 2;
    for (int64_t i = 0; i < n * rows * D; i++)
        de[i] /= 2;
    fd_ok("dtable", loss, &c, c.table, dt, R * D);
    fd_ok("de", loss, &c, c.e, de, n * rows * D);
}

static void sinusoid(wan_dev *d)
{
    wan_real t[2] = { 1000, 0.25 }, y[16];
    fd_must(d->ops->sinusoid(d, y, t, 2, 8));
    double e = 0;
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 4; j++) {
            double a = t[i] / pow(10, j); /* 10000^(-j/4) */
            e = worse(e, fabs(y[i * 8 + j] - cos(a)) + fabs(y[i * 8 + 4 + j] - sin(a)));
        }
    ok(e < 1e-12, "sinusoid: cos first (%.2g)", e);
}

static void gather_add(wan_dev *d)
{
    wan_real table[6] = { 1, 2, 3, 4, 5, 6 }, y[8] = { 10, 20, 30, 40, 50, 60, 70, 80 };
    const wan_real want[8] = { 15, 26, 31, 42, 55, 66, 73, 84 };
    const int32_t id[4] = { 2, 0, 2, 1 };
    fd_must(d->ops->gather_add(d, y, table, id, 4, 2));
    ok(!memcmp(y, want, sizeof want), "gather_add: rows of the table are added");
}

/* The value of latent[c, f, y, x] is its own address, so every place can be checked. */
static void patches(wan_dev *d, enum wan_patch_order order)
{
    enum { C = 3, T = 2, H = 4, W = 6, S = T * H / 2 * W / 2, F = 4 * C };
    wan_real lat[C * T * H * W], rows[S * F], back[C * T * H * W];
    int good = 1;
    for (int i = 0; i < C * T * H * W; i++)
        lat[i] = i;
    fd_must(d->ops->patchify(d, WAN_RBUF(rows), lat, C, T, H, W, order));
    for (int s = 0; s < S; s++)
        for (int c = 0; c < C; c++)
            for (int p = 0; p < 4; p++) {
                int f = s / 6, y = s % 6 / 3 * 2 + p / 2, x = s % 3 * 2 + p % 2;
                int at = order == WAN_PATCH_CHW ? 4 * c + p : p * C + c;
                good &= rows[s * F + at] == ((c * T + f) * H + y) * W + x;
            }
    ok(good, "patch order %d", order);
    fd_must(d->ops->unpatchify(d, back, WAN_RBUF(rows), C, T, H, W, order));
    ok(memcmp(back, lat, sizeof lat) == 0, "unpatchify is the inverse");
    ok(d->ops->patchify(d, WAN_RBUF(rows), lat, C, T, 3, W, order) < 0, "odd height is refused");
}

int main(void)
{
    wan_dev *d;
    d = fd_open();
    modulation(d, 3, 6, 13, 6);
    modulation(d, 2, 2, 5, 1);
    modulation(d, 1, 1, 1, 1);
    sinusoid(d);
    gather_add(d);
    patches(d, WAN_PATCH_CHW);
    patches(d, WAN_PATCH_HWC);
    return fd_done();
}
