# SPDX-License-Identifier: Apache-2.0
"""Distributed checkpoints as torch itself writes them, of the weights of net_b: Megatron's names and
weaving with its layers stacked, saved by two ranks; Automodel's, with HuggingFace's names.

    python3 tests/reference/ref_dcp.py tests/data/ref
"""
import json, os, shutil, sys
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import torch.multiprocessing as mp
from safetensors.torch import load_file
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

out = sys.argv[1]
here = os.path.join(out, "dcp")
mega = os.path.join(here, "megatron", "iter_0000004")
auto = os.path.join(here, "automodel", "epoch_0_step_3", "model")


def weave(heads, *m):
    """Rows of the matrices (or elements of the biases) by turns, a head of each."""
    parts = [x.reshape(heads, x.shape[0] // heads, *x.shape[1:]) for x in m]
    return torch.stack(parts, 1).reshape(-1, *m[0].shape[1:])


def megatron(w, heads, layers):
    sd = {}
    plain = {
        "patch_embedding": "patch_embedding",
        "condition_embedder.text_embedder.linear_1": "text_embedding.linear_1",
        "condition_embedder.text_embedder.linear_2": "text_embedding.linear_2",
        "condition_embedder.time_embedder.linear_1": "time_embedder.linear_1",
        "condition_embedder.time_embedder.linear_2": "time_embedder.linear_2",
        "condition_embedder.time_proj": "time_proj",
        "proj_out": "head.head",
    }
    for hf, mc in plain.items():
        for k in ("weight", "bias"):
            sd[f"{mc}.{k}"] = w[f"{hf}.{k}"]
    sd["head.modulation"] = w["scale_shift_table"]
    block = {
        "attn1.to_out.0": "full_self_attention.linear_proj", "attn2.to_q": "cross_attention.linear_q",
        "attn2.to_out.0": "cross_attention.linear_proj", "norm2": "norm3",
        "ffn.net.0.proj": "mlp.linear_fc1", "ffn.net.2": "mlp.linear_fc2",
    }
    one = []
    for i in range(layers):
        b = {k[len(f"blocks.{i}."):]: v for k, v in w.items() if k.startswith(f"blocks.{i}.")}
        m = {"adaLN.modulation": b["scale_shift_table"]}
        for hf, mc in block.items():
            for k in ("weight", "bias"):
                m[f"{mc}.{k}"] = b[f"{hf}.{k}"]
        for k in ("weight", "bias"):
            m[f"full_self_attention.linear_qkv.{k}"] = weave(
                heads, *(b[f"attn1.to_{x}.{k}"] for x in "qkv"))
            m[f"cross_attention.linear_kv.{k}"] = weave(heads, *(b[f"attn2.to_{x}.{k}"] for x in "kv"))
        for a, c in (("attn1", "full_self_attention"), ("attn2", "cross_attention")):
            for x in "qk":
                m[f"{c}.{x}_layernorm.weight"] = b[f"{a}.norm_{x}.weight"]
        one.append(m)
    for k in one[0]:
        sd[f"decoder.layers.{k}"] = torch.stack([m[k] for m in one])
    sd["optimizer.state.exp_avg.decoder.layers.mlp.linear_fc1.weight"] = torch.zeros(3, 2)
    sd["rng_state"] = torch.arange(5)
    return sd


def rank(r, world, sd):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29511")
    dist.init_process_group("gloo", rank=r, world_size=world)
    mesh = init_device_mesh("cpu", (world,))

    def place(name, t):  # column parallel rows of a layer, row parallel columns, layers, or whole
        if ".linear_fc1.weight" in name or ".linear_qkv.weight" in name:
            return Shard(1)
        if ".linear_fc2.weight" in name:
            return Shard(2)
        return Shard(0) if name.startswith("decoder") and "norm" in name else Replicate()

    dcp.save({k: distribute_tensor(t, mesh, [place(k, t)]) for k, t in sd.items()}, checkpoint_id=mega)
    dist.destroy_process_group()


if __name__ == "__main__":
    shutil.rmtree(here, ignore_errors=True)
    folder = os.path.join(out, "net_b", "transformer")
    w = load_file(os.path.join(folder, "diffusion_pytorch_model.safetensors"))
    c = json.load(open(os.path.join(folder, "config.json")))
    heads, layers = c["num_attention_heads"], c["num_layers"]
    os.makedirs(mega)
    mp.spawn(rank, (2, megatron(w, heads, layers)), nprocs=2)
    with open(os.path.join(mega, "run_config.yaml"), "w") as f:
        f.write(f"model:\n  num_attention_heads: {heads}\n  num_layers: {layers}\n")
    with open(os.path.join(here, "megatron", "latest_checkpointed_iteration.txt"), "w") as f:
        f.write("4\n")
    os.makedirs(auto)
    w = {k: v.to(torch.bfloat16) for k, v in w.items()}
    dcp.save({f"module.{k}": v for k, v in w.items()}, checkpoint_id=auto)
    for d in (auto, here):
        shutil.copy(os.path.join(folder, "config.json"), d)
    torch.save({f"module._orig_mod.{k}": v for k, v in w.items()}, os.path.join(here, "model.bin"))
