# SPDX-License-Identifier: Apache-2.0
"""What every reference script shares: seeds, writing, versions."""

import json
import os
import platform
import zlib

import torch
from safetensors.torch import save_file

# The libraries warn when a whole model is cast to one type, which is what a reference wants.
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

torch.set_num_threads(int(os.environ.get("REF_THREADS", "1")))
torch.use_deterministic_algorithms(True)


def generator(seed, name=""):
    """A CPU generator that depends on `seed` and on `name` only, not on the order of calls."""
    return torch.Generator("cpu").manual_seed((seed << 32) + zlib.crc32(name.encode()))


def randn(seed, name, *shape):
    return torch.randn(shape, generator=generator(seed, name), dtype=torch.float32)


def rand(seed, name, *shape):
    return torch.rand(shape, generator=generator(seed, name), dtype=torch.float32)


def randint(seed, name, low, high, n):
    return torch.randint(low, high, (n,), generator=generator(seed, name))


def rel_l2(a, b):
    """|a-b| / |b| in float64."""
    a, b = a.detach().double(), b.detach().double()
    return float((a - b).norm() / max(float(b.norm()), 1e-300))


def versions():
    import diffusers
    import numpy
    import tokenizers
    import transformers
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch_cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "diffusers": diffusers.__version__,
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
        "numpy": numpy.__version__,
    }


def case_dir(out, case):
    path = os.path.join(out, case)
    os.makedirs(path, exist_ok=True)
    return path


def save(path, tensors):
    """Contiguous copies, in name order, so that the same values give the same bytes."""
    save_file({k: tensors[k].detach().contiguous().clone() for k in sorted(tensors)}, path)
    os.chmod(path, 0o644)


def save_json(path, value):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, indent=1, ensure_ascii=False)
        f.write("\n")


def save_jsonl(path, rows):
    with open(path, "w", encoding="utf-8") as f:
        for row in rows:
            f.write(json.dumps(row, ensure_ascii=False) + "\n")


def tidy_configs(d):
    """Sort every config.json below `d` and drop the local path that the libraries write into it."""
    for root, _, names in os.walk(d):
        for name in names:
            if name == "config.json":
                path = os.path.join(root, name)
                with open(path, encoding="utf-8") as f:
                    value = json.load(f)
                value.pop("_name_or_path", None)
                with open(path, "w", encoding="utf-8") as f:
                    json.dump(value, f, indent=2, sort_keys=True)
                    f.write("\n")
