/* SPDX-License-Identifier: Apache-2.0
 *
 * ops_cpu.c - which C function stands in which slot of the CPU tables.
 */
#include "kernels/device_cpu.h"
#include "kernels/ops_vae.h"

static void fill_linear(wan_ops *o)
{
    o->linear_forward = wan_linear_forward_c;
    o->linear_dgrad = wan_linear_dgrad_c;
    o->linear_dgrad_act = wan_linear_dgrad_act_c;
    o->linear_wgrad = wan_linear_wgrad_c;
    o->round8 = wan_round8_c;
    o->linear8_forward = wan_linear8_forward_c;
    o->linear8_backward = wan_linear8_backward_c;
}

void wan_ops_fill_c(wan_ops *o)
{
    *o = (wan_ops){
        .act_forward = wan_act_forward_c,
        .act_backward = wan_act_backward_c,
        .act_gated = wan_act_gated_c,
        .ln_mod_forward = wan_ln_mod_forward_c,
        .ln_mod_backward = wan_ln_mod_backward_c,
        .ln_affine_forward = wan_ln_affine_forward_c,
        .ln_affine_backward = wan_ln_affine_backward_c,
        .rmsnorm_forward = wan_rmsnorm_forward_c,
        .rmsnorm_backward = wan_rmsnorm_backward_c,
        .rms_sumsq = wan_rms_sumsq_c,
        .rms_apply = wan_rms_apply_c,
        .rms_dot = wan_rms_dot_c,
        .rms_dx = wan_rms_dx_c,
        .attention_forward = wan_attention_forward_c,
        .attention_backward = wan_attention_backward_c,
        .attention_merge = wan_attention_merge_c,
        .attention_t5 = wan_attention_t5_c,
        .residual_forward = wan_residual_forward_c,
        .residual_backward = wan_residual_backward_c,
        .resnorm_forward = wan_resnorm_forward_c,
        .resnorm_backward = wan_resnorm_backward_c,
        .sinusoid = wan_sinusoid_c,
        .modulation_forward = wan_modulation_forward_c,
        .modulation_backward = wan_modulation_backward_c,
        .gather_add = wan_gather_add_c,
        .patchify = wan_patchify_c,
        .unpatchify = wan_unpatchify_c,
        .noise_patch = wan_noise_patch_c,
        .mse_loss = wan_mse_loss_c,
        .cast = wan_cast_c,
        .axpy = wan_axpy_c,
        .fill = wan_fill_c,
        .lincomb = wan_lincomb_c,
        .sumsq = wan_sumsq_c,
        .finite = wan_finite_c,
        .randn = wan_randn_c,
        .pick = wan_pick_c,
        .adamw_step = wan_adamw_step_c,
        .clip_coef = wan_clip_coef_c,
    };
    fill_linear(o);
    wan_ops_fill_c_vae(o);
}

const wan_ops *wan_ops_cpu_ref(void)
{
    static wan_ops ops;
    if (!ops.linear_forward)
        wan_ops_fill_c(&ops);
    return &ops;
}

const wan_ops *wan_ops_cpu_best(void)
{
    static wan_ops ops;
    if (!ops.linear_forward) {
        wan_ops_fill_c(&ops);
#ifndef WAN_REAL_F64 /* the double build is reference code alone */
        wan_ops_fill_simd(&ops);
        wan_ops_fill_dnnl(&ops);
#endif
    }
    return &ops;
}
