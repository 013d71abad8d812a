# SPDX-License-Identifier: Apache-2.0
# Every allocation and every call to the file system fails once, for each tool that writes or reads
# shards and records: it says so in one sentence and leaves nothing half done, or it did not matter.
# FULL=1: every allocation, and not every tenth; ONLY=REGEX: only tools of that name.
. "$TOP/tests/lib.sh"
gcc -shared -fPIC -O1 -D_GNU_SOURCE -o fault.so "$TOP/tests/reliability/fault.c" -ldl 2>gcc.err ||
    { skip "faults" "no gcc, or it cannot build the shim: $(head -1 gcc.err)"; done_testing; }
shim=$PWD/fault.so
if [ -w /dev/shm ]; then # thousands of runs that sync their files
    work=$(mktemp -d /dev/shm/wan-faults.XXXXXX); trap 'rm -rf "$work"' EXIT; cd "$work" || exit 1
fi
wan-shard -q -x "$TOP/tests/data/torch/dfm" | wan-record cat -k 000001 -o in.wan || exit 1
calls="alloc readdir stat fstat lseek ftruncate fsync rename open fopen read pread mmap mkdir"

# Runs COMMAND with the k-th call of a kind failing, in a copy of `before`; what it printed and made
# stays in `now`.
run() { # run KIND K
    rm -rf now; cp -r before now
    (cd now && FAULT=$1 FAULT_AT=$2 FAULT_COUNT=../count LD_PRELOAD=$shim "${command[@]}" >../out 2>../err)
}
# What is wrong after a run?  Nothing: no output.
judge() { # judge STATUS KIND
    if [ "$1" -eq 0 ]; then
        cmp out good.out && diff -r now good
        return
    fi
    [ "$1" -eq 1 ] || echo "status $1"
    case "${command[*]}" in *--check*) grep -vE "^(wan-index: .|Fatal Internal Error in libarchive: .)" err; return ;; esac # names all it finds
    [ "$(grep -c . err)" -eq 1 ] && grep -Eq "^(${command[0]}: .|Fatal Internal Error in libarchive: .)" err ||
        echo "said: $(head -c 300 err)"
    left "$2" # whole files alone have final names
}
# Files that are neither those from before nor those of the good end.  Where stat fails nobody can
# tell whether a temporary file is somebody else's: it stays, and the next run writes over it; and
# libarchive ends the program itself where it has no memory.
left() {
    (cd now && find . -type f) | while read -r f; do
        case $1$f in *stat*.tmp | *.nv-meta.tmp/*) continue ;; esac
        cmp -s "now/$f" "before/$f" || cmp -s "now/$f" "good/$f" || echo "left $f"
    done
}
every() { # every NAME COMMAND...
    local name=$1 kind k last step rc all=0; shift
    [[ $name =~ ${ONLY:-.} ]] || return
    command=("$@") RANDOM=1
    run none 0; rc=$?
    rm -rf good; mv now good; mv out good.out
    : >wrong
    for kind in $calls; do
        run "$kind" 0
        last=$(cat count)
        step=1
        [ "$kind" != alloc ] || step=${FULL:-10}
        for ((k = 1 + RANDOM % step; k <= last; k += step)); do
            all=$((all + 1))
            run "$kind" "$k"
            judge $? "$kind" >why 2>&1
            [ -s why ] && echo "$kind $k of $last: $(tr '\n' ' ' <why)" >>wrong
        done
    done
    ok "$name: $all calls fail once" sh -c '[ '$rc' = 0 ] && { [ ! -s wrong ] || { cat wrong >&2; false; }; }'
}

mkdir before; cp in.wan before/
every "wan-shard" wan-shard -q -o s in.wan
every "wan-record ls" wan-record ls in.wan
every "wan-record cat" wan-record cat -q -o copy.wan in.wan
every "wan-record to-safetensors" wan-record to-safetensors -q -o t in.wan
(cd before && wan-record to-safetensors -q -o t.safetensors in.wan && wan-shard -q -o s in.wan)
every "wan-record from-safetensors" wan-record from-safetensors -q -o back.wan t.safetensors
every "wan-shard -x" wan-shard -q -x s
every "wan-index" wan-index -q s
wan-index -q before/s
every "wan-index, again" wan-index -q --split-ratio 1,0,0 s
every "wan-index --check" wan-index -q --check s
for t in "${BIN:-$TOP/build/bin}"/wan-*; do
    for o in --help --version --help-mdoc; do
        fails 1 'stdout.*No space' "$(basename "$t") $o to a full device" sh -c "$t $o >/dev/full"
    done
done
done_testing
