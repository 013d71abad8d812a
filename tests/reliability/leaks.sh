# SPDX-License-Identifier: Apache-2.0
# No tool loses memory, neither when all goes well nor when a call to the kernel fails: each is run under
# LeakSanitizer (make check-asan), and calls about the test's files fail once, as in faults.sh.
#
# POINTS calls of each tool; FULL=1: all, of each kind and name at most MOST.  ONLY=REGEX names tools.
. "$TOP/tests/lib.sh"
. "$TOP/tests/reliability/common"
POINTS=${POINTS:-3} MOST=${MOST:-3} exchange=
case $(ldd "$(command -v wan-record)") in *libasan*) ;; *) skip "leaks" "a build without AddressSanitizer (make check-asan)"; done_testing ;; esac
sanitized() { into env ASAN_OPTIONS=detect_leaks=1 "$@" </dev/null; }
# What the sanitizers said, if anything; a second error must not hide the first.
said() { grep -E -A 12 'Sanitizer|runtime error' err | head -c 1200; }
every() {
    local name=$1 kind who m k h; shift
    [[ $name =~ ${ONLY:-.} ]] || return
    command=("$@")
    : >wrong; rm -f calls; anew
    sanitized "$AT" -n -r "$root" -t "$TOP" -c "$root/calls" fail all - 0 EIO -- "${command[@]}" || echo "does not run: $(head -c 300 err)" >wrong
    said >>wrong
    awk '$2 !~ /^(-|TOP\/build)/ && $1 != "mmap" { n[$1 " " $2] += $3 } END { for (k in n) print k, n[k] }' calls | LC_ALL=C sort |
        while read -r kind who m; do
            h=$(how "$kind" | cut -d' ' -f1)
            [ -z "$h" ] || seq "$m" | awk -v most="$MOST" -v l="$kind $who" -v h="$h" -v n="$m" 'n <= most || int(NR * most / n) > int((NR - 1) * most / n) { print l, $1, h }'
        done >list
    [ -n "${FULL-}" ] || { drawn <list | awk '!seen[$1]++' | head -n "$POINTS" >some && mv some list; }
    while read -r kind who k h; do
        anew
        sanitized "$AT" -n -r "$root" -t "$TOP" fail "$kind" "$who" "$k" "$h" -- "${command[@]}"
        said >why
        [ ! -s why ] || { echo "$kind $who $k $h:"; cat why; } >>wrong
    done <list
    [ ! -s wrong ] || head -c 5000 wrong >&2
    ok "$name: nothing lost, also when $(wc -l <list) calls fail" [ ! -s wrong ]
}
. "$TOP/tests/reliability/scenarios"
done_testing
