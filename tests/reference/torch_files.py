# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/torch: files of torch.save and pickle.dumps that check_torchzip reads, and
shards as DFM makes them through webdataset (pax headers, float times): prepare_dataset_wan.py, and
prepare_energon_dataset_butterfly.py with its batches of one.

    python3 tests/reference/torch_files.py tests/data/torch
"""
import io, json, os, pickle, sys, tarfile
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
    ("l%03d" % i, torch.nn.Linear(1, 1)) for i in range(40)))
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


def member(tar, name, data):
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = len(data), 0o444, 1795209242.6660342
    info.uname = info.gname = "bigdata"
    tar.addfile(info, io.BytesIO(data))


os.makedirs(os.path.join(out, "dfm"), exist_ok=True)
with tarfile.open(os.path.join(out, "dfm", "shard-rank00-000000.tar"), "w|",
                  format=tarfile.PAX_FORMAT) as tar:
    for i in range(6):
        frames = 1 + i % 2
        latent = (ramp(16, frames, 2, 4, dtype=torch.float32) / 64 + i).half()
        text = torch.zeros(12, 8, dtype=torch.float16)
        text[: i + 2] = ramp(i + 2, 8) + i
        f = io.BytesIO()
        torch.save(latent, f)
        meta = {"video_path": "clip%d.mp4" % i, "processed_frames": 4 * frames - 3,
                "processed_height": 16, "processed_width": 32, "caption": "clip %d \u00e9" % i,
                "deterministic_latents": True, "memory_optimization": True,
                "model_version": "wan2.1", "processing_mode": "video",
                "resize_settings": {"target_size": [16, 32], "resize_mode": "bilinear",
                                    "maintain_aspect_ratio": True, "center_crop": True}}
        member(tar, "%06d.json" % i, json.dumps(meta).encode())
        member(tar, "%06d.pickle" % i, pickle.dumps(text, protocol=4))
        member(tar, "%06d.pth" % i, f.getvalue())

os.makedirs(os.path.join(out, "butterfly"), exist_ok=True)
with tarfile.open(os.path.join(out, "butterfly", "rank0-000000.tar"), "w|",
                  format=tarfile.PAX_FORMAT) as tar:
    for i in range(4):
        h, w = (4, 6) if i % 2 else (4, 4)
        latent = (ramp(1, 16, 1, h, w) / (50 * h * w) - 1 + i / 2).bfloat16()
        text = torch.zeros(1, 20, 24, dtype=torch.bfloat16)
        text[0, : i + 2] = (ramp(i + 2, 24) / 30 + i).bfloat16()
        f = io.BytesIO()
        torch.save(latent, f)
        member(tar, "%06d.pth" % i, f.getvalue())
        member(tar, "%06d.pickle" % i, pickle.dumps(text))
        member(tar, "%06d.json" % i, json.dumps({"image_height": 1, "image_width": h}).encode())
