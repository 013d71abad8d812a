/* SPDX-License-Identifier: Apache-2.0
 * Products in eight bits: the rounding against a list of every number of the format, products against
 * sums in double of rounded operands, and the device under test against the reference. */
#include "tests/kernels/compare.h"

/* one rounding of a result in bf16; fp32 sums in another order, which tensor cores truncate */
static const double bound_bf16 = 3e-3, bound_f32 = 1e-5;
/* A tanh that is another one in its last place moves a gradient by one bf16, and that at times by one e5m2. */
static const double bound_behind = 5e-3;

/* Magnitudes of a format in ascending order, from the definition of its codes: exponent 0 has no leading
 * one; the highest exponent of e4m3 has one NaN, that of e5m2 is infinity and NaN. */
static int magnitudes(double *v, enum wan_eight f)
{
    const int man = f == WAN_E4M3 ? 3 : 2, bias = f == WAN_E4M3 ? 7 : 15;
    const int codes = f == WAN_E4M3 ? 0x7f : 0x7c;
    for (int c = 0; c < codes; c++) {
        int e = c >> man, m = c & ((1 << man) - 1);
        v[c] = e ? ldexp(1 + ldexp(m, -man), e - bias) : ldexp(m, 1 - bias - man);
    }
    return codes;
}

/* The nearest of them, of two as near the one with the even code. */
static double nearest(const double *v, int n, double x)
{
    int best = 0;
    for (int c = 1; c < n; c++) {
        double a = fabs(v[c] - fabs(x)), b = fabs(v[best] - fabs(x));
        if (a < b || (a == b && c % 2 == 0))
            best = c;
    }
    return x < 0 ? -v[best] : v[best];
}

/* x [n] as the header says. */
static void round_all(float *y, const float *x, size_t n, enum wan_eight f)
{
    double v[128], top = 0;
    int codes = magnitudes(v, f), e = 0;
    for (size_t i = 0; i < n; i++)
        top = fabs(x[i]) > top ? fabs(x[i]) : top;
    while (top > 0 && ldexp(top, e) > v[codes - 1])
        e--;
    while (top > 0 && ldexp(top, e + 1) <= v[codes - 1])
        e++;
    for (size_t i = 0; i < n; i++)
        y[i] = (float)ldexp(nearest(v, codes, ldexp(x[i], e)), -e);
}

static void rounding(wan_dtype t, enum wan_eight f, double mean, double sd, int64_t n)
{
    vec *x = vec_new(t, (size_t)n, mean, sd), *y = vec_new(WAN_BF16, (size_t)n, 7, 1);
    CMP_BOTH(round8(d, y->b[i], x->b[i], n, f));
    float *want = (float *)malloc((size_t)n * sizeof *want + 1);
    for (int i = 0; i < 2; i++) {
        int intact = 1;
        float *in = vec_read(x, i, &intact), *got = vec_read(y, i, &intact);
        size_t bad = 0;
        round_all(want, in, (size_t)n, f);
        for (int64_t k = 0; k < n; k++)
            bad += got[k] != want[k];
        ok(bad == 0 && intact,
           "%s of %lld %s around %g: the listed numbers on device %d (%zu differ)",
           f == WAN_E4M3 ? "e4m3" : "e5m2", (long long)n, CMP_NAME(t), mean, i, bad);
        free(in);
        free(got);
    }
    free(want);
    cmp_reset();
}

/* Powers of two around what a format holds, halves between its numbers, zeros of both signs. */
static void corners(enum wan_eight f, int scale)
{
    double v[128];
    float x[520];
    int codes = magnitudes(v, f), n = 0;
    for (int c = 0; c < codes; c++) {
        x[n++] = (float)ldexp(v[c], scale);
        x[n++] = (float)-ldexp(v[c], scale);
        if (c) {
            x[n++] = (float)ldexp((v[c] + v[c - 1]) / 2, scale);
            x[n] = -x[n - 1];
            n++;
        }
    }
    vec *a = vec_of(WAN_F32, (size_t)n, x), *y = vec_new(WAN_BF16, (size_t)n, 7, 1);
    CMP_BOTH(round8(d, y->b[i], a->b[i], n, f));
    for (int i = 0; i < 2; i++) {
        float want[520];
        int intact = 1, bad = 0;
        float *got = vec_read(y, i, &intact);
        round_all(want, x, (size_t)n, f);
        for (int k = 0; k < n; k++)
            bad += got[k] != want[k] || signbit(got[k]) != signbit(x[k]);
        ok(!bad && intact, "numbers and halves of %s times 2^%d on device %d (%d differ)",
           f == WAN_E4M3 ? "e4m3" : "e5m2", scale, i, bad);
        free(got);
    }
    cmp_reset();
}

static void not_finite(enum wan_eight f, float bad)
{
    float x[33] = { 1, -2, 3 };
    x[31] = bad;
    vec *a = vec_of(WAN_F32, 33, x), *y = vec_new(WAN_BF16, 33, 0, 1);
    CMP_BOTH(round8(d, y->b[i], a->b[i], 33, f));
    for (int i = 0; i < 2; i++) {
        int intact = 1, nans = 0;
        float *got = vec_read(y, i, &intact);
        for (int k = 0; k < 33; k++)
            nans += got[k] != got[k];
        ok(nans == 33, "%g among the values: all NaN on device %d", (double)bad, i);
        free(got);
    }
    cmp_reset();
}

/* The reference's product against double. */
static void by_hand(int64_t M, int64_t N, int64_t K)
{
    vec *x = vec_new(WAN_F32, (size_t)(M * K), 0, 1), *w = vec_new(WAN_F32, (size_t)(N * K), 0, 1);
    vec *y = vec_new(WAN_F32, (size_t)(M * N), 7, 1);
    wan_buf none = WAN_BUF_NONE;
    int intact = 1;
    CMP_BOTH(linear8_forward(d, y->b[i], none, x->b[i], w->b[i], NULL, M, N, K, WAN_ACT_NONE));
    float *X = vec_read(x, 0, &intact), *W = vec_read(w, 0, &intact), *Y = vec_read(y, 0, &intact);
    float *want = (float *)malloc((size_t)(M * N) * sizeof *want);
    round_all(X, X, (size_t)(M * K), WAN_E4M3);
    round_all(W, W, (size_t)(N * K), WAN_E4M3);
    for (int64_t m = 0; m < M; m++)
        for (int64_t n = 0; n < N; n++) {
            double s = 0;
            for (int64_t k = 0; k < K; k++)
                s += (double)X[m * K + k] * W[n * K + k];
            want[m * N + n] = (float)s;
        }
    ok_err(rel_l2(Y, want, (size_t)(M * N)), 1e-6, "forward against double");
    free(X);
    free(W);
    free(Y);
    free(want);
    cmp_reset();
}

static void products(int64_t M, int64_t N, int64_t K, wan_dtype in, wan_dtype gin, wan_dtype out,
                     enum wan_act act, int add)
{
    vec *x = vec_new(in, (size_t)(M * K), 0, 1), *w = vec_new(in, (size_t)(N * K), 0, 1e-3);
    vec *b = vec_new(WAN_F32, (size_t)N, 0, 3), *y = vec_new(out, (size_t)(M * N), 7, 1);
    vec *z = vec_new(WAN_BF16, (size_t)(M * N), 7, 1);
    vec *dy = vec_new(gin, (size_t)(M * N), 0, 1e-5), *dx = vec_new(out, (size_t)(M * K), 0, 1e-6);
    vec *dw = vec_new(WAN_F32, (size_t)(N * K), 0, 1e-4),
        *db = vec_new(WAN_F32, (size_t)N, 0, 1e-4);
    wan_buf none = WAN_BUF_NONE;
    double e = out == WAN_BF16 ? bound_bf16 : bound_f32;
    CMP_BOTH(linear8_forward(d, y->b[i], act ? z->b[i] : none, x->b[i], w->b[i], vec_p(b, i), M, N,
                             K, act));
    vec_ok(y, act ? 8e-3 : e, "forward %lldx%lldx%lld %s->%s act %d", (long long)M, (long long)N,
           (long long)K, CMP_NAME(in), CMP_NAME(out), act);
    if (act)
        vec_ok(z, bound_bf16, "  pre-activation");
    CMP_BOTH(linear8_backward(d, dx->b[i], vec_p(dw, i), vec_p(db, i), dy->b[i], none, WAN_ACT_NONE,
                              x->b[i], w->b[i], M, N, K, add));
    vec_ok(dx, e, "  dx %s of dy %s, add %d", CMP_NAME(out), CMP_NAME(gin), add);
    vec_ok(dw, bound_f32, "  dw");
    vec_ok(db, 3e-6, "  db");
    CMP_BOTH(linear8_backward(d, none, vec_p(dw, i), NULL, dy->b[i], none, WAN_ACT_NONE, x->b[i],
                              w->b[i], M, N, K, 0));
    vec_ok(dw, bound_f32, "  dw alone");
    CMP_BOTH(linear8_backward(d, dx->b[i], NULL, NULL, dy->b[i], none, WAN_ACT_NONE, x->b[i],
                              w->b[i], M, N, K, add));
    vec_ok(dx, e, "  dx alone");
    cmp_reset();
}

/* What the gradient behind act(z) gives, and what act_backward and the plain one give after another: the same bytes. */
static void behind(int64_t M, int64_t N, int64_t K, wan_dtype gin, enum wan_act act)
{
    const size_t n[3] = { (size_t)(M * K), (size_t)(N * K), (size_t)N };
    vec *x = vec_new(WAN_BF16, n[0], 0, 1), *w = vec_new(WAN_BF16, n[1], 0, 1e-3);
    vec *z = vec_new(WAN_BF16, (size_t)(M * N), 0, 2);
    vec *dy = vec_new(gin, (size_t)(M * N), 0, 1e-5), *g = vec_new(gin, (size_t)(M * N), 7, 1);
    vec *out[2][3];
    wan_buf none = WAN_BUF_NONE;
    for (int k = 0; k < 2; k++) {
        out[k][0] = vec_new(WAN_BF16, n[0], 7, 1);
        for (int j = 1; j < 3; j++)
            out[k][j] = vec_new(WAN_F32, n[j], 7, 0);
    }
    for (int i = 0; i < 2; i++) {
        wan_dev *d = cmp_dev[i];
        const wan_ops *op = d->ops;
        cmp_must(op->act_backward(d, g->b[i], dy->b[i], z->b[i], M * N, act));
        for (int k = 0; k < 2; k++) {
            cmp_must(op->fill(d, out[k][1]->b[i], 0, N * K));
            cmp_must(op->fill(d, out[k][2]->b[i], 0, N));
            cmp_must(op->linear8_backward(d, out[k][0]->b[i], vec_p(out[k][1], i),
                                          vec_p(out[k][2], i), k ? g->b[i] : dy->b[i],
                                          k ? none : z->b[i], k ? WAN_ACT_NONE : act, x->b[i],
                                          w->b[i], M, N, K, 0));
        }
        for (int j = 0; j < 3; j++) {
            size_t bytes = n[j] * (j ? 4 : 2);
            char *a = malloc(bytes), *b = malloc(bytes);
            cmp_must(wan_dev_read(d, a, out[0][j]->b[i].p, bytes));
            cmp_must(wan_dev_read(d, b, out[1][j]->b[i].p, bytes));
            ok(!memcmp(a, b, bytes), "act %d of %s in one, %s: %s", act, CMP_NAME(gin),
               i ? "device" : "reference",
               j == 0   ? "dx"
               : j == 1 ? "dw"
                        : "db");
            free(a), free(b);
        }
    }
    vec_ok(out[0][0], bound_behind, "behind act %d: dx", act);
    vec_ok(out[0][1], bound_behind, "behind act %d: dw", act);
    vec_ok(out[0][2], 1e-3, "behind act %d: db", act);
    cmp_reset();
}

static void still_all(int on)
{
    for (int i = 0; i < 2; i++)
        wan_dev_still(cmp_dev[i], on);
}

/* What is made of weights that are still serves until they are still anew, and no longer. */
static void still(int64_t M, int64_t N, int64_t K)
{
    vec *x = vec_new(WAN_BF16, (size_t)(M * K), 0, 1),
        *w = vec_new(WAN_BF16, (size_t)(N * K), 0, 1);
    vec *other = vec_new(WAN_BF16, (size_t)(N * K), 0, 1),
        *dx = vec_new(WAN_BF16, (size_t)(M * K), 0, 1);
    vec *dy = vec_new(WAN_BF16, (size_t)(M * N), 0, 1),
        *y = vec_new(WAN_BF16, (size_t)(M * N), 7, 1);
    wan_buf none = WAN_BUF_NONE;
    still_all(1);
    for (int k = 0; k < 2; k++) {
        CMP_BOTH(linear8_forward(d, y->b[i], none, x->b[i], w->b[i], NULL, M, N, K, WAN_ACT_NONE));
        CMP_BOTH(linear8_backward(d, dx->b[i], NULL, NULL, dy->b[i], none, WAN_ACT_NONE, x->b[i],
                                  w->b[i], M, N, K, 0));
        vec_ok(y, bound_bf16, "still %lldx%lldx%lld, time %d", (long long)M, (long long)N,
               (long long)K, k);
        vec_ok(dx, bound_bf16, "  dx");
    }
    for (int k = 1; k >= 0; k--) { /* still anew; not still at all */
        still_all(k);
        for (int i = 0; i < 2; i++)
            cmp_must(wan_dev_copy(cmp_dev[i], w->b[i].p, other->b[i].p, other->n * 2));
        CMP_BOTH(linear8_forward(d, y->b[i], none, x->b[i], w->b[i], NULL, M, N, K, WAN_ACT_NONE));
        CMP_BOTH(linear8_backward(d, dx->b[i], NULL, NULL, dy->b[i], none, WAN_ACT_NONE, x->b[i],
                                  w->b[i], M, N, K, 0));
        vec_ok(y, bound_bf16, "  other weights, %s", k ? "still" : "not still");
        vec_ok(dx, bound_bf16, "  dx");
    }
    cmp_reset();
}

int main(void)
{
    if (!cmp_open("linear8"))
        return tap_done();
    const int small = getenv("WAN_CHECK_SMALL") != NULL; /* an emulated device takes its time */
    for (enum wan_eight f = WAN_E4M3; f <= WAN_E5M2; f++) {
        for (int t = 0; t < 2; t++) {
            rounding(cmp_types[t], f, 0, 1, small ? 4001 : 40001);
            rounding(cmp_types[t], f, 1e-4, 1e-7, 1003);
            rounding(cmp_types[t], f, 0, 1e-30, 77);
            rounding(cmp_types[t], f, 0, 0, 9);
            rounding(cmp_types[t], f, 3e30, 1e30, 64);
        }
        corners(f, 0);
        corners(f, -37);
        not_finite(f, INFINITY);
        not_finite(f, NAN);
    }
    by_hand(33, 20, 48);
    still(64, 96, 64);
    still(37, 40, 208);
    still(5, 6, 7);
    static const int64_t shape[][3] = { { 1, 1, 1 },     { 3, 5, 7 },       { 64, 64, 64 },
                                        { 65, 130, 63 }, { 37, 96, 208 },   { 17, 6, 513 },
                                        { 128, 48, 16 }, { 300, 256, 256 }, { 100, 528, 896 } };
    for (size_t s = 0; s < sizeof shape / sizeof *shape - (small ? 2 : 0); s++) {
        const int64_t *m = shape[s];
        products(m[0], m[1], m[2], WAN_BF16, WAN_BF16, WAN_BF16, WAN_ACT_NONE, 0);
        products(m[0], m[1], m[2], WAN_BF16, WAN_BF16, WAN_F32, WAN_ACT_NONE, 1);
        products(m[0], m[1], m[2], WAN_BF16, WAN_F32, WAN_BF16, WAN_ACT_GELU_TANH, 0);
        products(m[0], m[1], m[2], WAN_F32, WAN_F32, WAN_F32, WAN_ACT_NONE, 0);
        behind(m[0], m[1], m[2], WAN_BF16, WAN_ACT_GELU_TANH);
        behind(m[0], m[1], m[2], WAN_F32, WAN_ACT_GELU_ERF);
    }
    return cmp_done();
}
