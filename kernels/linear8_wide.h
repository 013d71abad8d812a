/* SPDX-License-Identifier: Apache-2.0
 *
 * linear8_wide.h - the products of linear8.h where nothing multiplies eight bits: operands are rounded
 * into bf16 aside, and the device's own bf16 products take those.  Also C++.
 */
#ifndef WAN_KERNELS_LINEAR8_WIDE_H
#define WAN_KERNELS_LINEAR8_WIDE_H

#include "kernels/ops.h"

/* *x [n] rounded into *aside, which moves on. */
static inline int wan_linear8_wide_round(wan_dev *d, wan_buf *x, int64_t n, enum wan_eight to,
                                         char **aside)
{
    wan_buf y = wan_buf_of(*aside, WAN_BF16);
    *aside += ((size_t)n * sizeof(uint16_t) + 255) / 256 * 256;
    WAN_TRY(d->ops->round8(d, y, *x, n, to));
    *x = y;
    return 0;
}

/* aside: wan_linear8_bytes, 256-byte aligned. */
static inline int wan_linear8_wide_forward(wan_dev *d, char *aside, wan_buf y, wan_buf pre,
                                           wan_buf x, wan_buf w, const wan_real *b, int64_t M,
                                           int64_t N, int64_t K, enum wan_act act)
{
    WAN_TRY(wan_linear8_wide_round(d, &x, M * K, WAN_E4M3, &aside));
    WAN_TRY(wan_linear8_wide_round(d, &w, N * K, WAN_E4M3, &aside));
    return d->ops->linear_forward(d, y, pre, x, w, b, M, N, K, act);
}

/* Without the bias. */
static inline int wan_linear8_wide_backward(wan_dev *d, char *aside, wan_buf dx, wan_real *dw,
                                            wan_buf dy, wan_buf x, wan_buf w, int64_t M, int64_t N,
                                            int64_t K, int add)
{
    WAN_TRY(wan_linear8_wide_round(d, &dy, M * N, WAN_E5M2, &aside));
    if (dw) {
        WAN_TRY(wan_linear8_wide_round(d, &x, M * K, WAN_E4M3, &aside));
        WAN_TRY(d->ops->linear_wgrad(d, dw, NULL, dy, x, M, N, K, 1));
    }
    if (!dx.p)
        return 0;
    WAN_TRY(wan_linear8_wide_round(d, &w, N * K, WAN_E4M3, &aside));
    return d->ops->linear_dgrad(d, dx, dy, w, M, N, K, add);
}

#endif
