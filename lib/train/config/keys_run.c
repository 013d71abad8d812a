/* SPDX-License-Identifier: Apache-2.0
 *
 * keys_run.c - how long a run is, its global batch, what it reports.
 */
#include "lib/train/config/keys.h"

static const wan_word recipes[] = { { "auto", WAN_RECIPE_AUTO },
                                    { "megatron", WAN_RECIPE_MEGATRON },
                                    { "automodel", WAN_RECIPE_AUTOMODEL },
                                    { 0, 0 } };

static const wan_word reductions[] = { { "sample", WAN_MEAN_SAMPLE },
                                       { "token", WAN_MEAN_TOKEN },
                                       { 0, 0 } };

#define WANDB                                                                                      \
    "nothing is sent to W&B; its own client logs the file of --metrics: wan-train(1), Metrics"

static const wan_key keys[] = {
    ENUM("train.recipe", 0, recipe, "auto", recipes,
         "whose defaults keys take that nobody gives: those of DFM's Megatron recipe or of "
         "Automodel (auto: Automodel's where a file uses its names)"),
    INT("train.train_iters", "step_scheduler.max_steps", train_iters, "10000", -1, MANY,
        "steps of the run (-1: as many as train.epochs takes, which is what happens where only the "
        "epochs are given)"),
    INT("train.epochs", "step_scheduler.num_epochs training.num_epochs", epochs, "0", 0, MANY,
        "passes over the data, counted in samples (0: no limit); with train_iters the earlier of both "
        "ends the run"),
    INT("train.global_batch_size", "dataset.global_batch_size step_scheduler.global_batch_size",
        global_batch, "4", 1, 1 << 24,
        "SAMPLES of one optimizer step, over all ranks (in DFM: packs)"),
    RUN("train.batch_size_per_node", "batch.batch_size_per_node", node_batch, "0", 0, 1 << 24,
        "global batch as samples of one machine (0: not given that way)"),
    RUN("train.micro_batch_size",
        "dataset.micro_batch_size step_scheduler.local_batch_size data.dataloader.batch_size",
        micro_batch, "0", 0, 1 << 24,
        "samples of one rank at a time, where the global batch follows from them; else without "
        "effect, because a micro-batch is one pack"),
    RUN("train.gradient_accumulation_steps",
        "gradient_accumulation_steps step_scheduler.gradient_accumulation_steps", accumulate, "0",
        0, 1 << 24,
        "the global batch is this many micro-batches of every rank (0: not given that way)"),
    ENUM("train.loss_reduction", "flow.loss_reduction", reduction, "sample", reductions,
         "mean over samples of each sample's mean, or over all tokens (DFM)"),
    BOOL(
        "train.timestep_per_pack", 0, per_pack, "false",
        "one noise level for all samples of a pack, which spoils the curve (examples/convergence); "
        "false: each sample draws its own"),
    RUN("train.exit_interval", 0, exit_interval, "0", 0, MANY,
        "write a checkpoint and exit with status 75 when the step is a multiple (0: never)"),
    INT("train.max_skipped", 0, max_skipped, "10", 0, MANY,
        "steps in a row with a loss or gradient that is not finite, which are skipped, before the "
        "run is given up"),
    INT("train.eval_interval", "step_scheduler.val_every_steps", eval_interval, "2000", 0, MANY,
        "steps between validations on the val split, and after the last (0: none); of mock data, on other "
        "samples, only where this key is given"),
    INT("train.eval_iters", 0, eval_iters, "32", 0, MANY, "global batches of one validation"),

    INT("train.sample_interval", 0, sample_interval, "0", 0, MANY,
        "steps between videos that are made of train.sample_prompts, and after the last: a contact "
        "sheet checkpoint.save/samples/iter_N.png (0: none)"),
    STR("train.sample_prompts", 0, sample_prompts, "",
        "file of their prompts, as wan-sample --prompt_file reads it"),
    INT("train.sample_steps", 0, sample_steps, "20", 1, 1000, "solver steps"),
    REAL("train.sample_guidance", 0, sample_guidance, "-1", -1, 1000,
         "guidance; 1: none (-1: that of wan-sample)"),
    STR("train.sample_size", 0, sample_size, "",
        "W*H of those whose prompt does not say it (empty: that of the first sample of the data)"),
    INT("train.sample_frames", 0, sample_frames, "0", 0, 4093,
        "4n+1 frames (0: as many as the first sample of the data has)"),
    INT("train.sample_seed", 0, sample_seed, "0", 0, 9e15,
        "seed of the noise of those whose prompt does not say it"),

    OWN("logger.log_interval",
        "step_scheduler.log_every step_scheduler.log_remote_every_steps logging.log_every",
        log_interval, "10", 1, MANY, "steps between lines for people on standard error"),
    { ROW("logger.tensorboard_dir", "tensorboard.log_dir", WAN_KEY_STR, tensorboard, "",
          "folder for an event file that TensorBoard reads"),
      .class = WAN_KEY_OWN },
    INT("rng.seed", "seed", seed, "1234", 0, 9e15, "seed of everything random"),
    PLACE("debug.batch", 0, debug_batch, "",
          "safetensors file with the batches to train on instead of the dataset"),
    BOOL(
        "train.autotune", 0, autotune, "false",
        "on a GPU, in front of the first step: up to eight ways to compute each product are measured, "
        "and the fastest is kept in ways.txt of checkpoint.save, which every run there reads; false: "
        "without that file, what the library proposes first"),
    BOOL(
        "train.graphs", "model.enable_cuda_graph", graphs, "false",
        "on a GPU, record the work of each part of the model the second time that a micro-batch of "
        "some shape comes, and norm, clip and AdamW of the second step, and let the host start each by one "
        "call from then on, with the same bytes; "
        "what tensor parallel ranks ask each other for, and attention among context parallel ranks, stands "
        "between two recordings; --graphs sets it"),
    PLACE("debug.dump", 0, debug_dump, "",
          "safetensors file for prediction, loss and gradients of the first step"),

    NOTED("step_scheduler.gc_every_steps", "there is no garbage collector"),
    NOTED("step_scheduler.loss_average_window_steps", "every step is in the metrics"),
    NOTED("step_scheduler.validate_on_checkpoint", "train.eval_interval decides"),
    NOTED("step_scheduler.preemption_signal", "signals always end a run with a checkpoint"),
    ONLY("recipe", "*TrainDiffusionRecipe *TrainWan21DiffusionRecipe",
         "WAN's own; another recipe trains another model"),
    ONLY("recipe._target_", "*TrainDiffusionRecipe *TrainWan21DiffusionRecipe",
         "WAN's own; another recipe trains another model"),
    NOTED("train.empty_unused_memory_level", "memory is allocated once"),
    NOTED("train.manual_gc", "there is no garbage collector"),
    NOTED("train.manual_gc_interval", "there is no garbage collector"),
    NOTED("train.manual_gc_eval", "there is no garbage collector"),
    NOTED("train.exit_signal_handler", "signals always end a run with a checkpoint"),
    NOTED("logger.wandb_project", WANDB),
    NOTED("logger.wandb_exp_name", WANDB),
    NOTED("logger.wandb_save_dir", WANDB),
    NOTED("logger.wandb_entity", WANDB),
    NOTED("logger.*", "metrics are JSON lines: --metrics"),
    NOTED("wandb.*", WANDB),
    NOTED("rng.data_parallel_random_init", "every sample has its own random numbers"),
    NOTED("rng.te_rng_tracker", "every sample has its own random numbers"),
    NOTED("profiling.*", "see wan-train(1)"),
    NOTED("performance.*", "the loss is always checked, the clip is one pass over all gradients"),
    NOTED("ci.*", "it says how the other system's tests run it"),
    REFUSED("peft.*", "adapters (LoRA) cannot be trained yet"),
};
WAN_KEYS(wan_keys_run, keys, WAN_MODEL_ANY);
