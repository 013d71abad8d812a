# SPDX-License-Identifier: Apache-2.0
# The paths for CPUs without bf16 instructions give right answers too.
. "$TOP/tests/lib.sh"
for k in linear attention; do
    prog=$OBJ/tests/kernels/check_$k
    if [ -x "$prog" ]; then
        ok "check_$k with WAN_CPU_ISA=portable" env WAN_CPU_ISA=portable "$prog"
    else
        skip "check_$k with WAN_CPU_ISA=portable" "not built"
    fi
done
done_testing
