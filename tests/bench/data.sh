#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# wan-decode beside the ffmpeg CLI, the same clips to the same size and rate with THREADS each: with the
# same filters, which give the same bytes, and with ffmpeg's own, which round less.  The three take turns,
# so that other load meets all; medians of RUNS, a ratio is the median of those of each turn.
# Then the folder as a whole, JOBS files at once (ffmpeg: on one thread each); then the start alone.
# RT="chrt -r 1" runs all before everything else on the machine.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
export PATH=${BUILD:-$top/build}/bin:$PATH
samples=${SAMPLES:-$top/../shared/samples} runs=${RUNS:-9} size=${SIZE:-416x240} threads=${THREADS:-$(nproc)}
jobs=${JOBS:-$(nproc)} w=${size%x*} h=${size#*x}
same="fps=16,scale=$w:$h:flags=bilinear+accurate_rnd+full_chroma_int+bitexact,format=gbrp,format=rgb24"
fast="fps=16,scale=$w:$h:flags=bilinear,format=rgb24"
out=$(mktemp -d); trap 'rm -rf "$out"' EXIT

ls "$samples"/*.mp4 >/dev/null 2>&1 || { echo "no clips in $samples (SAMPLES=dir)"; exit 1; }
command -v ffmpeg >/dev/null || { echo "no ffmpeg here to compare with"; exit 1; }

once() { # once NAME command...: a line "wall cpu MiB" more in NAME's figures
    local name=$1 from=${EPOCHREALTIME/./}; shift
    ${RT:-} /usr/bin/time -o "$out/used" -f "%U %S %M" "$@" </dev/null >/dev/null 2>&1
    echo "$((${EPOCHREALTIME/./} - from)) $(tail -n 1 "$out/used")" | awk '{ print $1 / 1e6, $2 + $3, $4 / 1024 }' >>"$out/$name"
}
median() { # median NAME COLUMN
    awk -v c="$2" '{ print $c }' "$out/$1" | sort -g | sed -n "$(((runs + 1) / 2))p"
}
ratio() { # ratio NAME: of its wall clock to ours
    paste -d ' ' "$out/ours" "$out/$1" | awk '{ print $4 / $1 }' | sort -g | sed -n "$(((runs + 1) / 2))p"
}
ff() { # ff THREADS FILTERS CLIP
    ffmpeg -nostdin -y -v error -threads "$1" -filter_threads "$1" -i "$3" -an -vf "$2" -f rawvideo /dev/null
}
export -f ff
ours() { echo wan-decode -q -j "$1" --threads "$2" --height "$h" --width "$w" --no-aspect-ratio -o /dev/null; }
echo "$threads threads, $w x $h, load $(cut -d' ' -f1-3 /proc/loadavg), $(ffmpeg -version | head -1 | cut -d' ' -f1-3)"
echo
echo "| clip | wan-decode s | ffmpeg, same filters s | ratio | ffmpeg, its own s | ratio | CPU s | ffmpeg's | MiB |"
echo "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
for clip in "$samples"/*.mp4; do
    rm -f "$out"/*
    for _ in $(seq "$runs"); do
        once ours $(ours 1 "$threads") "$clip"
        once same bash -c 'ff "$@"' - "$threads" "$same" "$clip"
        once fast bash -c 'ff "$@"' - "$threads" "$fast" "$clip"
    done
    name=${clip##*/}
    echo "${name%.mp4} $(median ours 1) $(median same 1) $(ratio same) $(median fast 1) $(ratio fast) $(median ours 2) \
$(median same 2) $(median ours 3)" |
        awk '{ printf "| %s | %.3f | %.3f | %.2f | %.3f | %.2f | %.2f | %.2f | %d |\n", $1, $2, $3, $4, $5, $6, $7, $8, $9 }'
done
rm -f "$out"/*
for _ in $(seq "$runs"); do
    once ours $(ours "$jobs" 0) "$samples"
    once same bash -c 'printf "%s\0" "$4"/*.mp4 | xargs -0 -P "$1" -I{} bash -c '\''ff "$@"'\'' - 1 "$3" {}' - "$jobs" x "$same" "$samples"
    once start wan-decode --version
    once theirs ffmpeg -version
done
echo
echo "all of them, $jobs at once: wan-decode -j $jobs $(median ours 1) s, ffmpeg under xargs -P $jobs $(median same 1) s, ratio $(ratio same)"
echo "to start: wan-decode --version $(median start 1) s ($(median start 2) of CPU), ffmpeg -version $(median theirs 1) s"
