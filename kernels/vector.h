/* SPDX-License-Identifier: Apache-2.0
 *
 * vector.h - plain work on long vectors.
 *
 *   cast     y = x, converting                     axpy   y += a x
 *   fill     y = a
 *   lincomb  y = sum_k c[k] x[k]   k <= 8; y may equal one of the x (solver steps, guidance)
 *   sumsq    out[0] (+)= sum x^2 in double, fixed order; out is a double in device memory
 *   finite   out[0] = number of elements that are NaN or infinite (int64 in device memory)
 *   randn    y[i] = element first+i of a Philox stream (rng.h), converted
 */
#ifndef WAN_KERNELS_VECTOR_H
#define WAN_KERNELS_VECTOR_H

#include "kernels/device.h"
#include "lib/base/rng.h"

#define WAN_LINCOMB_MAX 8

typedef int wan_cast_fn(wan_dev *d, wan_buf y, wan_buf x, int64_t n) WAN_MUST_CHECK;
typedef int wan_axpy_fn(wan_dev *d, wan_buf y, double a, wan_buf x, int64_t n) WAN_MUST_CHECK;
typedef int wan_fill_fn(wan_dev *d, wan_buf y, double a, int64_t n) WAN_MUST_CHECK;
typedef int wan_lincomb_fn(wan_dev *d, wan_real *y, int k, const double *c,
                           const wan_real *const *x, int64_t n) WAN_MUST_CHECK;
typedef int wan_sumsq_fn(wan_dev *d, double *out, wan_buf x, int64_t n, int accumulate)
    WAN_MUST_CHECK;
typedef int wan_finite_fn(wan_dev *d, int64_t *out, wan_buf x, int64_t n) WAN_MUST_CHECK;
typedef int wan_randn_fn(wan_dev *d, wan_buf y, const wan_rng *stream, uint64_t first, int64_t n)
    WAN_MUST_CHECK;

wan_cast_fn wan_cast_c, wan_cast_cuda;
wan_axpy_fn wan_axpy_c, wan_axpy_cuda;
wan_fill_fn wan_fill_c, wan_fill_cuda;
wan_lincomb_fn wan_lincomb_c, wan_lincomb_cuda;
wan_sumsq_fn wan_sumsq_c, wan_sumsq_cuda;
wan_finite_fn wan_finite_c, wan_finite_cuda;
wan_randn_fn wan_randn_c, wan_randn_cuda;

#endif
