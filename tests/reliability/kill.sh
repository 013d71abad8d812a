# SPDX-License-Identifier: Apache-2.0
# A tool is killed before, half-way and after each change that it makes to the file system.  Afterwards
# every file under a final name is the old one or the new one and loads, and the same command, called
# again without --force, finishes as if nothing had been.
#
# `make check` tries POINTS changes of each tool.  FULL=1 looks at all of them: the tool runs once, its folder is
# copied before and half-way each change (at.c, snap), and each state that differs from all others is tried, which
# is what a kill leaves but for locks and children; some real kills beside them.  RANDOMLY=N kills so many times
# by chance (SEED=1).  LONGEST=SECONDS: of each tool no point or state after that time.  LARGE=1: larger inputs.
# ONLY=REGEX names tools; PART=I/N tries every N-th state, from the I-th, and FROM=K leaves out those before the K-th.
. "$TOP/tests/lib.sh"
. "$TOP/tests/reliability/common"
POINTS=${POINTS:-$([ -n "${FULL-}" ] && echo 9 || echo 3)} tried=0 snapped=0 states=0 exchange= killed=137
RANDOM=${SEED:-1}
victim() { "$AT" $exchange -r "$PWD" "$@" -- "${command[@]}"; }
snapper() { victim "$@"; }

point() { # point K [half]: nothing, or what is wrong
    local rc
    anew
    into victim kill "$@"; rc=$?
    [ $rc -ne 98 ] || return 0 # no write: there is no half of it
    [ $rc -eq 137 ] || [ $rc -eq "$killed" ] || echo "not killed ($rc): $(head -c 200 err)"
    echo x >>tried
    judge
}
which() { # which ALL: a line "K" or "K half" for each point
    local i
    if [ -z "${RANDOMLY-}" ]; then seq "$1" | FULL='' some | awk '{ print; print $1, "half" }'; return; fi
    for ((i = 0; i < RANDOMLY; i++)); do
        echo $(((RANDOM * 32768 + RANDOM) % $1 + 1)) "$( ((RANDOM % 2)) && echo half)"
    done
}
# all NAME: every state of one run; what is wrong is added to wrong, and their numbers to snapped and states
all_states() {
    local n here=0
    anew; rm -rf states; mkdir states
    into snapper snap ../states || { echo "not finished: $(head -c 300 err)" >>wrong; return; }
    diff -r now good >/dev/null || echo "another result than without being looked at" >>wrong
    for n in $(cut -d' ' -f2 states/points | awk '!seen[$1]++' | part); do
        ! late || break
        rm -rf now; mv "states/$n" now
        judge </dev/null >why
        [ ! -s why ] || sed "s/^/at $(awk -v n="$n" '$2 == n { printf "%s ", $1 }' states/points | head -c 60): /" why >>wrong
        here=$((here + 1))
    done
    states=$((states + here)) snapped=$((snapped + $(wc -l <states/points)))
    echo ", and $here of $(cut -d' ' -f2 states/points | sort -u | wc -l) states of $(wc -l <states/points) points" >looked
    rm -rf states
}
every() {
    local name=$1 all p began=$SECONDS; shift
    [[ $name =~ ${ONLY:-.} ]] || return
    command=("$@")
    anew; rm -rf good; : >tried; : >wrong
    into victim -c "$root/count" kill 0 || { ok "$name runs: $(head -c 300 err)" false; return; }
    mv now good
    all=$(cat count)
    while read -r p; do
        ! late || break
        point $p </dev/null | sed "s/^/change $p of $all: /" >>wrong
    done < <(which "$all")
    tried=$((tried + $(wc -l <tried)))
    : >looked; [ -z "${FULL-}" ] || [ -n "${RANDOMLY-}" ] || [ -n "${seen-}" ] || all_states
    [ ! -s wrong ] || cat wrong >&2
    ok "$name: $all changes, killed at $(wc -l <tried) points$(cat looked)" [ ! -s wrong ]
}
. "$TOP/tests/reliability/scenarios"

# one of four ranks is killed, the others are ended by the launcher
ranks() { # ranks VICTIM ARG... : the first words of victim() come as ARG
    local victim=$1; shift
    timeout 100 mpirun --allow-run-as-root --oversubscribe --bind-to none -n 4 sh -c '
        victim=$1; shift
        if [ $OMPI_COMM_WORLD_RANK = $victim ]; then exec "$@"; fi
        while [ "$1" != -- ]; do shift; done; shift; exec "$@"' sh "$victim" "$@"
}
if [ "${MPI:-0}" != 1 ] || ! command -v mpirun >/dev/null; then
    skip "4 ranks" "a build without MPI"
else
    loads() { steps; }
    again() { ranks 9 -- "${command[@]}"; }
    wide="$train dist.use_megatron_fsdp=true"
    snapper() { "$AT" -r "$PWD" "$@" -- "$BASH" -c "$(declare -f ranks); "'ranks 9 -- "$@"' bash "${command[@]}"; } # of all four
    seen= # the states of all ranks are the same, whichever of them is killed
    killed=1 # what the launcher gives, when another rank has noticed first
    for r in 0 ${FULL:+2}; do
        victim() { ranks $r "$AT" -r "$PWD" "$@" -- "${command[@]}"; }
        rm -rf before/*
        every "4 ranks, save, rank $r" $wide train.train_iters=1
        seen=1
    done
    (cd before && ranks 9 -- $wide train.train_iters=2 checkpoint.save_interval=1)
    seen=
    for r in ${FULL:+0 1}; do
        victim() { ranks $r "$AT" -r "$PWD" "$@" -- "${command[@]}"; }
        every "4 ranks, save again, rank $r" $wide checkpoint.ckpt_step=1 train.train_iters=2 checkpoint.keep=2 optimizer.lr=1e-2
        seen=1
    done
    rm -rf before/*
    (cd before && ranks 9 -- $wide train.train_iters=1)
    seen=
    for r in ${FULL:+0} 3; do
        victim() { ranks $r "$AT" -r "$PWD" "$@" -- "${command[@]}"; }
        every "4 ranks, asynchronous, rank $r" $wide train.train_iters=3 checkpoint.save_interval=1 checkpoint.async_save=true checkpoint.keep=2
        seen=1
    done
fi
echo "# killed at $tried points; $states states of $snapped points"
done_testing
