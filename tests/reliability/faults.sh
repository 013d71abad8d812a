# SPDX-License-Identifier: Apache-2.0
# Every allocation and every call to the kernel fails once, for each tool: it ends with 1 and one
# sentence, or with 0 and the whole result; every file under a final name is the old one or the new one,
# and nothing half done stays beside them.
#
# A point is a kind of call, whose or about which file it is, a number, and how it fails.  `make check` draws
# POINTS of each tool, of those that are the same on every machine: the tool's own allocations, and calls about
# files of the test; FULL=1 tries all, of each kind and name at most MOST: how many were left out is said.
# ONLY=REGEX names tools, KINDS=REGEX kinds of calls, WHOSE=REGEX names; FROM=K leaves out those before the K-th;
# PART=I/N tries every N-th of the rest, from the I-th; LONGEST=SECONDS: of each tool as many as that takes, drawn by their names.
. "$TOP/tests/lib.sh"
. "$TOP/tests/reliability/common"
POINTS=${POINTS:-9} MOST=${MOST:-1000000} tried=0 left=0 exchange=
shim=$OBJ/tests/reliability/fault.so
case $(ldd "$(command -v wan-record)") in *libasan*) skip "faults" "AddressSanitizer has its own allocator"; done_testing ;; esac
# Libraries that do not survive it where malloc gives them nothing, so that nothing can be asked of the tool; nor does
# the C library while it opens others.
frail='^(libdnnl|libgomp|dlopen)'

# wan-decode goes on with the next clip where it can, and names what it left out: its stream is whole.
fewer() { [[ "${command[*]}" == wan-decode* ]] && [ "$1" = ./f.wan ] && wan-record check "now/$1" >/dev/null 2>&1; }
# The table of wan-decode --inputs has a reason in its last column where a file could not be looked at.
told() {
    [[ "${command[*]}" == wan-decode*--inputs* ]] && awk -F'\t' 'NR == FNR { good[FNR] = $0; next } { lines++ }
        $0 != good[FNR] && $7 !~ /Input\/output error/ { wrong = 1 } END { exit wrong || lines != length(good) }' good/t.tsv now/t.tsv && ! diff -rq -x t.tsv now good | grep .
}
# Files that are neither those from before nor those of the good end.  libarchive ends the program itself where
# it has no memory.
remains() {
    local f
    (cd now && find . -type f ! -path './run/iter_*' ! -name latest_checkpointed_iteration.txt) | while read -r f; do
        case $f in */.*.latent) continue ;; # of wan-sample -C, which goes on from it
        *.nv-meta.tmp/* | *.tar.new) grep -q 'Internal Error in libarchive' err && continue ;; esac
        cmp -s "now/$f" "before/$f" || cmp -s "now/$f" "good/$f" || fewer "$f" || echo "left $f"
    done
    ! ls now/run/iter_* >/dev/null 2>&1 || into loads || echo "not whole: $(head -c 200 err)"
}
right() { # right STATUS KIND HOW: nothing, or what is wrong
    local lines
    case $1$2$3 in 1fsyncEINTR | 1p*EINTR) echo "interrupted, and gave up: $(head -c 200 err)" ;; esac # the C library's streams may
    if [ "$1" -eq 0 ]; then
        cmp out good.out && { told || diff -r now good; }
        return
    fi
    # the C library ends the program itself where there is no memory for what each thread has of a library opened late
    if [ "$1" -eq 127 ] && grep -qx 'cannot allocate memory for thread-local data: ABORT' err; then remains; return; fi
    # regcomp of glibc 2.36 frees twice where it finds no memory (free_workarea_compile); the C library says so beside the tool
    [[ "${command[*]}" != wan-index*--split-parts* ]] || sed -i '/^free(): double free detected/d' err
    [ "$1" -eq 1 ] || echo "status $1"
    lines=$(grep -c . err)
    case "${command[*]}" in *--check* | *wan-decode*) [ "$lines" -ge 1 ] && lines=1 ;; esac # all that they find
    [ "$lines" -eq 1 ] && grep -Eq "^(${command[0]}: .|Fatal Internal Error in libarchive: .)" err || echo "said: $(head -c 300 err)"
    remains
}
# A line "KIND NAME K HOW" for each call that the command makes; those of frail libraries in frail.out.
kinds() {
    rm -f calls; anew
    into env FAULT_COUNT="$root/calls" "$AT" -r "$root" -t "$TOP" -c "$root/calls" fail all - 0 EIO -- env LD_PRELOAD="$shim" "${command[@]}" || return
    awk '{ n[$1 " " $2] += $3 } END { for (k in n) print k, n[k] }' calls | LC_ALL=C sort | while read -r kind who n; do
        [[ $kind =~ ${KINDS:-.} && $who =~ ${WHOSE:-.} ]] || continue
        # of a picture not what Pango asks of the machine: without memory GLib ends the program, and without fonts there is no text
        [[ $name != plot || $who =~ ^(own|now/.*|metrics.jsonl|out|err)$ ]] || continue
        if [ "$kind" = alloc ] && [[ $who =~ $frail ]]; then echo "$who $n" >>frail.out; continue; fi
        for h in $(how "$kind"); do
            seq "$n" | awk -v n="$n" -v most="$MOST" -v l="$kind $who" -v h="$h" 'n <= most || int(NR * most / n) > int((NR - 1) * most / n) { print l, $1, h }'
            [ "$n" -le "$MOST" ] || echo $((n - MOST)) >>left.out
        done
    done
}
# All of LIST, or in `make check` the last allocations and one of each of POINTS kinds, memory and a full disk always.  A point is drawn
# by its own name, so that what else a machine's list holds does not matter.
each_kind() {
    if [ -n "${FULL-}" ]; then part | if [ -n "${LONGEST-}" ]; then drawn; else cat; fi; return; fi
    grep '^alloc own ' list | tail -n 3 # what a tool does at its end, when the result is there: it tidies up
    awk '$1 ~ /^(alloc|dlopen|line|match)$/ ? $2 == "own" && $3 <= 400 : $2 !~ /^TOP\/build|^-/ || $1 ~ /thread|pipe/' | drawn |
        awk '!seen[$1 $4]++ { print ($1 ~ /^(alloc|line|match)$/ || $1 $4 == "writeENOSPC" ? 0 : 1), NR, $0 }' |
        sort -k1,1n -k2,2n | head -n "$POINTS" | cut -d' ' -f3-
}
every() {
    local name=$1 all kind k h at p rc; shift
    [[ $name =~ ${ONLY:-.} ]] || return
    command=("$@")
    anew; rm -rf good; : >wrong; : >left.out; : >tried; : >frail.out
    into env LD_PRELOAD="$shim" "${command[@]}" || { ok "$name runs: $(head -c 300 err)" false; return; }
    mv now good; mv out good.out
    kinds >list
    all=$(wc -l <list)
    rm -rf trials now
    each_kind <list | "${AT%/at}/trials" "$AT" "$shim" "$root" "$TOP" -- "${command[@]}" || echo "trials does not end" >>wrong
    while read -r at rc kind h; do # each result once
        rm -rf now; mv "trials/$at"/* .
        right "$rc" "$kind" "$h" </dev/null >why 2>&1
        [ ! -s why ] || awk -v n="$at" '$5 == n' trials/points | head -n 5 | while read -r p; do
            echo "$p: $(tr '\n' ' ' <why | head -c 400)"
        done >>wrong
    done <trials/results
    cp trials/points tried
    k=$(wc -l <tried) tried=$((tried + k)) h=$(awk '{ s += $1 } END { print s + 0 }' left.out)
    left=$((left + h + all - k))
    [ ! -s wrong ] || cat wrong >&2
    [ ! -s frail.out ] || echo "# $name: not failed, as the library would crash: allocations of $(tr '\n' ' ' <frail.out)"
    ok "$name: $k of $((all + h)) calls fail once" [ ! -s wrong ]
}
. "$TOP/tests/reliability/scenarios"
rm -rf before/* && (cd before && $shards ../l.wan && wan-index -q s)
every "record ls" wan-record ls ../l.wan
every "shard -x" wan-shard -q -x s
every "index --stat" wan-index --stat --picture p.svg s
every "train --help-keys-mdoc" wan-train --help-keys-mdoc # more than a buffer of the C library
every "index --split-parts" wan-index -q --exclude '0+1\.tar' --split-parts 'train:shard-(rank)?.*[0-9]+' -- s
every "index --split-parts, twice" wan-index -q --split-parts 'train:.*0\.tar' --split-parts 'train:.*1\.tar' -- s
every "index --check" wan-index -q --check s
(cd clips && ls -- *.mp4) | awk '{ print "clips/" $1 }' >paths
{ echo path,caption,start; sed 's/$/,"some, words",0/' paths; } >list.csv
sed 's/.*/{"video": "&", "text": ["some words", "others"], "end": 9}/' paths >list.jsonl
jq -R '{(.): "some words"}' paths | jq -s add >list.json
for k in csv jsonl json; do
    every "decode, a list ($k)" wan-decode -q --inputs --captions each --manifest "../list.$k" -o t.tsv
done
mkdir before/in && ln -s there.wan before/in/link.wan
every "record, through a link" wan-record cat -q -o in/link.wan ../l.wan
rm before/in/link.wan; wan-index -q --split-ratio 1,1,0 before/s && mv before/s before/in/s # what a file names lies beside it
printf '__class__: MetadatasetV2\nsplits:\n  train: {path: s}\n  val: {path: s}\n' >before/in/mix.yaml
wan-encode -q --model "$MODEL" --prompt "" | wan-record -q to-safetensors -o before/in/s/empty_text.safetensors
every "train from shards" wan-train -q --precision fp32 $TRAIN --metrics /dev/null dataset.path=in/mix.yaml model.text_dim=64 flow.cfg_dropout_prob=1 train.train_iters=1 train.eval_interval=1 train.eval_iters=1 checkpoint.save=run
echo "# $tried calls failed, $left did not"

# ---- MPI: each call of one of two ranks fails once; `make check`: the first three of a draw among names
two() { # two RANK NAME K COMMAND...: in now/; RANK 9: none fails
    (cd now && FAULT_RANK=$1 FAULT=mpi FAULT_BY=$2 FAULT_AT=$3 FAULT_COUNT=$root/calls SHIM=$shim timeout 500 \
        mpirun --allow-run-as-root --oversubscribe --bind-to none -n 2 sh -c '
        [ $OMPI_COMM_WORLD_RANK = $FAULT_RANK ] || unset FAULT_AT FAULT_COUNT
        LD_PRELOAD=$SHIM exec "$@"' sh "${@:4}") >out 2>err
}
whole_run() { (cd now && steps) 2>why && diff -r now good; }
mpi_point() { # mpi_point RANK NAME K: what is wrong
    anew
    two "$1" "$2" "$3" "${command[@]}" </dev/null; local rc=$?
    if [ $rc -eq 0 ]; then whole_run || echo "status 0, and not whole"; return; fi
    [ $rc -ne 124 ] || echo "does not end"
    grep -q '^wan-train: .' err || echo "said: $(head -c 300 err)"
    grep -Eq 'signal (11|6) |Segmentation' err && echo "crashed: $(head -c 300 err)"
    (cd now && steps) 2>why || echo "not whole: $(head -c 200 why)"
    two 9 - 0 "${command[@]}" </dev/null && whole_run >/dev/null || echo "does not go on: $(head -c 300 err)"
}
if [ "${MPI:-0}" != 1 ] || ! command -v mpirun >/dev/null; then
    skip "calls of MPI fail once" "a build without MPI"
elif [[ "MPI, two ranks" =~ ${ONLY:-.} ]]; then
    command=($train dist.use_megatron_fsdp=true train.train_iters=1)
    rm -rf before/* good calls; anew; : >wrong; : >tried
    two 1 - 0 "${command[@]}" || cat err >&2
    mv now good
    # how often a rank tests its calls depends on how long they take: the first ten of those, of the others all
    awk -v most="$MOST" '$1 == "mpi" { n[$2] += $3 } END { for (k in n) for (i = 1; i <= n[k] && (k != "MPI_Testall" || i <= 10); i++)
        if (n[k] <= most || int(i * most / n[k]) > int((i - 1) * most / n[k])) for (r = 0; r < 2; r++) print k, i, r }' calls |
        LC_ALL=C sort >list
    while read -r k at r; do
        mpi_point "$r" "$k" "$at" >why.out 2>&1
        [ ! -s why.out ] || echo "$k $at on rank $r: $(tr '\n' ' ' <why.out | head -c 400)" >>wrong
        echo x >>tried
    done < <(if [ -n "${FULL-}" ]; then cat list; else grep -E ' 1 |send [1-9] ' list | name=mpi drawn 3; fi)
    [ ! -s wrong ] || cat wrong >&2
    ok "MPI, two ranks: $(wc -l <tried) of $(wc -l <list) calls fail once" [ ! -s wrong ]
fi
for t in "${BIN:-$TOP/build/bin}"/wan-*; do
    for o in --help --version --help-mdoc; do
        fails 1 'stdout.*No space' "$(basename "$t") $o to a full device" sh -c "$t $o >/dev/full"
    done
done
done_testing
