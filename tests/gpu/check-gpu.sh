#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs the kernel checks with the CUDA plugin (PLUGIN) as the device under test, then the small
# training run, then compute-sanitizer on the quickest of them.  CHECKS: names; OBJ: where they are;
# GRAPH: check_sdpa_graph, empty where cuDNN is not here.  SECONDS_MAX: ends before that, with a list
# of what was left out.  Prints each result as it comes.
set -u
cd "$(dirname "$0")/../.."
export WAN_CUDA_PLUGIN=$PLUGIN WAN_CHECK_DEVICE=cuda
toolkit=${CUDA_HOME:-/usr/local/cuda}
PATH=$PATH:$toolkit/bin
most=${SECONDS_MAX:-540}
[ -n "${NODRIVER-}" ] || export LD_LIBRARY_PATH=$toolkit/lib64:${LD_LIBRARY_PATH-}
fail=0 pass=0 skip=0 late=
log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT

# Counts a TAP program's lines in $log/out and says how it went: label, exit status, seconds
count() {
    local p f s plan
    p=$(grep -c '^ok ' "$log/out"); f=$(grep -c '^not ok ' "$log/out")
    s=$(grep -c '^ok .*# SKIP' "$log/out")
    plan=$(sed -n 's/^1\.\.\([0-9]*\)$/\1/p' "$log/out" | tail -1)
    if [ "$2" -ne 0 ] && [ "$f" -eq 0 ] || [ "${plan:-x}" != "$((p + f))" ]; then
        f=$((f + 1))
        echo "not ok - $1: exit $2, plan ${plan:-none}" >>"$log/out"
        tail -n 12 "$log/out" | sed 's/^/    | /'
    fi
    printf '%-34s %4d ok%s%s  (%ds)\n' "$1" "$((p - s))" \
        "$([ "$f" -gt 0 ] && echo ", $f FAILED")" "$([ "$s" -gt 0 ] && echo ", $s SKIPPED")" "$3"
    grep -E '^not ok |^ok .*# SKIP|^# |: attention: |: conv: |: linear_' "$log/out" | head -40 | sed 's/^/    /'
    pass=$((pass + p - s)) fail=$((fail + f)) skip=$((skip + s))
}

# label, longest seconds, command...: runs a TAP program while there is time
tap() {
    local label=$1 limit=$2 began=$SECONDS left=$((most - SECONDS)) rc
    shift 2
    [ "$left" -ge 15 ] || { late="$late $label"; return; }
    timeout $((left < limit ? left : limit)) "$@" >"$log/out" 2>&1
    rc=$?
    [ $rc -ne 124 ] || [ "$1" != compute-sanitizer ] || { late="$late $label"; return; }
    count "$label" $rc $((SECONDS - began))
}

# compute-sanitizer's tool on a check; one that takes too long is named at the end as left out
sanitize() {
    tap "$1 $2" 100 compute-sanitizer --tool "$1" --error-exitcode 3 --log-file "$log/san" \
        "$OBJ/tests/kernels/check_$2"
    grep -E '=========.*(Error|Invalid|Race|ERROR SUMMARY|RACECHECK SUMMARY)' "$log/san" 2>/dev/null |
        head -8 | sed 's/^/    /'
    rm -f "$log/san"
}

[ -n "${NODRIVER-}" ] || nvidia-smi --query-gpu=name,driver_version,memory.total \
    --format=csv,noheader 2>/dev/null
if [ -z "${GRAPH-}" ]; then
    echo 'sdpa_graph: SKIPPED, this build has no cuDNN: the plain attention kernel is tested'
elif [ -n "${NODRIVER-}" ]; then
    for sm in 90 100; do
        tap "sdpa_graph for sm_$sm" 300 env WAN_DEVICE_IN_WORDS=$sm \
            LD_LIBRARY_PATH="$NODRIVER:${LD_LIBRARY_PATH-}" "$GRAPH"
    done
else
    tap sdpa_graph 200 "$GRAPH"
fi
for c in $CHECKS; do
    tap "$c" 200 "$OBJ/tests/kernels/check_$c"
done
tap record 60 "$OBJ/tests/gpu/check_record"
tap device 300 "$OBJ/tests/gpu/check_device"
[ -z "${NODRIVER-}" ] || tap 'attention, sm_80' 200 env WAN_EMU_SM=80 "$OBJ/tests/kernels/check_attention"
[ -z "${NODRIVER-}" ] || tap 'attention, sm_89' 200 env WAN_EMU_SM=89 "$OBJ/tests/kernels/check_attention"
[ -z "${NODRIVER-}" ] || tap strict 30 "$OBJ/tests/gpu/check_strict"
[ -z "${NODRIVER-}" ] || tap bytes 60 env WAN_CUDA_PLUGIN="$TRACE" "$OBJ/tests/gpu/check_bytes"
[ -z "${NODRIVER-}" ] || tap 'bytes without cuDNN' 60 env WAN_CUDA_PLUGIN="$TRACE" \
    WAN_EMU_FAULT=cudnn:check_bytes "$OBJ/tests/gpu/check_bytes"
if [ -z "${NODRIVER-}" ]; then
    if [ "$skip" -gt 0 ]; then
        echo 'compute-sanitizer: SKIPPED, no GPU'
    elif ! command -v compute-sanitizer >/dev/null; then
        echo 'compute-sanitizer: SKIPPED, not installed'
    else
        for c in layernorm rmsnorm residual mse vector; do
            sanitize memcheck $c
        done
        sanitize racecheck rmsnorm
        sanitize memcheck linear
    fi
fi
[ -z "$late" ] || echo "OUT OF TIME after $most s:$late"
echo "$pass passed, $fail failed, $skip skipped"
[ "$fail" -eq 0 ] && [ -z "$late" ]
