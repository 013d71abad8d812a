# SPDX-License-Identifier: Apache-2.0
# Caches as musubi-tuner (30c658c4) and diffusion-pipe (8f83dbf2) lay them out, with numbers that tell where
# they are; made by torch 2.15.0, safetensors 0.8.0 and sqlite:  python make.py
import io
import os
import sqlite3

import torch
from safetensors.torch import save_file


def latent(i, frames):
    return (torch.arange(16 * frames * 4).reshape(16, frames, 2, 2) % 97 / 32 + i).to(torch.bfloat16)


def text(i, rows):
    return (torch.arange(rows * 8).reshape(rows, 8) % 31 / 16 + 1 + i).to(torch.bfloat16)


os.makedirs("musubi/sub", exist_ok=True)
for i, (name, rows) in enumerate([("a_b", 5), ("clip", 7), ("pic", 3)]):
    frames, place = (1, "") if name == "pic" else (3, f"_{i:05d}-009")
    meta = {"architecture": "wan", "width": "16", "height": "16", "format_version": "1.0.1", "frame_count": "9"}
    sizes = f"{frames}x2x2_bfloat16"
    save_file({f"latents_{sizes}": latent(i, frames), f"latents_image_{sizes}": latent(9, frames)},
              f"musubi/sub/{name}{place}_0016x0016_wan.safetensors", metadata=meta)
    save_file({"varlen_t5_bfloat16": text(i, rows)}, f"musubi/sub/{name}_wan_te.safetensors",
              metadata={"architecture": "wan", "caption1": f"caption {i}", "format_version": "1.0.1"})


def cache(path, items, each):
    os.makedirs(path, exist_ok=True)
    con = sqlite3.connect(path + "/metadata.db")
    con.execute("PRAGMA page_size=512")
    con.execute("CREATE TABLE fingerprint(value)")
    con.execute("CREATE TABLE items(shard, shard_index)")
    for first in range(0, len(items), each):
        s, at = first // each, 0
        con.execute(f"CREATE TABLE shard_{s}(offset, size)")
        with open(f"{path}/shard_{s}.bin", "wb") as f:
            for k, item in enumerate(items[first:first + each]):
                b = io.BytesIO()
                torch.save(item, b)
                f.write(b.getvalue())
                con.execute("INSERT INTO items VALUES(?, ?)", (s, k))
                con.execute(f"INSERT INTO shard_{s} VALUES(?, ?)", (at, len(b.getvalue())))
                at += len(b.getvalue())
    con.commit()


bucket = "dpipe/cache/wan/cache_1.000x16x16x9"
cache(bucket + "/latents", [{"latents": latent(i, 3), "mask": None} for i in range(3)], 2)
texts = []  # two captions for each clip
for i in range(3):
    for c in range(2):
        padded = torch.zeros(16, 8, dtype=torch.bfloat16)
        padded[:4 + i] = text(10 * i + c, 4 + i)
        texts.append({"text_embeddings": padded, "seq_lens": torch.tensor(4 + i)})
cache(bucket + "/text_embeddings_1", texts, 4)
