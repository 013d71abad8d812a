#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Prints the tables for tests/gpu/RESULTS.md.  BENCH: the program; BENCH_PARTS: some of
# "ops 1.3B 14B".
set -u
cd "$(dirname "$0")/../.."
# cuDNN compiles kernels with the toolkit's nvrtc; PyTorch brings its own
ours() { LD_LIBRARY_PATH=${CUDA_HOME:-/usr/local/cuda}/lib64:${LD_LIBRARY_PATH-} "$@"; }
note() { echo "# $(($SECONDS)) s: $*" >&2; }
parts=${BENCH_PARTS:-ops 1.3B 14B}
if [[ " $parts " == *" ops "* ]]; then
    note ops
    ours timeout 200 "$BENCH" ops
    rc=$?
    [ $rc -eq 3 ] && exit 0 # it said why
    [ $rc -eq 0 ] || echo "bench_gpu ops: FAILED ($rc)"
fi
head=
for size in 1.3B 14B; do
    [[ " $parts " == *" $size "* ]] || continue
    [ -n "$head" ] || printf '\n| %s | by | s | model TFLOP/s | memory | |\n%s\n' 'training step' \
        '|---|---|---:|---:|---:|---|'
    head=1
    note "$size"
    out=$(ours timeout 150 "$BENCH" step $size)
    rc=$?
    [ $rc -eq 3 ] && exit 0
    [ $rc -eq 0 ] || echo "bench_gpu step $size: FAILED ($rc)"
    echo "$out" | grep '^|'
    layers=$(echo "$out" | sed -n 's/^layers //p')
    note "$size, any order"
    WAN_BENCH_ANY_ORDER=1 ours timeout 100 "$BENCH" step $size "${layers:-2}" | grep '^|'
    note "$size, PyTorch"
    if python3 -c 'import torch; torch.cuda.init()' 2>/dev/null; then
        timeout 120 python3 tests/gpu/step_torch.py $size "${layers:-2}" ||
            echo "step_torch.py $size: FAILED"
    else
        echo "PyTorch with CUDA: SKIPPED, not here"
    fi
done
note done
