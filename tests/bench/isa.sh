#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Training steps in fp32 of builds for other CPUs (BUILD/isa/ARCH), each held to what such a CPU has, beside PyTorch held
# likewise, ROUNDS times in turn.  RT="chrt -r 1" runs all before everything else; MODELS: which of bench_step's (0 takes minutes).
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
B=${BUILD:-$top/build}
export WAN_CPU_ISA=portable
ours() { # VECTORS ARCH MODEL: seconds
    WAN_CPU_VECTORS=$1 ${RT:-} "$B/isa/$2/bench/step" fp32 "$3" | awk -F'|' '$3 ~ /fp32/ && NF > 7 { print $2 "|" $6 + 0; exit }'
}
# MKL heeds MKL_ENABLE_INSTRUCTIONS on Intel's CPUs alone; its compatible branch is SSE2 everywhere
peer() { # VECTORS MODEL: seconds
    local hold=(ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2)
    [ "$1" = avx2 ] || hold=(ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_ENABLE_INSTRUCTIONS=SSE4_2 MKL_CBWR=COMPATIBLE)
    env "${hold[@]}" ${RT:-} "${PYTHON:-python3}" "$top/tests/bench/step_torch.py" fp32 "$2" | awk -F'|' '$3 ~ /fp32/ && NF > 7 { print $6 + 0; exit }'
}
torch=1
"${PYTHON:-python3}" -c 'import torch' 2>/dev/null || { torch=; echo "PyTorch is not beside it: PYTHON=.../python" >&2; }
echo "| vectors | build | model | s/step | PyTorch s | ratio |"
echo "|---|---|---|---:|---:|---:|"
for _ in $(seq "${ROUNDS:-1}"); do
    for model in ${MODELS:-1}; do
        for way in "avx2 x86-64-v3" "plain x86-64"; do
            set -- $way
            us=$(ours "$1" "$2" "$model") them=-
            [ -z "$torch" ] || them=$(peer "$1" "$model")
            echo "$us" | awk -F'|' -v w="$1" -v a="$2" -v p="$them" '{ gsub(/^ | $/, "", $1)
                printf "| %s | %s | %s | %s | %s | %s |\n", w, a, $1, $2, p, p == "-" ? "-" : sprintf("%.2f", p / $2) }'
        done
    done
done
