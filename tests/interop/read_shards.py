# SPDX-License-Identifier: Apache-2.0
# read_shards.py READER FOLDER - what a program of others reads there: lines of key, caption, and shape and
# SHA-256 of latent and text.
import glob
import hashlib
import json
import pickle
import sys

import numpy
import torch

out, sys.stdout = sys.stdout, sys.stderr  # some of them print


def told(t):
    raw = t.contiguous().view(torch.uint8) if t.dtype == torch.bfloat16 else t.contiguous()
    return json.dumps(list(t.shape), separators=(",", ":")) + " " + hashlib.sha256(raw.numpy().tobytes()).hexdigest()


def line(key, meta, latent, text):
    print("\t".join([key, meta["caption"], told(latent), told(text)]), file=out)


def shards(folder):
    return sorted(glob.glob(folder + "/*.tar"))


def webdataset(folder):
    import webdataset as wds

    for s in wds.WebDataset(shards(folder), shardshuffle=False).decode():
        line(s["__key__"], s["json"], s["pth"], s["pickle"])


def energon(folder):
    from megatron.energon import Cooker, DefaultTaskEncoder, WorkerConfig, basic_sample_keys, get_loader, get_val_dataset, stateless

    @stateless
    def cook(sample):
        return dict(**basic_sample_keys(sample), json=sample["json"], pth=sample["pth"], pickle=sample["pickle"])

    class Task(DefaultTaskEncoder):
        cookers = [Cooker(cook)]

        @stateless
        def encode_sample(self, sample):
            return sample

        def batch(self, samples):
            return samples

    config = WorkerConfig(rank=0, world_size=1, num_workers=0)
    data = get_val_dataset(folder, split_part="train", batch_size=1, worker_config=config, task_encoder=Task())
    for batch in get_loader(data):
        for s in batch:
            key = s["__key__"]
            line(key.split(".tar/", 1)[-1], s["json"], s["pth"], s["pickle"])


def datasets(folder):
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}[folder.split(".")[-1]]
    import datasets as hf

    for s in hf.load_dataset("webdataset", data_files={"train": shards(folder)}, split="train", streaming=True):
        # a torch file comes as nested lists of numbers, a pickle as its bytes
        line(s["__key__"], s["json"], torch.tensor(numpy.array(s["pth"])).to(dtype), pickle.loads(s["pickle"]))


def meta(folder, load):
    for path in sorted(glob.glob(folder + "/*.meta")):
        d = load(path)
        assert d["text_embeddings"].shape[:2] == (1, 226) and d["first_frame"] is None
        print(d["metadata"]["caption"] + "\t" + told(d["video_latents"][0]), file=out)


def from_pickle(path):
    with open(path, "rb") as f:
        return pickle.load(f)


readers = {
    "webdataset": webdataset,
    "energon": energon,
    "datasets": datasets,
    "meta-torch": lambda d: meta(d, lambda p: torch.load(p, weights_only=True)),
    "meta-pickle": lambda d: meta(d, from_pickle),
}
readers[sys.argv[1]](sys.argv[2])
