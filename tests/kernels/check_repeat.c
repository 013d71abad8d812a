/* SPDX-License-Identifier: Apache-2.0
 * The same input gives the same bytes: run to run on the device under test, and for the reference
 * whatever the number of threads. */
#include <omp.h>

#include "kernels/linear_simd.h"
#include "tests/kernels/compare.h"

enum { S = 300, D = 192, H = 3, N = 160 };

static const int64_t len[2] = { 170, 130 };

/* Everything one round reads and writes, on one device. */
typedef struct data {
    wan_pack p;
    wan_buf x, w, y, q, k, v, o, g, dq, dk, dv;
    wan_real *xr, *dx, *mod, *dmod, *mean, *rstd, *lse, *dw, *db;
    double *sum;
} data;

static wan_buf rnd(wan_dev *d, wan_dtype t, int64_t n, uint64_t seed)
{
    wan_buf b = wan_buf_of(wan_dev_alloc(d, (size_t)n * wan_dtype_size(t), "test"), t);
    wan_rng r = wan_rng_stream(seed, WAN_RNG_TEST, 0, 0);
    cmp_must(b.p ? d->ops->randn(d, b, &r, 0, n) : -1);
    return b;
}

static data make(wan_dev *d, wan_dtype t)
{
    data a;
    cmp_must(wan_pack_new(d, &a.p, len, 2));
    wan_buf *b[] = { &a.x, &a.y, &a.q, &a.k, &a.v, &a.o, &a.g, &a.dq, &a.dk, &a.dv };
    for (int i = 0; i < 10; i++)
        *b[i] = rnd(d, t, S * D, (uint64_t)i);
    a.w = rnd(d, t, N * D, 20);
    wan_real **r[] = { &a.xr, &a.dx, &a.mod, &a.dmod, &a.mean, &a.rstd, &a.lse, &a.dw, &a.db };
    for (int i = 0; i < 9; i++)
        *r[i] = (wan_real *)rnd(d, WAN_REAL, S * D, 30 + (uint64_t)i).p;
    a.sum = (double *)wan_dev_alloc(d, 64, "test");
    return a;
}

/* Ops whose sums run over many tokens. */
static void round_of_ops(wan_dev *d, data *a)
{
    const wan_ops *o = d->ops;
    wan_attn at = { &a->p, &a->p, H, D / H, 0.1, D, D, D, D, NULL };
    wan_buf none = WAN_BUF_NONE;
    cmp_must(o->linear_forward(d, a->y, none, a->x, a->w, NULL, S, N, D, WAN_ACT_GELU_TANH));
    cmp_must(o->linear_dgrad(d, a->dq, a->y, a->w, S, N, D, 0));
    cmp_must(o->linear_wgrad(d, a->dw, a->db, a->y, a->x, S, N, D, 0));
    cmp_must(o->attention_forward(d, &at, a->o, a->lse, a->q, a->k, a->v));
    cmp_must(
        o->attention_backward(d, &at, a->dq, a->dk, a->dv, a->g, a->o, a->lse, a->q, a->k, a->v));
    cmp_must(o->fill(d, WAN_RBUF(a->dmod), 0, 4 * D));
    cmp_must(o->fill(d, WAN_RBUF(a->dx), 0, S * D));
    cmp_must(o->ln_mod_forward(d, a->y, a->mean, a->rstd, a->xr, a->mod, a->mod + D, 2 * D, &a->p,
                               D, 1e-6));
    cmp_must(o->ln_mod_backward(d, a->dx, a->dmod, a->dmod + D, 2 * D, a->g, a->xr, a->mean,
                                a->rstd, a->mod, 2 * D, &a->p, D));
    const wan_resnorm seam = { &a->p, D, 1e-6, a->mod, a->mod + D, a->mod + 2 * D, 3 * D, 0 };
    const wan_resnorm_grad g = { a->dmod + 4 * D, a->dmod + 5 * D, a->dmod + 6 * D, 3 * D };
    cmp_must(o->fill(d, WAN_RBUF(g.gate), 0, 6 * D));
    cmp_must(o->resnorm_backward(d, &seam, &g, a->dx, a->y, a->g, a->xr, a->mean, a->rstd, a->q));
    cmp_must(o->sumsq(d, a->sum, WAN_RBUF(a->dx), S * D, 0));
}

/* The outputs, one after the other, on the host. */
static char *outputs(wan_dev *d, const data *a, size_t *size)
{
    size_t e = wan_dtype_size(a->x.t), r = sizeof(wan_real), at = 0;
    const struct {
        const void *p;
        size_t bytes;
    } out[] = {
        { a->o.p, S * D * e },  { a->dq.p, S * D * e }, { a->dk.p, S * D * e },
        { a->dv.p, S * D * e }, { a->lse, S * H * r },  { a->dw, N * D * r },
        { a->db, N * r },       { a->dx, S * D * r },   { a->dmod, 10 * D * r },
        { a->y.p, S * D * e },  { a->sum, 8 },
    };
    char *all = (char *)malloc(12 * S * D * 8);
    for (size_t i = 0; i < sizeof out / sizeof *out; i++) {
        cmp_must(wan_dev_read(d, all + at, out[i].p, out[i].bytes));
        at += out[i].bytes;
    }
    *size = at;
    return all;
}

static void run(wan_dev *d, const char *name, wan_dtype t, int threads)
{
    data a = make(d, t);
    size_t n;
    omp_set_num_threads(2);
    round_of_ops(d, &a);
    char *first = outputs(d, &a, &n);
    for (int k = 1; k <= 3; k++) {
        omp_set_num_threads(threads ? k : 2);
        round_of_ops(d, &a);
        char *again = outputs(d, &a, &n);
        ok(memcmp(first, again, n) == 0, "%s %s: round %d, %d threads: the same %zu bytes", name,
           CMP_NAME(t), k, threads ? k : 2, n);
        free(again);
    }
    free(first);
    wan_pack_free(d, &a.p);
}

/* Products on tiles and attention are cut otherwise for more threads, never summed otherwise. */
static void cut_alike(wan_dtype t)
{
    enum { M = 400, C = 410, K = 1088, W = 128 };
    static const int threads[] = { 1, 2, 7, 64 };
    const int64_t n[2] = { 250, M - 250 }; /* two blocks of keys and one */
    wan_dev *d;
    wan_pack p;
    cmp_must(wan_dev_open(&d, "cpu", 0));
    cmp_must(wan_pack_new(d, &p, n, 2));
    wan_buf x = rnd(d, t, M * K, 1), w = rnd(d, t, C * K, 2), y = rnd(d, t, M * C, 3);
    wan_real *dw = (wan_real *)rnd(d, WAN_REAL, C * K, 4).p, *lse = dw;
    wan_attn a = { &p, &p, 8, W / 8, 0.1, W, W, W, W, NULL };
    wan_buf dq = rnd(d, t, 3 * M * W, 5), dk = wan_buf_at(dq, M * W), dv = wan_buf_at(dk, M * W);
    size_t size = M * C * wan_dtype_size(t), sizes = C * K * sizeof *dw;
    size_t rows = M * W * wan_dtype_size(t), back = 3 * rows;
    char *first = malloc(size + sizes + rows + back);
    for (int i = 0; i < 4; i++) {
        wan_buf none = WAN_BUF_NONE;
        omp_set_num_threads(threads[i]);
        cmp_must(wan_linear_forward_simd(d, y, none, x, w, NULL, M, C, K, WAN_ACT_NONE));
        cmp_must(wan_linear_wgrad_simd(d, dw, NULL, y, x, M, C, K, 0));
        int alike = !i || (!memcmp(first, y.p, size) && !memcmp(first + size, dw, sizes));
        memcpy(first, y.p, size);
        memcpy(first + size, dw, sizes);
        cmp_must(wan_attention_forward_simd(d, &a, y, lse, x, w, x));
        alike &= !i || !memcmp(first + size + sizes, y.p, rows);
        memcpy(first + size + sizes, y.p, rows);
        cmp_must(wan_attention_backward_simd(d, &a, dq, dk, dv, w, y, lse, x, w, x));
        alike &= !i || !memcmp(first + size + sizes + rows, dq.p, back);
        memcpy(first + size + sizes + rows, dq.p, back);
        ok(alike, "products and attention, %s: %d threads, the same bytes", CMP_NAME(t),
           threads[i]);
    }
    free(first);
    wan_pack_free(d, &p);
    wan_dev_close(&d);
}

int main(void)
{
    if (!cmp_open("repeat"))
        return tap_done();
    for (int t = 0; t < 2; t++) {
        run(cmp_dev[0], "reference", cmp_types[t], 1);
        run(cmp_dev[1], "device", cmp_types[t], 0);
        cut_alike(cmp_types[t]);
    }
    return cmp_done();
}
