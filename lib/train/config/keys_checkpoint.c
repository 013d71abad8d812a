/* SPDX-License-Identifier: Apache-2.0
 *
 * keys_checkpoint.c - what is written, and where a run goes on from.
 */
#include "lib/train/config/keys.h"

static const wan_word types[] = { { "fp32", WAN_F32 }, { "bf16", WAN_BF16 }, { 0, 0 } };

static const wan_word on_error[] = { { "stop", 0 }, { "continue", 1 }, { 0, 0 } };

static const wan_key keys[] = {
    PLACE("checkpoint.save", "checkpoint.checkpoint_dir", save,
          "nemo_experiments/default/checkpoints", "folder for checkpoints (empty: none)"),
    PLACE("checkpoint.load", "checkpoint.restore_from", load, "LATEST",
          "checkpoint folder to resume from; LATEST: the one in checkpoint.save, if any"),
    STR("checkpoint.pretrained_checkpoint", 0, pretrained, "",
        "checkpoint or model folder for the weights, when there is nothing to resume from"),
    INT("checkpoint.save_interval",
        "step_scheduler.ckpt_every_steps checkpoint.save_every logging.save_every", save_interval,
        "2000", 0, MANY, "steps between checkpoints (0: at the end only)"),
    BOOL("checkpoint.save_every_epoch", "step_scheduler.save_checkpoint_every_epoch",
         save_every_epoch, "false", "also after the last step of every epoch"),
    INT("checkpoint.keep", "checkpoint.max_recent_checkpoints checkpoint.most_recent_k", keep, "0",
        0, MANY, "newest checkpoints to keep (0: all)"),
    INT("checkpoint.ckpt_step", 0, ckpt_step, "-1", -1, MANY,
        "step to resume from (-1: the newest)"),
    BOOL("checkpoint.load_optim", 0, load_optim, "true",
         "false: the moments start anew; weights, their average, step and data go on"),
    BOOL("checkpoint.enabled", 0, ckpt_enabled, "true", "false: write no checkpoint"),
    BOOL("checkpoint.async_save", "checkpoint.is_async", async_save, "false",
         "training goes on while a copy in host memory is written"),
    ENUM(
        "checkpoint.on_error", 0, save_anyway, "stop", on_error,
        "a checkpoint that cannot be written ends the run, or it goes on and tries again at the next; "
        "the last one ends it in either case"),
    BOOL("checkpoint.verify", 0, verify, "true", "check the digests of what is loaded"),
    ENUM("checkpoint.dtype", 0, ckpt_dtype, "fp32", types,
         "type of the weights in transformer/ (bf16: masters go to optimizer/)"),
    INT("checkpoint.max_shard_bytes", 0, max_shard, "5368709120", 1 << 10, MANY,
        "largest safetensors file of the weights"),

    NOTED("checkpoint.ckpt_format", "checkpoints are safetensors with HuggingFace names"),
    NOTED("checkpoint.fully_parallel_save", "all ranks write, each what it holds"),
    NOTED("checkpoint.also_save_hf_checkpoint", "every checkpoint is a HuggingFace folder"),
    NOTED("checkpoint.model_save_format", "checkpoints are safetensors with HuggingFace names"),
    NOTED("checkpoint.save_consolidated", "every checkpoint is consolidated"),
    NOTED("checkpoint.diffusers_compatible", "every checkpoint is a diffusers folder"),
    NOTED("checkpoint.model_cache_dir", "nothing is downloaded"),
    NOTED("checkpoint.model_repo_id", "nothing is downloaded"),
    NOTED("checkpoint.fully_parallel_load", "any number of ranks loads a checkpoint"),
    NOTED("checkpoint.save_tokenizer_assets", "training needs no tokenizer"),
    NOTED("checkpoint.load_rng", "random numbers have no state"),
    NOTED("checkpoint.save_rng", "random numbers have no state"),
    NOTED("checkpoint.save_optim", "the optimizer is always saved"),
    NOTED("checkpoint.dist_ckpt_strictness", "every tensor must match"),
};
WAN_KEYS(wan_keys_checkpoint, keys, WAN_MODEL_ANY);
