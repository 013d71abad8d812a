/* SPDX-License-Identifier: Apache-2.0
 * LayerNorm: provider against reference. */
#include "tests/kernels/compare.h"

static const double bound_f32 = 2e-6, bound_bf16 = 3e-3;

static void mod(const int64_t *len, int n, int64_t D, wan_dtype t)
{
    const wan_pack *p[2] = { cmp_pack(len, n, 0), cmp_pack(len, n, 1) };
    int64_t S = p[0]->S, st = 2 * D;
    size_t N = (size_t)(S * D);
    double bound = t == WAN_BF16 ? bound_bf16 : bound_f32;
    vec *x = vec_new(WAN_REAL, N, 0.5, 2), *y = vec_new(t, N, 7, 1), *dy = vec_new(t, N, 0, 1);
    vec *dx = vec_new(WAN_REAL, N, 0, 1), *m = vec_new(WAN_REAL, (size_t)S, 0, 1);
    vec *r = vec_new(WAN_REAL, (size_t)S, 0, 1), *e = vec_new(WAN_REAL, (size_t)(n * st), 0, 1);
    vec *de = vec_new(WAN_REAL, (size_t)(n * st), 0, 1);
    CMP_BOTH(ln_mod_forward(d, y->b[i], vec_p(m, i), vec_p(r, i), vec_p(x, i), vec_p(e, i) + D,
                            vec_p(e, i), st, p[i], D, 1e-6));
    vec_ok(y, bound, "mod n=%d S=%lld D=%lld %s", n, (long long)S, (long long)D, CMP_NAME(t));
    vec_ok(m, bound_f32, "  mean");
    vec_ok(r, bound_f32, "  rstd");
    CMP_BOTH(ln_mod_backward(d, vec_p(dx, i), vec_p(de, i) + D, vec_p(de, i), st, dy->b[i],
                             vec_p(x, i), vec_p(m, i), vec_p(r, i), vec_p(e, i) + D, st, p[i], D));
    vec_ok(dx, bound_f32, "  dx");
    vec_ok(de, bound_f32, "  dscale, dshift");
    cmp_reset();
}

static void affine(int64_t S, int64_t D, wan_dtype t)
{
    size_t N = (size_t)(S * D);
    double bound = t == WAN_BF16 ? bound_bf16 : bound_f32;
    vec *x = vec_new(WAN_REAL, N, 0.5, 2), *y = vec_new(t, N, 7, 1), *dy = vec_new(t, N, 0, 1);
    vec *dx = vec_new(WAN_REAL, N, 0, 1), *m = vec_new(WAN_REAL, (size_t)S, 0, 1);
    vec *r = vec_new(WAN_REAL, (size_t)S, 0, 1), *w = vec_new(WAN_REAL, (size_t)D, 1, 1);
    vec *b = vec_new(WAN_REAL, (size_t)D, 0, 1), *dw = vec_new(WAN_REAL, (size_t)D, 0, 1);
    vec *db = vec_new(WAN_REAL, (size_t)D, 0, 1);
    CMP_BOTH(ln_affine_forward(d, y->b[i], vec_p(m, i), vec_p(r, i), vec_p(x, i), vec_p(w, i),
                               vec_p(b, i), S, D, 1e-6));
    vec_ok(y, bound, "affine S=%lld D=%lld %s", (long long)S, (long long)D, CMP_NAME(t));
    CMP_BOTH(ln_affine_backward(d, vec_p(dx, i), vec_p(dw, i), vec_p(db, i), dy->b[i], vec_p(x, i),
                                vec_p(m, i), vec_p(r, i), vec_p(w, i), S, D));
    vec_ok(dx, bound_f32, "  dx");
    vec_ok(dw, bound_f32, "  dw");
    vec_ok(db, bound_f32, "  db");
    cmp_reset();
}

int main(void)
{
    static const int64_t width[] = { 2, 3, 63, 65, 128, 257, 1536 };
    if (!cmp_open("layernorm"))
        return tap_done();
    for (int t = 0; t < 2; t++)
        for (size_t k = 0; k < sizeof width / sizeof *width; k++) {
            mod((int64_t[]){ 5, 1, 62 }, 3, width[k], cmp_types[t]);
            mod((int64_t[]){ 1 }, 1, width[k], cmp_types[t]);
            affine(65, width[k], cmp_types[t]);
        }
    return cmp_done();
}
