#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Pictures, then video, with a noise level for each sample and with one for each pack: run.sh WORKDIR
# (see README.md; the tools and draw_clips are on PATH).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
tiny=$here/../tiny
work=${1:?usage: run.sh WORKDIR}
read -ra seeds <<<"${SEEDS:-1 2 3}"
steps=${STEPS:-300}
export GOMP_SPINCOUNT=${GOMP_SPINCOUNT:-1000}
say() { printf '== %s (%d s)\n' "$*" "$SECONDS"; }
rm -rf "$work"
mkdir -p "$work"

clips=${CLIPS:-$work/clips}
if [ -z "${CLIPS:-}" ]; then
    say "drawing clips"
    draw_clips "$clips"
fi
prepare() { # prepare NAME OPTIONS...: shards with a val split
    local name=$1; shift
    wan-decode -q --height 64 --width 64 --center-crop "$@" "$clips" |
        wan-encode -q --model "$tiny" | wan-shard -q --shard-maxcount "${SHARD:-40}" -o "$work/$name"
    wan-index -q --split-ratio 8,1,1 "$work/$name"
}
say "pictures"
prepare pictures --mode frames --num-frames 2
say "videos"
prepare videos --frames 9

train() { # train STAGE DATA WAY SEED KEYS...
    local stage=$1 data=$2 way=$3 seed=$4 per_pack=false; shift 4
    [ "$way" = pack ] && per_pack=true
    wan-train -q --precision bf16 --config-file "$tiny/$stage.yaml" --training-mode pretrain \
        dataset.path="$work/$data" rng.seed="$seed" train.timestep_per_pack=$per_pack flow.stratify=false \
        train.train_iters="$steps" train.global_batch_size=8 scheduler.lr_warmup_iters=$((steps / 10)) train.eval_interval="$steps" train.eval_iters=8 \
        checkpoint.save="$work/$stage.$way.$seed" --metrics "$work/$stage.$way.$seed.jsonl" "$@"
}
for seed in "${seeds[@]}"; do
    for way in sample pack; do
        say "seed $seed, a noise level for each $way"
        train stage1 pictures $way "$seed"
        train stage2 videos $way "$seed" checkpoint.pretrained_checkpoint="$work/stage1.$way.$seed"
    done
done

# stage, way, seeds, mean and spread of the val loss, mean of the jumps of the training loss
table() {
    printf 'stage\tnoise level for each\tseeds\tval loss\tspread\tjumps\n'
    for stage in stage1 stage2; do
        for way in sample pack; do
            for seed in "${seeds[@]}"; do
                jq -rs '(map(.val_loss // empty) | last) as $val | (.[length / 2 | floor:] | map(.loss)) as $l
                    | [range(1; $l | length) as $i | $l[$i] - $l[$i - 1]] | [$val, (map(. * .) | add / length / 2 | sqrt)] | @tsv' \
                    "$work/$stage.$way.$seed.jsonl"
            done | awk -v stage=$stage -v way=$way '{ n++; s += $1; q += $1 * $1; j += $2 }
                END { m = s / n; v = n > 1 ? (q - n * m * m) / (n - 1) : 0
                    printf "%s\t%s\t%d\t%.4f\t%.4f\t%.4f\n", stage, way, n, m, sqrt(v > 0 ? v : 0), j / n }'
        done
    done
}
table | tee "$work/table.tsv"
first=${seeds[0]}
wan-plot -q --smooth "$((steps < 200 ? 5 : 20))" -o "$work/loss.png" --title "loss of seed $first, smoothed" \
    --name "pictures, each sample" "pictures, each pack" "videos, each sample" "videos, each pack" -- \
    "$work"/stage1.{sample,pack}."$first".jsonl "$work"/stage2.{sample,pack}."$first".jsonl
say "done: $work/table.tsv, $work/loss.png"
