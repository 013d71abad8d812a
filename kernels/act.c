/* SPDX-License-Identifier: Apache-2.0
 *
 * act.c - reference activations.
 */
#include "kernels/act.h"

#include "kernels/act_math.h"
#include "kernels/rows.h"

#define CHUNK WAN_ROWS_CHUNK

static int64_t chunk(int64_t n, int64_t i)
{
    return n - i < CHUNK ? n - i : CHUNK;
}

int wan_act_forward_c(wan_dev *d, wan_buf y, wan_buf x, int64_t n, enum wan_act act)
{
    (void)d;
    WAN_ROWS_CHECK("act_forward", y, x);
#pragma omp parallel for if (n > WAN_ROWS_PARALLEL)
    for (int64_t i = 0; i < n; i += CHUNK) {
        wan_real tx[CHUNK], ty[CHUNK], *o = wan_row_open(y, i, ty);
        const wan_real *a = wan_row_load(x, i, chunk(n, i), tx);
        for (int64_t j = 0; j < chunk(n, i); j++)
            o[j] = wan_act_value(a[j], act);
        wan_row_close(y, i, chunk(n, i), o);
    }
    return 0;
}

int wan_act_backward_c(wan_dev *d, wan_buf dx, wan_buf dy, wan_buf x, int64_t n, enum wan_act act)
{
    (void)d;
    WAN_ROWS_CHECK("act_backward", dx, dy, x);
#pragma omp parallel for if (n > WAN_ROWS_PARALLEL)
    for (int64_t i = 0; i < n; i += CHUNK) {
        wan_real tx[CHUNK], tg[CHUNK], to[CHUNK], *o = wan_row_open(dx, i, to);
        const wan_real *a = wan_row_load(x, i, chunk(n, i), tx);
        const wan_real *g = wan_row_load(dy, i, chunk(n, i), tg);
        for (int64_t j = 0; j < chunk(n, i); j++)
            o[j] = g[j] * wan_act_slope(a[j], act);
        wan_row_close(dx, i, chunk(n, i), o);
    }
    return 0;
}

int wan_act_gated_c(wan_dev *d, wan_buf y, wan_buf a, wan_buf b, int64_t n, enum wan_act act)
{
    (void)d;
    WAN_ROWS_CHECK("act_gated", y, a, b);
#pragma omp parallel for if (n > WAN_ROWS_PARALLEL)
    for (int64_t i = 0; i < n; i += CHUNK) {
        wan_real ta[CHUNK], tb[CHUNK], to[CHUNK], *o = wan_row_open(y, i, to);
        const wan_real *p = wan_row_load(a, i, chunk(n, i), ta);
        const wan_real *q = wan_row_load(b, i, chunk(n, i), tb);
        for (int64_t j = 0; j < chunk(n, i); j++)
            o[j] = wan_act_value(p[j], act) * q[j];
        wan_row_close(y, i, chunk(n, i), o);
    }
    return 0;
}
