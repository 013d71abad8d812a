/* SPDX-License-Identifier: Apache-2.0
 * Gated residual and the LayerNorm behind it: provider against reference, which is the two ops. */
#include "tests/kernels/compare.h"

static const double bound_f32 = 5e-6, bound_bf16 = 5e-3;

enum { GATED = 1, AFFINE = 2 };

static void run(const int64_t *len, int n, int64_t D, wan_dtype t, int how)
{
    const wan_pack *p[2] = { cmp_pack(len, n, 0), cmp_pack(len, n, 1) };
    size_t S = (size_t)p[0]->S, N = S * (size_t)D, M = (size_t)(n * 3 * D);
    vec *x = vec_new(WAN_REAL, N, 0.5, 2), *y = vec_new(t, N, 0, 1),
        *out = vec_new(WAN_REAL, N, 7, 1);
    vec *u = vec_new(t, N, 7, 1), *mean = vec_new(WAN_REAL, S, 7, 1);
    vec *rstd = vec_new(WAN_REAL, S, 7, 1), *mod = vec_new(WAN_REAL, M, 0, 1);
    vec *dx = vec_new(WAN_REAL, N, 0, 1), *dy = vec_new(t, N, 7, 1), *du = vec_new(t, N, 0, 1);
    vec *dmod = vec_new(WAN_REAL, M, 0, 1);
    double b = t == WAN_BF16 ? bound_bf16 : bound_f32;
    wan_resnorm a[2];
    wan_resnorm_grad g[2];
    for (int i = 0; i < 2; i++) {
        float *m = vec_p(mod, i), *dm = vec_p(dmod, i);
        a[i] = (wan_resnorm){ p[i],  D,         1e-6,  how & GATED ? m : NULL,
                              m + D, m + 2 * D, 3 * D, !!(how & AFFINE) };
        g[i] = (wan_resnorm_grad){ dm, dm + D, dm + 2 * D, 3 * D };
    }
    CMP_BOTH(resnorm_forward(d, &a[i], vec_p(out, i), u->b[i], vec_p(mean, i), vec_p(rstd, i),
                             vec_p(x, i), y->b[i]));
    vec_ok(out, bound_f32, "forward n=%d S=%zu D=%lld %s%s%s", n, S, (long long)D, CMP_NAME(t),
           how & GATED ? " gated" : "", how & AFFINE ? " affine" : "");
    vec_ok(u, b, "  u");
    vec_ok(mean, bound_f32, "  mean");
    vec_ok(rstd, bound_f32, "  rstd");
    CMP_BOTH(resnorm_forward(d, &a[i], vec_p(x, i), u->b[i], vec_p(mean, i), vec_p(rstd, i),
                             vec_p(x, i), y->b[i]));
    vec_ok(x, bound_f32, "  in place");
    CMP_BOTH(resnorm_backward(d, &a[i], &g[i], vec_p(dx, i), dy->b[i], du->b[i], vec_p(out, i),
                              vec_p(mean, i), vec_p(rstd, i), y->b[i]));
    vec_ok(dx, bound_f32, "  dx");
    vec_ok(dy, b, "  dy");
    vec_ok(dmod, bound_f32, "  gradients of gate, gain, shift");
    cmp_reset();
}

int main(void)
{
    static const int64_t width[] = { 3, 64, 65, 257, 1536 };
    if (!cmp_open("resnorm"))
        return tap_done();
    for (int how = 0; how < 4; how++)
        for (int t = 0; t < 2; t++)
            for (size_t k = 0; k < sizeof width / sizeof *width; k++) {
                run((int64_t[]){ 5, 1, 62, 40 }, 4, width[k], cmp_types[t], how);
                run((int64_t[]){ 1 }, 1, width[k], cmp_types[t], how);
            }
    return cmp_done();
}
