/* SPDX-License-Identifier: Apache-2.0
 *
 * linear.c - reference dense layer.  bf16 operands are widened once; all sums are in wan_real.
 */
#include "kernels/linear.h"

#include "kernels/act_math.h"
#include "kernels/rows.h"

/* Rows per task: a row of w is used this often while it is in cache. */
enum { ROWS = 8 };

/* b [n] as wan_real: itself, or a copy at *space, which then moves on. */
static const wan_real *widen(wan_buf b, int64_t n, wan_real **space)
{
    if (b.t == WAN_REAL)
        return (const wan_real *)b.p;
    wan_real *out = *space;
    *space += n;
#pragma omp parallel for if (n > WAN_ROWS_PARALLEL)
    for (int64_t i = 0; i < n; i += WAN_ROWS_CHUNK)
        wan_row_load(b, i, n - i < WAN_ROWS_CHUNK ? n - i : WAN_ROWS_CHUNK, out + i);
    return out;
}

/* The same of weights [N, K], which may be blocks. */
static const wan_real *unpack(wan_buf w, int64_t N, int64_t K, wan_real **space)
{
    const wan_quant q = wan_quant_of(w.t);
    if (!q)
        return widen(w, N * K, space);
    wan_real *out = *space;
    const int64_t values = (int64_t)wan_quant_values(q);
    *space += N * K;
#pragma omp parallel for if (N * K > WAN_ROWS_PARALLEL)
    for (int64_t b = 0; b < N * K / values; b++) {
        float v[256];
        wan_quant_decode(v, (const char *)w.p + wan_quant_span(w.t, b * values), q, (size_t)values);
        for (int64_t i = 0; i < values; i++)
            out[b * values + i] = v[i];
    }
    return out;
}

/* Scratch for the widened copies of two operands and `more` elements. */
static wan_real *widen_space(wan_dev *d, wan_buf a, int64_t na, wan_buf b, int64_t nb, int64_t more)
{
    int64_t n = (a.t == WAN_REAL ? 0 : na) + (b.t == WAN_REAL ? 0 : nb) + more;
    return (wan_real *)wan_dev_scratch(d, (size_t)n * sizeof(wan_real) + 64);
}

int wan_linear_forward_c(wan_dev *d, wan_buf y, wan_buf pre, wan_buf x, wan_buf w,
                         const wan_real *b, int64_t M, int64_t N, int64_t K, enum wan_act act)
{
    WAN_ROWS_CHECK("linear_forward", y, x, pre.p ? pre : y);
    WAN_TRY(wan_rows_check_weights("linear_forward", w, K));
    int64_t mine = wan_rows_stride(N);
    wan_real *space = widen_space(d, x, M * K, w, N * K, ROWS * mine * wan_rows_threads());
    if (!space)
        return -1;
    wan_real *rows = space;
    space += ROWS * mine * wan_rows_threads();
    const wan_real *X = widen(x, M * K, &space), *W = unpack(w, N, K, &space);
#pragma omp parallel for if (M * N * K > WAN_ROWS_PARALLEL)
    for (int64_t m0 = 0; m0 < M; m0 += ROWS) {
        wan_real *z = rows + ROWS * mine * wan_rows_thread();
        int64_t m1 = m0 + ROWS < M ? m0 + ROWS : M;
        for (int64_t n = 0; n < N; n++)
            for (int64_t m = m0; m < m1; m++)
                z[(m - m0) * mine + n] = wan_row_dot(X + m * K, W + n * K, K) + (b ? b[n] : 0);
        for (int64_t m = m0; m < m1; m++) {
            wan_real *row = z + (m - m0) * mine;
            if (pre.p)
                wan_row_store(pre, m * N, N, row);
            for (int64_t n = 0; n < N; n++)
                row[n] = wan_act_value(row[n], act);
            wan_row_store(y, m * N, N, row);
        }
    }
    return 0;
}

/* Where rows of a gradient go: over what is there, onto it, or times act'(z). */
typedef struct into {
    wan_buf dx, z;
    enum wan_act act;
    int accumulate;
} into;

static void put(const into *o, wan_real *row, int64_t at, int64_t K)
{
    wan_real tmp[WAN_ROWS_CHUNK];
    for (int64_t k = 0; k < K; k += WAN_ROWS_CHUNK) {
        int64_t c = K - k < WAN_ROWS_CHUNK ? K - k : WAN_ROWS_CHUNK;
        if (o->accumulate)
            wan_row_axpy(row + k, 1, wan_row_load(o->dx, at + k, c, tmp), c);
        const wan_real *z = o->z.p ? wan_row_load(o->z, at + k, c, tmp) : NULL;
        for (int64_t j = 0; z && j < c; j++)
            row[k + j] *= wan_act_slope(z[j], o->act);
    }
    wan_row_store(o->dx, at, K, row);
}

static int dgrad(wan_dev *d, const into *o, wan_buf dy, wan_buf w, int64_t M, int64_t N, int64_t K)
{
    int64_t mine = wan_rows_stride(K);
    wan_real *space = widen_space(d, dy, M * N, w, N * K, ROWS * mine * wan_rows_threads());
    if (!space)
        return -1;
    wan_real *rows = space;
    space += ROWS * mine * wan_rows_threads();
    const wan_real *G = widen(dy, M * N, &space), *W = widen(w, N * K, &space);
#pragma omp parallel for if (M * N * K > WAN_ROWS_PARALLEL)
    for (int64_t m0 = 0; m0 < M; m0 += ROWS) {
        wan_real *z = rows + ROWS * mine * wan_rows_thread();
        int64_t m1 = m0 + ROWS < M ? m0 + ROWS : M;
        memset(z, 0, (size_t)(ROWS * mine) * sizeof *z);
        for (int64_t n = 0; n < N; n++)
            for (int64_t m = m0; m < m1; m++)
                wan_row_axpy(z + (m - m0) * mine, G[m * N + n], W + n * K, K);
        for (int64_t m = m0; m < m1; m++)
            put(o, z + (m - m0) * mine, m * K, K);
    }
    return 0;
}

int wan_linear_dgrad_c(wan_dev *d, wan_buf dx, wan_buf dy, wan_buf w, int64_t M, int64_t N,
                       int64_t K, int accumulate)
{
    WAN_ROWS_CHECK("linear_dgrad", dx, dy, w);
    const into o = { .dx = dx, .accumulate = accumulate };
    return dgrad(d, &o, dy, w, M, N, K);
}

int wan_linear_dgrad_act_c(wan_dev *d, wan_buf dx, wan_buf dy, wan_buf w, wan_buf z, int64_t M,
                           int64_t N, int64_t K, enum wan_act act)
{
    WAN_ROWS_CHECK("linear_dgrad_act", dx, dy, w, z);
    const into o = { .dx = dx, .z = z, .act = act };
    return dgrad(d, &o, dy, w, M, N, K);
}

int wan_linear_wgrad_c(wan_dev *d, wan_real *dw, wan_real *db, wan_buf dy, wan_buf x, int64_t M,
                       int64_t N, int64_t K, int accumulate)
{
    WAN_ROWS_CHECK("linear_wgrad", dy, x);
    int64_t mine = wan_rows_stride(K);
    wan_real *space = widen_space(d, dy, M * N, x, M * K, ROWS * mine * wan_rows_threads());
    if (!space)
        return -1;
    wan_real *rows = space;
    space += ROWS * mine * wan_rows_threads();
    const wan_real *G = widen(dy, M * N, &space), *X = widen(x, M * K, &space);
#pragma omp parallel for if (M * N * K > WAN_ROWS_PARALLEL)
    for (int64_t n0 = 0; n0 < N; n0 += ROWS) {
        wan_real *z = rows + ROWS * mine * wan_rows_thread(), s[ROWS] = { 0 };
        int64_t n1 = n0 + ROWS < N ? n0 + ROWS : N;
        memset(z, 0, (size_t)(ROWS * mine) * sizeof *z);
        for (int64_t m = 0; m < M; m++)
            for (int64_t n = n0; n < n1; n++) {
                wan_row_axpy(z + (n - n0) * mine, G[m * N + n], X + m * K, K);
                s[n - n0] += G[m * N + n];
            }
        for (int64_t n = n0; n < n1; n++) {
            wan_real *row = z + (n - n0) * mine;
            if (accumulate)
                wan_row_axpy(row, 1, dw + n * K, K);
            memcpy(dw + n * K, row, (size_t)K * sizeof *row);
            if (db)
                db[n] = (accumulate ? db[n] : 0) + s[n - n0];
        }
    }
    return 0;
}
