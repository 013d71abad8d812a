# SPDX-License-Identifier: Apache-2.0
"""net_*: the transformer, forward and backward, from diffusers' WanTransformer3DModel."""

import copy
import os

import torch

from common import case_dir, randn, rel_l2, save, save_json, tidy_configs, versions
from diffusers import WanTransformer3DModel

TEXT_LEN = 512

# HF -> official names: wan-model(7), Parameters. Order matters: the norms are swapped through a marker.
OFFICIAL = [
    ("condition_embedder.text_embedder.linear_1", "text_embedding.0"),
    ("condition_embedder.text_embedder.linear_2", "text_embedding.2"),
    ("condition_embedder.time_embedder.linear_1", "time_embedding.0"),
    ("condition_embedder.time_embedder.linear_2", "time_embedding.2"),
    ("condition_embedder.time_proj", "time_projection.1"),
    (".norm2.", ".norm3_."), (".norm3.", ".norm2."), (".norm3_.", ".norm3."),
    (".attn1.to_out.0", ".self_attn.o"), (".attn2.to_out.0", ".cross_attn.o"),
    (".attn1.to_", ".self_attn."), (".attn2.to_", ".cross_attn."),
    (".attn1.", ".self_attn."), (".attn2.", ".cross_attn."),
    (".ffn.net.0.proj", ".ffn.0"), (".ffn.net.2", ".ffn.2"),
    ("proj_out", "head.head"),
]


def official_name(name):
    if name == "scale_shift_table":
        return "head.modulation"
    if name.endswith(".scale_shift_table"):
        return name.replace("scale_shift_table", "modulation")
    for hf, off in OFFICIAL:
        name = name.replace(hf, off)
    return name


def random_weights(model, seed):
    """Every parameter random, at a scale that keeps activations near 1 and every gate open."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            z = randn(seed, name, *p.shape)
            if name.endswith("scale_shift_table"):
                p.copy_(0.4 * z)
            elif "norm" in name and name.endswith("weight"):
                p.copy_(1.0 + 0.3 * z)
            elif name.endswith("bias"):
                p.copy_(0.3 * z)
            else:
                p.copy_(z * (p.shape[0] / p.numel()) ** 0.5)


def make_model(seed, bf16_values=False, **config):
    config.setdefault("in_channels", 16)
    config.setdefault("out_channels", 16)
    model = WanTransformer3DModel(**config).float().train(False)
    random_weights(model, seed)
    if bf16_values:
        with torch.no_grad():
            for p in model.parameters():
                p.copy_(p.bfloat16().float())
    return model


def save_model(model, d, bf16_values=False, **kw):
    if bf16_values:
        model = copy.deepcopy(model)
        model.to(torch.bfloat16)
        for p in model.parameters():  # past diffusers' list of modules kept in float32
            p.data = p.data.bfloat16()
    model.save_pretrained(d, **kw)
    tidy_configs(d)


def save_official(model, d):
    c = model.config
    os.makedirs(d, exist_ok=True)
    save(os.path.join(d, "diffusion_pytorch_model.safetensors"),
         {official_name(k): v for k, v in model.state_dict().items()})
    # As the published file: patch_size, cross_attn_norm, qk_norm, text_dim, window_size are left out of it.
    save_json(os.path.join(d, "config.json"), {
        "_class_name": "WanModel", "_diffusers_version": "0.30.0", "dim": c.num_attention_heads * c.attention_head_dim,
        "eps": c.eps, "ffn_dim": c.ffn_dim, "freq_dim": c.freq_dim, "in_dim": c.in_channels, "model_type": "t2v",
        "num_heads": c.num_attention_heads, "num_layers": c.num_layers, "out_dim": c.out_channels,
        "text_len": TEXT_LEN})


def pad_text(rows, dtype):
    out = torch.zeros(1, TEXT_LEN, rows.shape[1], dtype=dtype)
    out[0, :rows.shape[0]] = rows
    return out


def predict(model, x, t, text):
    """x [16,T,h,w], t float, text [n,text_dim] -> [16,T,h,w]."""
    dtype = model.patch_embedding.weight.dtype
    return model(x[None].to(dtype), t.reshape(1), pad_text(text, dtype), return_dict=False)[0][0]


def sample_losses(model, samples, shift, dtype):
    """Per-sample mean of (1 + s*sigma) * (pred - (noise - x0))^2, and the predictions."""
    losses, preds = [], []
    for s in samples:
        pred = predict(model, s["x"], s["t"], s["text"])
        target = (s["noise"] - s["x0"]).to(dtype)
        w = 1.0 + shift * s["sigma"].to(dtype)
        losses.append((w * (pred - target) ** 2).mean())
        preds.append(pred)
    return losses, preds


def make_samples(seed, shapes, sigmas, lengths, text_dim):
    samples = []
    for i, (shape, sigma, n) in enumerate(zip(shapes, sigmas, lengths)):
        x0, noise = randn(seed, f"x0.{i}", *shape), randn(seed, f"noise.{i}", *shape)
        sigma = torch.tensor(sigma, dtype=torch.float32)
        samples.append({"x0": x0, "noise": noise, "sigma": sigma, "t": 1000 * sigma,
                        "x": (1 - sigma) * x0 + sigma * noise, "text": randn(seed, f"text.{i}", n, text_dim)})
    return samples


def run(model, samples, shift):
    """Forward and backward in float32 and float64."""
    result = {}
    for dtype in (torch.float32, torch.float64):
        m = copy.deepcopy(model).to(dtype)
        for s in samples:
            s["leaf"] = s["x"].detach().clone().to(dtype).requires_grad_(True)
        losses, preds = sample_losses(m, [{**s, "x": s["leaf"]} for s in samples], shift, dtype)
        loss = torch.stack(losses).mean()
        loss.backward()
        out = {"loss": loss.detach(), "loss_per_sample": torch.stack(losses).detach()}
        for i, s in enumerate(samples):
            out[f"pred.{i}"] = preds[i].detach()
            out[f"dx.{i}"] = s.pop("leaf").grad
        for name, p in m.named_parameters():
            out["grad." + name] = p.grad
        result[dtype] = out
    return result[torch.float32], result[torch.float64]


def case(out, name, seed, config, shapes, sigmas, lengths, shift, official=False, bf16=False, max_grad=None,
         keep_grad=(), **save_kw):
    d = case_dir(out, name)
    model = make_model(seed, bf16, **config)
    save_model(model, os.path.join(d, "transformer"), bf16, **save_kw)
    if official:
        save_official(model, os.path.join(d, "official"))
    samples = make_samples(seed, shapes, sigmas, lengths, config["text_dim"])
    o32, o64 = run(model, samples, shift)

    inputs = {"t": torch.stack([s["t"] for s in samples]), "sigma": torch.stack([s["sigma"] for s in samples])}
    for i, s in enumerate(samples):
        for k in ("x", "x0", "noise", "text"):
            inputs[f"{k}.{i}"] = s[k]
    kept = {k: v for k, v in o32.items() if not
            (max_grad and k.startswith("grad.") and k not in keep_grad and v.numel() > max_grad)}
    kept["loss64"] = o64["loss"]
    save(os.path.join(d, "in.safetensors"), inputs)
    save(os.path.join(d, "out.safetensors"), kept)
    save_json(os.path.join(d, "case.json"), {
        "case": name, "seed": seed, "flow_shift": shift, "samples": len(samples), "text_len": TEXT_LEN,
        "text_rows": lengths, "latent_shapes": [list(s["x"].shape) for s in samples],
        "loss": "mean over samples of mean over elements of (1 + flow_shift*sigma) * (pred - (noise - x0))^2",
        "x": "(1 - sigma)*x0 + sigma*noise", "t": "1000*sigma in float32",
        "grads_left_out": sorted(set(o32) - set(kept)), "versions": versions(),
        # The reference's own rounding: what no float32 implementation can be asked to beat.
        "rel_l2_float32_from_float64": {k: rel_l2(o32[k], o64[k]) for k in sorted(o32)}})
    print(name, "loss", float(o32["loss"]), float(o64["loss"]), "pred rms", float(o32["pred.0"].std()),
          "worst", max((rel_l2(o32[k], o64[k]), k) for k in o32))


def small(out):
    # One image, 24-wide single head, whole timestep, all 512 text rows real.
    case(out, "net_a", 11, dict(num_attention_heads=1, attention_head_dim=24, num_layers=1, ffn_dim=40, text_dim=20,
                                freq_dim=256), [(16, 1, 4, 6)], [0.5], [512], 3.0)
    # A pack: image, two videos; two heads; both namings. pipe and train use this model too.
    case(out, "net_b", 12, dict(num_attention_heads=2, attention_head_dim=12, num_layers=2, ffn_dim=52, text_dim=40,
                                freq_dim=256), [(16, 1, 4, 4), (16, 3, 4, 6), (16, 2, 6, 4)], [0.25, 0.7317, 0.98765],
         [1, 40, 90], 3.0, official=True)
    # Three heads, four layers, sharded file.
    case(out, "net_c", 13, dict(num_attention_heads=3, attention_head_dim=8, num_layers=4, ffn_dim=70, text_dim=24,
                                freq_dim=64), [(16, 2, 4, 4), (16, 1, 2, 6)], [0.9031, 0.0123], [50, 130], 2.5,
         max_shard_size="100KB")
    # 64-wide head; weights stored as bf16.
    case(out, "net_d", 14, dict(num_attention_heads=1, attention_head_dim=64, num_layers=1, ffn_dim=72, text_dim=16,
                                freq_dim=32), [(16, 5, 2, 4)], [0.6180339], [200], 5.0, bf16=True, max_grad=17000)
    # 128-wide head, as the published models (RoPE 44/42/42); weights stored as bf16.
    case(out, "net_e", 15, dict(num_attention_heads=1, attention_head_dim=128, num_layers=1, ffn_dim=24, text_dim=16,
                                freq_dim=16), [(16, 3, 6, 4)], [0.4321], [200], 3.0, bf16=True, max_grad=2100,
         keep_grad=("grad.blocks.0.attn1.to_q.weight",))


def large(out):
    case(out, "net_12", 16, dict(num_attention_heads=12, attention_head_dim=128, num_layers=2, ffn_dim=2080, text_dim=256,
                                 freq_dim=256), [(16, 21, 12, 20), (16, 1, 30, 52)], [0.8765, 0.3333], [77, 512], 3.0)
    case(out, "net_2", 17, dict(num_attention_heads=2, attention_head_dim=128, num_layers=4, ffn_dim=1000, text_dim=4096,
                                freq_dim=256), [(16, 21, 8, 8), (16, 5, 16, 12), (16, 1, 8, 8)], [0.999, 0.5, 0.05],
         [200, 3, 44], 2.5, official=True)
