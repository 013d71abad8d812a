/* SPDX-License-Identifier: Apache-2.0
 *
 * config_table.c - every key of the configuration: names, type, default, range, meaning.
 * Defaults are the recipe's (spec training.md 3.3, 4.1, 4.7, 6.3); aliases are Automodel's (6.4).
 */
#include <stddef.h>

#include "lib/train/config/config.h"

#define AT(field) offsetof(wan_train_config, field)
#define INT(n, al, f, d, lo, hi, h)                                                                \
    {                                                                                              \
        n, al, WAN_KEY_INT, WAN_KEY_USED, AT(f), d, lo, hi, 0, h                                   \
    }
#define REAL(n, al, f, d, lo, hi, h)                                                               \
    {                                                                                              \
        n, al, WAN_KEY_REAL, WAN_KEY_USED, AT(f), d, lo, hi, 0, h                                  \
    }
#define BOOL(n, al, f, d, h)                                                                       \
    {                                                                                              \
        n, al, WAN_KEY_BOOL, WAN_KEY_USED, AT(f), d, 0, 1, 0, h                                    \
    }
#define STR(n, al, f, d, h)                                                                        \
    {                                                                                              \
        n, al, WAN_KEY_STR, WAN_KEY_USED, AT(f), d, 0, 0, 0, h                                     \
    }
#define PLACE(n, al, f, d, h)                                                                      \
    {                                                                                              \
        n, al, WAN_KEY_STR, WAN_KEY_PLACE, AT(f), d, 0, 0, 0, h                                    \
    }
#define ENUM(n, al, f, d, w, h)                                                                    \
    {                                                                                              \
        n, al, WAN_KEY_ENUM, WAN_KEY_USED, AT(f), d, 0, 0, w, h                                    \
    }
#define NOTED(n, h)                                                                                \
    {                                                                                              \
        n, 0, WAN_KEY_ANY, WAN_KEY_NOTED, 0, 0, 0, 0, 0, h                                         \
    }
/* how this process runs, not what it computes: not saved with the run */
#define RUN(n, al, f, d, lo, hi, h)                                                                \
    {                                                                                              \
        n, al, WAN_KEY_INT, WAN_KEY_PLACE, AT(f), d, lo, hi, 0, h                                  \
    }
#define MANY 1e15

const wan_key wan_config_keys[] = {
    ENUM("model.size", 0, model_size, "1.3B", "1.3B|14B",
         "published geometry that the keys below start from"),
    STR("model.config", 0, model_config, "", "folder whose config.json gives the geometry instead"),
    ENUM("model.mode", 0, model_mode, "auto", "auto|pretrain|finetune",
         "pretrain: random weights, of the geometry of pretrained_model_name_or_path where given; "
         "finetune: weights are required; auto: weights where given"),
    STR("model.pretrained_model_name_or_path", "model.hf_model", model_path, "",
        "HuggingFace folder (with transformer/ or config.json) to take the weights from; a folder "
        "on this machine, nothing is downloaded"),
    INT("model.num_layers", 0, layers, "0", 0, 1000, "blocks (0: from the size or the weights)"),
    INT("model.hidden_size", 0, hidden, "0", 0, 1 << 20, "width (0: as above)"),
    INT("model.ffn_hidden_size", 0, ffn, "0", 0, 1 << 20,
        "width of the feed-forward (0: as above)"),
    INT("model.num_attention_heads", 0, heads, "0", 0, 1024, "heads (0: as above)"),
    INT("model.kv_channels", 0, head_dim, "0", 0, 4096, "width of a head (0: hidden / heads)"),
    INT("model.crossattn_emb_size", 0, cross_width, "0", 0, 1 << 20,
        "width of the text after projection; must equal hidden_size where given"),
    INT("model.in_channels", 0, in_ch, "0", 0, 1024, "latent channels in (0: as above)"),
    INT("model.out_channels", 0, out_ch, "0", 0, 1024, "latent channels out (0: as above)"),
    INT("model.text_dim", 0, text_dim, "0", 0, 1 << 20,
        "width of the text encoder's rows (0: as above)"),
    INT("model.text_len", 0, text_len, "0", 0, 1 << 16,
        "rows that a caption is zero-padded to (0: 512)"),
    INT("model.freq_dim", 0, freq_dim, "0", 0, 1 << 16, "width of the timestep sinusoid (0: 256)"),
    REAL("model.layernorm_epsilon", 0, eps, "1e-06", 1e-12, 1e-2, "epsilon of all norms"),
    ENUM("model.recompute_granularity",
         "fsdp.activation_checkpointing ddp.activation_checkpointing "
         "model.pipeline_spec.enable_gradient_checkpointing",
         recompute, "none", "none|selective|full",
         "activations recomputed in the backward pass, in every block"),
    INT("model.tensor_model_parallel_size", "fsdp.tp_size", tp, "1", 1, 4096, "tensor parallel"),
    INT("model.pipeline_model_parallel_size", "fsdp.pp_size", pp, "1", 1, 4096,
        "pipeline parallel"),
    INT("model.context_parallel_size", "fsdp.cp_size", cp, "1", 1, 4096, "context parallel"),
    BOOL("model.sequence_parallel", 0, sequence_parallel, "false",
         "norms sharded along tokens (needs tensor parallel)"),
    INT("dist.dp_shard_size", 0, dp_shard, "1", 1, 65536,
        "ranks that share one copy of the optimizer state"),
    INT("dist.dp_replicate_size", "fsdp.dp_replicate_size", dp_replicate, "0", 0, 65536,
        "copies (0: as many as there are ranks)"),

    STR("dataset.path", "data.dataloader.meta_folder data.dataloader.cache_dir", data_path, "",
        "shard folder indexed by wan-index"),
    STR("dataset.split", 0, split, "train", "part of split.yaml to train on"),
    STR("dataset.empty_text", 0, empty_text, "",
        "safetensors file whose tensor text holds the encoded empty prompt (default: "
        "empty_text.safetensors in the shard folder; without one a dropped caption is no rows, "
        "which the model sees as zeros)"),
    INT("dataset.seq_length", "dataset.task_encoder_seq_length", capacity, "1024", 1, MANY,
        "capacity of a pack in tokens; a longer sample raises it"),
    INT("dataset.packing_buffer_size", 0, window, "0", 0, MANY,
        "samples that packs are chosen from, at most a global batch (0: the whole batch)"),
    RUN("dataset.num_workers", "data.dataloader.num_workers", workers, "1", 0, 256,
        "0: read samples in the training thread, else in a thread ahead of it"),
    BOOL("dataset.shuffle", "data.dataloader.shuffle", shuffle, "true",
         "draw a new order of the samples each epoch, from rng.seed"),
    INT("dataset.F_latents", 0, mock_t, "24", 1, 4096, "mock: latent frames"),
    INT("dataset.H_latents", 0, mock_h, "104", 2, 4096, "mock: latent rows"),
    INT("dataset.W_latents", 0, mock_w, "60", 2, 4096, "mock: latent columns"),
    INT("dataset.number_packed_samples", 0, mock_packed, "1", 1, 65536,
        "mock: raise dataset.seq_length to this many samples"),
    INT("dataset.context_seq_len", 0, mock_text, "512", 0, 65536, "mock: text rows"),
    INT("dataset.mock_samples", 0, mock_samples, "1024", 1, MANY, "mock: length of an epoch"),
    BOOL("dataset.mock_vary", 0, mock_vary, "false",
         "mock: images and smaller videos among the videos, captions of different lengths"),

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

    REAL("optimizer.lr", "optim.learning_rate", lr, "9e-05", 0, 1e3, "largest learning rate"),
    REAL("optimizer.min_lr", "lr_scheduler.min_lr", min_lr, "-1", -1, 1e3,
         "smallest learning rate (-1: a tenth of lr)"),
    REAL("optimizer.adam_beta1", 0, beta1, "0.9", 0, 0.9999999, "decay of the first moment"),
    REAL("optimizer.adam_beta2", 0, beta2, "0.95", 0, 0.9999999, "decay of the second moment"),
    { "optimizer.betas", "optim.optimizer.betas", WAN_KEY_BETAS, WAN_KEY_USED, AT(beta1), 0, 0, 1,
      0, "both, as [a, b]" },
    REAL("optimizer.adam_eps", "optim.optimizer.eps", adam_eps, "1e-08", 1e-30, 1,
         "Adam's epsilon"),
    REAL(
        "optimizer.weight_decay",
        "scheduler.start_weight_decay scheduler.end_weight_decay optim.optimizer.weight_decay",
        weight_decay, "0.033", 0, 1e3,
        "decoupled weight decay of every parameter (0.033 is what DFM's recipe applies; its 0.1 is "
        "overwritten)"),
    BOOL("optimizer.no_decay_1d", 0, no_decay_1d, "false",
         "no weight decay on norms, biases and modulation tables"),
    REAL("optimizer.clip_grad", "clip_grad_norm.max_norm optim.clip_grad", clip_grad, "1", 0, 1e9,
         "largest norm of the gradient (0: not clipped)"),
    ENUM("scheduler.lr_decay_style", "lr_scheduler.lr_decay_style", lr_style, "cosine",
         "constant|linear|cosine|inverse-square-root|WSD", "course of the learning rate"),
    INT("scheduler.lr_warmup_iters", "lr_scheduler.lr_warmup_steps", warmup_iters, "2000", 0, MANY,
        "steps of linear warm-up"),
    REAL("scheduler.lr_warmup_fraction", 0, warmup_fraction, "0", 0, 1,
         "warm-up as a part of lr_decay_iters, where not 0"),
    REAL("scheduler.lr_warmup_init", "lr_scheduler.init_lr", warmup_init, "0", 0, 1e3,
         "learning rate that the warm-up starts from"),
    INT("scheduler.lr_decay_iters", "lr_scheduler.lr_decay_steps", decay_iters, "0", 0, MANY,
        "step at which min_lr is reached (0: train_iters)"),
    INT("scheduler.lr_wsd_decay_iters", 0, wsd_iters, "0", 0, MANY, "WSD: steps of the tail"),
    ENUM("scheduler.lr_wsd_decay_style", 0, wsd_style, "exponential",
         "minus_sqrt|linear|cosine|exponential", "WSD: shape of the tail"),

    ENUM("flow.preset", 0, preset, "auto", "auto|pretrain|finetune",
         "numbers that flow keys not given take (auto: --training-mode)"),
    ENUM("flow.timestep_sampling", "flow_matching.timestep_sampling", sampling, "uniform",
         "uniform|logit_normal|lognorm|mode|mix", "distribution of u, from which sigma is shifted"),
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
    ENUM("flow.loss_reduction", 0, reduction, "sample", "sample|token",
         "mean over samples of each sample's mean, or over all tokens (DFM)"),
    REAL("flow.cfg_dropout_prob", "flow_matching.cfg_dropout_prob", cfg_dropout, "0.1", 0, 1,
         "part of the samples that are trained without their caption"),

    PLACE("checkpoint.save", "checkpoint.checkpoint_dir", save,
          "nemo_experiments/default/checkpoints", "folder for checkpoints (empty: none)"),
    PLACE("checkpoint.load", "checkpoint.restore_from", load, "LATEST",
          "checkpoint folder to resume from; LATEST: the one in checkpoint.save, if any"),
    STR("checkpoint.pretrained_checkpoint", 0, pretrained, "",
        "checkpoint or model folder for the weights, when there is nothing to resume from"),
    INT("checkpoint.save_interval",
        "step_scheduler.ckpt_every_steps checkpoint.save_every logging.save_every", save_interval,
        "2000", 0, MANY, "steps between checkpoints (0: at the end only)"),
    INT("checkpoint.keep", "checkpoint.max_recent_checkpoints checkpoint.most_recent_k", keep, "0",
        0, MANY, "newest checkpoints to keep (0: all)"),
    INT("checkpoint.ckpt_step", 0, ckpt_step, "-1", -1, MANY,
        "step to resume from (-1: the newest)"),
    BOOL("checkpoint.load_optim", 0, load_optim, "true",
         "false: the moments start anew; weights, step and data go on"),
    BOOL("checkpoint.enabled", 0, ckpt_enabled, "true", "false: write no checkpoint"),
    BOOL("checkpoint.verify", 0, verify, "true", "check the digests of what is loaded"),
    ENUM("checkpoint.dtype", 0, ckpt_dtype, "fp32", "fp32|bf16",
         "type of the weights in transformer/ (bf16: masters go to optimizer/)"),
    INT("checkpoint.max_shard_bytes", 0, max_shard, "5368709120", 1 << 10, MANY,
        "largest safetensors file of the weights"),

    RUN("logger.log_interval", "step_scheduler.log_every logging.log_every", log_interval, "10", 1,
        MANY, "steps between lines for people on standard error"),
    INT("rng.seed", "seed", seed, "1234", 0, 9e15, "seed of everything random"),
    RUN("dist.dead_seconds", 0, dead_seconds, "30", 1, 3600,
        "give up a rank that gives no sign of life for this long"),
    RUN("dist.timeout_minutes", "dist_env.timeout_minutes", timeout_minutes, "30", 1, 1 << 20,
        "wait this long for a rank that is alive but late"),
    INT("dist.bucket_bytes", 0, bucket_bytes, "8388608", 1 << 10, 1 << 30,
        "gradients are reduced in pieces of this size"),
    PLACE("debug.batch", 0, debug_batch, "",
          "safetensors file with the batches to train on instead of the dataset"),
    PLACE("debug.dump", 0, debug_dump, "",
          "safetensors file for prediction, loss and gradients of the first step"),

    NOTED("train.micro_batch_size", "a micro-batch is one pack"),
    NOTED("dataset.micro_batch_size", "a micro-batch is one pack"),
    NOTED("step_scheduler.local_batch_size", "a micro-batch is one pack"),
    NOTED("batch.batch_size_per_node", "a micro-batch is one pack"),
    NOTED("data.dataloader.batch_size", "a micro-batch is one pack"),
    NOTED("gradient_accumulation_steps", "follows from the packs of a global batch"),
    NOTED("dataset.context_embeddings_dim", "the model's text_dim is used"),
    NOTED("dataset.patch_temporal", "patches are 1x2x2"),
    NOTED("dataset.patch_spatial", "patches are 1x2x2"),
    NOTED("dataset.use_train_split_for_val", "validation uses the val split"),
    NOTED("dataset.dataloader_type", "there is one loader"),
    NOTED("dataset.pin_memory", "the loader decides"),
    NOTED("train.empty_unused_memory_level", "memory is allocated once"),
    NOTED("train.manual_gc", "there is no garbage collector"),
    NOTED("train.manual_gc_interval", "there is no garbage collector"),
    NOTED("train.manual_gc_eval", "there is no garbage collector"),
    NOTED("train.exit_signal_handler", "signals always end a run with a checkpoint"),
    NOTED("model.pipeline_dtype", "--precision decides"),
    NOTED("model.params_dtype", "--precision decides"),
    NOTED("model.bf16", "--precision decides"),
    NOTED("model.fp16", "--precision decides"),
    NOTED("model.torch_dtype", "masters are fp32"),
    NOTED("model.compute_dtype", "--precision decides"),
    NOTED("mixed_precision", "--precision decides"),
    NOTED("model.qkv_format", "tokens are always packed"),
    NOTED("model.seq_length", "dataset.seq_length is the capacity"),
    NOTED("model.vocab_size", "the transformer has no vocabulary"),
    NOTED("model.recompute_method", "recompute applies to every block"),
    NOTED("model.recompute_num_layers", "recompute applies to every block"),
    NOTED("model.bias_activation_fusion", "the activation is tanh-GELU either way"),
    NOTED("model.apply_rope_fusion", "kernels are always fused"),
    NOTED("model.attention_backend", "the device decides"),
    NOTED("model.attention_dropout", "the model has no dropout"),
    NOTED("model.hidden_dropout", "the model has no dropout"),
    NOTED("model.vae_cache_folder", "training needs no VAE"),
    NOTED("model.val_generation_guidance", "validation does not sample"),
    NOTED("model.val_generation_num_steps", "validation does not sample"),
    NOTED("model.cache_dir", "nothing is downloaded"),
    NOTED("model.model_type", "the model is WAN 2.1"),
    NOTED("model.pipeline_spec.*", "the model is WAN 2.1"),
    NOTED("model.fuse_qkv_projections", "the kernels decide"),
    NOTED("model.cp_comm_type", "context parallel is not used"),
    NOTED("optimizer.optimizer", "the optimizer is AdamW"),
    NOTED("optimizer.use_distributed_optimizer", "see dist.dp_shard_size"),
    NOTED("optimizer.decoupled_weight_decay", "weight decay is decoupled"),
    NOTED("optimizer.bf16", "masters and moments are fp32"),
    NOTED("optimizer.fp16", "masters and moments are fp32"),
    NOTED("optimizer.use_precision_aware_optimizer", "masters and moments are fp32"),
    NOTED("optim.optimizer._target_", "the optimizer is AdamW"),
    NOTED("scheduler.override_opt_param_scheduler", "the configuration always decides"),
    NOTED("scheduler.use_checkpoint_opt_param_scheduler", "the configuration always decides"),
    NOTED("scheduler.weight_decay_incr_style", "weight decay is constant"),
    NOTED("lr_scheduler._target_", "see scheduler.lr_decay_style"),
    NOTED("ddp.*", "gradients are summed in fp32, in buckets, during the backward pass"),
    NOTED("dist.use_megatron_fsdp", "see dist.dp_shard_size"),
    NOTED("dist.use_torch_fsdp2", "see dist.dp_shard_size"),
    NOTED("dist.distributed_backend", "the device decides"),
    NOTED("fsdp.*", "data parallel size follows from the number of ranks"),
    NOTED("dist_env.*", "mpirun or srun starts the ranks"),
    NOTED("checkpoint.ckpt_format", "checkpoints are safetensors with HuggingFace names"),
    NOTED("checkpoint.fully_parallel_save", "checkpoints are safetensors with HuggingFace names"),
    NOTED("checkpoint.async_save", "checkpoints are written before the next step"),
    NOTED("checkpoint.is_async", "checkpoints are written before the next step"),
    NOTED("checkpoint.also_save_hf_checkpoint", "every checkpoint is a HuggingFace folder"),
    NOTED("checkpoint.model_save_format", "checkpoints are safetensors with HuggingFace names"),
    NOTED("checkpoint.save_consolidated", "every checkpoint is consolidated"),
    NOTED("checkpoint.diffusers_compatible", "every checkpoint is a diffusers folder"),
    NOTED("checkpoint.load_rng", "random numbers have no state"),
    NOTED("checkpoint.save_rng", "random numbers have no state"),
    NOTED("checkpoint.save_optim", "the optimizer is always saved"),
    NOTED("checkpoint.dist_ckpt_strictness", "every tensor must match"),
    NOTED("logger.*", "metrics are JSON lines: --metrics"),
    NOTED("wandb.*", "metrics are JSON lines: --metrics"),
    NOTED("rng.data_parallel_random_init", "every sample has its own random numbers"),
    NOTED("rng.te_rng_tracker", "every sample has its own random numbers"),
    NOTED("tokenizer.*", "captions are encoded by wan-encode"),
    NOTED("profiling.*", "see wan-train(1)"),
    NOTED("performance.*", "the loss is always checked"),
    NOTED("data.dataloader._target_", "the data are indexed shards"),
    NOTED("data.dataloader.device", "--device decides"),
    NOTED("data.dataloader.model_type", "the model is WAN 2.1"),
    NOTED("data.dataloader.base_resolution", "packs mix resolutions"),
    NOTED("data.dataloader.dynamic_batch_size", "packs are filled by tokens"),
    NOTED("data.dataloader.drop_last", "every sample is used once an epoch"),
    NOTED("flow.i2v_prob", "the model is text to video"),
    NOTED("flow_matching.i2v_prob", "the model is text to video"),
    NOTED("flow_matching.use_sigma_noise", "timestep_sampling decides"),
    NOTED("flow_matching.log_interval", "every step is logged"),
    NOTED("flow_matching.summary_log_interval", "every step is logged"),
    NOTED("flow_matching.adapter_type", "the model is WAN 2.1"),
    NOTED("flow_matching.num_train_timesteps", "the timestep is 1000 sigma"),
    NOTED("flow.num_train_timesteps", "the timestep is 1000 sigma"),
};
const int wan_config_n_keys = (int)(sizeof wan_config_keys / sizeof wan_config_keys[0]);
