# SPDX-License-Identifier: Apache-2.0
"""train: 200 steps of AdamW in a plain PyTorch loop, from batches that another implementation can form itself."""

import copy
import os

import torch

import ref_net
import ref_pipe
from common import case_dir, rand, randn, rel_l2, save, save_json, versions
from diffusers import WanTransformer3DModel

STEPS, ACCUMULATE, MICRO = 200, 2, 2
SAMPLES, NOISES = 8, 32
LR, WARMUP, BETAS, WEIGHT_DECAY, EPS, CLIP = 1e-3, 20, (0.9, 0.95), 0.1, 1e-8, 1.0
SHIFT = 3.0
SHAPES = [(16, 1, 4, 4), (16, 2, 4, 4), (16, 1, 4, 6), (16, 3, 4, 4)]
LENGTHS = [1, 5, 12, 30]


def learning_rate(step):
    """Linear warm-up counted in finished steps, as Megatron does: the first step has learning rate 0."""
    return LR * min(1.0, step / WARMUP)


def pool(seed, text_dim):
    x0 = [randn(seed, f"x0.{i}", *SHAPES[i % len(SHAPES)]) for i in range(SAMPLES)]
    text = [randn(seed, f"text.{i}", LENGTHS[i % len(LENGTHS)], text_dim) for i in range(SAMPLES)]
    largest = max(x.numel() for x in x0)
    noise = randn(seed, "noise", NOISES, largest)
    u = rand(seed, "u", STEPS, ACCUMULATE * MICRO).clamp_min(1e-5)
    return x0, text, noise, SHIFT * u / (1 + (SHIFT - 1) * u)


def batch(x0, text, noise, sigma, step, k):
    """Sample k of step: which latent, which noise, which sigma. Any implementation can do the same."""
    i, j, s = (step * ACCUMULATE * MICRO + k) % SAMPLES, (step * 5 + k) % NOISES, sigma[step, k]
    n = noise[j, :x0[i].numel()].view(x0[i].shape)
    return {"x0": x0[i], "noise": n, "sigma": s, "t": 1000 * s, "x": (1 - s) * x0[i] + s * n, "text": text[i]}


def train(model, data, dtype):
    model = copy.deepcopy(model).to(dtype)
    opt = torch.optim.AdamW(model.parameters(), lr=LR, betas=BETAS, eps=EPS, weight_decay=WEIGHT_DECAY, foreach=False)
    losses, norms = [], []
    for step in range(STEPS):
        opt.zero_grad()
        total = 0.0
        for a in range(ACCUMULATE):
            samples = [batch(*data, step, a * MICRO + m) for m in range(MICRO)]
            each, _ = ref_net.sample_losses(model, samples, SHIFT, dtype)
            loss = torch.stack(each).mean() / ACCUMULATE
            loss.backward()
            total = total + loss.detach()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP))
        for group in opt.param_groups:
            group["lr"] = learning_rate(step)
        opt.step()
        losses.append(total)
    return torch.stack(losses), torch.stack(norms).detach(), dict(model.named_parameters())


def case(out, name, seed, transformer):
    d = case_dir(out, name)
    ref_pipe.link(d, "transformer", os.path.join("..", transformer))
    model = WanTransformer3DModel.from_pretrained(os.path.join(d, "transformer"), torch_dtype=torch.float32).train(False)
    data = pool(seed, model.config.text_dim)
    loss, norm, final = train(model, data, torch.float32)
    loss64, norm64, final64 = train(model, data, torch.float64)
    x0, text, noise, sigma = data
    inputs = {f"x0.{i}": x for i, x in enumerate(x0)}
    inputs.update({f"text.{i}": x for i, x in enumerate(text)})
    inputs.update({"noise": noise, "sigma": sigma})
    outputs = {"loss": loss, "grad_norm": norm, "loss64": loss64, "grad_norm64": norm64,
               "lr": torch.tensor([learning_rate(s) for s in range(STEPS)], dtype=torch.float64)}
    outputs.update({"final." + k: v for k, v in final.items()})
    save(os.path.join(d, "in.safetensors"), inputs)
    save(os.path.join(d, "out.safetensors"), outputs)
    drift = ((loss.double() - loss64).abs() / loss64).tolist()
    save_json(os.path.join(d, "case.json"), {
        "case": name, "seed": seed, "steps": STEPS, "accumulate": ACCUMULATE, "micro_batch": MICRO,
        "sample k of step (k = 0..3; micro-batch k/2)":
            "latent x0.((4*step + k) % 8), its text, noise row (5*step + k) % 32 cut to the latent's size, sigma[step,k]",
        "x": "(1 - sigma)*x0 + sigma*noise", "t": "1000*sigma in float32", "flow_shift": SHIFT,
        "loss": "mean over the step's 4 samples of the per-sample mean of (1 + flow_shift*sigma)*(pred - (noise - x0))^2",
        "grad_norm": "before clipping", "optimizer": "AdamW, decoupled decay on ALL parameters (biases, norms, tables too)",
        "lr": LR, "warmup": WARMUP, "lr_formula": "lr*min(1, step/warmup), step from 0: the first step changes nothing",
        "betas": BETAS, "weight_decay": WEIGHT_DECAY, "eps": EPS, "clip": CLIP,
        "clip_formula": "g *= min(1, clip / (norm + 1e-6))",
        "drift_of_float32_from_float64": {
            "first_20": max(drift[:20]), "first_50": max(drift[:50]), "first_100": max(drift[:100]), "all_200": max(drift),
            "final_weights_rel_l2": max(rel_l2(final[k], final64[k]) for k in final)},
        "versions": versions()})
    print(name, "loss", [round(float(loss[i]), 4) for i in (0, 1, 20, 50, 100, 150, 199)],
          "norm", [round(float(norm[i]), 3) for i in (0, 20, 100, 199)], "drift", max(drift[:20]), max(drift))


def small(out):
    case(out, "train", 61, "net_b/transformer")


def large(out):
    pass
