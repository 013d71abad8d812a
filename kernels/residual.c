/* SPDX-License-Identifier: Apache-2.0
 *
 * residual.c - reference gated residual.
 */
#include "kernels/residual.h"

#include "kernels/rows.h"

enum { COLS = 128 }; /* columns of dgate summed by one task */

int wan_residual_forward_c(wan_dev *d, wan_real *out, const wan_real *x, wan_buf y,
                           const wan_real *gate, int64_t stride, const wan_pack *pack, int64_t D)
{
    WAN_ROWS_CHECK("residual_forward", y);
    wan_real *tmp = wan_rows_scratch(d, D);
    if (!tmp)
        return -1;
#pragma omp parallel for if (pack->S * D > WAN_ROWS_PARALLEL)
    for (int64_t s = 0; s < pack->S; s++) {
        const wan_real *a = wan_row_load(y, s * D, D, wan_rows_mine(tmp, D)), *xs = x + s * D;
        const wan_real *g = wan_row_at(gate, pack->seg[s], stride);
        wan_real *o = out + s * D;
        for (int64_t j = 0; g && j < D; j++)
            o[j] = xs[j] + a[j] * g[j];
        for (int64_t j = 0; !g && j < D; j++)
            o[j] = xs[j] + a[j];
    }
    return 0;
}

/* dgate[c0..c0+n) += sum over tokens [s0, s1) of dout*y */
static void columns_backward(wan_real *dgate, const wan_real *dout, wan_buf y, int64_t s0,
                             int64_t s1, int64_t D, int64_t c0, int64_t n)
{
    wan_real acc[COLS] = { 0 }, tmp[COLS];
    for (int64_t s = s0; s < s1; s++) {
        const wan_real *a = wan_row_load(y, s * D + c0, n, tmp), *g = dout + s * D + c0;
        for (int64_t j = 0; j < n; j++)
            acc[j] += g[j] * a[j];
    }
    wan_row_axpy(dgate + c0, 1, acc, n);
}

int wan_residual_backward_c(wan_dev *d, wan_buf dy, wan_real *dgate, int64_t dstride,
                            const wan_real *dout, wan_buf y, const wan_real *gate, int64_t stride,
                            const wan_pack *pack, int64_t D)
{
    WAN_ROWS_CHECK("residual_backward", dy, gate ? y : dy);
    int64_t blocks = gate ? (D + COLS - 1) / COLS : 0;
    wan_real *tmp = wan_rows_scratch(d, D);
    if (!tmp)
        return -1;
#pragma omp parallel if (pack->S * D > WAN_ROWS_PARALLEL)
    {
#pragma omp for /* dgate first: dy may be written over y */
        for (int64_t k = 0; k < pack->n * blocks; k++) {
            int64_t i = k / blocks, c = k % blocks * COLS;
            columns_backward(dgate + i * dstride, dout, y, pack->cu[i], pack->cu[i + 1], D, c,
                             D - c < COLS ? D - c : COLS);
        }
#pragma omp for
        for (int64_t s = 0; s < pack->S; s++) {
            wan_real *o = wan_row_open(dy, s * D, wan_rows_mine(tmp, D));
            const wan_real *g = wan_row_at(gate, pack->seg[s], stride), *a = dout + s * D;
            for (int64_t j = 0; g && j < D; j++)
                o[j] = a[j] * g[j];
            for (int64_t j = 0; !g && j < D; j++)
                o[j] = a[j];
            wan_row_close(dy, s * D, D, o);
        }
    }
    return 0;
}
