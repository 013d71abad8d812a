# SPDX-License-Identifier: Apache-2.0
"""rng: torch's CPU randn streams, which --rng torch-cpu has to give."""

import os
import subprocess
import sys

import torch

from common import case_dir, save, save_json, versions

SEEDS = [0, 42, 1234, 2**40 + 7]
SHAPES = [(1,), (15,), (16,), (17,), (1000,), (16, 3, 8, 8)]
# Calls in a row on one generator: below 16 values torch takes another path, which keeps a spare value.
ROWS = [17, 5, 16, 1, 1, 3, 33, 2, 100]


def streams():
    out = {}
    for seed in SEEDS:
        for shape in SHAPES:
            g = torch.Generator("cpu").manual_seed(seed)
            out[f"randn.{seed}." + "x".join(map(str, shape))] = torch.randn(shape, generator=g)
        g = torch.Generator("cpu").manual_seed(seed)
        for i, n in enumerate(ROWS):
            out[f"row.{seed}.{i}"] = torch.randn(n, generator=g)
    g = torch.Generator("cpu").manual_seed(42)
    out["random24.42"] = torch.rand(700, generator=g)  # one 32-bit draw each: the MT19937 itself
    return out


def small(out):
    d = case_dir(out, "rng")
    save(os.path.join(d, "out.safetensors"), streams())
    # The same without vector instructions: log, cos and sin come from libm then, not from torch's own polynomials.
    env = dict(os.environ, ATEN_CPU_CAPABILITY="default")
    code = ("import sys, ref_rng; from common import save; "
            "assert __import__('torch').backends.cpu.get_cpu_capability() in ('DEFAULT', 'NO AVX'); "
            "save(sys.argv[1], ref_rng.streams())")
    scalar = os.path.join(d, "scalar.safetensors")
    subprocess.run([sys.executable, "-c", code, scalar], check=True, env=env,
                   cwd=os.path.dirname(os.path.abspath(__file__)))
    from safetensors.torch import load_file
    a, b = load_file(os.path.join(d, "out.safetensors")), load_file(scalar)
    worst = max(float((a[k] - b[k]).abs().max()) for k in a)
    share = sum(int((a[k] != b[k]).sum()) for k in a) / sum(a[k].numel() for k in a)
    os.remove(scalar)
    save_json(os.path.join(d, "case.json"), {
        "case": "rng", "seeds": SEEDS, "shapes": [list(s) for s in SHAPES], "rows": ROWS,
        "randn.SEED.SHAPE": "torch.randn(shape) from a fresh generator", "row.SEED.I": "call I of rows on one generator",
        "random24.42": "torch.rand(700), seed 42: (draw & 0xffffff) / 2^24",
        "scalar_max_abs_difference": worst, "scalar_share_of_values_that_differ": share, "versions": versions()})
    print("rng", "scalar path differs by", worst, "in a share of", share)


def large(out):
    pass
