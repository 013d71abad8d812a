#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What the benchmarks said last (BUILD/bench/said), each figure beside its bound and beside what a peer took in the same run;
# and how long the tools take to start, measured here.  Nothing fails by a figure: whether one holds depends on the machine.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
B=${BUILD:-$top/build} said=$B/bench/said
row() { # WHAT BOUND FIGURE PEER HOLDS
    printf '| %s | %s | %s | %s | %s |\n' "$1" "$2" "$3" "$4" "$5"
}
missing() { row "$1" "$2" "-" "make $3 says it" "?"; }
echo "| what | bound | figure | peer | holds |"
echo "|---|---|---:|---|---|"

# ---- the step: of the peak that this run measured, PyTorch's seconds beside it; the rows of its table
touch "$said/torch"
[ ! -s "$said/step" ] || awk -v torch="$said/torch" '
    function holds(x) { return x ? "yes" : "no" }
    function reaches(x, bound) { return x > 105 ? "above its peak: measured while something else ran" : holds(x >= bound) }
    function row(what, bound, figure, peer, ok) { printf "| %s | %s | %s | %s | %s |\n", what, bound, figure, peer, ok }
    BEGIN {
        FS = "|"
        while ((getline line < torch) > 0)
            if (split(line, f, "|") > 7 && f[3] ~ /bf16|fp32/) peer[f[2] f[3]] = f[6]
    }
    /^peak:/ { split($0, w, /[ ,]+/); peak["fp32"] = w[3]; peak["bf16"] = w[6] }
    $3 ~ /bf16|fp32/ && NF > 7 {
        t = $3; gsub(/ /, "", t)
        small = $2 !~ /D 1536/; name = $2; sub(/^ */, "", name); sub(/,.*/, "", name)
        if ($2 ~ / 48 tokens/) { name = ""; next }
        part = 100 * $7 / peak[t]; bound = small ? 70 : 87; p = peer[$2 $3]
        row("step, " name ", " t, ">= " bound " % of peak", sprintf("%.0f %% (%.4f s)", part, $6),
            p ? sprintf("PyTorch %.4f s, ratio %.2f", p, p / $6) : "-", reaches(part, bound))
        low = ""; worst = 1000; elements = 0
        next
    }
    name != "" && / % \|/ && $2 !~ /^ sum / {
        of = $8 + 0; op = $2; gsub(/^ | $/, "", op)
        if (op ~ /^attention/ && !small) row("... " op, ">= 82 % of peak", of " %", "-", reaches(of, 82))
        else if (op !~ /^(linear|attention)/ && $6 + 0 > 0.05) {
            elements++
            if (of < 80) low = low (low ? ", " : "") op " " of
        }
    }
    name != "" && $2 ~ /^ sum / {
        row("... ops that are no product", ">= 80 % of triad", elements - split(low, f, ",") " of " elements (low ? " (" low ")" : ""),
            "-", holds(low == ""))
        row("... sum of the ops", ">= 95 % of the step", $10, "-", holds($10 + 0 >= 95))
    }' "$said/step"
[ -s "$said/step" ] || missing "step" ">= 87 and 70 % of peak" bench

# ---- more threads than there are: what the slowest of 64 loses
if [ -s "$said/lanes" ]; then
    awk -F'|' 'NF > 6 && $6 ~ /[0-9]: / { split($6, f, ":"); gsub(/^ | $/, "", $2)
            name = $2 ~ /^\.\.\./ ? whole " " $2 : $2; whole = $2 ~ /^\.\.\./ ? whole : $2
            if (!least || f[1] + 0 < least) { least = f[1] + 0; at = name }
            if (f[2] + 0 > w) { w = f[2] + 0; worst = name } }
        END { printf "| 64 threads: pieces of a region, at least | 64 | %d (%s) | - | %s |\n", least, at, (least >= 64 ? "yes" : "no")
            printf "| ... the slowest thread over the mean, at most | - | %.2f (%s) | - | - |\n", w, worst }' "$said/lanes"
else missing "64 threads: pieces of a region, at least" 64 bench; fi

# ---- a picture from its prompt
if [ -s "$said/sample-peer" ]; then
    awk 'function holds(x) { return x ? "yes" : "no" }
        /^wan-sample: / { ours = $2; split($0, f, "weights "); load = f[2] + 0 }
        /^at most .* KiB/ { mib = $3 / 1024 }
        /^diffusers: / { n++; r = $2 / ours; split($0, f, "at most "); theirs = f[2] + 0
            printf "| a picture of 832x480, round %d | >= 2 times diffusers | %s s | %s s, ratio %.2f | %s |\n", n, ours, $2, r, holds(r >= 2)
            printf "| ... its memory | <= 0.6 of diffusers, 4 GB with UMT5 | %.0f MiB | %.0f MiB, ratio %.2f | %s |\n", mib, theirs, mib / theirs, holds(mib <= 0.6 * theirs && mib <= 4e9 / 1048576)
            printf "| ... weights of 1.3B | <= 3 s at a second start | %s s | - | %s |\n", load, holds(load <= 3 || n == 1) }' "$said/sample-peer"
else missing "a picture from its prompt" ">= 2 times diffusers" bench-sample-peer; fi
if [ -s "$said/quant" ]; then
    awk -F'|' '/^\| q/ { gsub(/ /, ""); f = $7 != "-" && $7 + 0 < $8 + 0 ? $7 : $8; most = $2 == "q8_0" ? 2 : 1.2
        printf "| a pass with %s | >= 1.2 times stable-diffusion.cpp | %s s | %s s, ratio %s | %s |\n", $2, $3, f, $9, ($9 == "-" ? "?" : $9 >= 1.2 ? "yes" : "no")
        printf "| ... beside weights in bf16 | not slower | %s s | %s s, ratio %.2f | %s |\n", $3, $6, $6 / $3, ($3 + 0 <= $6 + 0 ? "yes" : "no")
        printf "| ... memory of 1.3B | <= %s GB | %s GB | - | %s |\n", most, $5, ($5 + 0 <= most ? "yes" : "no") }' "$said/quant"
else missing "a pass with q8_0, q4_k" ">= 1.2 times stable-diffusion.cpp" "bench-quant SDCPP=DIR"; fi

# ---- builds for other CPUs
if [ -s "$said/isa" ]; then
    awk -F'|' '$6 + 0 > 0 { gsub(/^ | $/, "", $2); gsub(/^ | $/, "", $4); sub(/,.*/, "", $4); gsub(/ /, "", $7)
        printf "| a step with %s, %s, fp32 | not slower than PyTorch held likewise | %s s | %s s, ratio %s | %s |\n",
            $2 == "avx2" ? "AVX2" : "SSE2", $4, $5 + 0, $6 + 0, $7, ($7 >= 1 ? "yes" : "no") }' "$said/isa"
else missing "steps with AVX2 and with SSE2" "not slower than PyTorch held likewise" "bench-isa PYTHON=.../python"; fi

# ---- to start
for tool in "$B"/bin/wan-*; do
    for _ in $(seq 60); do
        a=${EPOCHREALTIME/./}; "$tool" --help >/dev/null; echo $((${EPOCHREALTIME/./} - a))
    done | sort -n | awk -v t="${tool##*/} --help" '{ v[NR] = $1 / 1000 } END { m = v[int((NR + 1) / 2)]
        printf "| %s, median of %d | <= 30 ms | %.1f ms (least %.1f) | - | %s |\n", t, NR, m, v[1], (m <= 30 ? "yes" : "no") }'
done
