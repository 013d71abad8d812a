/* SPDX-License-Identifier: Apache-2.0
 * Noise and patches in one pass: provider against reference, and the reference against the ops that
 * do it in steps. */
#include "tests/kernels/compare.h"

static const double bound_f32 = 1e-6, bound_bf16 = 3e-3;

/* randn, lincomb and patchify on the reference device, compared with side 0 of rows and target. */
static void in_steps(const wan_noise *a, const vec *x0, const vec *eps, const wan_rng *stream,
                     const vec *rows, const vec *target)
{
    wan_dev *d = cmp_dev[0];
    const wan_ops *o = d->ops;
    int64_t n = a->C * a->T * a->h * a->w;
    vec *noise = vec_new(WAN_REAL, (size_t)n, 0, 1), *mixed = vec_new(WAN_REAL, (size_t)n, 7, 1);
    vec *want[2] = { vec_new(rows->t, (size_t)n, 7, 1), vec_new(WAN_REAL, (size_t)n, 7, 1) };
    const vec *have[2] = { rows, target };
    const wan_real *x[2] = { vec_p(x0, 0), vec_p(eps ? eps : noise, 0) };
    if (!eps)
        cmp_must(o->randn(d, noise->b[0], stream, 0, n));
    for (int k = 0; k < 2; k++) {
        int intact = 1;
        cmp_must(o->lincomb(d, vec_p(mixed, 0), 2, k ? a->target : a->in, x, n));
        cmp_must(o->patchify(d, want[k]->b[0], vec_p(mixed, 0), a->C, a->T, a->h, a->w,
                             k ? a->target_order : a->in_order));
        float *u = vec_read(have[k], 0, &intact), *v = vec_read(want[k], 0, &intact);
        double e = cmp_peak(u, v, (size_t)n);
        ok(e <= (have[k]->t == WAN_BF16 ? 8e-3 : 1e-6), "  %s as in steps: %.2g",
           k ? "target" : "rows", e);
        free(u);
        free(v);
    }
}

static void run(int64_t C, int64_t T, int64_t h, int64_t w, wan_dtype t, int k, int given)
{
    size_t n = (size_t)(C * T * h * w);
    wan_noise a = { C, T, h, w, { 0.7, 0.3 }, { -1, 1.5 }, k % 2, k / 2 };
    wan_rng stream = wan_rng_stream(3, WAN_RNG_NOISE, 1, n);
    vec *x0 = vec_new(WAN_REAL, n, 0, 1), *eps = given ? vec_new(WAN_REAL, n, 0, 1) : NULL;
    vec *rows = vec_new(t, n, 7, 1), *target = vec_new(WAN_REAL, n, 7, 1);
    double bound = t == WAN_BF16 ? bound_bf16 : bound_f32;
#define EPS (eps ? vec_p(eps, i) : NULL)
    CMP_BOTH(noise_patch(d, &a, rows->b[i], vec_p(target, i), vec_p(x0, i), EPS, &stream));
    vec_ok(rows, bound, "noise %lldx%lldx%lldx%lld %s orders %d%d%s", (long long)C, (long long)T,
           (long long)h, (long long)w, CMP_NAME(t), k % 2, k / 2, given ? "" : ", drawn");
    vec_ok(target, bound_f32, "  target");
    in_steps(&a, x0, eps, &stream, rows, target);
    vec *alone = vec_new(t, n, 7, 1);
    CMP_BOTH(noise_patch(d, &a, alone->b[i], NULL, vec_p(x0, i), EPS, &stream));
    vec_ok(alone, bound, "  rows alone");
    cmp_reset();
}

int main(void)
{
    if (!cmp_open("noise"))
        return tap_done();
    for (int k = 0; k < 4; k++)
        for (int given = 0; given < 2; given++) {
            run(16, 3, 6, 10, cmp_types[given], k, given);
            run(1, 1, 2, 2, cmp_types[!given], k, given);
            run(36, 2, 34, 18, cmp_types[given], k, given);
        }
    wan_noise odd = { 1, 1, 3, 2, { 1, 0 }, { 1, 0 }, 0, 0 };
    vec *v = vec_new(WAN_REAL, 6, 0, 1);
    ok(cmp_dev[1]->ops->noise_patch(cmp_dev[1], &odd, v->b[1], NULL, vec_p(v, 1), vec_p(v, 1),
                                    NULL) < 0,
       "refused: %s", wan_err_text());
    return cmp_done();
}
