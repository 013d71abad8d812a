/* SPDX-License-Identifier: Apache-2.0
 *
 * pick.c - reference for rows and columns of a matrix.
 */
#include "kernels/pick.h"

#include "kernels/rows.h"

static void row(char *y, int64_t sy, const char *x, int64_t sx, int64_t w, size_t size)
{
    if (sy == 1 && sx == 1) {
        memcpy(y, x, (size_t)w * size);
        return;
    }
    for (int64_t j = 0; j < w; j++)
        memcpy(y + (size_t)(j * sy) * size, x + (size_t)(j * sx) * size, size);
}

int wan_pick_c(wan_dev *d, wan_view y, wan_view x, const int32_t *from, int64_t n, int64_t w)
{
    (void)d;
    WAN_ROWS_CHECK("pick", y.b, x.b);
    if (y.b.t != x.b.t)
        return wan_err("pick: %s from %s", wan_dtype_name(y.b.t), wan_dtype_name(x.b.t));
    size_t size = wan_dtype_size(y.b.t);
#pragma omp parallel for if (n * w > WAN_ROWS_PARALLEL)
    for (int64_t i = 0; i < n; i++) {
        int64_t r = from ? from[i] : i;
        row((char *)y.b.p + (size_t)(i * y.row) * size, y.col,
            (const char *)x.b.p + (size_t)(r * x.row) * size, x.col, w, size);
    }
    return 0;
}
