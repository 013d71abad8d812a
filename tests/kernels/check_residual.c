/* SPDX-License-Identifier: Apache-2.0
 * Gated residual: provider against reference. */
#include "tests/kernels/compare.h"

static const double bound_f32 = 2e-6, bound_bf16 = 3e-3;

static void run(const int64_t *len, int n, int64_t D, wan_dtype t, int gated)
{
    const wan_pack *p[2] = { cmp_pack(len, n, 0), cmp_pack(len, n, 1) };
    size_t N = (size_t)(p[0]->S * D);
    int64_t st = 3 * D;
    vec *x = vec_new(WAN_REAL, N, 0, 1), *y = vec_new(t, N, 0, 1);
    vec *out = vec_new(WAN_REAL, N, 7, 1);
    vec *dy = vec_new(t, N, 7, 1), *g = vec_new(WAN_REAL, (size_t)(n * st), 0, 1);
    vec *dg = vec_new(WAN_REAL, (size_t)(n * st), 0, 1), *dout = vec_new(WAN_REAL, N, 0, 1);
#define GATE(v) (gated ? vec_p(v, i) + D : NULL)
    CMP_BOTH(residual_forward(d, vec_p(out, i), vec_p(x, i), y->b[i], GATE(g), st, p[i], D));
    vec_ok(out, bound_f32, "forward n=%d S=%lld D=%lld %s gate %d", n, (long long)p[0]->S,
           (long long)D, CMP_NAME(t), gated);
    CMP_BOTH(residual_forward(d, vec_p(x, i), vec_p(x, i), y->b[i], GATE(g), st, p[i], D));
    vec_ok(x, bound_f32, "  in place");
    CMP_BOTH(residual_backward(d, dy->b[i], GATE(dg), st, vec_p(dout, i), y->b[i], GATE(g), st,
                               p[i], D));
    vec_ok(dy, t == WAN_BF16 ? bound_bf16 : bound_f32, "  dy");
    vec_ok(dg, bound_f32, "  dgate");
    cmp_reset();
}

int main(void)
{
    static const int64_t width[] = { 1, 3, 63, 64, 65, 257, 1536 };
    if (!cmp_open("residual"))
        return tap_done();
    for (int t = 0; t < 4; t++)
        for (size_t k = 0; k < sizeof width / sizeof *width; k++) {
            run((int64_t[]){ 5, 1, 62 }, 3, width[k], cmp_types[t % 2], t / 2);
            run((int64_t[]){ 1 }, 1, width[k], cmp_types[t % 2], t / 2);
        }
    return cmp_done();
}
