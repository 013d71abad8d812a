/* SPDX-License-Identifier: Apache-2.0
 *
 * linear8.h - dense layer whose operands have eight bits: linear.h after the operands of each product
 * were rounded, x and w to e4m3, dy to e5m2.
 *
 *     e4m3: 4 bits of exponent, 3 of mantissa: multiples of 2^-9, largest 448
 *     e5m2: 5 and 2:                           multiples of 2^-16, largest 57344
 * (Micikevicius et al., FP8 formats for deep learning, arXiv:2209.05433.)
 *
 * A tensor is rounded as round(v s) / s, to nearest even, with one s: the largest power of two with
 * max|v| s <= largest, of the values at hand.  As a power of two s changes no mantissa: other than
 * where v s is below the smallest normal number, the parts of a tensor on several ranks are rounded as
 * the whole would be, and a rounded value is a bf16 number.  So the CPU multiplies in bf16 what a GPU
 * multiplies in fp8; both sum in fp32, scale once, and add bias and what was there in fp32.  A tensor
 * with a value that is not finite becomes NaN throughout: a saturated infinity would pass unseen.
 */
#ifndef WAN_KERNELS_LINEAR8_H
#define WAN_KERNELS_LINEAR8_H

#include "kernels/linear.h"

enum wan_eight { WAN_E4M3 = 0, WAN_E5M2 };

/* y [n] (bf16) = x [n] rounded so.  No overlap. */
typedef int wan_round8_fn(wan_dev *d, wan_buf y, wan_buf x, int64_t n, enum wan_eight to)
    WAN_MUST_CHECK;
/* dx [M, K] = g w (+ dx when add; nothing where dx.p is NULL); dw [N, K] += g^T x and db [N] +=
 * sum_m g, of g before it is rounded (nothing where dw, db is NULL).  g is dy, or where z.p is not NULL the gradient
 * behind act(z), z [M, N]: act'(z) dy in dy's type, as act_backward (act.h) leaves it; a GPU makes it while it rounds, and
 * neither writes nor reads it.  dy may then hold g afterwards. */
typedef int wan_linear8_backward_fn(wan_dev *d, wan_buf dx, wan_real *dw, wan_real *db, wan_buf dy,
                                    wan_buf z, enum wan_act act, wan_buf x, wan_buf w, int64_t M,
                                    int64_t N, int64_t K, int add) WAN_MUST_CHECK;
typedef wan_linear_forward_fn wan_linear8_forward_fn;

/* Bytes that a GPU keeps of the weights of a layer, rounded, while they are still (wan_dev_still): codes as they lie,
 * and turned over unless no product goes backward.  They are then rounded once, for forward and backward and all
 * micro-batches. */
static inline size_t wan_linear8_kept(int64_t N, int64_t K, int turned)
{
    const int64_t plain = N * ((K + 15) / 16 * 16);
    return (size_t)(plain + (turned ? K * ((N + 15) / 16 * 16) : 0)) + 3 * 256;
}

/* Bytes of wan_dev_aside that a layer's products take. */
static inline size_t wan_linear8_bytes(int64_t M, int64_t N, int64_t K)
{
    return (size_t)(M * K + N * K + M * N) * sizeof(uint16_t) + 3 * 256;
}

wan_round8_fn wan_round8_c, wan_round8_cuda;
wan_linear8_forward_fn wan_linear8_forward_c, wan_linear8_forward_cuda;
wan_linear8_backward_fn wan_linear8_backward_c, wan_linear8_backward_cuda;

#endif
