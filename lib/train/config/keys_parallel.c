/* SPDX-License-Identifier: Apache-2.0
 *
 * keys_parallel.c - how ranks divide the work.
 */
#include "lib/train/config/keys.h"

static const wan_word cp_comms[] = {
    { "p2p", WAN_CP_P2P }, { "a2a", WAN_CP_A2A }, { "a2a+p2p", WAN_CP_A2A_P2P }, { 0, 0 }
};

static const wan_key keys[] = {
    INT("model.tensor_model_parallel_size", "fsdp.tp_size", tp, "1", 1, 256, "tensor parallel"),
    INT("model.pipeline_model_parallel_size", "fsdp.pp_size", pp, "1", 1, 4096,
        "pipeline parallel: ranges of blocks on so many ranks, balanced by FLOPs"),
    INT("model.virtual_pipeline_model_parallel_size", 0, vpp, "1", 1, 16,
        "ranges of blocks that each pipeline rank holds: 1: 1F1B; more: interleaved"),
    INT("model.context_parallel_size", "fsdp.cp_size", cp, "1", 1, 4096, "context parallel"),
    ENUM(
        "model.cp_comm_type", 0, cp_comm, "p2p", cp_comms,
        "attention of context parallel ranks: keys and values in a ring; all-to-all of heads; or that "
        "among neighbours and rings across"),
    BOOL("model.sequence_parallel", 0, sequence_parallel, "false",
         "tensor parallel ranks share out the rows of the residual stream, norms and gates too"),
    BOOL(
        "dist.use_megatron_fsdp", "ddp.use_megatron_fsdp dist.use_torch_fsdp2", fsdp, "false",
        "FSDP: weights, gradients and moments shared out over the ranks of dist.dp_shard_size and context "
        "parallel, gathered part by part"),
    BOOL(
        "optimizer.use_distributed_optimizer", "ddp.use_distributed_optimizer", zero1, "false",
        "ZeRO-1: masters and moments shared out over the same ranks, weights and gradients whole (FSDP, "
        "where both are asked for)"),
    INT("dist.dp_shard_size", 0, dp_shard, "1", 0, 65536,
        "ranks that share one copy, or as many up to this as divide the ranks (0: all, as where FSDP or "
        "ZeRO-1 is asked for without a size)"),
    INT("dist.dp_replicate_size", "fsdp.dp_replicate_size", dp_replicate, "0", 0, 65536,
        "full copies, or as many up to this as divide the ranks; with N given, the ranks that are left "
        "share each of them (0: dist.dp_shard_size decides)"),
    OWN("dist.dead_seconds", 0, dead_seconds, "30", 1, 3600,
        "give up a rank that gives no sign of life for this long"),
    OWN("dist.timeout_minutes", "dist_env.timeout_minutes", timeout_minutes, "30", 1, 1 << 20,
        "wait this long for a rank that is alive but late"),
    INT("dist.bucket_bytes", 0, bucket_bytes, "8388608", 1 << 10, 1 << 30,
        "gradients are reduced in pieces of this size"),

    NOTED("ddp.*", "gradients are summed in fp32, in buckets, during the backward pass"),
    ONLY("mixed_precision.fp8", "false", "model.compute_dtype=fp8 is asked for instead"),
    ONLY("mixed_precision.fp16", "false", "products are bf16, fp8 or fp32"),
    NOTED("mixed_precision.*",
          "masters and sums of gradients are fp32; model.compute_dtype is the rest"),
    NOTED("comm_overlap.*", "the kernels decide"),
    NOTED("dist.distributed_backend", "the device decides"),
    ONLY("fsdp.ep_size", "1 none null", "the model has no experts"),
    NOTED("fsdp.dp_size", "the number of ranks says it"),
    NOTED("fsdp.reduce_dtype", "gradients are summed in fp32"),
    NOTED("fsdp.*", "how memory is spent changes nothing that is learned"),
    NOTED("dist_env.*", "mpirun or srun starts the ranks"),
};
WAN_KEYS(wan_keys_parallel, keys, WAN_MODEL_ANY);
