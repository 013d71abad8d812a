/* SPDX-License-Identifier: Apache-2.0
 *
 * choices.h - what the configuration's words mean: one enum per kind of choice.
 */
#ifndef WAN_TRAIN_CHOICES_H
#define WAN_TRAIN_CHOICES_H

/* whose defaults keys take that nobody gives */
enum wan_recipe { WAN_RECIPE_AUTO, WAN_RECIPE_MEGATRON, WAN_RECIPE_AUTOMODEL };
enum wan_model_type { WAN_MODEL_ANY = -1, WAN_MODEL_WAN, WAN_MODEL_DIT };
enum wan_model_size {
    WAN_SIZE_1_3B,
    WAN_SIZE_14B,
    WAN_SIZE_DIT_S,
    WAN_SIZE_DIT_B,
    WAN_SIZE_DIT_L,
    WAN_SIZE_DIT_XL
};
/* model.mode: what the weights start from; flow.preset: whose numbers the objective takes */
enum wan_start { WAN_START_AUTO, WAN_START_PRETRAIN, WAN_START_FINETUNE, WAN_START_AUTOMODEL };

enum wan_lr_style {
    WAN_LR_CONSTANT,
    WAN_LR_LINEAR,
    WAN_LR_COSINE,
    WAN_LR_INVERSE_SQRT,
    WAN_LR_WSD
};
enum wan_wsd_style { WAN_WSD_MINUS_SQRT, WAN_WSD_LINEAR, WAN_WSD_COSINE, WAN_WSD_EXPONENTIAL };

/* what the loss is the mean of */
enum wan_reduction { WAN_MEAN_SAMPLE, WAN_MEAN_TOKEN };

#endif
