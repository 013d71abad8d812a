#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What the compiler made of every kernel of PLUGIN, chip by chip, as a table (TABLE, a file), against the
# limits of tests/gpu/kernels.txt.  Needs cuobjdump and nvdisasm: of the toolkit, of PATH, or of Python's
# packages (nvidia-cuda-cuobjdump, nvidia-cuda-nvdisasm; make sass-tools puts them into build/sass).
. "$TOP/tests/lib.sh"
PATH=$PATH:${CUDA_HOME:-/usr/local/cuda}/bin:$(echo "$TOP"/build/sass/lib/python3*/site-packages/nvidia/cu*/bin | tr ' ' :)
if ! command -v cuobjdump >/dev/null || ! command -v nvdisasm >/dev/null; then
    skip "what the compiler made of the kernels" "no cuobjdump and nvdisasm: make sass-tools"
    done_testing
fi
cuobjdump -res-usage "$PLUGIN" | awk -v OFS='\t' '
    /^arch = / { chip = $3 }
    /^ Function / { sub(/:$/, "", $2); name = $2 }
    /^ +REG:/ { split($1, r, ":"); split($2, s, ":"); print chip, name, r[2], s[2] }' >usage
cuobjdump -sass "$PLUGIN" | awk -v OFS='\t' -f "$TOP/tests/gpu/sass.awk" >width
named() { # the second column in words without a space
    cut -f2 "$1" | c++filt | sed 's/^void //; s/, /,/g; s/ /_/g' | paste <(cut -f1 "$1") - <(cut -f3- "$1") | sort -u
}
named usage >u
named width >w
ok "there are kernels" test "$(wc -l <u)" -gt 50
ok "registers and instructions are known of the same kernels" cmp <(cut -f1,2 u) <(cut -f1,2 w)
awk -v limits="$TOP/tests/gpu/kernels.txt" -v table="${TABLE:-table.txt}" -f "$TOP/tests/gpu/limits.awk" u w >out
while IFS=$'\t' read -r good name why; do
    ok "$name${why:+: $why}" test "$good" = 1
done <out
# the check itself: a kernel that crosses each limit is told
break_it() { # break_it "what" sed-script: on the line of a kernel that keeps to all limits
    sed "/^forward_all(/$2" "$TOP/tests/gpu/kernels.txt" >bad.txt
    ok "told: $1" grep -q "^0.*forward_all" <(awk -v limits=bad.txt -v table=/dev/null -f "$TOP/tests/gpu/limits.awk" u w)
}
break_it registers 's/ [0-9]* \(128 128\)/ 8 \1/'
break_it "narrow loads" 's/ 128 128 / 256 128 /'
break_it "no tensor cores" 's/ no 0/ yes 0/'
break_it "a kernel that is not listed" d
done_testing
