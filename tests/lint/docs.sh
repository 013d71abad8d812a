# SPDX-License-Identifier: Apache-2.0
# Man pages agree with the tools: OPTIONS is the output of --help-mdoc, the pages are valid mdoc,
# every tool is listed in wan(7).
. "$TOP/tests/lib.sh"

options() {
    sed -n '/^\.\\" BEGIN OPTIONS/,/^\.\\" END OPTIONS/p' "$TOP/man/$1.1" | sed '1d;$d' >page
    "$1" --help-mdoc >live && diff page live >&2
}
help_works() { "$1" --help | grep -q "^usage: $1 " && "$1" --version | grep -q "^$1 "; }
valid() { ! mandoc -T lint -W warning "$1" 2>&1 | grep -E 'ERROR|WARNING' >&2; }

for f in "$TOP"/cmd/*.c; do
    t=$(basename "$f" .c)
    ok "$t has a man page" test -f "$TOP/man/$t.1"
    ok "$t: OPTIONS of the man page are live" options "$t"
    ok "$t: --help and --version" help_works "$t"
    ok "$t is listed in wan(7)" grep -q "$t" "$TOP/man/wan.7"
    fails 2 'unknown option' "$t: unknown option is a usage error" "$t" --no-such-option
done
for p in "$TOP"/man/*.[57]; do
    t=$(basename "$p")
    [ "$t" = wan.7 ] || ok "$t is listed in wan(7)" grep -q "^\.It Xr ${t%.*} ${t##*.}" "$TOP/man/wan.7"
done
figures() { # the table of figures in wan-reliability(7) is that of RESULTS.md, `make` and folders left out
    sed -n '/BEGIN FIGURES/,/END FIGURES/p' "$TOP/man/wan-reliability.7" | grep -v '^\.' >page
    awk -F' *\\| *' '/^## Figures/ { on = 1; next } /^## / { on = 0 } on && /^\| / {
        sub(/^make |^tests\/media\//, "", $3); printf "%-30s  %-15s %8s %6s  %s\n", $2, $3, $4, $5, $6 }' "$TOP"/tests/reliability/RESULTS.md >live
    [ "$(wc -l <page)" -ge 10 ] && diff page live >&2
}
ok "wan-reliability(7) has the figures of RESULTS.md" figures
for p in "$TOP"/man/*.[157]; do
    if command -v mandoc >/dev/null; then ok "$(basename "$p") is valid mdoc" valid "$p"
    else skip "$(basename "$p") is valid mdoc" "mandoc is not installed"; fi
done
done_testing
