#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# 500 steps in bf16 against the same 500 steps in fp32: stage 1 of the demo (drawn clips, one frame
# each, the demo's VAE, text encoder and settings) with a smaller transformer and batch, and half the
# learning rate: at the full one, training from scratch multiplies any rounding (wan-numerics(7)).
. "$TOP/tests/lib.sh"
export OMP_NUM_THREADS=1
E=$TOP/examples/tiny

"${EXAMPLES:-$TOP/build/examples}/draw_clips" --copies 1 --frames 9 all >draw.log 2>&1
mkdir -p clips
for f in $(ls all | grep '\.mp4$' | awk 'NR % 3 == 1' | head -n 64); do mv "all/$f" "all/${f%.mp4}.json" clips/; done
ok "a dataset" sh -c "wan-decode -q --height 64 --width 64 --center-crop --mode frames --num-frames 1 clips |
    wan-encode -q --model $E | wan-shard -q -o ds && wan-index -q --split-ratio 1,0,0 ds"
for p in fp32 bf16; do
    ok "500 steps in $p" wan-train -q --device cpu --precision $p --config-file "$E/stage1.yaml" \
        --training-mode pretrain dataset.path=ds checkpoint.save= model.num_layers=2 model.hidden_size=96 \
        model.num_attention_heads=2 model.ffn_hidden_size=256 train.global_batch_size=16 \
        dataset.seq_length=256 train.train_iters=500 optimizer.lr=7e-4 optimizer.min_lr=7e-4 --metrics $p.json
done

jq -s '[.[].loss]' fp32.json >a.json
jq -s '[.[].loss]' bf16.json >b.json
jq -n --slurpfile a a.json --slurpfile b b.json 'def d(i; j): ($b[0][i:j] | add) / ($a[0][i:j] | add) - 1;
    {n: ($a[0] | length), same: ($a == $b), fall: (($a[0][450:] | add) / ($a[0][:50] | add)),
     worst: ([range(0; 451; 10) | d(.; . + 50) | fabs] | max), end: (d(400; 500) | fabs)}' >c.json
ok "both have 500 losses, and they are not the same" jq -e '.n == 500 and (.same | not)' c.json
ok "the model learns: $(jq -r '"the loss falls to \(.fall * 100 | round) %"' c.json)" jq -e '.fall < 0.6' c.json
ok "every mean of 50 steps within 1 %: $(jq -r '"\(.worst * 1e5 | round / 1000) %"' c.json)" jq -e '.worst < 0.01' c.json
ok "no drift, the last 100 steps within 0.5 %: $(jq -r '"\(.end * 1e5 | round / 1000) %"' c.json)" jq -e '.end < 0.005' c.json
done_testing
