# SPDX-License-Identifier: Apache-2.0
# Every allocation and every call to the kernel fails once, for each tool: it ends with 1 and one
# sentence, or with 0 and the whole result; every file under a final name is the old one or the new one,
# and nothing half done stays beside them.
#
# `make check` tries POINTS kinds of calls of each tool; FULL=1 all calls, of each kind at most MOST: how many
# were left out is said.  ONLY=REGEX names tools, KINDS=REGEX kinds of calls.
. "$TOP/tests/lib.sh"
. "$TOP/tests/reliability/common"
POINTS=${POINTS:-9} MOST=${MOST:-400} tried=0 left=0 exchange=
shim=$OBJ/tests/reliability/fault.so
case $(ldd "$(command -v wan-record)") in *libasan*) skip "faults" "AddressSanitizer has its own allocator"; done_testing ;; esac

# How each kind of call fails.
how() {
    case $1 in
    alloc | dlopen | mpi) echo - ;;
    write | pwrite) echo ENOSPC EINTR short ;;
    fsync) echo EIO EINTR ;;
    read | pread) echo EIO EINTR short ;;
    mmap) echo ENOMEM ;;
    mkdir | fallocate | copy | link) echo ENOSPC ;;
    thread) echo EAGAIN ;;
    pipe | dup) echo EMFILE ;;
    flock | exit) ;; # a file system without locks is taken as it is; an end cannot fail
    *) echo EIO ;;
    esac
}
# refuse KIND K HOW: runs COMMAND with that call failing; what it printed and made stays in out, err, now/
refuse() {
    anew
    if [ "$3" = - ]; then into env FAULT="$1" FAULT_AT="$2" LD_PRELOAD="$shim" "${command[@]}"
    else into "$AT" fail "$1" "$2" "$3" -- env LD_PRELOAD="$shim" "${command[@]}"; fi
}
# wan-decode goes on with the next clip where it can, and names what it left out: its stream is whole.
fewer() { [[ "${command[*]}" == wan-decode* ]] && [ "$1" = ./f.wan ] && wan-record check "now/$1" >/dev/null 2>&1; }
# Files that are neither those from before nor those of the good end.  What cannot be looked at or removed
# stays, and the next run writes over it; libarchive ends the program itself where it has no memory.
remains() {
    local f
    (cd now && find . -type f ! -path './run/iter_*' ! -name latest_checkpointed_iteration.txt) | while read -r f; do
        case $1$f in */.*.latent) continue ;; # of wan-sample -C, which goes on from it
        *.nv-meta.tmp/*) grep -q 'Internal Error in libarchive' err && continue ;;
        stat*.tmp* | unlink*.tmp* | unlink*/.* | stat*/.*) continue ;; esac
        cmp -s "now/$f" "before/$f" || cmp -s "now/$f" "good/$f" || fewer "$f" || echo "left $f"
    done
    ! ls now/run/iter_* >/dev/null 2>&1 || into loads || echo "not whole: $(head -c 200 err)"
}
right() { # right STATUS KIND HOW: nothing, or what is wrong
    local lines
    case $1$2$3 in 1fsyncEINTR | 1p*EINTR) echo "interrupted, and gave up: $(head -c 200 err)" ;; esac # the C library's streams may
    if [ "$1" -eq 0 ]; then
        cmp out good.out && diff -r now good
        return
    fi
    [ "$1" -eq 1 ] || echo "status $1"
    lines=$(grep -c . err)
    case "${command[*]}" in *--check* | *wan-decode*) [ "$lines" -ge 1 ] && lines=1 ;; esac # all that they find
    [ "$lines" -eq 1 ] && grep -Eq "^(${command[0]}: .|Fatal Internal Error in libarchive: .)" err || echo "said: $(head -c 300 err)"
    remains "$2"
}
# A line "KIND K HOW" for each call that the command makes.
kinds() {
    rm -f calls; anew
    into env FAULT_COUNT="$root/calls" "$AT" -c "$root/calls" fail all 0 EIO -- env LD_PRELOAD="$shim" "${command[@]}" || return
    awk '{ n[$1] += $2 } END { for (k in n) if (n[k]) print k, n[k] }' calls | sort | while read -r kind n; do
        [[ $kind =~ ${KINDS:-.} ]] || continue
        for h in $(how "$kind"); do
            for k in $(seq "$n" | awk -v n="$n" -v most="$MOST" 'n <= most || int(NR * most / n) > int((NR - 1) * most / n)'); do echo "$kind $k $h"; done
            [ "$n" -le "$MOST" ] || echo $((n - MOST)) >>"$root/left.out"
        done
    done
}
# All of LIST, or in `make check` one of each of POINTS kinds, drawn by chance; memory and a full disk always.
each_kind() {
    if [ -n "${FULL-}" ]; then cat; return; fi
    shuf --random-source=<(yes "${SEED:-1}$name") | awk '!seen[$1 $3]++ { print ($1 == "alloc" || $1 $3 == "writeENOSPC" ? 0 : NR), $0 }' |
        sort -n | head -n "$POINTS" | cut -d' ' -f2-
}
every() {
    local name=$1 all kind k h; shift
    [[ $name =~ ${ONLY:-.} ]] || return
    command=("$@")
    anew; rm -rf good; : >wrong; : >left.out; : >tried
    into env LD_PRELOAD="$shim" "${command[@]}" || { ok "$name runs: $(head -c 300 err)" false; return; }
    mv now good; mv out good.out
    kinds >list
    all=$(wc -l <list)
    while read -r kind k h; do
        refuse "$kind" "$k" "$h" </dev/null
        right $? "$kind" "$h" >why 2>&1
        [ ! -s why ] || echo "$kind $k $h: $(tr '\n' ' ' <why | head -c 400)" >>wrong
        echo x >>tried
    done < <(each_kind <list)
    k=$(wc -l <tried) tried=$((tried + k)) h=$(awk '{ s += $1 } END { print s + 0 }' left.out)
    left=$((left + h + all - k))
    [ ! -s wrong ] || cat wrong >&2
    ok "$name: $k of $((all + h)) calls fail once" [ ! -s wrong ]
}
. "$TOP/tests/reliability/scenarios"
rm -rf before/* && (cd before && $shards ../l.wan && wan-index -q s)
every "record ls" wan-record ls ../l.wan
every "shard -x" wan-shard -q -x s
every "index --check" wan-index -q --check s
every "train from shards" wan-train -q --precision fp32 $TRAIN --metrics /dev/null dataset.path=s model.text_dim=64 train.train_iters=1 checkpoint.save=run
echo "# $tried calls failed, $left did not"
for t in "${BIN:-$TOP/build/bin}"/wan-*; do
    for o in --help --version --help-mdoc; do
        fails 1 'stdout.*No space' "$(basename "$t") $o to a full device" sh -c "$t $o >/dev/full"
    done
done
done_testing
