# SPDX-License-Identifier: Apache-2.0
# What an attacker of a parser meets: programs at a random place, tables of the linker that cannot be
# written, a stack that cannot be run and is guarded, checked copies.
. "$TOP/tests/lib.sh"
built=$(dirname "$(command -v wan-train)")
pie() { readelf -hW "$1" | grep -q 'DYN (Position-Independent Executable' && readelf -dW "$1" | grep -q 'Flags:.* PIE'; }
relro() { readelf -lW "$1" | grep -q GNU_RELRO && readelf -dW "$1" | grep -qE 'BIND_NOW|Flags:.*NOW' && ! readelf -dW "$1" | grep -q TEXTREL; }
stack() { readelf -lW "$1" | awk '/GNU_STACK/ { seen = 1; if ($7 ~ /E/) bad = 1 } END { exit !seen || bad }'; }
apart() { ! readelf -lW "$1" | awk '/LOAD/ { f = ""; for (i = 7; i < NF; i++) f = f $i; if (f ~ /W/ && f ~ /E/) print }' | grep -q .; }
guarded() { readelf -W --dyn-syms "$1" | grep -q __stack_chk_fail; }
fortified() { [ "$(readelf -W --dyn-syms "$1" | grep -oE '__[a-z]+_chk\b' | sort -u | wc -l)" -ge 3 ]; }
plain() { [ -n "$(readelf -W --dyn-syms "$built/wan-train" | grep -oE '__asan_init|__stack_chk_fail' | grep -v asan)" ]; }
for p in "$built"/wan-*; do
    name=$(basename "$p")
    ok "$name is a position-independent program" pie "$p"
    ok "$name: relocations are made at start, then read-only" relro "$p"
    ok "$name: the stack cannot be run" stack "$p"
    ok "$name: nothing is writable and runnable" apart "$p"
    if plain; then
        ok "$name: stack protector" guarded "$p"
        ok "$name: copies are checked" fortified "$p"
    else
        skip "$name: stack protector" "built with ASAN, DEBUG or HARDEN=0"
        skip "$name: copies are checked" "built with ASAN, DEBUG or HARDEN=0"
    fi
done
plugins() { # as many as were built, which not every machine can
    local p
    for p in "$built"/../lib/*.so; do
        [ ! -f "$p" ] || { relro "$p" && stack "$p" && apart "$p"; } || { echo "$p" >&2; return 1; }
    done
}
ok "the plugins that are here: the same of relocations, stack and pages" plugins
done_testing
