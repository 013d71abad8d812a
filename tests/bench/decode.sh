#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# wan-decode beside the ffmpeg CLI: the same clips to the same size and rate.  The two take turns, so
# that other load meets both; medians of RUNS.  RT="chrt -r 1" runs them before everything else.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
export PATH=${BUILD:-$top/build}/bin:$PATH
samples=${SAMPLES:-$top/../shared/samples} runs=${RUNS:-9} size=${SIZE:-416x240}
w=${size%x*} h=${size#*x}
out=$(mktemp -d); trap 'rm -rf "$out"' EXIT

ls "$samples"/*.mp4 >/dev/null 2>&1 || { echo "no clips in $samples (SAMPLES=dir)"; exit 1; }
command -v ffmpeg >/dev/null || { echo "no ffmpeg here to compare with"; exit 1; }

once() { # once NAME command...: a line "wall cpu kib" more in NAME's figures
    local name=$1; shift
    ${RT:-} /usr/bin/time -a -o "$out/$name" -f "%e %U %S %M" "$@" </dev/null >/dev/null 2>&1
}
median() { # median NAME EXPRESSION
    awk "{ print $2 }" "$out/$1" | sort -n | sed -n "$(((runs + 1) / 2))p"
}
echo "| clip | wan-decode wall s | ffmpeg wall s | ratio | wan-decode CPU s | ffmpeg CPU s | ratio | resident MiB |"
echo "|---|---:|---:|---:|---:|---:|---:|---:|"
for clip in "$samples"/*.mp4; do
    rm -f "$out"/*
    for _ in $(seq "$runs"); do
        once ours wan-decode -q --height "$h" --width "$w" --no-aspect-ratio -o /dev/null "$clip"
        once ffmpeg ffmpeg -y -v error -i "$clip" -an -vf "fps=16,scale=$w:$h:flags=bilinear" \
            -pix_fmt rgb24 -f rawvideo /dev/null
    done
    name=${clip##*/}
    echo "${name%.mp4} $(median ours '$1') $(median ffmpeg '$1') $(median ours '$2 + $3') \
$(median ffmpeg '$2 + $3') $(median ours '$4')" |
        awk '{ printf "| %s | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f | %d |\n", $1, $2, $3, $3 / $2,
               $4, $5, $5 / $4, $6 / 1024 }'
done
