#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The training step of bench_step.c and bench_gpu.c in PyTorch: the same model, sizes and work.

    step_torch.py [bf16|fp32] [0|1|2]           on the CPU: rows for tests/bench/RESULTS.md
    step_torch.py 14B|1.3B LAYERS [compile]     on a GPU: a row for tests/gpu/RESULTS.md

fp32 parameters, bf16 by torch.autocast, AdamW in its fused form where this PyTorch has it, clip by
norm.  Attention is scaled_dot_product_attention, on a GPU cuDNN's, else flash attention; there every
block is recomputed in the backward pass, and fewer layers are taken when memory does not suffice.
"""
import os
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

# name, heads, head_dim, layers, ffn, text_dim, text_rows, grid, seconds to spend
CPU_JOBS = [
    ("D 1536, 2 layers, ffn 8960, 1560 tokens, 512 text rows of 4096",
     12, 128, 2, 8960, 4096, 512, (1, 30, 52), 4),
    ("D 256, 4 layers, ffn 1536, 400 tokens, 512 text rows of 256",
     4, 64, 4, 1536, 256, 512, (1, 20, 20), 2),
    ("D 256, 6 layers, ffn 1024, 48 tokens, 24 text rows of 256",
     4, 64, 6, 1024, 256, 24, (3, 4, 4), 1),
]
GPU_SIZES = {"1.3B": (12, 8960, (21, 30, 52)), "14B": (40, 13824, (24, 30, 52))}


def rms(x, w):
    return x * torch.rsqrt(x.float().square().mean(-1, keepdim=True) + 1e-6).to(x.dtype) * w


def rotate(x, cos, sin):
    a, b = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)


class Attention(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (nn.Linear(d, d) for _ in range(4))
        self.nq, self.nk = nn.Parameter(torch.ones(d)), nn.Parameter(torch.ones(d))

    def forward(self, x, c, rope):
        def split(t):
            return t.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        q, k, v = split(rms(self.q(x), self.nq)), split(rms(self.k(c), self.nk)), split(self.v(c))
        if rope is not None:
            q, k = rotate(q, *rope), rotate(k, *rope)
        o = F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v)
        return self.o(o.transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self, d, heads, ffn):
        super().__init__()
        self.d = d
        self.self_attn, self.cross_attn = Attention(d, heads), Attention(d, heads)
        self.norm = nn.LayerNorm(d, eps=1e-6)
        self.f1, self.f2 = nn.Linear(d, ffn), nn.Linear(ffn, d)
        self.mod = nn.Parameter(torch.randn(1, 6, d) / d ** 0.5)

    def forward(self, x, e, ctx, cos, sin):
        m = (self.mod + e).chunk(6, 1)
        u = F.layer_norm(x, (self.d,), eps=1e-6) * (1 + m[1]) + m[0]
        x = x + self.self_attn(u, u, (cos, sin)) * m[2]
        x = x + self.cross_attn(self.norm(x), ctx, None)
        u = F.layer_norm(x, (self.d,), eps=1e-6) * (1 + m[4]) + m[3]
        return x + self.f2(F.gelu(self.f1(u), approximate="tanh")) * m[5]


class Model(nn.Module):
    def __init__(self, heads, hd, layers, ffn, text_dim, grid, recompute=False, compiled=False):
        super().__init__()
        d = self.d = heads * hd
        self.recompute = recompute
        self.patch, self.head = nn.Linear(64, d), nn.Linear(d, 64)
        self.text = nn.Sequential(nn.Linear(text_dim, d), nn.GELU(approximate="tanh"),
                                  nn.Linear(d, d))
        self.time = nn.Sequential(nn.Linear(256, d), nn.SiLU(), nn.Linear(d, d))
        self.proj = nn.Linear(d, 6 * d)
        self.blocks = nn.ModuleList(Block(d, heads, ffn) for _ in range(layers))
        self.mod = nn.Parameter(torch.randn(1, 2, d) / d ** 0.5)
        axes = [hd - 4 * (hd // 6), 2 * (hd // 6), 2 * (hd // 6)]
        pos = torch.stack(torch.meshgrid(*map(torch.arange, grid), indexing="ij"), -1).view(-1, 3)
        angle = torch.cat([pos[:, i:i + 1].double() / 10000 ** (torch.arange(0, a, 2).double() / a)
                           for i, a in enumerate(axes)], 1)
        self.register_buffer("cos", angle.cos().float())
        self.register_buffer("sin", angle.sin().float())
        self.run = [torch.compile(b) for b in self.blocks] if compiled else list(self.blocks)

    def forward(self, rows, t, text):
        a = t * 10000 ** (-torch.arange(128, device=rows.device).double() / 128)
        with torch.autocast(rows.device.type, enabled=False):
            e = self.time(torch.cat([a.cos(), a.sin()]).float()[None])
            e0 = self.proj(F.silu(e)).view(1, 6, self.d)
        x, ctx = self.patch(rows).float(), self.text(text)
        for b in self.run:
            args = x, e0, ctx, self.cos, self.sin
            x = checkpoint(b, *args, use_reentrant=False) if self.recompute else b(*args)
        m = (self.mod + e[:, None]).chunk(2, 1)
        with torch.autocast(rows.device.type, enabled=False):
            return self.head(F.layer_norm(x, (self.d,), eps=1e-6) * (1 + m[1]) + m[0])


def flops(heads, hd, layers, ffn, text_dim, T, grid):
    D, S = heads * hd, grid[0] * grid[1] * grid[2]
    self_ = 8 * S * D * D + 4 * S * S * D
    cross = 4 * S * D * D + 4 * T * D * D + 4 * S * T * D
    ends = 2 * S * D * 128 + 2 * T * (text_dim * D + D * D)
    return 3 * (layers * (self_ + cross + 4 * S * D * ffn) + ends)


def adamw(model):
    try:
        return torch.optim.AdamW(model.parameters(), 1e-5, betas=(0.9, 0.95), fused=True)
    except (RuntimeError, TypeError):
        return torch.optim.AdamW(model.parameters(), 1e-5, betas=(0.9, 0.95))


def step(model, opt, x0, text, bf16):
    """Noise, forward, loss, backward, clip, AdamW; the loss."""
    opt.zero_grad(set_to_none=False)
    eps = torch.randn_like(x0)
    with torch.autocast(x0.device.type, torch.bfloat16, enabled=bf16):
        pred = model(0.4 * x0 + 0.6 * eps, 600.0, text)
    loss = F.mse_loss(pred.float(), eps - x0)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    opt.step()
    return loss


def on_cpu(job, bf16):
    name, heads, hd, layers, ffn, text_dim, T, grid, budget = job
    torch.manual_seed(1)
    S = grid[0] * grid[1] * grid[2]
    model = Model(heads, hd, layers, ffn, text_dim, grid)
    opt = adamw(model)
    x0, text = torch.randn(1, S, 64), torch.randn(1, T, text_dim)
    cpu = os.environ.get("WAN_BENCH_CLOCK") == "cpu"
    now = time.thread_time if cpu else time.perf_counter
    best, start, n = 1e30, now(), 0
    step(model, opt, x0, text, bf16)
    while n < 3 or now() - start < budget:
        t = now()
        step(model, opt, x0, text, bf16)
        best = min(best, now() - t)
        n += 1
    g = flops(heads, hd, layers, ffn, text_dim, T, grid)
    count = sum(p.numel() for p in model.parameters())
    print("| %s | %s | %6.1f | %7.1f | %8.4f | %5.0f | %7.0f |" % (
        name, "bf16" if bf16 else "fp32", count / 1e6, g / 1e9, best, g / best / 1e9, S / best),
        flush=True)


def cpu_main(args):
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count())))
    print("\nTraining step, PyTorch %s, %d threads\n" % (torch.__version__, torch.get_num_threads()))
    print("| model | precision | M param | GFLOP | s/step | GFLOP/s | tokens/s |\n"
          "|---|---|---:|---:|---:|---:|---:|")
    for i, job in enumerate(CPU_JOBS):
        for bf16 in (True, False):
            if args and (args[0] == "bf16") != bf16:
                continue
            if len(args) > 1 and int(args[1]) != i:
                continue
            on_cpu(job, bf16)


def on_gpu(name, layers, compiled):
    from torch.nn.attention import SDPBackend, sdpa_kernel
    heads, ffn, grid = GPU_SIZES[name]
    S = grid[0] * grid[1] * grid[2]
    torch.manual_seed(1)
    with torch.device("cuda"):
        model = Model(heads, 128, layers, ffn, 4096, grid, True, compiled)
        x0, text = torch.randn(1, S, 64), torch.randn(1, 512, 4096)
    opt = adamw(model)
    best = 1e30
    for i in range(4):
        torch.cuda.synchronize()
        t = time.perf_counter()
        with sdpa_kernel([SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION],
                         set_priority=True):
            loss = step(model, opt, x0, text, True)
        torch.cuda.synchronize()
        if i:
            best = min(best, time.perf_counter() - t)
    rate = flops(heads, 128, layers, ffn, 4096, 512, grid) / best / 1e12
    print("| %s, %d layers, %d tokens | PyTorch %s%s | %.3f | %.0f | %.1f GB | loss %.4f |" % (
        name, layers, S, torch.__version__, ", compiled" if compiled else "", best, rate,
        torch.cuda.max_memory_allocated() / 1e9, loss.item()), flush=True)


def gpu_main(name, layers, compiled):
    while layers > 0:
        try:
            return on_gpu(name, layers, compiled)
        except torch.OutOfMemoryError:
            layers -= 1 if layers < 10 else 2
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def main():
    args = sys.argv[1:]
    if args and args[0] in GPU_SIZES:
        gpu_main(args[0], int(args[1]), "compile" in args[2:])
    else:
        cpu_main(args)


if __name__ == "__main__":
    main()
