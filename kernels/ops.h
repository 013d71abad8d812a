/* SPDX-License-Identifier: Apache-2.0
 *
 * ops.h - the op table.  One row per op: slot, function type.  Every provider fills slots; model
 * code calls only d->ops->NAME(d, ...).
 *
 * Filling order: the reference C functions first (every slot), then vectorised C and oneDNN on the
 * CPU; on CUDA the .cu functions, of which there is one for every slot.
 */
#ifndef WAN_KERNELS_OPS_H
#define WAN_KERNELS_OPS_H

#include "kernels/act.h"
#include "kernels/adamw.h"
#include "kernels/attention.h"
#include "kernels/conv.h"
#include "kernels/device.h"
#include "kernels/embed.h"
#include "kernels/layernorm.h"
#include "kernels/linear.h"
#include "kernels/linear8.h"
#include "kernels/mse.h"
#include "kernels/noise.h"
#include "kernels/pick.h"
#include "kernels/residual.h"
#include "kernels/resnorm.h"
#include "kernels/rmsnorm.h"
#include "kernels/vaeop.h"
#include "kernels/vector.h"

/* clang-format off */
#define WAN_OPS(X)                                                                                 \
    X(linear_forward) X(linear_dgrad) X(linear_dgrad_act) X(linear_wgrad)                          \
    X(round8) X(linear8_forward) X(linear8_backward)                                               \
    X(act_forward) X(act_backward) X(act_gated)                                                    \
    X(ln_mod_forward) X(ln_mod_backward) X(ln_affine_forward) X(ln_affine_backward)                \
    X(rmsnorm_forward) X(rmsnorm_backward)                                                         \
    X(rms_sumsq) X(rms_apply) X(rms_dot) X(rms_dx)                                                 \
    X(attention_forward) X(attention_backward) X(attention_merge) X(attention_t5)                  \
    X(residual_forward) X(residual_backward) X(resnorm_forward) X(resnorm_backward)                 \
    X(sinusoid) X(modulation_forward) X(modulation_backward) X(gather_add)                         \
    X(patchify) X(unpatchify)                                                                      \
    X(noise_patch) X(mse_loss)                                                                     \
    X(cast) X(axpy)          X(fill) X(lincomb) X(sumsq) X(finite) X(randn) X(pick)                \
    X(adamw_step) X(clip_coef)                                                                     \
    X(conv_forward)                                                                                \
    X(vae_norm) X(vae_interleave) X(vae_from_rgb) X(vae_to_rgb)                    \
    X(vae_to_cfirst) X(vae_to_clast)
/* clang-format on */

typedef struct wan_ops {
#define X(name) wan_##name##_fn *name;
    WAN_OPS(X)
#undef X
} wan_ops;

void wan_ops_fill_c(wan_ops *o);    /* every slot */
void wan_ops_fill_simd(wan_ops *o); /* vectorised C where it is faster */
void wan_ops_fill_dnnl(wan_ops *o); /* oneDNN; no-op in a build without it */
void wan_ops_fill_cuda(wan_ops *o); /* plugin only */

#endif
