#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# wan-train --offload: moments, masters and kept activations wait in host memory, and nothing else is different: the
# same losses, norms and checkpoints, byte for byte, and either resumes the other's run.  What --plan says of it.
. "$TOP/tests/lib.sh"
T="model.num_layers=6 model.hidden_size=48 model.num_attention_heads=3 model.ffn_hidden_size=64 model.text_dim=32
model.text_len=8 model.freq_dim=32 dataset.F_latents=2 dataset.H_latents=4 dataset.W_latents=4
dataset.context_seq_len=4 dataset.mock_vary=true dataset.mock_samples=8 dataset.seq_length=16
train.global_batch_size=4 train.train_iters=3 scheduler.lr_warmup_iters=1 checkpoint.async_save=false"
D="model.type=dit model.num_layers=6 model.hidden_size=48 model.num_attention_heads=3 model.text_dim=32
model.text_len=8 dataset.F_latents=2 dataset.H_latents=4 dataset.W_latents=4 dataset.context_seq_len=4
dataset.mock_samples=8 dataset.seq_length=16 train.global_batch_size=4 train.train_iters=3 scheduler.lr_warmup_iters=1"
run() { wan-train -q --mock --device cpu "$@"; } # run args...
again() { "$@"; [ $? = 75 ]; }
told() { jq -c '[.step, .loss, .grad_norm]' "$1"; }
files() { (cd "$1" && find iter_* -name '*.safetensors' | sort | xargs sha256sum); }
like() { # like NAME CHECK args...: with --offload as without, and CHECK of the plan's lines
    rm -rf near far
    ok "$1, on the device" run ${@:3} checkpoint.save=near --metrics near.json
    ok "$1, --offload" run ${@:3} checkpoint.save=far --metrics far.json --offload
    ok "  the same losses and norms" cmp <(told near.json) <(told far.json)
    ok "  the same $(files near | wc -l) files" cmp <(files near) <(files far)
    run ${@:3} --plan >near.txt && run ${@:3} --plan --offload >far.txt
    ok "  the plan: $(sed -n 's/^ *offloaded *//p' far.txt)" eval "$2"
}
of() { awk -v k="$1" '$1 == k { print $2; exit }' "$2"; }
less() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a < b) }'; }
# what lies in host memory is what the device has no more of, but for rooms of 48 MiB and the rests of the masters
moved='awk -v a=$(of activations near.txt) -v b=$(of activations far.txt) "BEGIN { exit !(b <= a) }" && [ "$(of optimizer far.txt)" = 0.0 ]'
like "bf16" "$moved" $T --precision bf16
like "fp32, whose masters stay" "$moved" $T --precision fp32
like "selective recompute, an average of weights, no decay of norms" "$moved" $T --precision bf16 optimizer.ema_decay=0.9 \
    optimizer.no_decay_1d=true model.recompute_granularity=selective train.eval_interval=2 train.eval_iters=1
like "full recompute in the first four blocks" "$moved" $T --precision bf16 model.recompute_granularity=full \
    model.recompute_method=block model.recompute_num_layers=4
like "the DiT" "$moved" $D --precision bf16

# the keys apart, and a run that goes on the other way
cp near.json first.json
rm -rf half
ok "two steps with moments in host memory" again run $T checkpoint.save=half optimizer.optimizer_cpu_offload=true \
    train.exit_interval=2 --metrics half.json
ok "the third without" run $T checkpoint.save=half train.exit_interval=0 --metrics half.json
rm -rf whole
ok "all on the device" run $T checkpoint.save=whole --metrics whole.json
ok "  the same losses" cmp <(told whole.json) <(told half.json)
ok "  the same files of step 3" cmp <(files whole | grep 0000003) <(files half | grep 0000003)
ok "activations of the first five blocks alone" run $T checkpoint.save= model.cpu_offloading=true \
    model.cpu_offloading_num_layers=5 --metrics five.json
ok "  the same losses" cmp <(told whole.json) <(told five.json)
fails 2 'optimizer_cpu_offload takes all' "a part of the moments is refused" \
    run $T checkpoint.save= optimizer.optimizer_offload_fraction=0.5

# 1.3B at 81 frames of 480x832 on a card of 24 GB
W="model.size=1.3B dataset.F_latents=21 dataset.H_latents=60 dataset.W_latents=104 train.global_batch_size=1
model.recompute_granularity=full checkpoint.save="
card() { wan-train --plan --mock --device cuda --memory 23000000000 $W "$@"; }
ok "1.3B: $(of total <(card --offload 2>/dev/null)) MiB of a rank with --offload" eval 'card --offload >card.txt 2>&1'
ok "  less than 24 GB with a GB for the libraries' own code" less "$(of total card.txt)" $((23000000000 / 1048576))
fails 1 'needs' "without it it does not fit" card
done_testing
