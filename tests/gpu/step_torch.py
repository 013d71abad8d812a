#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The training step of bench_gpu.c in PyTorch on the same GPU: the same sizes and work.

    step_torch.py 1.3B|14B LAYERS [compile]

fp32 parameters under torch.autocast(bfloat16), every block recomputed in the backward pass, fused
AdamW, clip by norm.  Attention is scaled_dot_product_attention: cuDNN, else flash attention,
whichever this PyTorch takes for the shape; 512 text rows, as PyTorch implementations of the model
attend to them.  Prints one row of the table; fewer layers when memory does not suffice.
"""
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

SIZES = {"1.3B": (12, 8960, (21, 30, 52)), "14B": (40, 13824, (24, 30, 52))}


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
        self.here, self.text = Attention(d, heads), Attention(d, heads)
        self.norm = nn.LayerNorm(d, eps=1e-6)
        self.up, self.down = nn.Linear(d, ffn), nn.Linear(ffn, d)
        self.mod = nn.Parameter(torch.randn(1, 6, d) / d ** 0.5)

    def forward(self, x, e, ctx, cos, sin):
        m = (self.mod + e).chunk(6, 1)
        u = F.layer_norm(x, (self.d,), eps=1e-6) * (1 + m[1]) + m[0]
        x = x + self.here(u, u, (cos, sin)) * m[2]
        x = x + self.text(self.norm(x), ctx, None)
        u = F.layer_norm(x, (self.d,), eps=1e-6) * (1 + m[4]) + m[3]
        return x + self.down(F.gelu(self.up(u), approximate="tanh")) * m[5]


class Model(nn.Module):
    def __init__(self, heads, ffn, layers, grid, compiled):
        super().__init__()
        d = self.d = heads * 128
        self.patch, self.head = nn.Linear(64, d), nn.Linear(d, 64)
        self.words = nn.Sequential(nn.Linear(4096, d), nn.GELU(approximate="tanh"), nn.Linear(d, d))
        self.time = nn.Sequential(nn.Linear(256, d), nn.SiLU(), nn.Linear(d, d))
        self.proj = nn.Linear(d, 6 * d)
        self.blocks = nn.ModuleList(Block(d, heads, ffn) for _ in range(layers))
        self.mod = nn.Parameter(torch.randn(1, 2, d) / d ** 0.5)
        pos = torch.stack(torch.meshgrid(*map(torch.arange, grid), indexing="ij"), -1).view(-1, 3)
        angle = torch.cat([pos[:, i:i + 1] / 10000 ** (torch.arange(0, a, 2) / a)
                           for i, a in enumerate((44, 42, 42))], 1)
        self.register_buffer("cos", angle.cos().float())
        self.register_buffer("sin", angle.sin().float())
        self.run = [torch.compile(b) for b in self.blocks] if compiled else list(self.blocks)

    def forward(self, rows, t, text):
        a = t * 10000 ** (-torch.arange(128, device=rows.device) / 128)
        with torch.autocast("cuda", enabled=False):
            e = self.time(torch.cat([a.cos(), a.sin()])[None])
            e0 = self.proj(F.silu(e)).view(1, 6, self.d)
        x, ctx = self.patch(rows).float(), self.words(text)
        for b in self.run:
            x = checkpoint(b, x, e0, ctx, self.cos, self.sin, use_reentrant=False)
        m = (self.mod + e[:, None]).chunk(2, 1)
        with torch.autocast("cuda", enabled=False):
            return self.head(F.layer_norm(x, (self.d,), eps=1e-6) * (1 + m[1]) + m[0])


def flops(heads, ffn, layers, S, T=512):
    D = heads * 128
    block = 8 * S * D * D + 4 * S * S * D + 4 * S * D * D + 4 * T * D * D + 4 * S * T * D
    return 3 * (layers * (block + 4 * S * D * ffn) + 2 * S * D * 128 + 2 * T * (4096 * D + D * D))


def run(name, layers, compiled):
    heads, ffn, grid = SIZES[name]
    S = grid[0] * grid[1] * grid[2]
    torch.manual_seed(1)
    with torch.device("cuda"):
        model = Model(heads, ffn, layers, grid, compiled)
        x0, text = torch.randn(1, S, 64), torch.randn(1, 512, 4096)
    opt = torch.optim.AdamW(model.parameters(), 1e-5, betas=(0.9, 0.95), fused=True)
    best = 1e30
    for i in range(4):
        torch.cuda.synchronize()
        t = time.perf_counter()
        opt.zero_grad(set_to_none=False)
        eps = torch.randn_like(x0)
        with torch.autocast("cuda", torch.bfloat16), \
                sdpa_kernel([SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION],
                            set_priority=True):
            loss = F.mse_loss(model(0.4 * x0 + 0.6 * eps, 600.0, text).float(), eps - x0)
            loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        torch.cuda.synchronize()
        if i:
            best = min(best, time.perf_counter() - t)
    rate = flops(heads, ffn, layers, S) / best / 1e12
    print("| %s, %d layers, %d tokens | PyTorch %s%s | %.3f | %.0f | %.1f GB | loss %.4f |" % (
        name, layers, S, torch.__version__, ", compiled" if compiled else "", best, rate,
        torch.cuda.max_memory_allocated() / 1e9, loss.item()), flush=True)


def main():
    name, layers, compiled = sys.argv[1], int(sys.argv[2]), "compile" in sys.argv[3:]
    while layers > 0:
        try:
            return run(name, layers, compiled)
        except torch.OutOfMemoryError:
            layers -= 1 if layers < 10 else 2
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


main()
