# SPDX-License-Identifier: Apache-2.0
"""The passes of vae.c by diffusers' AutoencoderKLWan:

    vae_torch.py DIR encode|decode fp32|bf16 FRAMES HEIGHT WIDTH [RUNS]

Prints seconds and the largest resident size in MiB, as vae.c does.
"""

import resource
import sys
import time

import torch
from diffusers import AutoencoderKLWan

path, way, precision, t, h, w = sys.argv[1:7]
t, h, w = int(t), int(h), int(w)
runs = int(sys.argv[7]) if len(sys.argv) > 7 else 1
torch.set_num_threads(int(__import__("os").environ.get("OMP_NUM_THREADS", "2")))
dtype = torch.bfloat16 if precision == "bf16" else torch.float32
vae = AutoencoderKLWan.from_pretrained(path, torch_dtype=dtype).eval()
if way == "encode":
    x = torch.rand(1, 3, t, h, w).mul(2).sub(1).to(dtype)
else:
    x = torch.randn(1, vae.config.z_dim, 1 + (t - 1) // 4, h // 8, w // 8).to(dtype)
best = None
with torch.no_grad():
    for i in range(runs):
        start = time.monotonic()
        if way == "encode":
            vae.encode(x).latent_dist.mode()
        else:
            vae.decode(x).sample
        s = time.monotonic() - start
        best = s if best is None or i == 1 or s < best else best
print("%.3f %d" % (best, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024))
