/* SPDX-License-Identifier: Apache-2.0
 *
 * keys_dit.c - what only DFM's DiT has; a configuration that sets one of these wants that model.
 */
#include "lib/train/config/keys.h"

static const wan_key keys[] = {
    NOTED("model.vae_cache_folder", "training needs no VAE"),
    NOTED("model.val_generation_guidance", "validation does not sample"),
    NOTED("model.val_generation_num_steps", "validation does not sample"),
};
WAN_KEYS(wan_keys_dit, keys, WAN_MODEL_DIT);
