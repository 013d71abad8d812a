/* SPDX-License-Identifier: Apache-2.0
 *
 * pick.h - some rows and columns of a matrix into another: how ranks cut what they exchange.
 *
 *   y[i, j] = x[from[i], j]        i < n, j < w; from NULL: row i itself
 *
 * Elements are copied as they are.  x and y are of one type and do not overlap; each has its own strides
 * in elements, so that a transposed view, or the columns of a few heads, is a matrix too.
 */
#ifndef WAN_KERNELS_PICK_H
#define WAN_KERNELS_PICK_H

#include "kernels/device.h"

/* Element [i, j] is p[i row + j col]. */
typedef struct wan_view {
    wan_buf b;
    int64_t row, col;
} wan_view;

/* from: device memory [n], or NULL; its rows are checked by the caller. */
typedef int wan_pick_fn(wan_dev *d, wan_view y, wan_view x, const int32_t *from, int64_t n,
                        int64_t w) WAN_MUST_CHECK;

wan_pick_fn wan_pick_c, wan_pick_cuda;

#endif
