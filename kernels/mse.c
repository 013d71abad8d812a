/* SPDX-License-Identifier: Apache-2.0
 *
 * mse.c - reference loss of a regression on rows.
 */
#include "kernels/mse.h"

#include "kernels/rows.h"

/* One token: squared error in double; o = 2 coef (pred - target) when o is not NULL */
static double row_loss(wan_real *o, const wan_real *pred, const wan_real *target, wan_real coef,
                       int64_t F)
{
    double sum = 0;
    for (int64_t j = 0; j < F; j++) {
        wan_real e = pred[j] - target[j];
        sum += (double)e * (double)e;
        if (o)
            o[j] = 2 * coef * e;
    }
    return sum;
}

int wan_mse_loss_c(wan_dev *d, wan_real *loss, wan_buf dpred, const wan_real *pred,
                   const wan_real *target, const wan_real *coef, const wan_pack *pack, int64_t F)
{
    if (dpred.p)
        WAN_ROWS_CHECK("mse_loss", dpred);
    int64_t mine = wan_rows_stride(F);
    size_t need =
        (size_t)pack->S * sizeof(double) + (size_t)(mine * wan_rows_threads()) * sizeof(wan_real);
    double *sums = (double *)wan_dev_scratch(d, need); /* one per token, added up in order */
    if (!sums)
        return -1;
    wan_real *tmp = (wan_real *)(sums + pack->S);
#pragma omp parallel for if (pack->S * F > WAN_ROWS_PARALLEL)
    for (int64_t s = 0; s < pack->S; s++) {
        wan_real *o = NULL;
        if (dpred.p)
            o = wan_row_open(dpred, s * F, tmp + mine * wan_rows_thread());
        sums[s] = row_loss(o, pred + s * F, target + s * F, o ? coef[pack->seg[s]] : 0, F);
        if (o)
            wan_row_close(dpred, s * F, F, o);
    }
    for (int i = 0; i < pack->n; i++) {
        double sum = 0;
        for (int32_t s = pack->cu[i]; s < pack->cu[i + 1]; s++)
            sum += sums[s];
        int32_t n = pack->cu[i + 1] - pack->cu[i];
        loss[i] = n ? (wan_real)(sum / ((double)n * (double)F)) : 0;
    }
    return 0;
}
