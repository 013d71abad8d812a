#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The whole path on one machine: clips -> frames -> latents and text rows -> shards -> two stages of
# training -> sampled videos.  `make demo` builds the tools and runs this.
#
#     demo.sh WORKDIR        CLIPS=dir: your own folder of mp4+json instead of the drawn clips
#                            MODEL=dit: the DiT with EDM instead of the WAN transformer
#                            SEED=N: of the training (1234)
#                            SHORT=1: fewer steps (the path is whole, the result is not judged)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=${1:?usage: demo.sh WORKDIR}
clips=${CLIPS:-} short=${SHORT:-} model=${MODEL:-wan} seed=${SEED:-1234}
case $model in
wan) stages=(stage1 stage2) mode=(--training-mode pretrain) pass=7
     how=(--sample_steps 20 --sample_shift 3 --sample_guide_scale 2.5) ;;
dit) stages=(dit1 dit2) mode=() pass=6 how=(--sample_steps 18 --sample_guide_scale 2.5) ;;
*) echo "MODEL=$model: wan or dit"; exit 1 ;;
esac
rm -rf "$work"
mkdir -p "$work"
# threads that spin while they wait would fight over the cores with the other stages of a pipe
export GOMP_SPINCOUNT=${GOMP_SPINCOUNT:-1000}
say() { printf '== %s (%d s)\n' "$*" "$SECONDS"; }

own=
if [ -n "$clips" ]; then
    own=1
    prompts=$work/prompts.txt
    [ -d "$clips" ] || { echo "CLIPS=$clips: no such folder"; exit 1; }
    find "$clips" -name '*.json' | sort | tr '\n' '\0' | xargs -0 -r jq -r '.caption // empty' |
        awk '!seen[$0]++ && n++ < 8' >"$prompts"
    [ -s "$prompts" ] || { echo "CLIPS=$clips: no .json with a \"caption\" beside the videos"; exit 1; }
else
    clips=$work/clips prompts=$here/prompts.txt
    say "drawing clips"
    draw_clips --held-out "$work/held-out" "$clips"
fi
size=(--height 64 --width 64 --center-crop)
say "frames to one-frame samples (stage 1)"
wan-decode "${size[@]}" --mode frames --num-frames 4 "$clips" |
    wan-encode --model "$here" | wan-shard -o "$work/ds1"
wan-index --split-ratio 1,0,0 "$work/ds1"
say "clips to video samples (stage 2)"
wan-decode "${size[@]}" --frames 9 "$clips" |
    wan-encode --model "$here" | wan-shard -o "$work/ds2"
wan-index --split-ratio 1,0,0 "$work/ds2"

for d in ds1 ds2; do # for a WAN, what a dropped caption becomes, so that guidance has its other side
    wan-encode -q --model "$here" --prompt "" | wan-record -q to-safetensors -o "$work/$d/empty_text.safetensors"
done

iters() { [ -z "$short" ] || echo "train.train_iters=$1 logger.log_interval=50"; }
say "stage 1: text to image"
wan-train --precision bf16 --config-file "$here/${stages[0]}.yaml" "${mode[@]}" --metrics "$work/stage1.jsonl" \
    dataset.path="$work/ds1" checkpoint.save="$work/ck1" rng.seed="$seed" $(iters 150)
say "stage 2: text to video"
wan-train --precision bf16 --config-file "$here/${stages[1]}.yaml" "${mode[@]}" --metrics "$work/stage2.jsonl" \
    dataset.path="$work/ds2" checkpoint.save="$work/ck2" \
    checkpoint.pretrained_checkpoint="$work/ck1" rng.seed="$seed" $(iters 250)

say "sampling"
mapfile -t captions <"$prompts"
wan-sample --model "$here" --checkpoint_dir "$work/ck2" --prompts "${captions[@]}" --sizes 64*64 \
    --frame_nums 9 "${how[@]}" --base_seed 1 \
    --save_file "$work/sample.mp4"
wan-plot -q --log -o "$work/loss.png" --name "stage 1" "stage 2" -- "$work/stage1.jsonl" "$work/stage2.jsonl"
sheet "$work/sheet.png" "$clips" "$work"/sample_*.mp4 >"$work/nearest.txt"

say "done"
i=0 judged=()
for v in "$work"/sample_*.mp4; do
    echo "video   $v   \"${captions[i]}\""
    judged+=(--caption "${captions[i]}" "$v")
    i=$((i + 1))
done
echo "sheet   $work/sheet.png   (nearest training clip above each sample)"
echo "losses  $work/loss.png   (both stages, mean of 50 steps)"
[ -z "$own" ] || exit 0
score "${judged[@]}" | tee "$work/score.txt" || true
[ -n "$short" ] || [ "$(grep -c '^PASS' "$work/score.txt")" -ge "$pass" ] ||
    { echo "fewer than $pass of $i held-out captions came out as told"; exit 1; }
