#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Time and resident memory of wan-encode: the full-width VAE at 480x832 and UMT5-XXL's geometry, both
# with random weights.  LAYERS=2 makes the text encoder (and its 11 GB file) smaller.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
B=${BUILD:-$top/build} M=$B/bench/model
export PATH=$B/bin:$PATH OMP_WAIT_POLICY=passive
clip=${CLIP:-$top/../shared/samples/press_candy.mp4}
mkdir -p "$M"
[ -e "$M/vae/config.json" ] || "$B/bench/make_model" vae "$M/vae" 96
[ -e "$M/text_encoder/config.json" ] ||
    "$B/bench/make_model" umt5 "$M/text_encoder" 4096 64 10240 "${LAYERS:-24}" 256384
[ -e "$M/tokenizer" ] || cp -r "$top/examples/tiny/tokenizer" "$M/"
# Frames and captions apart, so that each figure is of one part: the tiny text encoder costs nothing.
mkdir -p "$B/bench/vae_only"
for p in tokenizer text_encoder; do ln -sfn "$top/examples/tiny/$p" "$B/bench/vae_only/$p"; done
ln -sfn "$M/vae" "$B/bench/vae_only/vae"

measure() { # measure NAME command...: one line of the table
    local name=$1; shift
    /usr/bin/time -f "%e %U %S %M" -o "$B/bench/time" "$@"
    read -r wall user sys kib < "$B/bench/time"
    printf '| %s | %s | %s | %d MiB |\n' "$name" "$wall" "$(echo "$user + $sys" | bc)" $((kib / 1024))
}
echo '| what | wall s | CPU s | resident |'
echo '|---|---:|---:|---:|'
for T in ${FRAMES:-5 17 81}; do
    wan-decode -q --height 480 --width 832 --frames "$T" -o "$B/bench/f.wan" "$clip"
    for p in bf16 fp32; do
        measure "encode $T frames 480x832, $p" wan-encode -q --device cpu --precision $p \
            --model "$B/bench/vae_only" -o "$B/bench/l.wan" "$B/bench/f.wan"
        measure "decode $T frames 480x832, $p" wan-encode -q -d --device cpu --precision $p \
            --model "$B/bench/vae_only" -o "$B/bench/d.wan" "$B/bench/l.wan"
    done
done
prompts=()
for i in $(seq 32); do prompts+=("clip $i: a red circle moves to the left on a black background"); done
for p in bf16 fp32; do
    measure "UMT5-XXL, ${LAYERS:-24} layers, 32 captions, $p" wan-encode -q --device cpu \
        --precision $p --model "$M" -o "$B/bench/t.wan" --prompt "${prompts[@]}"
done
