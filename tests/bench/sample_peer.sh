#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# One picture from a prompt, from the start of the process to the file: wan-sample beside diffusers' WanPipeline, the
# two in turn, ROUNDS times.  A random 1.3B, the VAE of full width, UMT5-XXL's geometry: 15 GB of MODEL, which
# stay in the page cache as far as there is room; diffusers takes 16 GB of memory.
# RT="chrt -r 1" runs all before everything else.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
B=${BUILD:-$top/build} M=${MODEL:-$B/bench/whole} steps=${STEPS:-2}
export PATH=$B/bin:$PATH OMP_NUM_THREADS=${THREADS:-2}
mkdir -p "$M"
[ -e "$M/transformer/config.json" ] || "$B/bench/make_model" wan "$M/transformer"
[ -e "$M/vae/config.json" ] || "$B/bench/make_model" vae "$M/vae" 96
[ -e "$M/text_encoder/config.json" ] || "$B/bench/make_model" umt5 "$M/text_encoder" 4096 64 10240 24 256384
[ -e "$M/tokenizer" ] || cp -r "$top/examples/tiny/tokenizer" "$M/"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
for _ in $(seq "${ROUNDS:-2}"); do
    ${RT:-} /usr/bin/time -f 'at most %M KiB' wan-sample --model "$M" --prompts "a red circle moves to the left" \
        --sizes '832*480' --frame_nums 1 --sample_steps "$steps" --base_seed 1 -o "$out/a.png" -f 2>&1 | tail -n 2
    ${RT:-} "${PYTHON:-python3}" "$top/tests/bench/sample_torch.py" "$M" "$out/b.png" "$steps" 2>/dev/null
done
