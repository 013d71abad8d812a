# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/torch/automodel: .meta files as NeMo's prepare_dataset_wan.py --output_format
automodel pickles them (tensors through torch.storage._load_from_bytes, a numpy frame).  Needs numpy, no
torch: the storages are taken from files that torch wrote.

    python3 tests/reference/meta_files.py tests/data/torch
"""
import os, pickle, pickletools, struct, sys
import numpy

root = sys.argv[1]
with open(os.path.join(root, "p4.pickle"), "rb") as f:  # a tensor [3, 4] of half floats, ramp
    image = [arg for op, arg, _ in pickletools.genops(f.read()) if isinstance(arg, bytes) and len(arg) > 100][0]


def body(obj):
    return pickle.dumps(obj, 2)[2:-1]


def tensor(shape):
    """_rebuild_tensor_v2(the storage of p4.pickle, 0, shape, strides, False, OrderedDict())"""
    stride, n = [], 1
    for s in reversed(shape):
        stride.insert(0, n)
        n *= s
    assert n == 12
    storage = (b"ctorch.storage\n_load_from_bytes\n" + b"B" + struct.pack("<I", len(image)) + image + b"\x85R")
    return (b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00" + b"(" +
            b"".join(b"K" + bytes([s]) for s in shape) + b"t(" +
            b"".join(b"K" + bytes([s]) for s in stride) + b"t" + b"\x89ccollections\nOrderedDict\n)RtR")


def save(name, members):
    out = b"\x80\x02}("
    for key, value in members:
        out += b"X" + struct.pack("<I", len(key)) + key.encode() + value
    path = os.path.join(root, "automodel", name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(out + b"u.")


save("clip_1.meta", [
    ("text_embeddings", tensor((1, 3, 4))), ("video_latents", tensor((1, 3, 1, 2, 2))),
    ("first_frame", body(numpy.zeros((4, 6, 3), numpy.uint8))),
    ("metadata", body({"file_name": "a b.mp4", "width": 48, "height": 32, "start_frame": 0, "end_frame": 4,
                       "caption": "a \u732b"})),
    ("num_frames", body(5)), ("original_video_path", body("/films/a b.mp4")),
    ("deterministic_latents", body(True)), ("model_version", body("wan2.1")),
])
save("48x32/clip 2.meta", [
    ("video_latents", tensor((1, 3, 1, 2, 2))), ("text_embeddings", tensor((1, 3, 4))),
    ("bucket_resolution", body([48, 32])), ("aspect_ratio", body(1.5)), ("prompt", body("two")),
    ("first_frame", body(None)),
])
