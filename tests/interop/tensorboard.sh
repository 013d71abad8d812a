# SPDX-License-Identifier: Apache-2.0
# TensorBoard reads the event files of a run that was resumed: the curves are those of the metrics.
. "$TOP/tests/lib.sh"
PYTHON=${PYTHON:-python3}
if ! "$PYTHON" -c 'import tensorboard' 2>/dev/null; then
    skip "TensorBoard reads our event files" "no Python with tensorboard"
    done_testing
fi
T="model.num_layers=1 model.hidden_size=32 model.num_attention_heads=2 model.ffn_hidden_size=32 model.text_dim=32
model.freq_dim=32 dataset.F_latents=1 dataset.H_latents=4 dataset.W_latents=4 train.global_batch_size=2"
train() { wan-train -q --mock $T checkpoint.save=run logger.tensorboard_dir=tb --metrics m.jsonl "$@"; }
ok "eight steps, the last checkpoint after the sixth" train train.train_iters=8 checkpoint.save_interval=6
rm -r run/iter_0000008 && echo 6 >run/latest_checkpointed_iteration.txt
sleep 1.1 # another second, another name
ok "four more from there" train train.train_iters=10
cat >read.py <<'E'
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
a = EventAccumulator("tb")
a.Reload()
lines = [json.loads(x) for x in open("m.jsonl")]
bad = 0
for tag, key in (("train/loss", "loss"), ("train/lr", "lr"), ("train/grad_norm", "grad_norm")):
    want = [(x["step"], x[key]) for x in lines]
    got = [(e.step, e.value) for e in a.Scalars(tag)]
    if [s for s, _ in got] != [s for s, _ in want] or any(
            abs(g - w) > 1e-6 * abs(w) for (_, g), (_, w) in zip(got, want)):
        print(tag, got, want, file=sys.stderr)
        bad = 1
sys.exit(bad)
E
ok "TensorBoard has the curves of the metrics, each step once" "$PYTHON" read.py
done_testing
