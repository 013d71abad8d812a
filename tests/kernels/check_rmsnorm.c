/* SPDX-License-Identifier: Apache-2.0
 * RMSNorm (+RoPE): provider against reference. */
#include "tests/kernels/compare.h"

static const double bound_f32 = 2e-6, bound_bf16 = 3e-3;

static vec *angles(int64_t n)
{
    float *f = (float *)malloc((size_t)n * sizeof *f);
    for (int64_t i = 0; i < n; i += 2) {
        f[i] = cosf(0.37f * (float)i);
        f[i + 1] = sinf(0.37f * (float)i);
    }
    vec *v = vec_of(WAN_REAL, (size_t)n, f);
    free(f);
    return v;
}

static void run(int64_t S, int64_t D, int64_t hd, wan_dtype t)
{
    size_t N = (size_t)(S * D);
    double bound = t == WAN_BF16 ? bound_bf16 : bound_f32;
    vec *x = vec_new(t, N, 0.1, 2), *y = vec_new(t, N, 7, 1), *dy = vec_new(t, N, 0, 1);
    vec *dx = vec_new(t, N, 7, 1), *r = vec_new(WAN_REAL, (size_t)S, 7, 1);
    vec *w = vec_new(WAN_REAL, (size_t)D, 1, 0.3), *dw = vec_new(WAN_REAL, (size_t)D, 0, 1);
    vec *rope = hd ? angles(S * hd) : NULL;
#define ROPE (rope ? vec_p(rope, i) : NULL)
    CMP_BOTH(rmsnorm_forward(d, y->b[i], vec_p(r, i), x->b[i], vec_p(w, i), ROPE, S, D, hd, 1e-6));
    vec_ok(y, bound, "forward S=%lld D=%lld rope %lld %s", (long long)S, (long long)D,
           (long long)hd, CMP_NAME(t));
    vec_ok(r, bound_f32, "  rstd");
    CMP_BOTH(rmsnorm_backward(d, dx->b[i], vec_p(dw, i), dy->b[i], x->b[i], vec_p(r, i),
                              vec_p(w, i), ROPE, S, D, hd));
    vec_ok(dx, bound, "  dx");
    vec_ok(dw, bound_f32, "  dw");
    CMP_BOTH(rmsnorm_backward(d, dy->b[i], vec_p(dw, i), dy->b[i], x->b[i], vec_p(r, i),
                              vec_p(w, i), ROPE, S, D, hd));
    vec_ok(dy, bound, "  dx over dy");
    cmp_reset();
}

int main(void)
{
    if (!cmp_open("rmsnorm"))
        return tap_done();
    for (int t = 0; t < 2; t++) {
        run(1, 2, 2, cmp_types[t]);
        run(3, 63, 0, cmp_types[t]);
        run(65, 65, 0, cmp_types[t]);
        run(63, 36, 12, cmp_types[t]);
        run(65, 256, 64, cmp_types[t]);
        run(33, 1536, 128, cmp_types[t]);
        run(400, 260, 20, cmp_types[t]);
    }
    return cmp_done();
}
