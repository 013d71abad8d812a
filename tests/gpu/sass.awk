# SPDX-License-Identifier: Apache-2.0
# One line for each kernel of `cuobjdump -res-usage -sass`: chip, kernel (mangled), registers, bytes of stack
# and local memory, spill instructions, and the widest load and store of global memory: in its loops, or in
# all of it where it has none; tensor-core instructions.
#
# A loop is what lies between the target of a branch backwards and the branch.

function flush_kernel(   i, j, inloop, n) {
    if (name == "") return
    n = 0
    for (i = 0; i < branches; i++)
        if (to[i] < from[i]) { lo[n] = to[i]; hi[n] = from[i]; n++ }
    load = store = 0
    for (i = 0; i < accesses; i++) {
        inloop = n == 0
        for (j = 0; j < n && !inloop; j++) inloop = at[i] >= lo[j] && at[i] <= hi[j]
        if (!inloop) continue
        if (kind[i] == "L" && wide[i] > load) load = wide[i]
        if (kind[i] == "S" && wide[i] > store) store = wide[i]
    }
    print chip, name, load, store, spills, tensor
    name = ""
}
function hex(s,   i, v) {
    v = 0
    s = tolower(s)
    for (i = 1; i <= length(s); i++) v = 16 * v + index("0123456789abcdef", substr(s, i, 1)) - 1
    return v
}
/^arch = / { flush_kernel(); chip = $3 }
/^\t\tFunction : / {
    flush_kernel()
    name = $3
    branches = accesses = spills = tensor = 0
}
/^ +\/\*[0-9a-f]+\*\/ / && name != "" {
    match($0, /\/\*[0-9a-f]+\*\//)
    pc = hex(substr($0, RSTART + 2, RLENGTH - 4))
    op = $2
    if (op ~ /^@/) op = $3
    sub(/;.*/, "", op)
    if (op ~ /^(LDG|STG|LD\.E|ST\.E|UBLKCP|UTMALDG|LDGSTS)/) {
        kind[accesses] = op ~ /^ST/ ? "S" : "L"
        wide[accesses] = op ~ /\.128/ ? 128 : op ~ /\.64/ ? 64 : op ~ /\.[US]?16/ ? 16 : op ~ /\.[US]8/ ? 8 : 32
        if (op ~ /\.ENL2\.256/ || op ~ /\.256/) wide[accesses] = 256
        if (op ~ /^U/) wide[accesses] = 128
        at[accesses++] = pc
    }
    if (op ~ /^(LDL|STL)/) spills++
    if (op ~ /^(HMMA|HGMMA|IMMA|QGMMA|UTC[A-Z]*MMA)/) tensor++
    if (op ~ /^BRA/ && match($0, /0x[0-9a-f]+/)) {
        from[branches] = pc
        to[branches++] = hex(substr($0, RSTART + 2, RLENGTH - 2))
    }
}
END { flush_kernel() }
