# SPDX-License-Identifier: Apache-2.0
# Registers and stack (first file) and widths (second) of every kernel against `limits`; prints
# 1 or 0, chip and kernel, what is wrong; writes `table`.

BEGIN {
    FS = OFS = "\t"
    while ((getline line < limits) > 0) {
        if (line ~ /^#/ || line == "") continue
        n = split(line, f, " ")
        lim[f[1]] = line
    }
    print "chip kernel registers stack spills load store tensor threads blocks warps" > table
}
function blocks(regs, threads, shared, chip,   warps, by_regs, by_warps, by_shared, has) {
    warps = threads / 32
    by_warps = int(64 / (warps < 1 ? 1 : warps))
    by_regs = int(65536 / (int((regs * 32 + 255) / 256) * 256 * (warps < 1 ? 1 : warps)))
    has = chip == "sm_80" ? 164 : 228
    by_shared = int(has * 1024 / (shared + 1024))
    return by_regs < by_warps ? (by_regs < by_shared ? by_regs : by_shared) : (by_warps < by_shared ? by_warps : by_shared)
}
FNR == NR { regs[$1, $2] = $3; stack[$1, $2] = $4; next }
{
    key = $2
    why = ""
    if (!(key in lim)) why = "has no line in kernels.txt"
    else {
        seen[key] = 1
        split(lim[key], f, " ") # kernel threads shared registers load store tensor stack
        r = regs[$1, key]
        if (r > f[4]) why = r " registers, limit " f[4]
        if (stack[$1, key] > f[8]) why = why "; " stack[$1, key] " bytes of stack, limit " f[8]
        if ($5 > 0 && f[8] == 0) why = why "; " $5 " spills"
        here = f[7] !~ /^sm_/ || f[7] == $1 # else it is for another chip, and empty on this
        if (here && $3 < f[5]) why = why "; loads of " $3 " bits, at least " f[5]
        if (here && $4 < f[6]) why = why "; stores of " $4 " bits, at least " f[6]
        if (f[7] != "no" && here && $6 == 0) why = why "; no tensor cores"
        b = blocks(r, f[2], f[3], $1)
        print $1, key, r, stack[$1, key], $5, $3, $4, $6, f[2], b, b * f[2] / 32 > table
        if (b < 1) why = why "; no block fits"
    }
    sub(/^; /, "", why)
    print why == "" ? 1 : 0, $1 " " key, why
}
END {
    for (k in lim)
        if (!(k in seen)) print 0, k, "is in kernels.txt and not in the plugin"
}
