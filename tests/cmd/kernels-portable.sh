# SPDX-License-Identifier: Apache-2.0
# Every way that this CPU has to multiply gives right answers, not only the one it would choose; AMX without
# it: make check-amx.
. "$TOP/tests/lib.sh"
for way in portable bf16; do
    for k in linear attention; do
        prog=$OBJ/tests/kernels/check_$k name="check_$k with WAN_CPU_ISA=$way"
        if ! [ -x "$prog" ]; then
            skip "$name" "not built"
        elif [ $way = bf16 ] && ! grep -qw avx512_bf16 /proc/cpuinfo; then
            skip "$name" "this CPU has no AVX512-BF16"
        else
            ok "$name" env WAN_CPU_ISA=$way "$prog"
        fi
    done
done
done_testing
