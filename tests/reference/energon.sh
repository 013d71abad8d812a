#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Compares wan-index with Megatron-Energon, reads wan-shard's output through its loader, and passes
# samples from webdataset's writer through wan-shard to webdataset's reader.
#
#     tests/reference/energon.sh VENV      a Python environment with megatron-energon, webdataset and torch
set -eu
venv=$(realpath "$1") top=$(cd "$(dirname "$0")/../.." && pwd)
export PATH=$top/build/bin:$PATH
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$work"
dfm=$top/tests/data/torch/dfm
wan-shard -q -x "$dfm" >a.rec
# two histories, told by samples of one shard
wan-record cat -k '00000[012]' -o a1.rec a.rec
wan-record cat -k '00000[345]' -o a2.rec a.rec
wan-shard -q --shard_maxcount 2 -o ours a1.rec a2.rec
tar xOf ours/shard-rank00-000001.tar 000003.json | grep -q '"history"'
mkdir -p nested/sub
cp "$dfm"/*.tar nested/sub/
# (a single shard is no example for 8,1,1: Energon leaves train empty, wan-index does not)
for d in ours nested; do
    cp -r $d $d.energon
    case $d in ours) ratio=8,1,1 ;; *) ratio=1,0,0 ;; esac
    wan-index -q --split-ratio $ratio $d
    "$venv/bin/energon" prepare --non-interactive --split-ratio $ratio \
        --sample-type CrudeWebdataset $d.energon >prepare.log 2>&1 || { cat prepare.log; exit 1; }
    for f in $(cd $d; find . -name '*.idx' -o -name '*.yaml'); do
        cmp $d/$f $d.energon/$f
    done
done
cat >load.py <<'END'
import json, sqlite3, sys
import torch
from megatron.energon import (Cooker, DefaultTaskEncoder, WorkerConfig, get_loader,
                              get_train_dataset, stateless, basic_sample_keys)
for d in ("ours", "nested"):
    rows = [[sqlite3.connect(x + "/.nv-meta/index.sqlite").execute(
        "select * from %s order by 1, 3, 2" % t).fetchall() for t in ("samples", "sample_parts")]
        for x in (d, d + ".energon")]
    schema = [sorted(sqlite3.connect(x + "/.nv-meta/index.sqlite").execute(
        "select type, name, tbl_name from sqlite_master").fetchall()) for x in (d, d + ".energon")]
    assert list(map(sorted, rows[0])) == list(map(sorted, rows[1])), d
    assert schema[0] == schema[1], schema
    info = [json.load(open(x + "/.nv-meta/.info.json"))["shard_counts"] for x in (d, d + ".energon")]
    assert list(info[0].items()) == list(info[1].items())


@stateless
def cook(s):
    return dict(**basic_sample_keys(s), json=s["json"], pth=s["pth"], pickle=s["pickle"])


class Encoder(DefaultTaskEncoder):
    cookers = [Cooker(cook)]
    def batch(self, samples):
        return samples


ds = get_train_dataset("ours", worker_config=WorkerConfig(rank=0, world_size=1, num_workers=0),
                       batch_size=1, shuffle_buffer_size=None, max_samples_per_sequence=None,
                       task_encoder=Encoder())
seen = {}
for i, b in zip(range(16), get_loader(ds)):
    s = b[0]
    seen[s["__key__"].split("/")[-1]] = s
assert len(seen) == 4, seen.keys()
for k, s in seen.items():
    i = int(k[-6:])
    frames = 1 + i % 2
    n = 16 * frames * 2 * 4
    want = ((torch.arange(n) * 0.5 - 3).reshape(16, frames, 2, 4) / 64 + i).half()
    assert torch.equal(s["pth"], want), k
    text = ((torch.arange((i + 2) * 8) * 0.5 - 3).reshape(i + 2, 8).half() + i)
    assert torch.equal(s["pickle"], text), k
    assert s["json"]["caption"] == "clip %d \u00e9" % i
print("energon", __import__("importlib.metadata").metadata.version("megatron-energon"),
      "torch", torch.__version__, "read", len(seen), "samples of ours")
END
"$venv/bin/python" load.py
echo "identical: .tar.idx, split.yaml, dataset.yaml, rows of index.sqlite"

cat >members.py <<'END'
import glob, io, json, pickle, tarfile, torch
n = 0
for path in sorted(glob.glob("ours/*.tar")):
    with tarfile.open(path, "r:") as tar:
        for m in tar:
            data = tar.extractfile(m).read()
            assert (m.mode, m.uid, m.gid, m.mtime, m.pax_headers) == (0o444, 0, 0, 0, {}), m
            if m.name.endswith(".pth"):
                latent = torch.load(io.BytesIO(data), weights_only=True)
            elif m.name.endswith(".pickle"):
                text = pickle.loads(data)
            else:
                said = {t["name"]: t["shape"] for t in json.loads(data)["wan"]["tensors"]}
                continue
            if m.name.endswith(".pth"): # the last part of its sample
                assert said == {"latent": list(latent.shape), "text": list(text.shape)}
                n += 1
assert n == 6
print("tarfile, torch.load(weights_only=True), pickle.loads: %d samples" % n)
END
"$venv/bin/python" members.py

cat >write.py <<'END'
import pickle, torch, webdataset
torch.manual_seed(1)
with webdataset.ShardWriter("wds/shard-rank00-%06d.tar", maxcount=3, verbose=0) as sink:
    for i in range(5):
        text = torch.zeros(226, 64).half()
        text[: 7 + i] = torch.randn(7 + i, 64)
        sink.write({"__key__": "%06d" % i, "pth": torch.randn(1, 16, 3, 8, 10).half()[0],
                    "pickle": pickle.dumps(text), "json": {"caption": "\u00fc %d" % i}})
END
cat >read.py <<'END'
import glob, torch, webdataset
a, b = ({s["__key__"]: s for f in sorted(glob.glob(d + "/*.tar"))
         for s in webdataset.WebDataset(f, shardshuffle=False).decode()} for d in ("wds", "back"))
assert a.keys() == b.keys() and len(a) == 5
for i, k in enumerate(sorted(a)):
    n = len(b[k]["pickle"])
    assert n == 7 + i and torch.equal(a[k]["pickle"][:n], b[k]["pickle"])
    assert torch.equal(a[k]["pth"], b[k]["pth"])
    assert a[k]["json"]["caption"] == b[k]["json"]["caption"]
print("webdataset", webdataset.__version__, "both ways: equal")
END
mkdir wds && "$venv/bin/python" write.py && wan-shard -q -x wds | wan-shard -q -o back && "$venv/bin/python" read.py
