/* SPDX-License-Identifier: Apache-2.0
 *
 * ops_simd.c - slots whose vectorised C is faster than the reference on every CPU.
 */
#include "kernels/ops_vae.h"

void wan_ops_fill_simd(wan_ops *o)
{
    wan_ops_fill_simd_vae(o);
    o->act_forward = wan_act_forward_simd;
    o->act_backward = wan_act_backward_simd;
    o->act_gated = wan_act_gated_simd;
    o->attention_forward = wan_attention_forward_simd;
    o->attention_backward = wan_attention_backward_simd;
    o->attention_t5 = wan_attention_t5_simd;
}
