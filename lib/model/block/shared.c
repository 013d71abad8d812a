/* SPDX-License-Identifier: Apache-2.0
 *
 * shared.c - see shared.h.
 */
#include "lib/model/block/shared.h"

int wan_shared_sum(const wan_acts *a, wan_buf x, int64_t n)
{
    const wan_wing *w = &a->wing;
    return w->sum ? w->sum(w->arg, a->d, x, n) : 0;
}

static wan_real *row(const wan_shared_norm *v, int i, wan_buf sums)
{
    return (wan_real *)sums.p + i * v->rms->S;
}

int wan_shared_rms(const wan_acts *a, const wan_shared_norm *v, int n, wan_buf sums)
{
    wan_dev *d = a->d;
    for (int i = 0; i < n; i++)
        WAN_TRY(a->wing.sum
                    ? d->ops->rms_sumsq(d, v[i].rms, row(v, i, sums), v[i].x)
                    : d->ops->rmsnorm_forward(d, v[i].rms, v[i].y, v[i].rstd, v[i].x, v[i].w.p));
    if (!a->wing.sum)
        return 0;
    WAN_TRY(wan_shared_sum(a, sums, n * v->rms->S));
    for (int i = 0; i < n; i++)
        WAN_TRY(
            d->ops->rms_apply(d, v[i].rms, v[i].y, v[i].rstd, row(v, i, sums), v[i].x, v[i].w.p));
    return 0;
}

int wan_shared_rms_back(const wan_acts *a, const wan_shared_norm *v, int n, wan_buf sums)
{
    wan_dev *d = a->d;
    for (int i = 0; i < n; i++)
        WAN_TRY(a->wing.sum ? d->ops->rms_dot(d, v[i].rms, row(v, i, sums), v[i].w.g, v[i].y,
                                              v[i].x, v[i].rstd, v[i].w.p)
                            : d->ops->rmsnorm_backward(d, v[i].rms, v[i].dx, v[i].w.g, v[i].y,
                                                       v[i].x, v[i].rstd, v[i].w.p));
    if (!a->wing.sum)
        return 0;
    WAN_TRY(wan_shared_sum(a, sums, n * v->rms->S));
    for (int i = 0; i < n; i++)
        WAN_TRY(d->ops->rms_dx(d, v[i].rms, v[i].dx, row(v, i, sums), v[i].y, v[i].x, v[i].rstd,
                               v[i].w.p));
    return 0;
}
