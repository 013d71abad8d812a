#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Quantised weights beside stable-diffusion.cpp: one pass of 1.3B (random weights) at SIZE, one frame, 512 rows of text, both
# reading the same GGUF file, ROUNDS times in turn.  SDCPP: its source, with ggml in it; it is built under BUILD for this CPU.
# RT="chrt -r 1" runs all before everything else.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
B=${BUILD:-$top/build} M=$B/bench/picture w=${WIDTH:-832} h=${HEIGHT:-480} threads=${THREADS:-2}
export PATH=$B/bin:$PATH OMP_NUM_THREADS=$threads
peer=$B/bench/sdcpp
mkdir -p "$M" "$peer"
[ -e "$M/transformer/config.json" ] || "$B/bench/make_model" wan "$M/transformer"
[ -e "$M/vae/config.json" ] || "$B/bench/make_model" vae "$M/vae" 96
for p in tokenizer text_encoder; do ln -sfn "$top/examples/tiny/$p" "$M/$p"; done
for t in q8_0 q4_k; do [ -e "$M/$t.gguf" ] || wan-convert quantize -q --type $t "$M/transformer" "$M/$t.gguf"; done
head='{"text":{"dtype":"F32","shape":[512,4096],"data_offsets":[0,8388608]}} '
{ printf '%b' "$(printf '\\x%02x\\0\\0\\0\\0\\0\\0\\0' ${#head})$head"
  head -c 8388608 /dev/zero | tr '\0' '\74'; } >"$M/text512.safetensors"
if [ -z "${SDCPP:-}" ]; then
    echo "stable-diffusion.cpp is not beside it: SDCPP=DIR, its source, is not set" >&2
elif [ ! -e "$peer/forward" ]; then
    cmake -S "$SDCPP" -B "$peer" -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DGGML_OPENMP=ON -DGGML_LLAMAFILE=ON -DSD_WEBP=OFF \
        -DSD_WEBM=OFF -DSD_BUILD_EXAMPLES=OFF >"$peer/log"
    cmake --build "$peer" -j "$(nproc)" >>"$peer/log" 2>&1 || { tail -n 20 "$peer/log" >&2; exit 1; }
    ${CXX:-c++} -O2 -std=gnu++17 -DGGML_MAX_NAME=160 -DGGML_USE_CPU -I"$SDCPP" -I"$SDCPP"/{src,include,src/core,thirdparty,ggml/include} \
        -o "$peer/forward" "$top/tests/bench/sdcpp.cc" "$peer/libstable-diffusion.a" "$peer"/ggml/src/libggml{,-cpu,-base}.a -fopenmp -lpthread -ldl
fi
ours() { # a pass's seconds and the GB of the whole run, with WAN_CPU_INT8 as given
    WAN_CPU_INT8=$2 ${RT:-} /usr/bin/time -f 'at most %M KiB' wan-sample --model "$M" ${1:+--checkpoint_dir "$M/$1.gguf"} --text "$M/text512.safetensors" --sizes "$w*$h" \
        --frame_nums 1 --sample_steps 1 --guidance_scale 1 --vae_precision bf16 --base_seed 1 -o "$M/out.png" -f 2>&1 |
        awk '/, steps [0-9.]*, / { split($0, f, ", steps "); s = f[2] + 0 } /^at most/ { gb = $3 * 1024 / 1e9 } END { printf "%s %.2f\n", s, gb }'
}
echo "| weights | in bytes s | in bf16 s | at most GB | bf16 weights s | stable-diffusion.cpp s | with flash attention s | ratio to its best |"
echo "|---|---:|---:|---:|---:|---:|---:|---:|"
for _ in $(seq "${ROUNDS:-2}"); do
    full=$(ours '' 0)
    for t in ${TYPES:-q8_0 q4_k}; do
        bytes=$(ours $t 1) half=$(ours $t 0) plain=- flash=-
        if [ -e "$peer/forward" ]; then
            ${RT:-} "$peer/forward" "$M/$t.gguf" "$w" "$h" 1 512 "$threads" "${PASSES:-2}" >"$M/peer" 2>/dev/null
            plain=$(sed -n 's/plain \([0-9.]*\) s.*/\1/p' "$M/peer" | sort -g | head -n 1)
            flash=$(sed -n 's/flash \([0-9.]*\) s.*/\1/p' "$M/peer" | sort -g | head -n 1)
        fi
        echo "$t ${bytes% *} $half ${full% *} $plain $flash" | awk '{ r = $6 == "-" ? "-" : sprintf("%.2f", ($6 < $7 ? $6 : $7) / $2)
            printf "| %s | %s | %s | %s | %s | %s | %s | %s |\n", $1, $2, $3, $4, $5, $6, $7, r }'
    done
done
