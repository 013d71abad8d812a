/* SPDX-License-Identifier: Apache-2.0
 *
 * adamw.c - reference AdamW and clip factor.
 */
#include "kernels/adamw.h"

#include "kernels/rows.h"

#define CHUNK WAN_ROWS_CHUNK

int wan_adamw_row(wan_real row[WAN_ADAMW_ROW], const wan_adamw *a, double lr, double weight_decay,
                  int64_t step)
{
    if (step < 1)
        return wan_err("adamw: step %lld; the first is 1", (long long)step);
    double m = 1 - pow(a->beta1, (double)step), v = 1 - pow(a->beta2, (double)step);
    row[0] = (wan_real)(1 - lr * weight_decay);
    row[1] = (wan_real)(lr / m);
    row[2] = (wan_real)(1 / v);
    return 0;
}

typedef struct step {
    wan_real b1, c1, b2, c2, decay, lr, unbias, eps, coef;
} step;

static step step_of(const wan_adamw *a, const wan_real *row, const wan_real *coef)
{
    return (step){
        .b1 = (wan_real)a->beta1,
        .c1 = (wan_real)(1 - a->beta1),
        .b2 = (wan_real)a->beta2,
        .c2 = (wan_real)(1 - a->beta2),
        .decay = row[0],
        .lr = row[1],
        .unbias = row[2],
        .eps = (wan_real)a->eps,
        .coef = coef ? *coef : 1,
    };
}

static void chunk_step(const step *s, wan_real *restrict p, wan_real *restrict m,
                       wan_real *restrict v, const wan_real *restrict g, int64_t n)
{
    for (int64_t j = 0; j < n; j++) {
        wan_real gj = s->coef * g[j];
        m[j] = s->b1 * m[j] + s->c1 * gj;
        v[j] = s->b2 * v[j] + s->c2 * gj * gj;
        p[j] = p[j] * s->decay - s->lr * m[j] / (wan_r_sqrt(v[j] * s->unbias) + s->eps);
    }
}

int wan_adamw_step_c(wan_dev *d, const wan_adamw *a, const wan_real *row, wan_real *p, wan_real *m,
                     wan_real *v, const wan_real *g, wan_buf shadow, const wan_real *coef,
                     int64_t n)
{
    (void)d;
    if (shadow.p)
        WAN_ROWS_CHECK("adamw_step", shadow);
    step s = step_of(a, row, coef);
    if (s.coef != s.coef)
        return 0;
#pragma omp parallel for if (n > WAN_ROWS_PARALLEL)
    for (int64_t i = 0; i < n; i += CHUNK) {
        int64_t len = n - i < CHUNK ? n - i : CHUNK;
        chunk_step(&s, p + i, m + i, v + i, g + i, len);
        if (shadow.p)
            wan_row_store(shadow, i, len, p + i);
    }
    return 0;
}

int wan_clip_coef_c(wan_dev *d, wan_real *coef, const double *sumsq, double max_norm)
{
    (void)d;
    double c = max_norm > 0 ? max_norm / (sqrt(sumsq[0]) + 1e-6) : 1;
    *coef = (wan_real)(isfinite(sumsq[0]) && isfinite(sumsq[1]) ? (c < 1 ? c : 1) : NAN);
    return 0;
}
