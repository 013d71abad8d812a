#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Where the time of a picture goes: a random 1.3B with the VAE of full width, text rows given, one frame of SIZE, for
# each number of solver steps, with guidance (two passes a step) and without.  Ranks and threads as the caller sets them.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
B=${BUILD:-$top/build} M=$B/bench/picture size=${SIZE:-832*480}
export PATH=$B/bin:$PATH OMP_NUM_THREADS=${THREADS:-2}
mkdir -p "$M"
[ -e "$M/transformer/config.json" ] || "$B/bench/make_model" wan "$M/transformer"
[ -e "$M/vae/config.json" ] || "$B/bench/make_model" vae "$M/vae" 96
for p in tokenizer text_encoder; do ln -sfn "$top/examples/tiny/$p" "$M/$p"; done
# rows of text as wide as UMT5-XXL's, of equal numbers, for the prompt and for the empty one
row='{"dtype":"F32","shape":[64,4096],"data_offsets":'
head="{\"negative\":$row[0,1048576]},\"text\":$row[1048576,2097152]}}"
{ printf '%b' "$(printf '\\x%02x\\0\\0\\0\\0\\0\\0\\0' ${#head})$head"
  head -c 2097152 /dev/zero | tr '\0' '\74'; } >"$M/text.safetensors"
echo "| steps | guidance | VAE | loading s | steps s | VAE and file s | of the run |"
echo "|---:|---|---|---:|---:|---:|---:|"
for steps in ${STEPS:-1 4}; do
    for scale in ${SCALES:-1 5}; do
        for p in ${PRECISIONS:-fp32 bf16}; do
            ${RT:-} wan-sample --model "$M" --text "$M/text.safetensors" --sizes "$size" --frame_nums 1 --sample_steps "$steps" \
                --guidance_scale "$scale" --vae_precision "$p" --base_seed 1 -o "$M/out.png" -f 2>"$M/log" || { cat "$M/log" >&2; exit 1; }
            sed -n 's/.*: \([0-9.]*\) s: text [0-9.]*, weights \([0-9.]*\), steps \([0-9.]*\), VAE and files \([0-9.]*\).*/\1 \2 \3 \4/p' "$M/log" |
                awk -v s="$steps" -v g="$scale" -v p="$p" '{ printf "| %s | %s | %s | %s | %s | %s | %.0f %% |\n", \
                    s, (g > 1 ? "yes" : "no"), p, $2, $3, $4, 100 * $4 / $1 }'
        done
    done
done
