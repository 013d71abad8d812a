/* SPDX-License-Identifier: Apache-2.0
 *
 * rmsnorm.c - reference RMSNorm over the full width, with the rotary embedding behind it.
 */
#include "kernels/rmsnorm.h"

#include "kernels/rows.h"

enum { COLS = 128 }; /* columns of dw summed by one task */

/* y = R(s)^dir n for one token: dir 1 forward, -1 the transpose; y may equal n */
static void rotate(wan_real *y, const wan_real *n, const wan_real *rope, int64_t D, int64_t hd,
                   wan_real dir)
{
    for (int64_t h = 0; h < D; h += hd)
        for (int64_t j = 0; j < hd; j += 2) {
            wan_real c = rope[j], s = dir * rope[j + 1], a = n[h + j], b = n[h + j + 1];
            y[h + j] = a * c - b * s;
            y[h + j + 1] = a * s + b * c;
        }
}

static int check(const char *op, const wan_real *rope, int64_t D, int64_t hd)
{
    if (rope && (hd < 2 || hd % 2 || D % hd))
        return wan_err("%s: head_dim %lld does not fit width %lld", op, (long long)hd,
                       (long long)D);
    return 0;
}

int wan_rmsnorm_forward_c(wan_dev *d, wan_buf y, wan_real *rstd, wan_buf x, const wan_real *w,
                          const wan_real *rope, int64_t S, int64_t D, int64_t head_dim, double eps)
{
    WAN_ROWS_CHECK("rmsnorm_forward", y, x);
    WAN_TRY(check("rmsnorm_forward", rope, D, head_dim));
    int64_t mine = 2 * D;
    wan_real *tmp = wan_rows_scratch(d, mine);
    if (!tmp)
        return -1;
#pragma omp parallel for if (S * D > WAN_ROWS_PARALLEL)
    for (int64_t s = 0; s < S; s++) {
        wan_real *t = wan_rows_mine(tmp, mine), *o = wan_row_open(y, s * D, t + D);
        const wan_real *a = wan_row_load(x, s * D, D, t);
        wan_real r = 1 / wan_r_sqrt(wan_row_dot(a, a, D) / (wan_real)D + WAN_C(eps));
        rstd[s] = r;
        for (int64_t j = 0; j < D; j++)
            o[j] = a[j] * r * w[j];
        if (rope)
            rotate(o, o, rope + s * head_dim, D, head_dim, 1);
        wan_row_close(y, s * D, D, o);
    }
    return 0;
}

/* One token: dx = rstd (h - xhat <h xhat>), h = dn w */
static void row_backward(wan_real *dx, const wan_real *dn, const wan_real *x, wan_real r,
                         const wan_real *w, int64_t D)
{
    wan_real s[16] = { 0 }, m = 0;
    for (int64_t i = 0; i < D; i += 16)
        for (int64_t j = 0; j < (D - i < 16 ? D - i : 16); j++)
            s[j] += dn[i + j] * w[i + j] * x[i + j];
    for (int j = 0; j < 16; j++)
        m += s[j];
    m *= r * r / (wan_real)D;
    for (int64_t j = 0; j < D; j++)
        dx[j] = r * (dn[j] * w[j] - x[j] * m);
}

/* dn = R^T g for n columns of one head; cs [n] their cosines and sines */
static void unrotate(wan_real *restrict dn, const wan_real *restrict g, const wan_real *restrict cs,
                     int64_t n)
{
    for (int64_t j = 0; j < n; j += 2) {
        dn[j] = g[j] * cs[j] + g[j + 1] * cs[j + 1];
        dn[j + 1] = g[j + 1] * cs[j] - g[j] * cs[j + 1];
    }
}

/* dw[c0..c0+n) += sum_s dn x rstd; with rope the columns lie in one head, and both are even */
static void columns_backward(wan_real *dw, wan_buf dy, wan_buf x, const wan_real *rstd,
                             const wan_real *rope, int64_t S, int64_t D, int64_t hd, int64_t c0,
                             int64_t n)
{
    wan_real acc[COLS] = { 0 }, tg[COLS], tx[COLS], dn[COLS];
    if (rope)
        rope += c0 % hd;
    for (int64_t s = 0; s < S; s++) {
        const wan_real *g = wan_row_load(dy, s * D + c0, n, tg);
        const wan_real *a = wan_row_load(x, s * D + c0, n, tx);
        wan_real r = rstd[s];
        if (rope) {
            unrotate(dn, g, rope + s * hd, n);
            g = dn;
        }
        for (int64_t j = 0; j < n; j++)
            acc[j] += g[j] * a[j] * r;
    }
    wan_row_axpy(dw + c0, 1, acc, n);
}

int wan_rmsnorm_backward_c(wan_dev *d, wan_buf dx, wan_real *dw, wan_buf dy, wan_buf x,
                           const wan_real *rstd, const wan_real *w, const wan_real *rope, int64_t S,
                           int64_t D, int64_t head_dim)
{
    WAN_ROWS_CHECK("rmsnorm_backward", dx, dy, x);
    WAN_TRY(check("rmsnorm_backward", rope, D, head_dim));
    /* columns go in blocks of a head (rope) or of all, COLS at a time */
    int64_t mine = 4 * D, span = rope ? head_dim : D, per = (span + COLS - 1) / COLS;
    wan_real *tmp = wan_rows_scratch(d, mine);
    if (!tmp)
        return -1;
#pragma omp parallel if (S * D > WAN_ROWS_PARALLEL)
    {
#pragma omp for /* dw first: dx may be written over dy */
        for (int64_t b = 0; b < D / span * per; b++) {
            int64_t at = b % per * COLS, n = span - at < COLS ? span - at : COLS;
            columns_backward(dw, dy, x, rstd, rope, S, D, head_dim, b / per * span + at, n);
        }
#pragma omp for
        for (int64_t s = 0; s < S; s++) {
            wan_real *t = wan_rows_mine(tmp, mine), *o = wan_row_open(dx, s * D, t + 3 * D);
            const wan_real *g = wan_row_load(dy, s * D, D, t);
            const wan_real *a = wan_row_load(x, s * D, D, t + D);
            if (rope) {
                rotate(t + 2 * D, g, rope + s * head_dim, D, head_dim, -1);
                g = t + 2 * D;
            }
            row_backward(o, g, a, rstd[s], w, D);
            wan_row_close(dx, s * D, D, o);
        }
    }
    return 0;
}
