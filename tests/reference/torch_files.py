# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/torch: files of torch.save and pickle.dumps that check_torchzip reads.

    python3 tests/reference/torch_files.py tests/data/torch
"""
import os, pickle, sys
from collections import OrderedDict
import torch

out = sys.argv[1]
os.makedirs(out, exist_ok=True)


def ramp(*shape, dtype=torch.float32):
    n = 1
    for s in shape:
        n *= s
    return (torch.arange(n, dtype=torch.float32) * 0.5 - 3).reshape(shape).to(dtype)


def save(name, obj, **kw):
    torch.save(obj, os.path.join(out, name), **kw)


def dump(name, obj, protocol):
    with open(os.path.join(out, name), "wb") as f:
        pickle.dump(obj, f, protocol=protocol)


class Evil:
    def __reduce__(self):
        return os.system, ("touch pickle-was-executed",)


save("f32.pth", ramp(2, 3))
save("f16.pth", ramp(2, 3, 4, 2, dtype=torch.float16))
save("bf16.pth", ramp(5, dtype=torch.bfloat16))
save("u16.pth", torch.arange(7).to(torch.uint16))
save("scalar.pth", torch.tensor(2.5))
save("empty.pth", torch.zeros(0, 4))
save("strided.pth", {"t": ramp(4, 3, 2).permute(2, 0, 1), "e": ramp(3).expand(4, 3),
                     "v": ramp(6, 4)[1::2, 2:]})
base = ramp(4, 5)
save("shared.pth", {"all": base, "rows": base[1:3], "turned": base.t()})
net = torch.nn.Sequential(OrderedDict(
    ("l%03d" % i, torch.nn.Linear(1, 1)) for i in range(70)))
for i, p in enumerate(net.parameters()):
    p.data.fill_(i)
save("state.pth", net.state_dict())
save("param.pth", {"model": {"w": torch.nn.Parameter(ramp(2, 2))}, "step": 7, "lr": 0.5,
                   "names": ["a", None, True], "list": [ramp(2), ramp(3)]})
save("legacy.pt", OrderedDict(a=ramp(2, 3), b=ramp(3, dtype=torch.float16),
                              c=torch.arange(3), d=ramp(2, 3).t()),
     _use_new_zipfile_serialization=False)
for p in (2, 3, 4, 5):
    dump("p%d.pickle" % p, ramp(3, 4, dtype=torch.float16), p)
dump("big.pickle", ramp(40, 50, dtype=torch.float16), 4)
dump("view.pickle", ramp(4, 6)[1:3], 4)
dump("evil.pickle", {"x": Evil(), "t": ramp(2)}, 4)
