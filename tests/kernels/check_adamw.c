/* SPDX-License-Identifier: Apache-2.0
 * AdamW: provider against reference. */
#include "tests/kernels/compare.h"

static const double bound_f32 = 2e-6, bound_bf16 = 3e-3;

/* The numbers of step 3. */
static vec *row_of(wan_real at[WAN_ADAMW_ROW], const wan_adamw *a)
{
    cmp_must(wan_adamw_row(at, a, 1e-2, 0.1, 3));
    return vec_of(WAN_REAL, WAN_ADAMW_ROW, at);
}

static void run(size_t n, wan_dtype shadow, int clip)
{
    double sumsq[2] = { (double)n, 0 };
    vec *p = vec_new(WAN_REAL, n, 0, 1), *m = vec_new(WAN_REAL, n, 0, 0.1);
    vec *v = vec_new(WAN_REAL, n, 1, 0.1), *g = vec_new(WAN_REAL, n, 0, 1);
    vec *s = vec_new(shadow, n, 7, 1), *coef = vec_new(WAN_REAL, 1, 7, 1);
    vec *sq = vec_of(WAN_F64, 2, sumsq);
    const wan_adamw a = { 0.9, 0.95, 1e-8 };
    wan_real at[WAN_ADAMW_ROW];
    vec *row = row_of(at, &a);
    CMP_BOTH(clip_coef(d, vec_p(coef, i), (const double *)sq->b[i].p, 0.5));
    vec_ok(coef, bound_f32, "clip factor n=%zu", n);
    CMP_BOTH(adamw_step(d, &a, vec_p(row, i), vec_p(p, i), vec_p(m, i), vec_p(v, i), vec_p(g, i),
                        s->b[i], clip ? vec_p(coef, i) : NULL, (int64_t)n));
    vec_ok(p, bound_f32, "  p (clip %d)", clip);
    vec_ok(m, bound_f32, "  m");
    vec_ok(v, bound_f32, "  v");
    vec_ok(s, shadow == WAN_BF16 ? bound_bf16 : bound_f32, "  shadow %s", CMP_NAME(shadow));
    cmp_reset();
}

/* A step that is not to be: of a gradient, or of something else, that is not finite. */
static void refused(size_t n, int which)
{
    double sumsq[2] = { 1, 1 };
    sumsq[which] = which ? NAN : INFINITY;
    vec *p = vec_new(WAN_REAL, n, 0, 1), *m = vec_new(WAN_REAL, n, 0, 0.1);
    vec *v = vec_new(WAN_REAL, n, 1, 0.1), *g = vec_new(WAN_REAL, n, 0, 1);
    vec *s = vec_new(WAN_BF16, n, 7, 1), *coef = vec_new(WAN_REAL, 1, 7, 1);
    vec *sq = vec_of(WAN_F64, 2, sumsq), *x[] = { p, m, v, s };
    const wan_adamw a = { 0.9, 0.95, 1e-8 };
    wan_real at[WAN_ADAMW_ROW];
    vec *row = row_of(at, &a);
    size_t size[] = { sizeof(wan_real), sizeof(wan_real), sizeof(wan_real), 2 };
    void *was[4], *is = malloc(n * sizeof(wan_real));
    for (int k = 0; k < 4; k++) {
        was[k] = malloc(n * size[k]);
        cmp_must(wan_dev_read(cmp_dev[1], was[k], x[k]->b[1].p, n * size[k]));
    }
    CMP_BOTH(clip_coef(d, vec_p(coef, i), (const double *)sq->b[i].p, 0.5));
    CMP_BOTH(adamw_step(d, &a, vec_p(row, i), vec_p(p, i), vec_p(m, i), vec_p(v, i), vec_p(g, i),
                        s->b[i], vec_p(coef, i), (int64_t)n));
    for (int k = 0; k < 4; k++) {
        cmp_must(wan_dev_read(cmp_dev[1], is, x[k]->b[1].p, n * size[k]));
        ok(!memcmp(is, was[k], n * size[k]), "not finite (%d), n=%zu: array %d stays", which, n, k);
        free(was[k]);
    }
    free(is);
    cmp_reset();
}

int main(void)
{
    static const size_t size[] = { 1, 3, 63, 65, 2049, 70001 };
    if (!cmp_open("adamw"))
        return tap_done();
    for (size_t s = 0; s < sizeof size / sizeof *size; s++)
        for (int k = 0; k < 4; k++)
            run(size[s], cmp_types[k % 2], k / 2);
    refused(3000, 0);
    refused(5, 1);
    return cmp_done();
}
