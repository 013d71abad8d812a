/* SPDX-License-Identifier: Apache-2.0
 *
 * dense.c - see dense.h.
 */
#include "lib/model/block/dense.h"

void wan_dense_bind(wan_dense *w, const wan_store *s, int i, int bias)
{
    const wan_param *q = &s->params.v[i];
    const wan_item *it = &s->item[i];
    *w = (wan_dense){ .N = q->shape[0], .K = q->count / q->shape[0] };
    if (q->cut == 0)
        w->N = it->len;
    else if (q->cut == 1)
        w->K = it->len;
    w->w = q->gemm ? wan_store_w(s, i) : WAN_RBUF(wan_store_r(s, i));
    w->dw = wan_store_g(s, i);
    w->unset = &s->unset[i];
    w->eight = s->eight && q->eight;
    if (bias) {
        w->b = wan_store_r(s, i + 1);
        w->db = wan_store_g(s, i + 1);
    }
}

void wan_dense_bind_vector(wan_dense_vector *v, const wan_store *s, int i)
{
    *v = (wan_dense_vector){ wan_store_r(s, i), wan_store_g(s, i) };
}

int wan_dense_act(wan_dev *d, const wan_dense *w, wan_buf y, wan_buf pre, wan_buf x, int64_t M,
                  enum wan_act act)
{
    wan_linear_forward_fn *f = w->eight ? d->ops->linear8_forward : d->ops->linear_forward;
    return M ? f(d, y, pre, x, w->w, w->b, M, w->N, w->K, act) : 0;
}

int wan_dense_forward(wan_dev *d, const wan_dense *w, wan_buf y, wan_buf x, int64_t M)
{
    return wan_dense_act(d, w, y, WAN_RBUF(NULL), x, M, WAN_ACT_NONE);
}

/* Whether dw has been written into; from here on it has. */
static int adds(const wan_dense *w)
{
    int unset = 0, n = w->joined ? w->joined : 1;
    for (int i = 0; i < n && w->unset; i++) {
        unset += w->unset[i * w->step];
        w->unset[i * w->step] = 0;
    }
    if (unset && unset != n)
        WAN_BUG("of %d layers in one the gradients of %d have been written", n, n - unset);
    return !unset;
}

int wan_dense_wgrad(wan_dev *d, const wan_dense *w, wan_buf dy, wan_buf x, int64_t M)
{
    return M ? d->ops->linear_wgrad(d, w->dw, w->db, dy, x, M, w->N, w->K, adds(w)) : 0;
}

/* Before products in eight bits, which add. */
static int clear(wan_dev *d, const wan_dense *w)
{
    return adds(w) ? 0 : wan_dev_zero(d, w->dw, (size_t)(w->N * w->K) * sizeof *w->dw);
}

int wan_dense_dgrad(wan_dev *d, const wan_dense *w, wan_buf dx, wan_buf dy, int64_t M, int add)
{
    return M ? d->ops->linear_dgrad(d, dx, dy, w->w, M, w->N, w->K, add) : 0;
}

int wan_dense_backward(wan_dev *d, const wan_dense *w, wan_buf dx, wan_buf dy, wan_buf x, int64_t M,
                       int add)
{
    const wan_buf none = WAN_BUF_NONE;
    if (w->eight && M) {
        WAN_TRY(clear(d, w));
        return d->ops->linear8_backward(d, dx, w->dw, w->db, dy, none, WAN_ACT_NONE, x, w->w, M,
                                        w->N, w->K, add);
    }
    WAN_TRY(wan_dense_wgrad(d, w, dy, x, M));
    return wan_dense_dgrad(d, w, dx, dy, M, add);
}

int wan_dense_backward_act(wan_dev *d, const wan_dense *w, wan_buf dx, wan_buf dy, wan_buf x,
                           wan_buf z, int64_t M, enum wan_act act)
{
    if (!M)
        return 0;
    if (w->eight) {
        WAN_TRY(wan_dense_backward(d, w, dx, dy, x, M, 0));
        return d->ops->act_backward(d, dx, dx, z, M * w->K, act);
    }
    WAN_TRY(wan_dense_wgrad(d, w, dy, x, M));
    return d->ops->linear_dgrad_act(d, dx, dy, w->w, z, M, w->N, w->K, act);
}

int wan_dense_backward_two(wan_dev *d, const wan_dense *first, const wan_dense *second, wan_buf dx,
                           wan_buf dh, wan_buf dy, wan_buf x, wan_buf z, wan_buf h, int64_t M,
                           enum wan_act act)
{
    if (!first->eight || !M) {
        WAN_TRY(wan_dense_backward_act(d, second, dh, dy, h, z, M, act));
        return wan_dense_backward(d, first, dx, dh, x, M, 0);
    }
    WAN_TRY(wan_dense_backward(d, second, dh, dy, h, M, 0));
    WAN_TRY(clear(d, first));
    return d->ops->linear8_backward(d, dx, first->dw, first->db, dh, z, act, x, first->w, M,
                                    first->N, first->K, 0);
}
