/* SPDX-License-Identifier: Apache-2.0
 *
 * keys_dit.c - what only DFM's DiT has, and its objective; a configuration that sets one of these
 * wants that model.
 */
#include "lib/train/config/keys.h"

static const wan_key keys[] = {
    REAL("edm.p_mean", 0, p_mean, "0", -20, 20, "mean of ln sigma"),
    REAL("edm.p_std", 0, p_std, "1", 1e-3, 100, "standard deviation of ln sigma"),
    REAL("edm.cfg_dropout_prob", 0, edm_dropout, "0.2", 0, 1,
         "part of the samples that are trained without their caption: all its rows zero"),
    BOOL("edm.stratify", 0, edm_stratify, "false",
         "one sigma from each of global_batch_size equally probable strata"),

    NOTED("model.vae_cache_folder", "training needs no VAE"),
    NOTED("model.val_generation_guidance", "validation does not sample"),
    NOTED("model.val_generation_num_steps", "validation does not sample"),
    ONLY("model.sigma_data", "0.5", "the noise levels are of latents scaled to it"),
    NOTED("model.loss_add_logvar", "DFM does not use it either"),
    NOTED("model.max_frames", "positions are computed, up to 1024 patches along an axis"),
    NOTED("model.max_img_h", "positions are computed, up to 1024 patches along an axis"),
    NOTED("model.max_img_w", "positions are computed, up to 1024 patches along an axis"),
};
WAN_KEYS(wan_keys_dit, keys, WAN_MODEL_DIT);
