#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# 500 steps in bf16 and in fp8 against the same 500 steps in fp32: stage 1 of the demo (drawn clips, one frame
# each, the demo's VAE, text encoder and settings) with a smaller transformer, fewer clips, a smaller batch, and
# a third of the rate: at the full one, training from scratch multiplies any rounding (wan-numerics(7)).
# CURVE=demo (make check-curve): both stages as the demo trains them, the second from the same weights.
. "$TOP/tests/lib.sh"
export OMP_NUM_THREADS=1
[ -z "${CURVE:-}" ] || OMP_NUM_THREADS=${THREADS:-2}
E=$TOP/examples/tiny draw=${EXAMPLES:-$TOP/build/examples}/draw_clips

dataset() { # dataset NAME args of wan-decode...
    local ds=$1; shift
    ok "$ds" sh -c "wan-decode -q --height 64 --width 64 --center-crop $* clips | wan-encode -q --model $E |
        wan-shard -q -o $ds && wan-index -q --split-ratio 1,0,0 $ds"
}
train() { # train STAGE PRECISION args...
    local stage=$1 p=$2; shift 2
    ok "stage $stage in $p" wan-train -q --device cpu --precision "$p" --config-file "$E/stage$stage.yaml" \
        --training-mode pretrain dataset.path="ds$stage" --metrics "$p.$stage.json" "$@"
}
compare() { # compare STAGE STEPS FALL MOST: of bf16's means of 50 steps; fp8's are within 0.03
    local stage=$1 p most
    jq -s '[.[].loss]' "fp32.$stage.json" >a.json
    for p in bf16 fp8; do
        jq -s '[.[].loss]' "$p.$stage.json" >b.json
        jq -n --slurpfile a a.json --slurpfile b b.json --argjson n "$2" '
            def d(i; j): ($b[0][i:j] | add) / ($a[0][i:j] | add) - 1;
            {n: ($a[0] | length), same: ($a == $b), fall: (($a[0][$n - 50:] | add) / ($a[0][:50] | add)),
             worst: ([range(0; $n - 49; 10) | d(.; . + 50) | fabs] | max), end: (d($n - 200; $n) | fabs)}' >c.json
        ok "$p: both have $2 losses, and they are not the same" jq -e ".n == $2 and (.same | not)" c.json
        ok "the model learns: $(jq -r '"the loss falls to \(.fall * 100 | round) %"' c.json)" jq -e ".fall < $3" c.json
        most=$4; [ $p = bf16 ] || most=0.03
        ok "$p: every mean of 50 steps within $most of fp32: $(jq -r .worst c.json)" jq -e ".worst < $most" c.json
        ok "$p: the last 200 steps within 1 %: $(jq -r '"\(.end * 1e5 | round / 1000) %"' c.json)" jq -e '.end < 0.01' c.json
    done
    ok "fp8 is not bf16" sh -c "! cmp -s bf16.$stage.json fp8.$stage.json &&
        [ \"\$(jq -s '.[9].loss' bf16.$stage.json)\" != \"\$(jq -s '.[9].loss' fp8.$stage.json)\" ]"
}

if [ "${CURVE:-}" = demo ]; then
    "$draw" --held-out held-out clips >draw.log 2>&1
    dataset ds1 --mode frames --num-frames 4
    dataset ds2 --frames 9
    for p in fp32 bf16 fp8; do train 1 $p checkpoint.save=ck.$p; done
    compare 1 600 0.2 0.02
    for p in fp32 bf16 fp8; do train 2 $p checkpoint.save= checkpoint.pretrained_checkpoint=ck.fp32; done
    compare 2 2000 0.3 0.02
    done_testing
fi
"$draw" --copies 1 --frames 9 all >draw.log 2>&1
mkdir -p clips
for f in $(ls all | grep '\.mp4$' | awk 'NR % 3 == 1' | head -n 64); do mv "all/$f" "all/${f%.mp4}.json" clips/; done
dataset ds1 --mode frames --num-frames 1
for p in fp32 bf16 fp8; do
    train 1 $p checkpoint.save= model.num_layers=2 model.hidden_size=96 model.num_attention_heads=2 \
        model.ffn_hidden_size=256 train.global_batch_size=16 dataset.seq_length=256 train.train_iters=500 \
        optimizer.lr=7e-4 optimizer.min_lr=7e-4
done
compare 1 500 0.6 0.01
done_testing
