# SPDX-License-Identifier: Apache-2.0
"""tests/data/torch/official_{vae,umt5}.pth: files as the official repository has them, one channel for every 96.

official.names holds, per line, official name, HuggingFace name and shape: 194 tensors of the VAE, then the text
encoder. The names are those of diffusers' convert_wan_to_diffusers.py and of transformers' UMT5EncoderModel. Element
i of a tensor is ((crc32(HuggingFace name) + i) mod 997) / 997, so that a test knows what must be where.

    python3 ref_official.py ../data/torch
"""

import os
import sys
import zlib
from collections import OrderedDict

import torch


def values(hf, shape, dtype):
    n = int(torch.Size(shape).numel())
    start = zlib.crc32(hf.encode())
    return torch.tensor([((start + i) % 997) / 997 for i in range(n)], dtype=torch.float64).float().reshape(shape).to(dtype)


def main(d):
    rows = [line.rstrip("\n").split("\t") for line in open(os.path.join(d, "official.names"), encoding="utf-8")]
    for name, part, dtype in (("vae", rows[:194], torch.float32), ("umt5", rows[194:], torch.bfloat16)):
        torch.save(OrderedDict((o, values(h, [int(x) for x in s.split(",")], dtype)) for o, h, s in part),
                   os.path.join(d, f"official_{name}.pth"))


main(sys.argv[1])
