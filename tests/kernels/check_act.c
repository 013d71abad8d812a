/* SPDX-License-Identifier: Apache-2.0
 * Activations: provider against reference, also where exp and tanh saturate. */
#include "tests/kernels/compare.h"

static const double bound_f32 = 1e-6, bound_bf16 = 3e-3;

static void run(size_t n, wan_dtype t, enum wan_act act, double sd)
{
    double bound = t == WAN_BF16 ? bound_bf16 : bound_f32;
    vec *x = vec_new(t, n, 0, sd), *y = vec_new(t, n, 7, 1), *g = vec_new(t, n, 0, 1);
    vec *dx = vec_new(t, n, 7, 1);
    CMP_BOTH(act_forward(d, y->b[i], x->b[i], (int64_t)n, act));
    vec_ok(y, bound, "forward n=%zu %s act %d sd %g", n, CMP_NAME(t), act, sd);
    CMP_BOTH(act_backward(d, dx->b[i], g->b[i], x->b[i], (int64_t)n, act));
    vec_ok(dx, bound, "  backward");
    CMP_BOTH(act_gated(d, y->b[i], x->b[i], g->b[i], (int64_t)n, act));
    vec_ok(y, bound, "  gated");
    CMP_BOTH(act_backward(d, g->b[i], g->b[i], x->b[i], (int64_t)n, act));
    vec_ok(g, bound, "  backward in place");
    cmp_reset();
}

/* Extremes must stay finite and exact at both ends. */
static void extremes(wan_dtype t)
{
    static const float f[] = { -1e30f, -100, -20, -5, -1e-20f, 0, 1e-20f, 5, 20, 100, 1e30f };
    enum { N = sizeof f / sizeof *f };
    uint16_t h[N];
    for (int i = 0; i < N; i++)
        h[i] = wan_f32_to_bf16(f[i]);
    for (int act = WAN_ACT_GELU_TANH; act <= WAN_ACT_SILU; act++) {
        vec *x = vec_of(t, N, t == WAN_BF16 ? (const void *)h : f), *y = vec_new(t, N, 0, 1);
        CMP_BOTH(act_forward(d, y->b[i], x->b[i], N, (enum wan_act)act));
        int intact = 1;
        float *v = vec_read(y, 1, &intact);
        ok(v[0] == 0 && fabs(v[1]) < 1e-30 && v[5] == 0 && fabs(v[10] / 1e30 - 1) < 1e-2,
           "extremes %s act %d: %g %g %g %g", CMP_NAME(t), act, v[0], v[1], v[5], v[10]);
        free(v);
        cmp_reset();
    }
}

/* What becomes of an element depends neither on how many come behind it nor on its place among them. */
static void places(wan_dtype t, enum wan_act act)
{
    enum { N = 95 };
    const wan_ops *o = cmp_dev[1]->ops;
    vec *x = vec_new(t, N, 0, 3), *g = vec_new(t, N, 0, 1), *y = vec_new(t, N, 7, 1);
    float *all[3], *some;
    int intact = 1, other[3] = { 0 };
    for (int64_t n = N; n > 0; n--)
        for (int k = 0; k < 3; k++) {
            wan_dev *d = cmp_dev[1];
            cmp_must(k == 0   ? o->act_forward(d, y->b[1], x->b[1], n, act)
                     : k == 1 ? o->act_backward(d, y->b[1], g->b[1], x->b[1], n, act)
                              : o->act_gated(d, y->b[1], x->b[1], g->b[1], n, act));
            some = vec_read(y, 1, &intact);
            if (n == N) {
                all[k] = some;
                continue;
            }
            other[k] += memcmp(all[k], some, (size_t)n * sizeof *some) != 0;
            free(some);
        }
    ok(!other[0] && !other[1] && !other[2],
       "1 to %d elements %s act %d: the first ones are the same (%d %d %d)", N, CMP_NAME(t), act,
       other[0], other[1], other[2]);
    for (int k = 0; k < 3; k++)
        free(all[k]);
    cmp_reset();
}

int main(void)
{
    static const size_t size[] = { 1, 3, 15, 16, 17, 63, 65, 2047, 2049, 40000 };
    if (!cmp_open("act"))
        return tap_done();
    for (size_t s = 0; s < sizeof size / sizeof *size; s++)
        for (int t = 0; t < 2; t++)
            for (int act = WAN_ACT_NONE; act <= WAN_ACT_SILU; act++)
                run(size[s], cmp_types[t], (enum wan_act)act, s % 2 ? 1 : 4);
    extremes(WAN_REAL);
    extremes(WAN_BF16);
    for (int t = 0; t < 2; t++) {
        places(cmp_types[t], WAN_ACT_GELU_TANH);
        places(cmp_types[t], WAN_ACT_SILU);
    }
    return cmp_done();
}
