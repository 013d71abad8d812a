/* SPDX-License-Identifier: Apache-2.0
 *
 * ops_simd.c - slots whose vectorised C is faster than the reference on every CPU.
 */
#include "kernels/linear_simd.h"
#include "kernels/ops_vae.h"

static void fill_norms(wan_ops *o)
{
    o->ln_mod_forward = wan_ln_mod_forward_simd;
    o->ln_mod_backward = wan_ln_mod_backward_simd;
    o->ln_affine_forward = wan_ln_affine_forward_simd;
    o->ln_affine_backward = wan_ln_affine_backward_simd;
    o->residual_forward = wan_residual_forward_simd;
    o->residual_backward = wan_residual_backward_simd;
    o->resnorm_forward = wan_resnorm_forward_simd;
    o->resnorm_backward = wan_resnorm_backward_simd;
    o->rmsnorm_forward = wan_rmsnorm_forward_simd;
    o->rmsnorm_backward = wan_rmsnorm_backward_simd;
    o->rms_sumsq = wan_rms_sumsq_simd;
    o->rms_apply = wan_rms_apply_simd;
    o->rms_dot = wan_rms_dot_simd;
    o->rms_dx = wan_rms_dx_simd;
}

void wan_ops_fill_simd(wan_ops *o)
{
    wan_ops_fill_simd_vae(o);
    fill_norms(o);
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
}
