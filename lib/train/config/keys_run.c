/* SPDX-License-Identifier: Apache-2.0
 *
 * keys_run.c - how long a run is, its global batch, what it reports.
 */
#include "lib/train/config/keys.h"

static const wan_key keys[] = {
    INT("train.train_iters", "step_scheduler.max_steps", train_iters, "10000", 0, MANY, "steps"),
    INT("train.epochs", "step_scheduler.num_epochs training.num_epochs", epochs, "0", 0, MANY,
        "stop after this many passes over the data, if that comes first (0: no limit)"),
    INT("train.global_batch_size", "dataset.global_batch_size step_scheduler.global_batch_size",
        global_batch, "4", 1, 1 << 24,
        "SAMPLES of one optimizer step, over all ranks (in DFM: packs)"),
    RUN("train.exit_interval", 0, exit_interval, "0", 0, MANY,
        "write a checkpoint and exit with status 75 when the step is a multiple (0: never)"),
    INT("train.max_skipped", 0, max_skipped, "10", 0, MANY,
        "steps in a row with a loss or gradient that is not finite, which are skipped, before the "
        "run is given up"),
    INT("train.eval_interval", 0, eval_interval, "2000", 0, MANY,
        "steps between validations on the val split (0: none)"),
    INT("train.eval_iters", 0, eval_iters, "32", 0, MANY, "global batches of one validation"),

    RUN("logger.log_interval", "step_scheduler.log_every logging.log_every", log_interval, "10", 1,
        MANY, "steps between lines for people on standard error"),
    INT("rng.seed", "seed", seed, "1234", 0, 9e15, "seed of everything random"),
    PLACE("debug.batch", 0, debug_batch, "",
          "safetensors file with the batches to train on instead of the dataset"),
    PLACE("debug.dump", 0, debug_dump, "",
          "safetensors file for prediction, loss and gradients of the first step"),

    NOTED("train.micro_batch_size", "a micro-batch is one pack"),
    NOTED("step_scheduler.local_batch_size", "a micro-batch is one pack"),
    NOTED("batch.batch_size_per_node", "a micro-batch is one pack"),
    NOTED("gradient_accumulation_steps", "follows from the packs of a global batch"),
    NOTED("train.empty_unused_memory_level", "memory is allocated once"),
    NOTED("train.manual_gc", "there is no garbage collector"),
    NOTED("train.manual_gc_interval", "there is no garbage collector"),
    NOTED("train.manual_gc_eval", "there is no garbage collector"),
    NOTED("train.exit_signal_handler", "signals always end a run with a checkpoint"),
    NOTED("logger.*", "metrics are JSON lines: --metrics"),
    NOTED("wandb.*", "metrics are JSON lines: --metrics"),
    NOTED("rng.data_parallel_random_init", "every sample has its own random numbers"),
    NOTED("rng.te_rng_tracker", "every sample has its own random numbers"),
    NOTED("profiling.*", "see wan-train(1)"),
    NOTED("performance.*", "the loss is always checked"),
};
WAN_KEYS(wan_keys_run, keys, WAN_MODEL_ANY);
