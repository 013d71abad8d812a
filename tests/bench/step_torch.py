#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The training step of bench_step.c in PyTorch: the same model, sizes and work, for comparison.

    step_torch.py [bf16|fp32] [0|1|2]

fp32 parameters; bf16 means torch.autocast around the forward pass.  Attention is
scaled_dot_product_attention, AdamW its fused form where this PyTorch has it on the CPU.
"""
import os
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

JOBS = [  # name, heads, head_dim, layers, ffn, text_dim, text_rows, grid, seconds to spend
    ("D 1536, 2 layers, ffn 8960, 1560 tokens, 512 text rows of 4096",
     12, 128, 2, 8960, 4096, 512, (1, 30, 52), 4),
    ("D 256, 4 layers, ffn 1536, 400 tokens, 512 text rows of 256",
     4, 64, 4, 1536, 256, 512, (1, 20, 20), 2),
    ("D 256, 6 layers, ffn 1024, 48 tokens, 24 text rows of 256",
     4, 64, 6, 1024, 256, 24, (3, 4, 4), 1),
]


def rms(x, w):
    return x * torch.rsqrt(x.float().square().mean(-1, keepdim=True) + 1e-6).to(x.dtype) * w


def rotate(x, rope):
    z = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
    return torch.view_as_real(z * rope).flatten(-2)


class Attention(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (nn.Linear(d, d) for _ in range(4))
        self.nq, self.nk = nn.Parameter(torch.ones(d)), nn.Parameter(torch.ones(d))

    def forward(self, x, c, rope):
        split = lambda t: t.view(1, t.shape[1], self.heads, -1).transpose(1, 2)
        q, k, v = split(rms(self.q(x), self.nq)), split(rms(self.k(c), self.nk)), split(self.v(c))
        if rope is not None:
            q, k = rotate(q, rope), rotate(k, rope)
        o = F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v)
        return self.o(o.transpose(1, 2).reshape(x.shape))


class Block(nn.Module):
    def __init__(self, d, heads, ffn):
        super().__init__()
        self.d = d
        self.self_attn, self.cross_attn = Attention(d, heads), Attention(d, heads)
        self.norm = nn.LayerNorm(d, eps=1e-6)
        self.f1, self.f2 = nn.Linear(d, ffn), nn.Linear(ffn, d)
        self.mod = nn.Parameter(torch.randn(1, 6, d) / d ** 0.5)

    def forward(self, x, e, ctx, rope):
        m = (self.mod + e).chunk(6, 1)
        ln = lambda t: F.layer_norm(t, (self.d,), eps=1e-6)
        u = ln(x) * (1 + m[1]) + m[0]
        x = x + self.self_attn(u, u, rope) * m[2]
        x = x + self.cross_attn(self.norm(x), ctx, None)
        u = ln(x) * (1 + m[4]) + m[3]
        return x + self.f2(F.gelu(self.f1(u), approximate="tanh")) * m[5]


class Model(nn.Module):
    def __init__(self, heads, hd, layers, ffn, text_dim, grid):
        super().__init__()
        d = self.d = heads * hd
        self.patch, self.head = nn.Linear(64, d), nn.Linear(d, 64)
        self.text = nn.Sequential(nn.Linear(text_dim, d), nn.GELU(approximate="tanh"),
                                  nn.Linear(d, d))
        self.time = nn.Sequential(nn.Linear(256, d), nn.SiLU(), nn.Linear(d, d))
        self.proj = nn.Linear(d, 6 * d)
        self.blocks = nn.ModuleList(Block(d, heads, ffn) for _ in range(layers))
        self.mod = nn.Parameter(torch.randn(1, 2, d) / d ** 0.5)
        axes = [hd - 4 * (hd // 6), 2 * (hd // 6), 2 * (hd // 6)]
        pos = torch.stack(torch.meshgrid(*map(torch.arange, grid), indexing="ij"), -1).view(-1, 3)
        angle = [pos[:, i:i + 1] / 10000 ** (torch.arange(0, a, 2) / a) for i, a in enumerate(axes)]
        angle = torch.cat(angle, 1)
        self.register_buffer("rope", torch.polar(torch.ones_like(angle), angle))

    def forward(self, rows, t, text):
        w = 10000 ** (-torch.arange(128) / 128)
        a = t * w
        with torch.autocast("cpu", enabled=False):
            e = self.time(torch.cat([a.cos(), a.sin()])[None])
            e0 = self.proj(F.silu(e)).view(1, 6, self.d)
        x, ctx = self.patch(rows).float(), self.text(text)
        for b in self.blocks:
            x = b(x, e0, ctx, self.rope)
        m = (self.mod + e[:, None]).chunk(2, 1)
        with torch.autocast("cpu", enabled=False):
            return self.head(F.layer_norm(x, (self.d,), eps=1e-6) * (1 + m[1]) + m[0])


def flops(heads, hd, layers, ffn, text_dim, T, grid):
    D, S = heads * hd, grid[0] * grid[1] * grid[2]
    self_ = 8 * S * D * D + 4 * S * S * D
    cross = 4 * S * D * D + 4 * T * D * D + 4 * S * T * D
    ends = 2 * S * D * 128 + 2 * T * (text_dim * D + D * D)
    return 3 * (layers * (self_ + cross + 4 * S * D * ffn) + ends)


def run(job, bf16):
    name, heads, hd, layers, ffn, text_dim, T, grid, budget = job
    torch.manual_seed(1)
    S = grid[0] * grid[1] * grid[2]
    model = Model(heads, hd, layers, ffn, text_dim, grid)
    try:
        opt = torch.optim.AdamW(model.parameters(), 1e-5, betas=(0.9, 0.95), fused=True)
    except (RuntimeError, TypeError):
        opt = torch.optim.AdamW(model.parameters(), 1e-5, betas=(0.9, 0.95))
    x0, text = torch.randn(1, S, 64), torch.randn(1, T, text_dim)

    def step():
        opt.zero_grad(set_to_none=False)
        eps = torch.randn_like(x0)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            pred = model(0.4 * x0 + 0.6 * eps, 600.0, text)
        F.mse_loss(pred.float(), eps - x0).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()

    cpu = os.environ.get("WAN_BENCH_CLOCK") == "cpu"
    now = time.thread_time if cpu else time.perf_counter
    best, start, n = 1e30, now(), 0
    step()
    while n < 3 or now() - start < budget:
        t = now()
        step()
        best = min(best, now() - t)
        n += 1
    g = flops(heads, hd, layers, ffn, text_dim, T, grid)
    count = sum(p.numel() for p in model.parameters())
    print("| %s | %s | %6.1f | %7.1f | %8.4f | %5.0f | %7.0f |" % (
        name, "bf16" if bf16 else "fp32", count / 1e6, g / 1e9, best, g / best / 1e9, S / best),
        flush=True)


def main():
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count())))
    print("\nTraining step, PyTorch %s, %d threads\n" % (torch.__version__, torch.get_num_threads()))
    print("| model | precision | M param | GFLOP | s/step | GFLOP/s | tokens/s |\n"
          "|---|---|---:|---:|---:|---:|---:|")
    for i, job in enumerate(JOBS):
        for bf16 in (True, False):
            if len(sys.argv) > 1 and (sys.argv[1] == "bf16") != bf16:
                continue
            if len(sys.argv) > 2 and int(sys.argv[2]) != i:
                continue
            run(job, bf16)


main()
