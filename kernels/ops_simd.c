/* SPDX-License-Identifier: Apache-2.0
 *
 * ops_simd.c - slots whose vectorised C is faster than the reference on every CPU.
 */
#include "kernels/linear_simd.h"
#include "kernels/ops_vae.h"
#include "kernels/resnorm.h"

void wan_ops_fill_simd(wan_ops *o)
{
    wan_ops_fill_simd_vae(o);
    o->linear_forward = wan_linear_forward_simd;
    o->linear_dgrad = wan_linear_dgrad_simd;
    o->linear_dgrad_act = wan_linear_dgrad_act_simd;
    o->linear_wgrad = wan_linear_wgrad_simd;
    o->act_forward = wan_act_forward_simd;
    o->act_backward = wan_act_backward_simd;
    o->act_gated = wan_act_gated_simd;
    o->attention_forward = wan_attention_forward_simd;
    o->attention_backward = wan_attention_backward_simd;
    o->attention_t5 = wan_attention_t5_simd;
    o->resnorm_forward = wan_resnorm_forward_simd;
    o->resnorm_backward = wan_resnorm_backward_simd;
}
