#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Prints the tables for tests/gpu/RESULTS.md, each row as it is measured.  BENCH: the program;
# BENCH_PARTS: some of "ops 14B 1.3B"; PYTHON: one with torch; SECONDS_MAX: starts nothing that
# would end after it, and says what was left out.
set -u
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
most=${SECONDS_MAX:-560}
late= rows=$(mktemp)
trap 'rm -f "$rows"' EXIT
note() { echo "# $SECONDS s: $*" >&2; }
# what, seconds, command...: its table rows as they come, all of its output also in $rows; 3: no device
timed() {
    local what=$1 limit=$2 left=$((most - SECONDS)) rc
    shift 2
    [ $left -ge 30 ] || { late="$late; $what"; return 0; }
    note "$what"
    timeout $((left < limit ? left : limit)) "$@" | tee "$rows" | grep --line-buffered '^|'
    rc=${PIPESTATUS[0]}
    [ $rc -eq 3 ] && exit 0 # it said why
    [ $rc -eq 0 ] || echo "$what: FAILED ($rc)"
}
# cuDNN compiles kernels with the toolkit's nvrtc; PyTorch brings its own
ours() { timed "$1" $2 env LD_LIBRARY_PATH="${CUDA_HOME:-/usr/local/cuda}/lib64:${LD_LIBRARY_PATH-}" "${@:3}"; }

parts=${BENCH_PARTS:-ops 14B 1.3B}
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null
[[ " $parts " == *" ops "* ]] && ours ops 150 "$BENCH" ops
head=
for size in 14B 1.3B; do
    [[ " $parts " == *" $size "* ]] || continue
    [ -n "$head" ] || printf '\n| %s | by | s | model TFLOP/s | memory | |\n%s\n' 'training step' \
        '|---|---|---:|---:|---:|---|'
    head=1
    : >"$rows"
    ours "$size" 150 "$BENCH" step $size
    layers=$(sed -n 's/^layers //p' "$rows")
    ours "$size, any order" 100 env WAN_BENCH_ANY_ORDER=1 "$BENCH" step $size "${layers:-2}"
    if $python -c 'import torch; torch.cuda.init()' 2>/dev/null; then
        timed "$size, PyTorch" 120 $python tests/bench/step_torch.py $size "${layers:-2}"
    else
        echo "$size, PyTorch: SKIPPED, no torch with CUDA here"
    fi
done
[ -z "$late" ] || echo "OUT OF TIME after $most s:${late#;}"
note 'end'
[ -z "$late" ]
