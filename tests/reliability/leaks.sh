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

# what Open MPI itself loses is in mpi.supp
ranks() {
    into env ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=1:fast_unwind_on_malloc=0 \
        LSAN_OPTIONS="suppressions=$TOP/tests/reliability/mpi.supp:print_suppressions=0" \
        KEEP="$(ldd "$(command -v wan-train)" | awk '/libasan/ { print $3 }'):$OBJ/tests/reliability/keep.so" \
        timeout 300 mpirun --allow-run-as-root --oversubscribe --bind-to none -n 2 sh -c 'LD_PRELOAD=$KEEP exec "$@"' sh "$@"
}
if [ "${MPI:-0}" != 1 ] || ! command -v mpirun >/dev/null; then
    skip "two ranks" "a build without MPI"
elif [[ "two ranks" =~ ${ONLY:-.} ]]; then
    rm -rf before/*; anew
    ranks $train dist.use_megatron_fsdp=true train.train_iters=2 checkpoint.save_interval=1 checkpoint.async_save=true; rc=$?
    said >wrong
    [ ! -s wrong ] || head -c 5000 wrong >&2
    ok "two ranks: nothing lost but by Open MPI" [ "$rc$(cat wrong)" = 0 ]
    anew; mkdir now/run; : >now/run/iter_0000001 # a file where a folder must be
    ranks $train dist.use_megatron_fsdp=true train.train_iters=2 checkpoint.save_interval=1; rc=$?
    said >wrong
    [ ! -s wrong ] || head -c 5000 wrong >&2
    ok "... also when a checkpoint fails" [ "$rc$(cat wrong)" = 1 ]
fi
done_testing
