#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# 500 steps in bf16 and in fp8 against the same 500 steps in fp32: stage 1 of the demo (drawn clips, one frame
# each, the demo's VAE, text encoder and settings) with a smaller transformer and batch, and half the
# learning rate: at the full one, training from scratch multiplies any rounding (wan-numerics(7)).
# CURVE=demo: the transformer, batch and packs of the demo (make check-curve).
. "$TOP/tests/lib.sh"
export OMP_NUM_THREADS=1
E=$TOP/examples/tiny

"${EXAMPLES:-$TOP/build/examples}/draw_clips" --copies 1 --frames 9 all >draw.log 2>&1
mkdir -p clips
for f in $(ls all | grep '\.mp4$' | awk 'NR % 3 == 1' | head -n 64); do mv "all/$f" "all/${f%.mp4}.json" clips/; done
ok "a dataset" sh -c "wan-decode -q --height 64 --width 64 --center-crop --mode frames --num-frames 1 clips |
    wan-encode -q --model $E | wan-shard -q -o ds && wan-index -q --split-ratio 1,0,0 ds"
if [ "${CURVE:-}" = demo ]; then size=(); else
    size=(model.num_layers=2 model.hidden_size=96 model.num_attention_heads=2 model.ffn_hidden_size=256
        train.global_batch_size=16 dataset.seq_length=256)
fi
for p in fp32 bf16 fp8; do
    ok "500 steps in $p" wan-train -q --device cpu --precision $p --config-file "$E/stage1.yaml" \
        --training-mode pretrain dataset.path=ds checkpoint.save= "${size[@]}" \
        train.train_iters=500 optimizer.lr=7e-4 optimizer.min_lr=7e-4 --metrics $p.json
done

for p in bf16 fp8; do
    jq -s '[.[].loss]' fp32.json >a.json
    jq -s '[.[].loss]' $p.json >b.json
    jq -n --slurpfile a a.json --slurpfile b b.json 'def d(i; j): ($b[0][i:j] | add) / ($a[0][i:j] | add) - 1;
        {n: ($a[0] | length), same: ($a == $b), fall: (($a[0][450:] | add) / ($a[0][:50] | add)),
         worst: ([range(0; 451; 10) | d(.; . + 50) | fabs] | max), end: (d(300; 500) | fabs)}' >c.json
    ok "$p: both have 500 losses, and they are not the same" jq -e '.n == 500 and (.same | not)' c.json
    ok "the model learns: $(jq -r '"the loss falls to \(.fall * 100 | round) %"' c.json)" jq -e '.fall < 0.6' c.json
    most=$([ $p = fp8 ] && echo 0.03 || echo 0.01)
    ok "$p: every mean of 50 steps within $most of fp32: $(jq -r .worst c.json)" jq -e ".worst < $most" c.json
    ok "$p: the last 200 steps within 1 %: $(jq -r '"\(.end * 1e5 | round / 1000) %"' c.json)" jq -e '.end < 0.01' c.json
done
ok "fp8 is not bf16" sh -c '! cmp -s bf16.json fp8.json && [ "$(jq -s ".[9].loss" bf16.json)" != "$(jq -s ".[9].loss" fp8.json)" ]'
done_testing
