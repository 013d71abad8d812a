/* SPDX-License-Identifier: Apache-2.0
 *
 * embed.c - reference embeddings and patches.
 */
#include "kernels/embed.h"

#include "kernels/rows.h"

int wan_sinusoid_c(wan_dev *d, wan_real *y, const wan_real *t, int64_t n, int64_t dim)
{
    (void)d;
    int64_t h = dim / 2;
    if (dim < 2 || dim % 2)
        return wan_err("sinusoid: width %lld is not even", (long long)dim);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < h; j++) {
            double a = (double)t[i] * pow(10000.0, -(double)j / (double)h);
            y[i * dim + j] = (wan_real)cos(a);
            y[i * dim + h + j] = (wan_real)sin(a);
        }
    return 0;
}

int wan_modulation_forward_c(wan_dev *d, wan_real *out, const wan_real *table, const wan_real *e,
                             int64_t n, int64_t R, int64_t D, int64_t e_rows)
{
    (void)d;
#pragma omp parallel for if (n * R * D > WAN_ROWS_PARALLEL)
    for (int64_t k = 0; k < n * R; k++) {
        int64_t i = k / R, r = k % R;
        const wan_real *a = table + r * D, *b = e + (i * e_rows + (e_rows == 1 ? 0 : r)) * D;
        for (int64_t j = 0; j < D; j++)
            out[k * D + j] = a[j] + b[j];
    }
    return 0;
}

int wan_modulation_backward_c(wan_dev *d, wan_real *dtable, wan_real *de, const wan_real *dout,
                              int64_t n, int64_t R, int64_t D, int64_t e_rows)
{
    (void)d;
    for (int64_t k = 0; k < n * R; k++) {
        int64_t i = k / R, r = k % R;
        wan_row_axpy(dtable + r * D, 1, dout + k * D, D);
        wan_row_axpy(de + (i * e_rows + (e_rows == 1 ? 0 : r)) * D, 1, dout + k * D, D);
    }
    return 0;
}

int wan_gather_add_c(wan_dev *d, wan_real *y, const wan_real *table, const int32_t *id, int64_t S,
                     int64_t D)
{
    (void)d;
#pragma omp parallel for if (S * D > WAN_ROWS_PARALLEL)
    for (int64_t s = 0; s < S; s++)
        wan_row_axpy(y + s * D, 1, table + id[s] * D, D);
    return 0;
}

/* The row of one token; to: latent -> row, else row -> latent. */
static void patch(wan_real *row, wan_real *latent, int64_t s, int64_t C, int64_t T, int64_t h,
                  int64_t w, enum wan_patch_order order, int to)
{
    int64_t gw = w / 2, gh = h / 2, x = s % gw, y = s / gw % gh, f = s / (gw * gh);
    for (int64_t c = 0; c < C; c++)
        for (int64_t p = 0; p < 4; p++) {
            wan_real *v = latent + ((c * T + f) * h + 2 * y + p / 2) * w + 2 * x + p % 2;
            wan_real *r = row + wan_patch_feature(c, p / 2, p % 2, C, order);
            if (to)
                *r = *v;
            else
                *v = *r;
        }
}

static int patches(wan_dev *d, wan_buf rows, wan_real *latent, int64_t C, int64_t T, int64_t h,
                   int64_t w, enum wan_patch_order order, int to)
{
    WAN_ROWS_CHECK(to ? "patchify" : "unpatchify", rows);
    int64_t F = 4 * C, S = T * (h / 2) * (w / 2), mine = F;
    if (h % 2 || w % 2)
        return wan_err("patchify: latent %lld x %lld is not even", (long long)h, (long long)w);
    wan_real *tmp = wan_rows_scratch(d, mine);
    if (!tmp)
        return -1;
#pragma omp parallel for if (S * F > WAN_ROWS_PARALLEL)
    for (int64_t s = 0; s < S; s++) {
        wan_real *t = wan_rows_mine(tmp, mine);
        if (!to && rows.t != WAN_REAL)
            wan_row_load(rows, s * F, F, t);
        wan_real *row = wan_row_open(rows, s * F, t);
        patch(row, latent, s, C, T, h, w, order, to);
        if (to)
            wan_row_close(rows, s * F, F, row);
    }
    return 0;
}

int wan_patchify_c(wan_dev *d, wan_buf rows, const wan_real *latent, int64_t C, int64_t T,
                   int64_t h, int64_t w, enum wan_patch_order order)
{
    return patches(d, rows, (wan_real *)(uintptr_t)latent, C, T, h, w, order, 1);
}

int wan_unpatchify_c(wan_dev *d, wan_real *latent, wan_buf rows, int64_t C, int64_t T, int64_t h,
                     int64_t w, enum wan_patch_order order)
{
    return patches(d, rows, latent, C, T, h, w, order, 0);
}
