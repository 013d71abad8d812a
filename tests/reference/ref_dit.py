# SPDX-License-Identifier: Apache-2.0
"""dit_*: the DiT with EDM, a plain PyTorch transcription of wan-model(7) around diffusers' embeddings:
forward and backward, 100 training steps, and the samplers."""

import copy
import os

import torch
import torch.nn.functional as F
from torch import nn

from common import case_dir, rand, randn, rel_l2, save, save_json, versions
from diffusers.models.embeddings import TimestepEmbedding, get_3d_sincos_pos_embed, get_timestep_embedding

TEXT_LEN, SIGMA_DATA, FPS = 512, 0.5, 30
GRID = (8, 10, 10)  # positions of the table: frames, rows, columns


class Attention(nn.Module):
    """Queries from x, keys and values from y; RMS norm of each head of queries and keys."""

    def __init__(self, width, source, heads, eps):
        super().__init__()
        self.heads, self.eps = heads, eps
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(source, width, bias=False)
        self.to_v = nn.Linear(source, width, bias=False)
        self.to_out = nn.Linear(width, width, bias=False)
        self.norm_q = nn.Module()
        self.norm_k = nn.Module()
        self.norm_q.weight = nn.Parameter(torch.ones(width // heads))
        self.norm_k.weight = nn.Parameter(torch.ones(width // heads))

    def split(self, x):
        return x.view(x.shape[0], self.heads, -1).transpose(0, 1)  # [H, S, hd]

    def forward(self, x, y):
        def norm(v, weight):
            return v * torch.rsqrt(v.pow(2).mean(-1, keepdim=True) + self.eps) * weight
        q = norm(self.split(self.to_q(x)), self.norm_q.weight)
        k = norm(self.split(self.to_k(y)), self.norm_k.weight)
        v = self.split(self.to_v(y))
        p = torch.softmax(q @ k.transpose(1, 2) / q.shape[-1] ** 0.5, dim=-1)
        return self.to_out((p @ v).transpose(0, 1).reshape(x.shape))


class Pair(nn.Module):
    def __init__(self, a, b, c):
        super().__init__()
        self.linear_1 = nn.Linear(a, b, bias=False)
        self.linear_2 = nn.Linear(b, c, bias=False)


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        width = c["num_attention_heads"] * c["attention_head_dim"]
        self.eps = c["eps"]
        self.attn1 = Attention(width, width, c["num_attention_heads"], c["eps"])
        self.attn2 = Attention(width, c["text_dim"], c["num_attention_heads"], c["eps"])
        self.mlp = Pair(width, c["ffn_dim"], width)
        self.adaln = Pair(width, c["adaln_lora_dim"], 9 * width)

    def forward(self, x, cond, text):
        rows = self.adaln.linear_2(self.adaln.linear_1(F.silu(cond))).chunk(9, dim=-1)

        def branch(x, i, f):
            shift, scale, gate = rows[3 * i:3 * i + 3]
            return x + gate * f(F.layer_norm(x, x.shape[-1:], eps=self.eps) * (1 + scale) + shift)
        x = branch(x, 0, lambda u: self.attn1(u, u))
        x = branch(x, 1, lambda u: self.attn2(u, text))
        return branch(x, 2, lambda u: self.mlp.linear_2(F.gelu(self.mlp.linear_1(u))))


class DiT(nn.Module):
    def __init__(self, **c):
        super().__init__()
        self.config = c
        width = c["num_attention_heads"] * c["attention_head_dim"]
        self.width = width
        self.x_embedder = nn.Linear(4 * c["in_channels"], width)
        self.t_embedder = TimestepEmbedding(width, width)
        self.fps_embedder = TimestepEmbedding(c["fps_dim"], c["fps_dim"])
        self.blocks = nn.ModuleList(Block(c) for _ in range(c["num_layers"]))
        self.proj_out = nn.Linear(width, 4 * c["out_channels"])
        table = get_3d_sincos_pos_embed(width, (GRID[2], GRID[1]), GRID[0], output_type="pt", device="cpu")
        self.register_buffer("table", table.reshape(-1, width).double(), persistent=False)

    def positions(self, T, h, w):
        t, y, x = torch.meshgrid(torch.arange(T), torch.arange(h), torch.arange(w), indexing="ij")
        return self.table[((t * GRID[1] + y) * GRID[2] + x).reshape(-1)]

    def forward(self, x, t, text):
        """x [C, T, H, W], t a number, text [rows, text_dim] -> [C, T, H, W]."""
        C, T, H, W = x.shape
        dtype = self.x_embedder.weight.dtype
        h, w = H // 2, W // 2
        rows = x.to(dtype).view(C, T, h, 2, w, 2).permute(1, 2, 4, 3, 5, 0).reshape(T * h * w, 4 * C)
        x = self.x_embedder(rows) + self.positions(T, h, w).to(dtype)
        freq = get_timestep_embedding(t.reshape(1).to(dtype), self.width, flip_sin_to_cos=False, downscale_freq_shift=0)
        cond = self.t_embedder(freq.to(dtype))
        freq = get_timestep_embedding(torch.tensor([FPS], dtype=dtype), self.config["fps_dim"], flip_sin_to_cos=False,
                                      downscale_freq_shift=1)
        fps = self.fps_embedder(freq.to(dtype))
        cond = cond + F.pad(fps, (0, self.width - fps.shape[1]))
        padded = torch.zeros(TEXT_LEN, self.config["text_dim"], dtype=dtype)
        padded[:text.shape[0]] = text
        for block in self.blocks:
            x = block(x, cond, padded)
        return self.proj_out(x).view(T, h, w, 2, 2, C).permute(5, 0, 1, 3, 2, 4).reshape(C, T, H, W)


# ---- EDM: Karras et al. 2022, table 1

def scaling(sigma):
    s = sigma ** 2 + SIGMA_DATA ** 2
    return SIGMA_DATA ** 2 / s, sigma * SIGMA_DATA / s ** 0.5, 1 / s ** 0.5, 0.25 * torch.log(sigma)


def denoise(model, x, sigma, text):
    skip, out, c_in, noise = scaling(sigma)
    answer = model(c_in * x, noise, text)
    return skip * x + out * answer, answer


def sample_loss(model, s, dtype):
    """lambda (x0 - D(x0 + sigma eps; sigma))^2 with x0 = sigma_data * latent, and the model's answer."""
    sigma = s["sigma"].to(dtype)
    x0, noise = SIGMA_DATA * s["x0"].to(dtype), s["noise"].to(dtype)
    D, answer = denoise(model, x0 + sigma * noise, sigma, s["text"].to(dtype))
    weight = (sigma ** 2 + SIGMA_DATA ** 2) / (sigma * SIGMA_DATA) ** 2
    return (weight * (x0 - D) ** 2).mean(), answer


# ---- cases

def random_weights(model, seed):
    """Every parameter random, at a scale that keeps activations near 1 and every gate open."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            z = randn(seed, name, *p.shape)
            if "norm" in name:
                p.copy_(1.0 + 0.3 * z)
            elif name.endswith("bias"):
                p.copy_(0.3 * z)
            else:
                p.copy_(z * (p.shape[0] / p.numel()) ** 0.5)
            p.copy_(p.bfloat16().float())


def make_model(seed, **c):
    model = DiT(eps=1e-6, **c)
    random_weights(model, seed)
    return model


def save_model(model, d):
    os.makedirs(d, exist_ok=True)
    save(os.path.join(d, "diffusion_pytorch_model.safetensors"),
         {k: v.bfloat16() for k, v in model.state_dict().items()})
    save_json(os.path.join(d, "config.json"), {
        "_class_name": "DiTCrossAttentionModel", "_diffusers_version": "0.33.0.dev0", **model.config,
        "fps": FPS, "patch_size": [1, 2, 2], "qk_norm": "rms_norm", "text_len": TEXT_LEN})


def make_samples(seed, shapes, sigmas, lengths, text_dim):
    return [{"x0": randn(seed, f"x0.{i}", *shape), "noise": randn(seed, f"noise.{i}", *shape),
             "sigma": torch.tensor(sigma), "text": randn(seed, f"text.{i}", n, text_dim)}
            for i, (shape, sigma, n) in enumerate(zip(shapes, sigmas, lengths))]


def run(model, samples, dtype):
    m = copy.deepcopy(model).to(dtype)
    both = [sample_loss(m, s, dtype) for s in samples]
    loss = torch.stack([b[0] for b in both]).mean()
    loss.backward()
    out = {"loss": loss.detach()}
    out.update({f"pred.{i}": b[1].detach() for i, b in enumerate(both)})
    out.update({"grad." + k: p.grad for k, p in m.named_parameters()})
    return out


def inputs_of(samples):
    inputs = {"sigma": torch.stack([s["sigma"] for s in samples])}
    for i, s in enumerate(samples):
        inputs.update({f"{k}.{i}": s[k] for k in ("x0", "noise", "text")})
    return inputs


def case(out, name, seed, config, shapes, sigmas, lengths):
    d = case_dir(out, name)
    model = make_model(seed, **config)
    save_model(model, os.path.join(d, "transformer"))
    samples = make_samples(seed, shapes, sigmas, lengths, config["text_dim"])
    o32, o64 = run(model, samples, torch.float32), run(model, samples, torch.float64)
    save(os.path.join(d, "in.safetensors"), inputs_of(samples))
    kept = {k: v for k, v in o32.items() if not (k.startswith("grad.blocks.1.") and v.numel() > 1000)}
    save(os.path.join(d, "out.safetensors"), kept)
    save_json(os.path.join(d, "case.json"), {
        "case": name, "seed": seed, "samples": len(samples), "text_rows": lengths,
        "loss": "mean over samples of mean over elements of lambda (sigma_data x0 - D)^2",
        "grads_left_out": sorted(set(o32) - set(kept)), "versions": versions(),
        # The reference's own rounding: what no float32 implementation can be asked to beat.
        "rel_l2_float32_from_float64": {k: rel_l2(o32[k], o64[k]) for k in sorted(o32)}})
    print(name, "loss", float(o32["loss"]), "pred rms", float(o32["pred.0"].std()),
          "worst", max((rel_l2(o32[k], o64[k]), k) for k in o32))
    return model


# ---- training: the batches of ref_train, EDM's loss

STEPS, BATCH, LR, WARMUP, BETAS, WEIGHT_DECAY, EPS, CLIP = 100, 4, 1e-3, 20, (0.9, 0.95), 0.1, 1e-8, 1.0


def batch(data, step, k):
    """Sample k of step: which latent, which noise, which sigma. Any implementation can do the same."""
    x0, text, noise, sigma = data
    i, j = (step * BATCH + k) % len(x0), (step * 5 + k) % len(noise)
    return {"x0": x0[i], "noise": noise[j, :x0[i].numel()].view(x0[i].shape), "sigma": sigma[step, k], "text": text[i]}


def fit(model, data, dtype):
    model = copy.deepcopy(model).to(dtype)
    opt = torch.optim.AdamW(model.parameters(), lr=LR, betas=BETAS, eps=EPS, weight_decay=WEIGHT_DECAY, foreach=False)
    losses, norms = [], []
    for step in range(STEPS):
        opt.zero_grad()
        loss = torch.stack([sample_loss(model, batch(data, step, k), dtype)[0] for k in range(BATCH)]).mean()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP))
        for group in opt.param_groups:
            group["lr"] = LR * min(1.0, step / WARMUP)
        opt.step()
        losses.append(loss.detach())
    return torch.stack(losses), torch.stack(norms).detach()


def training(out, name, seed, transformer, model):
    d = case_dir(out, name)
    link(d, transformer)
    shapes = [(4, 1, 4, 4), (4, 2, 4, 4), (4, 1, 4, 6), (4, 3, 4, 4)]
    x0 = [randn(seed, f"x0.{i}", *shapes[i % 4]) for i in range(8)]
    text = [randn(seed, f"text.{i}", (1, 5, 12, 30)[i % 4], model.config["text_dim"]) for i in range(8)]
    sigma = torch.exp(randn(seed, "sigma", STEPS, BATCH))
    data = (x0, text, randn(seed, "noise", 16, max(x.numel() for x in x0)), sigma)
    loss, norm = fit(model, data, torch.float32)
    loss64, norm64 = fit(model, data, torch.float64)
    inputs = {"noise": data[2], "sigma": sigma}
    inputs.update({f"x0.{i}": x for i, x in enumerate(x0)})
    inputs.update({f"text.{i}": x for i, x in enumerate(text)})
    save(os.path.join(d, "in.safetensors"), inputs)
    save(os.path.join(d, "out.safetensors"), {"loss": loss, "grad_norm": norm, "loss64": loss64, "grad_norm64": norm64})
    drift = ((loss.double() - loss64).abs() / loss64).tolist()
    save_json(os.path.join(d, "case.json"), {
        "case": name, "seed": seed, "steps": STEPS, "batch": BATCH,
        "sample k of step": "latent x0.((4*step + k) % 8), its text, noise row (5*step + k) % 16 cut to its size, "
                            "sigma[step, k]",
        "lr": LR, "warmup": WARMUP, "lr_formula": "lr*min(1, step/warmup), step from 0", "betas": BETAS,
        "weight_decay": WEIGHT_DECAY, "eps": EPS, "clip": CLIP,
        "drift_of_float32_from_float64": {"first_20": max(drift[:20]), "all": max(drift)}, "versions": versions()})
    print(name, "loss", [round(float(loss[i]), 4) for i in (0, 20, 50, 99)], "drift", max(drift[:20]), max(drift))


# ---- samplers: Karras et al. 2022, algorithm 1 without churn; the state in float64

def levels(steps, low=0.002, high=80.0, rho=7.0):
    i = torch.arange(steps, dtype=torch.float64)
    a, b = high ** (1 / rho), low ** (1 / rho)
    s = (a + i / max(steps - 1, 1) * (b - a)) ** rho
    return torch.cat([s, torch.zeros(1, dtype=torch.float64)])


def integrate(model, noise, text, negative, guidance, steps, heun):
    s = levels(steps)
    x = noise.double() * s[0]

    def slope(x, sigma):
        D = [denoise(model, x.float(), sigma.float(), rows)[0].double() for rows in (text, negative)]
        return (x - (D[1] + guidance * (D[0] - D[1]))) / sigma
    for i in range(steps):
        d, h = slope(x, s[i]), s[i + 1] - s[i]
        ahead = x + h * d
        if heun and s[i + 1] > 0:
            ahead = x + h * (d + slope(ahead, s[i + 1])) / 2
        x = ahead
        yield (x / SIGMA_DATA).float()


def sampling(out, name, seed, transformer, model):
    d = case_dir(out, name)
    link(d, transformer)
    noise = randn(seed, "noise", 4, 2, 4, 6)
    text, negative = randn(seed, "text", 7, model.config["text_dim"]), randn(seed, "negative", 3, model.config["text_dim"])
    outputs = {"sigmas": levels(35), "sigmas1": levels(1)}
    with torch.no_grad():
        for solver in ("heun", "euler"):
            every = list(integrate(model, noise, text, negative, 3.0, 12, solver == "heun"))
            outputs[f"{solver}.first"], outputs[f"{solver}.last"] = every[0], every[-1]
    save(os.path.join(d, "in.safetensors"), {"noise": noise, "text": text, "negative": negative})
    save(os.path.join(d, "out.safetensors"), outputs)
    save_json(os.path.join(d, "case.json"), {"case": name, "seed": seed, "steps": 12, "guidance": 3.0, "sigma_min": 0.002,
                                             "sigma_max": 80, "rho": 7, "versions": versions()})
    print(name, {k: float(v.std()) for k, v in outputs.items()})


def link(d, transformer):
    path = os.path.join(d, "transformer")
    if os.path.lexists(path):
        os.remove(path)
    os.symlink(os.path.join("..", transformer), path)


def small(out):
    # A pack of an image and two videos; 16 channels, two layers.
    case(out, "dit_a", 71, dict(num_attention_heads=2, attention_head_dim=16, num_layers=2, ffn_dim=24, text_dim=10,
                                in_channels=16, out_channels=16, adaln_lora_dim=4, fps_dim=8),
         [(16, 1, 4, 4), (16, 3, 4, 6), (16, 2, 6, 4)], [0.31, 1.7317, 12.5], [1, 40, 90])
    # 4 channels, four heads; every text row real.
    model = case(out, "dit_b", 72, dict(num_attention_heads=4, attention_head_dim=8, num_layers=1, ffn_dim=24, text_dim=8,
                                        in_channels=4, out_channels=4, adaln_lora_dim=3, fps_dim=16),
                 [(4, 2, 6, 4)], [0.05], [TEXT_LEN])
    training(out, "dit_train", 73, "dit_b/transformer", model)
    sampling(out, "dit_sample", 74, "dit_b/transformer", model)


def large(out):
    # The head width of DiT-XL, two of its blocks; text of UMT5's width.
    case(out, "dit_xl", 75, dict(num_attention_heads=16, attention_head_dim=72, num_layers=2, ffn_dim=4608, text_dim=4096,
                                 in_channels=16, out_channels=16, adaln_lora_dim=256, fps_dim=256),
         [(16, 8, 20, 20), (16, 1, 8, 8)], [0.7, 3.0], [77, 200])
