/* SPDX-License-Identifier: Apache-2.0
 *
 * vector.c - reference work on long vectors, in chunks of a fixed size so that sums have one order
 * whatever the number of threads.
 */
#include "kernels/vector.h"

#include "kernels/rows.h"

#define CHUNK WAN_ROWS_CHUNK

static int64_t chunk(int64_t n, int64_t i)
{
    return n - i < CHUNK ? n - i : CHUNK;
}

int wan_cast_c(wan_dev *d, wan_buf y, wan_buf x, int64_t n)
{
    (void)d;
    WAN_ROWS_CHECK_HALF("cast", y, x);
#pragma omp parallel for if (n > WAN_ROWS_PARALLEL)
    for (int64_t i = 0; i < n; i += CHUNK) {
        wan_real tmp[CHUNK];
        if (y.t == x.t)
            memmove(wan_buf_at(y, i).p, wan_buf_at(x, i).p,
                    (size_t)chunk(n, i) * wan_dtype_size(x.t));
        else
            wan_row_store(y, i, chunk(n, i), wan_row_load(x, i, chunk(n, i), tmp));
    }
    return 0;
}

int wan_axpy_c(wan_dev *d, wan_buf y, double a, wan_buf x, int64_t n)
{
    (void)d;
    WAN_ROWS_CHECK("axpy", y, x);
#pragma omp parallel for if (n > WAN_ROWS_PARALLEL)
    for (int64_t i = 0; i < n; i += CHUNK) {
        wan_real tx[CHUNK], ty[CHUNK], *o = wan_row_open(y, i, ty), c = (wan_real)a;
        const wan_real *v = wan_row_load(x, i, chunk(n, i), tx);
        wan_row_load(y, i, chunk(n, i), ty);
        for (int64_t j = 0; j < chunk(n, i); j++)
            o[j] += c * v[j];
        wan_row_close(y, i, chunk(n, i), o);
    }
    return 0;
}

int wan_fill_c(wan_dev *d, wan_buf y, double a, int64_t n)
{
    (void)d;
    WAN_ROWS_CHECK("fill", y);
#pragma omp parallel for if (n > WAN_ROWS_PARALLEL)
    for (int64_t i = 0; i < n; i += CHUNK) {
        wan_real ty[CHUNK], *o = wan_row_open(y, i, ty);
        for (int64_t j = 0; j < chunk(n, i); j++)
            o[j] = (wan_real)a;
        wan_row_close(y, i, chunk(n, i), o);
    }
    return 0;
}

int wan_lincomb_c(wan_dev *d, wan_real *y, int k, const double *c, const wan_real *const *x,
                  int64_t n)
{
    (void)d;
    if (k < 1 || k > WAN_LINCOMB_MAX)
        return wan_err("lincomb: %d terms", k);
#pragma omp parallel for if (n > WAN_ROWS_PARALLEL)
    for (int64_t i = 0; i < n; i += CHUNK) {
        wan_real acc[CHUNK] = { 0 }; /* y may be one of the x */
        for (int t = 0; t < k; t++)
            wan_row_axpy(acc, (wan_real)c[t], x[t] + i, chunk(n, i));
        memcpy(y + i, acc, (size_t)chunk(n, i) * sizeof *y);
    }
    return 0;
}

/* sum x^2 of one chunk in lanes of double, more than one multiply-add takes cycles */
static double chunk_sumsq(const wan_real *x, int64_t n)
{
    enum { LANES = 64 };
    double s[LANES] = { 0 };
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            s[j] += (double)x[i + j] * (double)x[i + j];
    for (int j = 0; i < n; i++, j++)
        s[j] += (double)x[i] * (double)x[i];
    for (int w = LANES / 2; w; w /= 2)
        for (int j = 0; j < w; j++)
            s[j] += s[j + w];
    return s[0];
}

int wan_sumsq_c(wan_dev *d, double *out, wan_buf x, int64_t n, int accumulate)
{
    WAN_ROWS_CHECK("sumsq", x);
    int64_t chunks = (n + CHUNK - 1) / CHUNK;
    double *part = (double *)wan_dev_scratch(d, (size_t)chunks * sizeof *part + 64);
    if (!part)
        return -1;
#pragma omp parallel for if (n > WAN_ROWS_PARALLEL)
    for (int64_t c = 0; c < chunks; c++) {
        wan_real tmp[CHUNK];
        int64_t len = chunk(n, c * CHUNK);
        part[c] = chunk_sumsq(wan_row_load(x, c * CHUNK, len, tmp), len);
    }
    double sum = accumulate ? *out : 0;
    for (int64_t c = 0; c < chunks; c++)
        sum += part[c];
    *out = sum;
    return 0;
}

int wan_finite_c(wan_dev *d, int64_t *out, wan_buf x, int64_t n)
{
    (void)d;
    WAN_ROWS_CHECK("finite", x);
    int64_t bad = 0;
#pragma omp parallel for reduction(+ : bad) if (n > WAN_ROWS_PARALLEL)
    for (int64_t i = 0; i < n; i += CHUNK) {
        wan_real tmp[CHUNK];
        const wan_real *v = wan_row_load(x, i, chunk(n, i), tmp);
        for (int64_t j = 0; j < chunk(n, i); j++)
            bad += v[j] - v[j] != 0; /* NaN for both NaN and infinity */
    }
    *out = bad;
    return 0;
}

int wan_randn_c(wan_dev *d, wan_buf y, const wan_rng *stream, uint64_t first, int64_t n)
{
    (void)d;
    WAN_ROWS_CHECK("randn", y);
#pragma omp parallel for if (n > WAN_ROWS_PARALLEL)
    for (int64_t i = 0; i < n; i += CHUNK) {
        float v[CHUNK];
        wan_real t[CHUNK];
        wan_rng_normal(stream, v, first + (uint64_t)i, (size_t)chunk(n, i));
        for (int64_t j = 0; j < chunk(n, i); j++)
            t[j] = v[j];
        wan_row_store(y, i, chunk(n, i), t);
    }
    return 0;
}
