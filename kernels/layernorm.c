/* SPDX-License-Identifier: Apache-2.0
 *
 * layernorm.c - reference LayerNorm.  Both forms are one: u = xhat * gain + shift, where gain is
 * 1 + scale of the token's sample, or w.
 */
#include "kernels/layernorm.h"

#include "kernels/rows.h"

/* Columns summed by one task: a token's block is a few cache lines, and order is by token. */
enum { COLS = 128 };

static void stats(const wan_real *x, int64_t D, double eps, wan_real *mean, wan_real *rstd)
{
    wan_real m = wan_row_sum(x, D) / (wan_real)D, s[16] = { 0 }, v = 0;
    for (int64_t i = 0; i < D; i += 16)
        for (int64_t j = 0; j < (D - i < 16 ? D - i : 16); j++)
            s[j] += (x[i + j] - m) * (x[i + j] - m);
    for (int j = 0; j < 16; j++)
        v += s[j];
    *mean = m;
    *rstd = 1 / wan_r_sqrt(v / (wan_real)D + WAN_C(eps));
}

/* One token: y = xhat * (one + gain) + shift */
static void row_forward(wan_real *restrict y, const wan_real *x, wan_real mean, wan_real rstd,
                        const wan_real *gain, wan_real one, const wan_real *shift, int64_t D)
{
    for (int64_t j = 0; j < D; j++)
        y[j] = (x[j] - mean) * rstd * (one + gain[j]) + shift[j];
}

static int forward(wan_dev *d, wan_buf y, wan_real *mean, wan_real *rstd, const wan_real *x,
                   const wan_real *gain, wan_real one, const wan_real *shift, int64_t stride,
                   const int32_t *seg, int64_t S, int64_t D, double eps)
{
    wan_real *tmp = wan_rows_scratch(d, D);
    if (!tmp)
        return -1;
#pragma omp parallel for if (S * D > WAN_ROWS_PARALLEL)
    for (int64_t s = 0; s < S; s++) {
        wan_real *o = wan_row_open(y, s * D, wan_rows_mine(tmp, D));
        int64_t i = seg ? seg[s] : 0;
        stats(x + s * D, D, eps, &mean[s], &rstd[s]);
        row_forward(o, x + s * D, mean[s], rstd[s], gain + i * stride, one, shift + i * stride, D);
        wan_row_close(y, s * D, D, o);
    }
    return 0;
}

/* One token: dx += rstd (g - <g> - xhat <g xhat>), g = dy (one + gain); g [D] is workspace */
static void row_backward(wan_real *restrict dx, const wan_real *dy, const wan_real *x,
                         wan_real mean, wan_real rstd, const wan_real *gain, wan_real one,
                         wan_real *restrict g, int64_t D)
{
    wan_real a[16] = { 0 }, b[16] = { 0 }, ga = 0, gb = 0;
    for (int64_t i = 0; i < D; i += 16)
        for (int64_t j = 0; j < (D - i < 16 ? D - i : 16); j++) {
            wan_real v = dy[i + j] * (one + gain[i + j]);
            g[i + j] = v;
            a[j] += v;
            b[j] += v * (x[i + j] - mean) * rstd;
        }
    for (int j = 0; j < 16; j++)
        ga += a[j], gb += b[j];
    ga /= (wan_real)D;
    gb /= (wan_real)D;
    for (int64_t j = 0; j < D; j++)
        dx[j] += rstd * (g[j] - ga - (x[j] - mean) * rstd * gb);
}

/* dgain += sum dy*xhat, dshift += sum dy over tokens [s0, s1), columns [c0, c0+n) */
static void columns_backward(wan_real *dgain, wan_real *dshift, wan_buf dy, const wan_real *x,
                             const wan_real *mean, const wan_real *rstd, int64_t s0, int64_t s1,
                             int64_t D, int64_t c0, int64_t n)
{
    wan_real a[COLS] = { 0 }, b[COLS] = { 0 }, tmp[COLS];
    for (int64_t s = s0; s < s1; s++) {
        const wan_real *g = wan_row_load(dy, s * D + c0, n, tmp), *xs = x + s * D + c0;
        wan_real m = mean[s], r = rstd[s];
        for (int64_t j = 0; j < n; j++) {
            a[j] += g[j] * ((xs[j] - m) * r);
            b[j] += g[j];
        }
    }
    wan_row_axpy(dgain + c0, 1, a, n);
    wan_row_axpy(dshift + c0, 1, b, n);
}

static int backward(wan_dev *d, wan_real *dx, wan_real *dgain, wan_real *dshift, int64_t dstride,
                    wan_buf dy, const wan_real *x, const wan_real *mean, const wan_real *rstd,
                    const wan_real *gain, wan_real one, int64_t stride, const int32_t *seg,
                    const int32_t *cu, int n, int64_t S, int64_t D)
{
    int64_t mine = 2 * D, blocks = (D + COLS - 1) / COLS;
    wan_real *tmp = wan_rows_scratch(d, mine);
    if (!tmp)
        return -1;
#pragma omp parallel if (S * D > WAN_ROWS_PARALLEL)
    {
        wan_real *t = wan_rows_mine(tmp, mine);
#pragma omp for
        for (int64_t s = 0; s < S; s++) {
            const wan_real *g = wan_row_load(dy, s * D, D, t);
            const wan_real *u = gain + (seg ? seg[s] : 0) * stride;
            row_backward(dx + s * D, g, x + s * D, mean[s], rstd[s], u, one, t + D, D);
        }
#pragma omp for
        for (int64_t k = 0; k < n * blocks; k++) {
            int64_t i = k / blocks, c = k % blocks * COLS;
            columns_backward(dgain + i * dstride, dshift + i * dstride, dy, x, mean, rstd, cu[i],
                             cu[i + 1], D, c, D - c < COLS ? D - c : COLS);
        }
    }
    return 0;
}

int wan_ln_mod_forward_c(wan_dev *d, wan_buf y, wan_real *mean, wan_real *rstd, const wan_real *x,
                         const wan_real *scale, const wan_real *shift, int64_t stride,
                         const wan_pack *pack, int64_t D, double eps)
{
    WAN_ROWS_CHECK("ln_mod_forward", y);
    return forward(d, y, mean, rstd, x, scale, 1, shift, stride, pack->seg, pack->S, D, eps);
}

int wan_ln_mod_backward_c(wan_dev *d, wan_real *dx, wan_real *dscale, wan_real *dshift,
                          int64_t dstride, wan_buf dy, const wan_real *x, const wan_real *mean,
                          const wan_real *rstd, const wan_real *scale, int64_t stride,
                          const wan_pack *pack, int64_t D)
{
    WAN_ROWS_CHECK("ln_mod_backward", dy);
    return backward(d, dx, dscale, dshift, dstride, dy, x, mean, rstd, scale, 1, stride, pack->seg,
                    pack->cu, pack->n, pack->S, D);
}

int wan_ln_affine_forward_c(wan_dev *d, wan_buf y, wan_real *mean, wan_real *rstd,
                            const wan_real *x, const wan_real *w, const wan_real *b, int64_t S,
                            int64_t D, double eps)
{
    WAN_ROWS_CHECK("ln_affine_forward", y);
    return forward(d, y, mean, rstd, x, w, 0, b, 0, NULL, S, D, eps);
}

int wan_ln_affine_backward_c(wan_dev *d, wan_real *dx, wan_real *dw, wan_real *db, wan_buf dy,
                             const wan_real *x, const wan_real *mean, const wan_real *rstd,
                             const wan_real *w, int64_t S, int64_t D)
{
    WAN_ROWS_CHECK("ln_affine_backward", dy);
    int32_t cu[2] = { 0, (int32_t)S };
    return backward(d, dx, dw, db, 0, dy, x, mean, rstd, w, 0, 0, NULL, cu, 1, S, D);
}
