# SPDX-License-Identifier: Apache-2.0
"""A GGUF file with every type that is read, and its values as the package `gguf` (PyPI) unpacks them.

    python tests/reference/ref_gguf.py tests/data/ref/gguf     # needs gguf, numpy
"""
import struct
import sys

import numpy as np
import gguf
from gguf import GGMLQuantizationType as T, quants

out = sys.argv[1]
rng = np.random.default_rng(5)
w = gguf.GGUFWriter(f"{out}/types.gguf", "wan")
w.add_uint8("n.u8", 200)
w.add_int8("n.i8", -5)
w.add_uint16("n.u16", 60000)
w.add_int16("n.i16", -300)
w.add_uint32("n.u32", 4000000000)
w.add_int32("n.i32", -70000)
w.add_float32("n.f32", 0.5)
w.add_bool("n.bool", True)
w.add_uint64("n.u64", 1 << 40)
w.add_int64("n.i64", -(1 << 40))
w.add_float64("n.f64", 0.25)
w.add_string("text", "Ein Text: é 猫")
w.add_array("array.i32", [3, -2, 1])
w.add_array("array.text", ["a", "", "ccc"])
w.add_array("array.f32", [0.5, 1.5])

# where the 16-bit scales of a block stand, in bytes
HALVES = {T.Q8_0: [0], T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208]}
values = {}
for t, at in HALVES.items():
    n, size = gguf.GGML_QUANT_SIZES[t]
    rows, blocks = 3, 512 // n
    raw = rng.integers(0, 256, (rows, blocks, size), dtype=np.uint8)
    for a in at:
        half = rng.uniform(-1, 1, (rows, blocks)).astype(np.float16) * np.float16(0.01)
        raw[:, :, a:a + 2] = half[..., None].view(np.uint8)
    raw = raw.reshape(rows, blocks * size)
    w.add_tensor(t.name, raw, raw_dtype=t)
    values[t.name] = quants.dequantize(raw, t).astype(np.float32)
x = rng.standard_normal((3, 5)).astype(np.float32)
w.add_tensor("F32", x)
w.add_tensor("F16", x.astype(np.float16))
w.add_tensor("BF16", quants.quantize(x, T.BF16), raw_dtype=T.BF16)
w.add_tensor("one", np.array([2.5], dtype=np.float32))
values |= {"F32": x, "F16": x.astype(np.float16).astype(np.float32),
           "BF16": quants.dequantize(quants.quantize(x, T.BF16), T.BF16), "one": np.array([2.5], np.float32)}
w.write_header_to_file()
w.write_kv_data_to_file()
w.write_tensors_to_file()
w.close()

# all values as float32, tensor after tensor in the order of their names
with open(f"{out}/types.f32", "wb") as f:
    for name in sorted(values):
        f.write(np.ascontiguousarray(values[name], dtype="<f4").tobytes())
