/* SPDX-License-Identifier: Apache-2.0
 *
 * keys_model.c - the transformer, whichever it is: what it starts from, its size,
 * precision and recompute.
 */
#include "lib/train/config/keys.h"

static const wan_word types[] = { { "wan", WAN_MODEL_WAN }, { "dit", WAN_MODEL_DIT }, { 0, 0 } };
static const wan_word sizes[] = { { "1.3B", WAN_SIZE_1_3B },
                                  { "14B", WAN_SIZE_14B },
                                  { "dit-s", WAN_SIZE_DIT_S },
                                  { "dit-b", WAN_SIZE_DIT_B },
                                  { "dit-l", WAN_SIZE_DIT_L },
                                  { "dit-xl", WAN_SIZE_DIT_XL },
                                  { 0, 0 } };
static const wan_word starts[] = { { "auto", WAN_START_AUTO },
                                   { "pretrain", WAN_START_PRETRAIN },
                                   { "finetune", WAN_START_FINETUNE },
                                   { 0, 0 } };
/* booleans come from the names of the other systems */
static const wan_word recomputes[] = {
    { "none", WAN_RECOMPUTE_NONE }, { "selective", WAN_RECOMPUTE_SELECTIVE },
    { "full", WAN_RECOMPUTE_FULL }, { "false", WAN_RECOMPUTE_NONE },
    { "true", WAN_RECOMPUTE_FULL }, { 0, 0 }
};
enum { EVERY, FIRST };
static const wan_word methods[] = { { "uniform", EVERY }, { "block", FIRST }, { 0, 0 } };
static const wan_word computes[] = { { "bf16", WAN_BF16 },
                                     { "fp32", WAN_F32 },
                                     { "fp8", WAN_COMPUTE_FP8 },
                                     { "bfloat16", WAN_BF16 },
                                     { "torch.bfloat16", WAN_BF16 },
                                     { "bf16_mixed", WAN_BF16 },
                                     { "bf16-mixed", WAN_BF16 },
                                     { "float32", WAN_F32 },
                                     { "torch.float32", WAN_F32 },
                                     { "32", WAN_F32 },
                                     { 0, 0 } };

static const wan_key keys[] = {
    ENUM("model.type", "model.model_type data.dataloader.model_type", model_type, "wan", types,
         "the transformer; dit where a key is given that only DFM's DiT has"),
    ENUM("model.size", 0, model_size, "1.3B", sizes,
         "published geometry that the other geometry keys start from (of a DiT: dit-xl)"),
    STR("model.config", 0, model_config, "", "folder whose config.json gives the geometry instead"),
    ENUM("model.mode", 0, model_mode, "auto", starts,
         "pretrain: random weights, of the geometry of pretrained_model_name_or_path where given; "
         "finetune: weights are required; auto: weights where given"),
    STR("model.pretrained_model_name_or_path", "model.hf_model", model_path, "",
        "HuggingFace folder (with transformer/ or config.json) to take the weights from; a folder "
        "on this machine, nothing is downloaded"),
    { ROW("model.components", 0, WAN_KEY_STR, components, "",
          "folder with the vae, text_encoder and tokenizer that the data were encoded with, for the "
          "sampler (default: the folder of the weights to start from, where it has them)"),
      .class = WAN_KEY_LINK },
    INT("model.num_layers", 0, layers, "0", 0, 1000, "blocks (0: from the size or the weights)"),
    INT("model.hidden_size", 0, hidden, "0", 0, 1 << 20, "width (0: as above)"),
    INT("model.ffn_hidden_size", 0, ffn, "0", 0, 1 << 20,
        "width of the feed-forward (0: as above)"),
    INT("model.num_attention_heads", 0, heads, "0", 0, 1024, "heads (0: as above)"),
    INT("model.kv_channels", 0, head_dim, "0", 0, 4096, "width of a head (0: hidden / heads)"),
    INT("model.crossattn_emb_size", 0, cross_width, "0", 0, 1 << 20,
        "WAN: width of the text after projection, must equal hidden_size where given; DiT: "
        "model.text_dim"),
    INT("model.text_dim", 0, text_dim, "0", 0, 1 << 20,
        "width of the text encoder's rows (0: as above)"),
    INT("model.text_len", 0, text_len, "0", 0, 1 << 16,
        "rows that a caption is zero-padded to (0: 512)"),
    INT("model.in_channels", 0, in_ch, "0", 0, 1024, "latent channels in (0: as above)"),
    INT("model.out_channels", 0, out_ch, "0", 0, 1024, "latent channels out (0: as above)"),
    REAL("model.layernorm_epsilon", 0, eps, "1e-06", 1e-12, 1e-2, "epsilon of all norms"),
    ENUM(
        "model.compute_dtype", "mixed_precision", compute, "bf16", computes,
        "type of GEMM and attention operands; fp8: bf16, the large products of blocks in e4m3, their "
        "gradients in e5m2; --precision overrides it"),
    { ROW("model.recompute_granularity",
          "fsdp.activation_checkpointing ddp.activation_checkpointing "
          "model.pipeline_spec.enable_gradient_checkpointing",
          WAN_KEY_ENUM, recompute, "none",
          "activations recomputed in the backward pass: none; selective: what is elementwise; full: "
          "all but the input of a block"),
      .words = recomputes, .larger = 1 },
    { ROW("model.recompute_modules", 0, WAN_KEY_STR, recompute_modules, "",
          "what selective does again, a list: layernorm, qk_norm, mlp_act (empty: all); the rest is "
          "kept, and --plan says what each of them takes"),
      .list = 1 },
    ENUM(
        "model.recompute_method", 0, recompute_method, "uniform", methods,
        "uniform: so in every block; block: in the first recompute_num_layers of a pipeline stage or "
        "chunk, the others keep everything"),
    INT("model.recompute_num_layers", 0, recompute_layers, "0", 0, 1000,
        "blocks of recompute_method=block; of uniform, with recompute_granularity=full: blocks of a "
        "group, of which the first keeps its input and all are run again together (0: one; more than "
        "a stage or chunk has: those)"),
    BOOL("model.cpu_offloading", 0, offload_acts, "false",
         "what blocks keep for the backward pass waits in host memory; --offload sets it"),
    INT("model.cpu_offloading_num_layers", 0, offload_layers, "0", 0, 1000,
        "in the first so many blocks of a pipeline stage or chunk (0: in all)"),

    ONLY("model.cpu_offloading_activations", "true", "model.cpu_offloading is for activations"),
    ONLY("model.cpu_offloading_weights", "false",
         "weights stay on the device: optimizer.optimizer_cpu_offload takes their masters away"),
    NOTED("model.cpu_offloading_double_buffering", "three rooms, always"),
    NOTED("model.torch_dtype", "masters are fp32"),
    NOTED("model.pipeline_dtype", "model.compute_dtype decides"),
    NOTED("model.params_dtype", "masters are fp32"),
    NOTED("model.bf16", "model.compute_dtype decides"),
    ONLY("model.fp16", "false", "the operands are bf16, fp8 or fp32"),
    ONLY("model.attention_dropout", "0 0.0", "the model has no dropout"),
    ONLY("model.hidden_dropout", "0 0.0", "the model has no dropout"),
    ONLY("model.bias_activation_fusion", "true",
         "false makes it erf-GELU in DFM; the published model has tanh-GELU"),
    ONLY("model.pipeline_spec.transformer_cls", "WanTransformer3DModel",
         "the class of WAN 2.1; another one is another model"),
    ONLY("model.pipeline_spec.pipeline_cls", "WanPipeline",
         "the class of WAN 2.1; another one is another model"),
    NOTED("model.pipeline_spec.*", "the transformer alone is loaded"),
    REFUSED("model.stage", "WAN 2.2 has two transformers, which cannot be trained yet"),
    REFUSED("model.boundary_ratio", "WAN 2.2 has two transformers, which cannot be trained yet"),
    ONLY("model.transformer_engine_fp8", "false", "model.compute_dtype=fp8 is asked for instead"),
    NOTED("model.transformer_engine_linear", "the kernels decide"),
    NOTED("model.compact_fused_qkv_projections", "the kernels decide"),
    ONLY("model.patch_spatial", "2", "patches are 1x2x2"),
    ONLY("model.patch_temporal", "1", "patches are 1x2x2"),
    ONLY("model.add_bias_linear", "true", "the published model has these biases"),
    ONLY("model.add_qkv_bias", "true", "the published model has these biases"),
    ONLY("model.gated_linear_unit", "false", "the published model has none"),
    ONLY("model.normalization", "RMSNorm", "queries and keys go through RMSNorm"),
    ONLY("model.layernorm_zero_centered_gamma", "false", "scales are stored as they are"),
    ONLY("model.layernorm_across_heads", "true", "queries and keys are normed over all heads"),
    ONLY("model.rotary_interleaved", "true", "pairs of neighbours are turned"),
    NOTED("model.fp16_lm_cross_entropy", "the model has no vocabulary"),
    NOTED("model.parallel_output", "the kernels decide"),
    NOTED("model.share_embeddings_and_output_weights", "the model has no vocabulary"),
    NOTED("model.make_vocab_size_divisible_by", "the model has no vocabulary"),
    NOTED("model.transformer_engine_fp8_recipe", "model.compute_dtype=fp8 scales in its own way"),
    NOTED("model.transformer_engine_fp8_amax_history_len",
          "model.compute_dtype=fp8 scales in its own way"),
    NOTED("model.transformer_engine_fp8_amax_compute_algo",
          "model.compute_dtype=fp8 scales in its own way"),
    NOTED("model.qkv_format", "tokens are always packed"),
    NOTED("model.seq_length", "dataset.seq_length is the capacity"),
    NOTED("model.vocab_size", "the transformer has no vocabulary"),
    NOTED("model.apply_rope_fusion", "kernels are always fused"),
    NOTED("model.attention_backend", "the device decides"),
    NOTED("model.cache_dir", "nothing is downloaded"),
    NOTED("model.fuse_qkv_projections", "the kernels decide"),
};
WAN_KEYS(wan_keys_model, keys, WAN_MODEL_ANY);
