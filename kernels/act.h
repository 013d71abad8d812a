/* SPDX-License-Identifier: Apache-2.0
 *
 * act.h - elementwise activations and the gated product of T5's feed-forward.
 *
 *   gelu_tanh(z) = z/2 (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3)));  silu(z) = z / (1 + e^-z)
 *   backward      dx = dy * act'(x)      x is the input (pre-activation); dx may equal dy
 *   gated         y = act(a) * b         (wan-model(7), UMT5: a from wi_0); y may equal a
 */
#ifndef WAN_KERNELS_ACT_H
#define WAN_KERNELS_ACT_H

#include "kernels/device.h"

typedef int wan_act_forward_fn(wan_dev *d, wan_buf y, wan_buf x, int64_t n, enum wan_act act)
    WAN_MUST_CHECK;
typedef int wan_act_backward_fn(wan_dev *d, wan_buf dx, wan_buf dy, wan_buf x, int64_t n,
                                enum wan_act act) WAN_MUST_CHECK;
typedef int wan_act_gated_fn(wan_dev *d, wan_buf y, wan_buf a, wan_buf b, int64_t n,
                             enum wan_act act) WAN_MUST_CHECK;

wan_act_forward_fn wan_act_forward_c, wan_act_forward_simd, wan_act_forward_cuda;
wan_act_backward_fn wan_act_backward_c, wan_act_backward_simd, wan_act_backward_cuda;
wan_act_gated_fn wan_act_gated_c, wan_act_gated_simd, wan_act_gated_cuda;

#endif
