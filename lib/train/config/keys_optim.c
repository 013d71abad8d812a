/* SPDX-License-Identifier: Apache-2.0
 *
 * keys_optim.c - AdamW and the learning rate.
 */
#include "lib/train/config/keys.h"

static const wan_word styles[] = {
    { "constant", WAN_LR_CONSTANT }, { "linear", WAN_LR_LINEAR },
    { "cosine", WAN_LR_COSINE },     { "inverse-square-root", WAN_LR_INVERSE_SQRT },
    { "WSD", WAN_LR_WSD },           { 0, 0 }
};
static const wan_word tails[] = { { "minus_sqrt", WAN_WSD_MINUS_SQRT },
                                  { "linear", WAN_WSD_LINEAR },
                                  { "cosine", WAN_WSD_COSINE },
                                  { "exponential", WAN_WSD_EXPONENTIAL },
                                  { 0, 0 } };

static const wan_key keys[] = {
    REAL("optimizer.lr", "optim.learning_rate lr_scheduler.max_lr", lr, "9e-05", 0, 1e3,
         "largest learning rate"),
    REAL("optimizer.min_lr", "lr_scheduler.min_lr", min_lr, "-1", -1, 1e3,
         "smallest learning rate (-1: a tenth of lr)"),
    REAL("optimizer.adam_beta1", "optimizer.beta1", beta1, "0.9", 0, 0.9999999,
         "decay of the first moment"),
    REAL("optimizer.adam_beta2", "optimizer.beta2", beta2, "0.95", 0, 0.9999999,
         "decay of the second moment"),
    { ROW("optimizer.betas", "optim.optimizer.betas", WAN_KEY_BETAS, beta1, 0, "both, as [a, b]") },
    REAL("optimizer.adam_eps", "optimizer.eps optim.optimizer.eps", adam_eps, "1e-08", 1e-30, 1,
         "Adam's epsilon"),
    REAL(
        "optimizer.weight_decay",
        "scheduler.start_weight_decay scheduler.end_weight_decay lr_scheduler.start_wd lr_scheduler.end_wd optim.optimizer.weight_decay",
        weight_decay, "0.033", 0, 1e3,
        "decoupled weight decay of every parameter (0.033 is what DFM's recipe applies; its 0.1 is "
        "overwritten)"),
    BOOL("optimizer.no_decay_1d", 0, no_decay_1d, "false",
         "no weight decay on norms, biases and modulation tables"),
    REAL("optimizer.clip_grad", "clip_grad_norm.max_norm optim.clip_grad", clip_grad, "1", 0, 1e9,
         "largest norm of the gradient (0: not clipped)"),
    REAL(
        "optimizer.ema_decay", "ema.decay train.ema_decay", ema_decay, "0", 0, 0.99999999,
        "keeps an average of the weights with this decay, 0.9999 for long runs: validated, saved as "
        "optimizer/ema.safetensors, sampled by wan-sample (0: none)"),
    BOOL(
        "optimizer.optimizer_cpu_offload", 0, offload_optim, "false",
        "moments, average and fp32 weights that have a bf16 copy lie in host memory and pass through "
        "the device, which makes the update; --offload sets it"),
    ENUM("scheduler.lr_decay_style", "lr_scheduler.lr_decay_style", lr_style, "cosine", styles,
         "course of the learning rate"),
    INT("scheduler.lr_warmup_iters", "lr_scheduler.lr_warmup_steps", warmup_iters, "-1", -1, MANY,
        "steps of linear warm-up (-1: what the recipe says, DFM's 2000 or a fifth of a shorter run; Automodel's 1000 or a tenth of it, and none without an lr_scheduler section)"),
    REAL("scheduler.lr_warmup_fraction", 0, warmup_fraction, "0", 0, 1,
         "warm-up as a part of lr_decay_iters, where not 0"),
    REAL("scheduler.lr_warmup_init", "lr_scheduler.init_lr", warmup_init, "0", 0, 1e3,
         "learning rate that the warm-up starts from"),
    INT("scheduler.lr_decay_iters", "lr_scheduler.lr_decay_steps", decay_iters, "0", 0, MANY,
        "step at which min_lr is reached (0: the last of the run)"),
    INT("scheduler.lr_wsd_decay_iters", "lr_scheduler.wsd_decay_steps", wsd_iters, "0", 0, MANY,
        "WSD: steps of the tail"),
    ENUM("scheduler.lr_wsd_decay_style", "lr_scheduler.lr_wsd_decay_style", wsd_style,
         "exponential", tails, "WSD: shape of the tail"),

    ONLY("optimizer.optimizer", "adam adamw", "the optimizer is AdamW"),
    ONLY("optimizer._target_", "*.AdamW *.FusedAdam", "the optimizer is AdamW"),
    ONLY("optim.optimizer._target_", "*.AdamW *.FusedAdam", "the optimizer is AdamW"),
    ONLY("optimizer.decoupled_weight_decay", "true", "weight decay is decoupled"),
    ONLY("optimizer.adam_w_mode", "true", "weight decay is decoupled"),
    ONLY("optimizer.bias_correction", "true", "Adam corrects the bias of its moments"),
    ONLY("optimizer.amsgrad", "false", "the optimizer is AdamW"),
    ONLY("optim.optimizer.amsgrad", "false", "the optimizer is AdamW"),
    ONLY("optimizer.maximize", "false", "the loss is made smaller"),
    ONLY("optimizer.optimizer_offload_fraction", "1 1.0",
         "optimizer_cpu_offload takes all of them to the host"),
    NOTED("optimizer.overlap_cpu_optimizer_d2h_h2d", "copies run beside the update"),
    NOTED("optimizer.use_torch_optimizer_for_cpu_offload", "the device makes the update"),
    NOTED("optimizer.pin_cpu_grads", "gradients stay on the device"),
    NOTED("optimizer.pin_cpu_params", "host memory is pinned"),
    NOTED("optimizer.foreach", "the update is one pass over all parameters"),
    NOTED("optimizer.fused", "the update is one pass over all parameters"),
    NOTED("optim.optimizer.foreach", "the update is one pass over all parameters"),
    NOTED("optim.optimizer.fused", "the update is one pass over all parameters"),
    NOTED("optimizer.capturable", "the update is one pass over all parameters"),
    NOTED("optimizer.master_weights", "masters and moments are fp32"),
    NOTED("optimizer.store_param_remainders", "masters and moments are fp32"),
    NOTED("optimizer.exp_avg_dtype", "masters and moments are fp32"),
    NOTED("optimizer.exp_avg_sq_dtype", "masters and moments are fp32"),
    NOTED("optimizer.main_grads_dtype", "masters and moments are fp32"),
    NOTED("optimizer.main_params_dtype", "masters and moments are fp32"),
    NOTED("optimizer.params_dtype", "masters and moments are fp32"),
    NOTED("optimizer.overlap_param_gather", "parameters are where they are needed"),
    NOTED("clip_grad_norm.foreach", "the clip is one pass over all gradients"),
    NOTED("optimizer.bf16", "masters and moments are fp32"),
    NOTED("optimizer.fp16", "masters and moments are fp32"),
    NOTED("optimizer.use_precision_aware_optimizer", "masters and moments are fp32"),
    NOTED("scheduler.override_opt_param_scheduler", "the configuration always decides"),
    NOTED("scheduler.use_checkpoint_opt_param_scheduler", "the configuration always decides"),
    ONLY("scheduler.weight_decay_incr_style", "constant", "weight decay is constant"),
    ONLY("lr_scheduler.wd_incr_style", "constant", "weight decay is constant"),
    NOTED("lr_scheduler.wd_incr_steps", "weight decay is constant"),
    NOTED("lr_scheduler.override_opt_param_scheduler", "the configuration always decides"),
    NOTED("lr_scheduler.use_checkpoint_opt_param_scheduler", "the configuration always decides"),
    ONLY("lr_scheduler._target_", "*OptimizerParamScheduler *LRSchedulerConfig",
         "scheduler.lr_decay_style names the courses that there are"),
};
WAN_KEYS(wan_keys_optim, keys, WAN_MODEL_ANY);
