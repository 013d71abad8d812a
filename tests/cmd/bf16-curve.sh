#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# 500 steps in bf16 and in fp8 against the same 500 steps in fp32: stage 1 of the demo (drawn clips, one frame
# each, the demo's VAE, text encoder and settings) with a smaller transformer, fewer clips and a smaller batch, and
# a third of the rate: at the full one, training from scratch multiplies any rounding (wan-numerics(7)).
# CURVE=demo (make check-curve): the demo's first stage itself, all of its clips, steps and its rate.
. "$TOP/tests/lib.sh"
export OMP_NUM_THREADS=1
E=$TOP/examples/tiny

if [ "${CURVE:-}" = demo ]; then
    steps=600 frames=4 size=()
    "${EXAMPLES:-$TOP/build/examples}/draw_clips" --held-out held-out clips >draw.log 2>&1
else
    steps=500 frames=1
    size=(model.num_layers=2 model.hidden_size=96 model.num_attention_heads=2 model.ffn_hidden_size=256
        train.global_batch_size=16 dataset.seq_length=256 train.train_iters=$steps optimizer.lr=7e-4 optimizer.min_lr=7e-4)
    "${EXAMPLES:-$TOP/build/examples}/draw_clips" --copies 1 --frames 9 all >draw.log 2>&1
    mkdir -p clips
    for f in $(ls all | grep '\.mp4$' | awk 'NR % 3 == 1' | head -n 64); do mv "all/$f" "all/${f%.mp4}.json" clips/; done
fi
ok "a dataset" sh -c "wan-decode -q --height 64 --width 64 --center-crop --mode frames --num-frames $frames clips |
    wan-encode -q --model $E | wan-shard -q -o ds && wan-index -q --split-ratio 1,0,0 ds"
for p in fp32 bf16 fp8; do
    ok "$steps steps in $p" wan-train -q --device cpu --precision $p --config-file "$E/stage1.yaml" \
        --training-mode pretrain dataset.path=ds checkpoint.save= "${size[@]}" --metrics $p.json
done

for p in bf16 fp8; do
    jq -s '[.[].loss]' fp32.json >a.json
    jq -s '[.[].loss]' $p.json >b.json
    jq -n --slurpfile a a.json --slurpfile b b.json --argjson n $steps 'def d(i; j): ($b[0][i:j] | add) / ($a[0][i:j] | add) - 1;
        {n: ($a[0] | length), same: ($a == $b), fall: (($a[0][$n - 50:] | add) / ($a[0][:50] | add)),
         worst: ([range(0; $n - 49; 10) | d(.; . + 50) | fabs] | max), end: (d($n - 200; $n) | fabs)}' >c.json
    ok "$p: both have $steps losses, and they are not the same" jq -e ".n == $steps and (.same | not)" c.json
    ok "the model learns: $(jq -r '"the loss falls to \(.fall * 100 | round) %"' c.json)" jq -e '.fall < 0.6' c.json
    most=$([ $p = fp8 ] && echo 0.03 || echo 0.01)
    ok "$p: every mean of 50 steps within $most of fp32: $(jq -r .worst c.json)" jq -e ".worst < $most" c.json
    ok "$p: the last 200 steps within 1 %: $(jq -r '"\(.end * 1e5 | round / 1000) %"' c.json)" jq -e '.end < 0.01' c.json
done
ok "fp8 is not bf16" sh -c '! cmp -s bf16.json fp8.json && [ "$(jq -s ".[9].loss" bf16.json)" != "$(jq -s ".[9].loss" fp8.json)" ]'
done_testing
