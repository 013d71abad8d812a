/* SPDX-License-Identifier: Apache-2.0
 *
 * axes.c - see axes.h.
 */
#include "lib/model/wing/axes.h"

static int sum_tp(void *arg, wan_dev *d, wan_buf x, int64_t n)
{
    wan_axes *a = arg;
    (void)d;
    return wan_group_all_reduce(a->tp, a->where, x.p, (size_t)n, x.t, WAN_SUM);
}

/* Elements of each tensor parallel rank's rows of x [rows, width]; those of this one begin at *own. */
static void *rows_of(const wan_axes *a, size_t n[WAN_AXES_TP], wan_buf x, int64_t rows,
                     int64_t width)
{
    int64_t from = 0, own = 0;
    for (int k = 0; k < a->slice->ranks; k++) {
        const wan_slice one = { .rank = k, .ranks = a->slice->ranks };
        n[k] = (size_t)(wan_store_share(&from, &one, rows, 1) * width);
        own = k == a->slice->rank ? from : own;
    }
    return wan_buf_at(x, own * width).p;
}

static int gather_tp(void *arg, wan_dev *d, wan_buf x, int64_t rows, int64_t width)
{
    wan_axes *a = arg;
    size_t n[WAN_AXES_TP];
    const void *own = rows_of(a, n, x, rows, width);
    (void)d;
    return wan_group_all_gather_v(a->tp, a->where, x.p, own, n, x.t);
}

static int scatter_tp(void *arg, wan_dev *d, wan_buf x, int64_t rows, int64_t width)
{
    wan_axes *a = arg;
    size_t n[WAN_AXES_TP];
    void *own = rows_of(a, n, x, rows, width);
    (void)d;
    return wan_group_reduce_scatter_v(a->tp, a->where, own, x.p, n, x.t, WAN_SUM);
}

static int attend(void *arg, wan_dev *d, const wan_attn *a, wan_buf o, wan_real *lse, wan_buf q,
                  wan_buf k, wan_buf v)
{
    return wan_cp_attend(((wan_axes *)arg)->cp, d, a, o, lse, q, k, v);
}

static int attend_back(void *arg, wan_dev *d, const wan_attn *a, wan_buf dq, wan_buf dk, wan_buf dv,
                       wan_buf dout, wan_buf o, const wan_real *lse, wan_buf q, wan_buf k,
                       wan_buf v)
{
    return wan_cp_attend_back(((wan_axes *)arg)->cp, d, a, dq, dk, dv, dout, o, lse, q, k, v);
}

wan_wing wan_axes_wing(wan_axes *a)
{
    return (wan_wing){ .arg = a,
                       .sum = a->slice->ranks > 1 ? sum_tp : NULL,
                       .gather = a->slice->spread ? gather_tp : NULL,
                       .scatter = a->slice->spread ? scatter_tp : NULL,
                       .attend = a->cp ? attend : NULL,
                       .attend_back = a->cp ? attend_back : NULL };
}
