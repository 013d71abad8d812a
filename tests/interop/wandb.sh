# SPDX-License-Identifier: Apache-2.0
# The lines of --metrics in W&B's own client, by the line that wan-train(1) gives: a run kept for wandb sync holds them.
. "$TOP/tests/lib.sh"
PYTHON=${PYTHON:-python3}
if ! "$PYTHON" -c 'import wandb' 2>/dev/null; then
    skip "W&B logs our metrics" "no Python with wandb"
    done_testing
fi
export WANDB_MODE=offline WANDB_SILENT=true WANDB_DIR=$PWD WANDB_CONFIG_DIR=$PWD/conf WANDB_CACHE_DIR=$PWD/cache
ok "six steps, one of them validated" wan-train -q --mock --metrics m.jsonl train.train_iters=6 train.eval_interval=4 train.eval_iters=1 \
    model.num_layers=1 model.hidden_size=32 model.num_attention_heads=2 model.ffn_hidden_size=32 model.text_dim=32 \
    model.freq_dim=32 dataset.F_latents=1 dataset.H_latents=4 dataset.W_latents=4 checkpoint.save=
sed -n '/^python3 .*import.*wandb/,/^\.Ed/p' "$TOP/man/wan-train.1" | sed '$d' >line.sh
ok "the page has the line" test -s line.sh
ok "it logs them" env PATH="$(dirname "$PYTHON"):$PATH" bash line.sh
cat >read.py <<'P'
import glob, json, struct, sys
from wandb.proto import wandb_internal_pb2 as pb

# the log of a run: LevelDB's blocks of 32 KiB behind a header of 7 bytes; a record is checksum, length, kind, bytes
data = open(glob.glob("wandb/offline-run-*/*.wandb")[0], "rb").read()
at, part, got = 7, b"", {}
while at + 7 <= len(data):
    if 32768 - at % 32768 < 7:
        at += 32768 - at % 32768
        continue
    length, kind = struct.unpack("<HB", data[at + 4:at + 7])
    part += data[at + 7:at + 7 + length]
    at += 7 + length
    if kind in (1, 4):
        r, part = pb.Record.FromString(part), b""
        if r.HasField("history"):
            items = {(i.key or ".".join(i.nested_key)): json.loads(i.value_json) for i in r.history.item}
            got[items["_step"]] = items
want = [json.loads(x) for x in open("m.jsonl")]
bad = [w["step"] for w in want for k in ("loss", "lr", "grad_norm", "val_loss")
       if k in w and got.get(w["step"], {}).get(k) != w[k]]
print(len(want), len(got), "steps differ:", bad, file=sys.stderr)
sys.exit(bool(bad) or len(want) != 6 or not any("val_loss" in w for w in want))
P
ok "each step with its numbers is in the file that wandb sync sends" "$PYTHON" read.py
ok "which wandb finds" bash -c 'unset WANDB_SILENT; "$(dirname "$0")/wandb" sync --dry-run 2>&1 | grep "Would sync 1 run"' "$PYTHON"
done_testing
