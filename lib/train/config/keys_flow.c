/* SPDX-License-Identifier: Apache-2.0
 *
 * keys_flow.c - the flow-matching objective, with which the WAN transformer is trained.
 */
#include "lib/train/config/keys.h"

static const wan_word starts[] = { { "auto", WAN_START_AUTO },
                                   { "pretrain", WAN_START_PRETRAIN },
                                   { "finetune", WAN_START_FINETUNE },
                                   { "automodel", WAN_START_AUTOMODEL },
                                   { 0, 0 } };
static const wan_word dists[] = {
    { "uniform", WAN_FLOW_UNIFORM }, { "logit_normal", WAN_FLOW_LOGIT_NORMAL },
    { "lognorm", WAN_FLOW_LOGNORM }, { "mode", WAN_FLOW_MODE },
    { "mix", WAN_FLOW_LOGNORM },     { 0, 0 }
};

static const wan_key keys[] = {
    ENUM(
        "flow.preset", 0, preset, "auto", starts,
        "numbers that flow keys not given take: of DFM's two presets or of Automodel's pipeline (auto: --training-mode, else what train.recipe starts from)"),
    ENUM("flow.timestep_sampling", "flow_matching.timestep_sampling", sampling, "uniform", dists,
         "distribution of u, from which sigma is shifted (mix: lognorm, with mix_uniform_ratio)"),
    REAL("flow.logit_mean", "flow_matching.logit_mean", logit_mean, "0", -20, 20, "logit_normal"),
    REAL("flow.logit_std", "flow_matching.logit_std", logit_std, "1", 1e-3, 100, "logit_normal"),
    REAL("flow.shift", "flow.flow_shift flow_matching.flow_shift", shift, "3", 1e-3, 1e3,
         "s in sigma = s u / (1 + (s-1) u), and in the weight"),
    REAL("flow.mix_uniform_ratio", "flow_matching.mix_uniform_ratio", mix_uniform, "0.1", 0, 1,
         "part of the samples that take u uniform, each by its own coin"),
    REAL("flow.sigma_min", "flow_matching.sigma_min", sigma_min, "0", 0, 1,
         "sigma is drawn from the distribution cut to [sigma_min, sigma_max]"),
    REAL("flow.sigma_max", "flow_matching.sigma_max", sigma_max, "1", 0, 1, "see sigma_min"),
    BOOL("flow.stratify", 0, stratify, "false",
         "one sigma from each of global_batch_size equally probable strata"),
    BOOL("flow.use_loss_weighting", "flow_matching.use_loss_weighting", loss_weighting, "true",
         "weight the loss of a sample by 1 + shift sigma"),
    REAL("flow.cfg_dropout_prob", "flow_matching.cfg_dropout_prob", cfg_dropout, "0.1", 0, 1,
         "part of the samples that are trained without their caption"),

    ONLY("flow.i2v_prob", "0 0.0", "the model is text to video"),
    NOTED(
        "flow_matching.i2v_prob",
        "Automodel's simple adapter trains WAN from text alone whatever this says, and so does this "
        "run"),
    ONLY("flow_matching.use_sigma_noise", "true",
         "false is uniform sigma without shift: flow.timestep_sampling=uniform flow.shift=1"),
    ONLY("flow_matching.adapter_type", "simple", "WAN's own; another adapter feeds another model"),
    REFUSED("flow_matching.adapter_kwargs.*", "the simple adapter has no settings"),
    ONLY("flow_matching.loss_weighting_scheme", "linear",
         "the weight is 1 + shift sigma, or 1 without flow.use_loss_weighting"),
    NOTED("flow_matching.beta_alpha", "timestep_sampling is not beta"),
    NOTED("flow_matching.beta_beta", "timestep_sampling is not beta"),
    ONLY("flow_matching.num_train_timesteps", "1000 1000.0", "the timestep is 1000 sigma"),
    ONLY("flow.num_train_timesteps", "1000 1000.0", "the timestep is 1000 sigma"),
    NOTED("flow_matching.log_interval", "every step is logged"),
    NOTED("flow_matching.summary_log_interval", "every step is logged"),
};
WAN_KEYS(wan_keys_flow, keys, WAN_MODEL_WAN);
