#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs the kernel checks with the CUDA plugin (PLUGIN) as the device under test, then the small
# training run, then compute-sanitizer on the quickest of them.  CHECKS: names; OBJ: where they are.
set -u
cd "$(dirname "$0")/../.."
export WAN_CUDA_PLUGIN=$PLUGIN WAN_CHECK_DEVICE=cuda
[ -n "${NODRIVER-}" ] ||
    export LD_LIBRARY_PATH=${CUDA_HOME:-/usr/local/cuda}/lib64:${LD_LIBRARY_PATH-}
fail=0 pass=0 skip=0
# runs a TAP program and says how it went: label, command...
tap() {
    local label=$1 log rc p f s plan began=$SECONDS
    shift
    log=$(mktemp)
    timeout 500 "$@" >"$log" 2>&1
    rc=$?
    p=$(grep -c '^ok ' "$log"); f=$(grep -c '^not ok ' "$log"); s=$(grep -c '^ok .*# SKIP' "$log")
    plan=$(sed -n 's/^1\.\.\([0-9]*\)$/\1/p' "$log" | tail -1)
    if [ "$rc" -ne 0 ] && [ "$f" -eq 0 ] || [ "${plan:-x}" != "$((p + f))" ]; then
        f=$((f + 1))
        echo "not ok - $label: exit $rc, plan ${plan:-none}" >>"$log"
        tail -n 12 "$log" | sed 's/^/    | /'
    fi
    printf '%-34s %4d ok%s%s  (%ds)\n' "$label" "$((p - s))" \
        "$([ "$f" -gt 0 ] && echo ", $f FAILED")" \
        "$([ "$s" -gt 0 ] && echo ", $s SKIPPED")" "$((SECONDS - began))"
    grep -E '^not ok |^ok .*# SKIP|^# ' "$log" | sed 's/^/    /'
    pass=$((pass + p - s)) fail=$((fail + f)) skip=$((skip + s))
    rm -f "$log"
}
if [ -n "${NODRIVER-}" ]; then
    [ -n "${GRAPH-}" ] && tap sdpa_graph env WAN_H100_IN_WORDS=1 \
        LD_LIBRARY_PATH="$NODRIVER:${LD_LIBRARY_PATH-}" "$GRAPH"
else
    tap sdpa_graph "$GRAPH"
fi
for c in $CHECKS; do
    tap "$c" "$OBJ/tests/kernels/check_$c"
done
tap device "$OBJ/tests/gpu/check_device"
if [ -z "${NODRIVER-}" ]; then
    if command -v compute-sanitizer >/dev/null && [ "$skip" -eq 0 ]; then
        for c in layernorm rmsnorm residual flowloss linear; do
            tap "memcheck $c" compute-sanitizer --tool memcheck --error-exitcode 3 \
                --log-file /dev/stderr "$OBJ/tests/kernels/check_$c"
        done
        tap "racecheck rmsnorm" compute-sanitizer --tool racecheck --error-exitcode 3 \
            --log-file /dev/stderr "$OBJ/tests/kernels/check_rmsnorm"
    else
        echo "compute-sanitizer: SKIPPED, not installed or no GPU"
    fi
fi
echo "$pass passed, $fail failed, $skip skipped"
[ "$fail" -eq 0 ]
