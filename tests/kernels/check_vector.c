/* SPDX-License-Identifier: Apache-2.0
 * Vector ops: provider against reference, and the reference against its definition. */
#include "tests/kernels/compare.h"

static const double bound_f32 = 1e-6, bound_bf16 = 3e-3, exact = 0;

static void elementwise(size_t n, wan_dtype a, wan_dtype b)
{
    double bound = b == WAN_BF16 ? bound_bf16 : bound_f32;
    vec *x = vec_new(a, n, 0, 1), *y = vec_new(b, n, 7, 1);
    wan_rng r = wan_rng_stream(5, WAN_RNG_TEST, 0, 0);
    CMP_BOTH(cast(d, y->b[i], x->b[i], (int64_t)n));
    vec_ok(y, exact, "cast n=%zu %s->%s", n, CMP_NAME(a), CMP_NAME(b));
    CMP_BOTH(axpy(d, y->b[i], -0.75, x->b[i], (int64_t)n));
    vec_ok(y, bound, "  axpy");
    CMP_BOTH(randn(d, y->b[i], &r, 3, (int64_t)n));
    vec_ok(y, bound, "  randn");
    CMP_BOTH(fill(d, y->b[i], 0.3, (int64_t)n));
    vec_ok(y, exact, "  fill");
    cmp_reset();
}

/* Of fp16 alone: the VAE's storage. */
static void half(size_t n)
{
    for (int t = 0; t < 2; t++) {
        vec *x = vec_new(cmp_types[t], n, 0, 1), *y = vec_new(WAN_F16, n, 7, 1);
        vec *z = vec_new(cmp_types[t], n, 7, 1), *copy = vec_new(WAN_F16, n, 7, 1);
        CMP_BOTH(cast(d, y->b[i], x->b[i], (int64_t)n));
        vec_ok(y, exact, "cast n=%zu %s->fp16", n, CMP_NAME(cmp_types[t]));
        CMP_BOTH(cast(d, z->b[i], y->b[i], (int64_t)n));
        vec_ok(z, exact, "  and back");
        CMP_BOTH(cast(d, copy->b[i], y->b[i], (int64_t)n));
        vec_ok(copy, exact, "  as it is");
        cmp_reset();
    }
}

static void lincomb(size_t n)
{
    static const double c[3] = { 0.5, -2, 1.25 };
    vec *x[3];
    for (int k = 0; k < 3; k++)
        x[k] = vec_new(WAN_REAL, n, 0, 1);
    vec *y = vec_new(WAN_REAL, n, 7, 1);
#define X3 ((const wan_real *const[]){ vec_p(x[0], i), vec_p(x[1], i), vec_p(x[2], i) })
    CMP_BOTH(lincomb(d, vec_p(y, i), 3, c, X3, (int64_t)n));
    vec_ok(y, bound_f32, "lincomb n=%zu", n);
    CMP_BOTH(lincomb(d, vec_p(x[1], i), 3, c, X3, (int64_t)n));
    vec_ok(x[1], bound_f32, "  over one of its terms");
    int intact = 1;
    float *a = vec_read(y, 1, &intact), *b = vec_read(x[1], 1, &intact);
    ok(memcmp(a, b, n * sizeof *a) == 0, "  the same bytes");
    free(a);
    free(b);
    cmp_reset();
}

static void sums(size_t n, wan_dtype t)
{
    double zero[2] = { 1, 1 };
    int64_t none[1] = { 77 };
    vec *x = vec_new(t, n, 0, 1), *s = vec_of(WAN_F64, 1, zero), *bad = vec_of(WAN_I64, 1, none);
    int intact = 1;
    int64_t count = -1;
    CMP_BOTH(sumsq(d, (double *)s->b[i].p, x->b[i], (int64_t)n, 1));
    vec_ok(s, 1e-6, "sumsq n=%zu %s accumulates", n, CMP_NAME(t));
    float *f = vec_read(x, 0, &intact), *got = vec_read(s, 1, &intact);
    double want = 1;
    for (size_t k = 0; k < n; k++)
        want += (double)f[k] * f[k];
    ok(fabs(got[0] / want - 1) < 1e-6, "  its value");
    f[n / 2] = INFINITY;
    f[0] = NAN;
    void *raw = malloc(n * wan_dtype_size(t));
    cmp_must(wan_convert(raw, t, f, WAN_F32, n));
    for (int i = 0; i < 2; i++)
        cmp_must(wan_dev_write(cmp_dev[i], x->b[i].p, raw, n * wan_dtype_size(t)));
    CMP_BOTH(finite(d, (int64_t *)bad->b[i].p, x->b[i], (int64_t)n));
    cmp_must(wan_dev_read(cmp_dev[1], &count, bad->b[1].p, sizeof count));
    ok(count == (n > 1 ? 2 : 1), "  finite counts %lld", (long long)count);
    free(f);
    free(got);
    free(raw);
    cmp_reset();
}

int main(void)
{
    static const size_t size[] = { 1, 3, 63, 65, 2047, 2049, 70001 };
    if (!cmp_open("vector"))
        return tap_done();
    for (size_t s = 0; s < sizeof size / sizeof *size; s++) {
        for (int k = 0; k < 4; k++)
            elementwise(size[s], cmp_types[k % 2], cmp_types[k / 2]);
        half(size[s]);
        lincomb(size[s]);
        sums(size[s], WAN_REAL);
        sums(size[s], WAN_BF16);
    }
    return cmp_done();
}
