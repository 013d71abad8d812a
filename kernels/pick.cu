/* SPDX-License-Identifier: Apache-2.0
 *
 * pick.cu - rows and columns of a matrix on CUDA.
 */
#include "kernels/vec.cuh"

#include "kernels/pick.h"

/* ---- kernels */

/* One thread per unit (an element, or 16 bytes of a row): w units of n rows. */
template <class U>
static __global__ void pick_all(U *y, int64_t yr, int64_t yc, const U *x, int64_t xr, int64_t xc,
                                const int32_t *from, int64_t n, int64_t w)
{
    for (int64_t k = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; k < n * w;
         k += (int64_t)gridDim.x * blockDim.x) {
        int64_t i = k / w, j = k % w, r = from ? from[i] : i;
        y[i * yr + j * yc] = x[r * xr + j * xc];
    }
}

/* ---- launchers */

template <class U>
static int pick(wan_dev *d, wan_view y, wan_view x, int64_t per, const int32_t *from, int64_t n,
                int64_t w)
{
    return cuda_launch(d, "pick", pick_all<U>, dim3(cuda_blocks(d, n * (w / per), 256)), 256, 0,
                       (U *)y.b.p, y.row / per, y.col, (const U *)x.b.p, x.row / per, x.col, from,
                       n, w / per);
}

/* Whether rows can be moved 16 bytes at a time, `per` elements. */
static int wide(wan_view v, int64_t per)
{
    return v.col == 1 && v.row % per == 0 && (uintptr_t)v.b.p % 16 == 0;
}

extern "C" int wan_pick_cuda(wan_dev *d, wan_view y, wan_view x, const int32_t *from, int64_t n,
                             int64_t w)
{
    CUDA_TYPES("pick", y.b, x.b);
    if (y.b.t != x.b.t)
        return wan_cuda_host->err("pick: operands of two types");
    int64_t per = y.b.t == WAN_BF16 ? 8 : 4;
    if (w % per == 0 && wide(y, per) && wide(x, per))
        return pick<uint4>(d, y, x, per, from, n, w);
    return y.b.t == WAN_BF16 ? pick<uint16_t>(d, y, x, 1, from, n, w)
                             : pick<float>(d, y, x, 1, from, n, w);
}
