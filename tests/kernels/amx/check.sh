# SPDX-License-Identifier: Apache-2.0
# The paths for CPUs with AMX, ours and oneDNN's, on a CPU without: trap.c carries out the tile
# instructions and refuses what a CPU would.
. "$TOP/tests/lib.sh"
has() { grep -qw "$1" /proc/cpuinfo; }
for k in tile linear attention conv repeat; do
    if has amx_bf16; then
        skip "check_$k as with AMX" "this CPU has it: make check ran them"
    elif ! has avx512_bf16; then
        skip "check_$k as with AMX" "this CPU has no AVX512-BF16"
    else
        ok "check_$k as with AMX" "$TOP/tests/kernels/amx/run" "$OBJ/tests/kernels/check_$k"
        cp "$ok_out" ran
        ok "with none of its checks skipped" bash -c '! grep SKIP ran'
    fi
done
done_testing
