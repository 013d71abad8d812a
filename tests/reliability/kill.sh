# SPDX-License-Identifier: Apache-2.0
# A tool is killed before, half-way and after each change that it makes to the file system.  Afterwards
# every file under a final name is the old one or the new one and loads, and the same command, called
# again without --force, finishes as if nothing had been.
#
# `make check` tries POINTS changes of each tool, FULL=1 all of them; RANDOMLY=N so many of each by chance
# (SEED=1), with LARGE=1 of larger inputs, for at most LONGEST seconds a tool.  ONLY=REGEX names tools.
. "$TOP/tests/lib.sh"
. "$TOP/tests/reliability/common"
POINTS=${POINTS:-3} tried=0 exchange= killed=137
RANDOM=${SEED:-1}
victim() { "$AT" $exchange -r "$PWD" "$@" -- "${command[@]}"; }

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
    if [ -z "${RANDOMLY-}" ]; then seq "$1" | some | awk '{ print; print $1, "half" }'; return; fi
    for ((i = 0; i < RANDOMLY; i++)); do
        echo $(((RANDOM * 32768 + RANDOM) % $1 + 1)) "$( ((RANDOM % 2)) && echo half)"
    done
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
        [ -z "${LONGEST-}" ] || [ $((SECONDS - began)) -lt "$LONGEST" ] || break
        point $p </dev/null | sed "s/^/change $p of $all: /" >>wrong
    done < <(which "$all")
    tried=$((tried + $(wc -l <tried)))
    [ ! -s wrong ] || cat wrong >&2
    ok "$name: $all changes, killed at $(wc -l <tried) points" [ ! -s wrong ]
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
    killed=1 # what the launcher gives, when another rank has noticed first
    for r in 0 ${FULL:+2}; do
        victim() { ranks $r "$AT" -r "$PWD" "$@" -- "${command[@]}"; }
        rm -rf before/*
        every "4 ranks, save, rank $r" $wide train.train_iters=1
    done
    (cd before && ranks 9 -- $wide train.train_iters=1)
    for r in ${FULL:+0} 3; do
        victim() { ranks $r "$AT" -r "$PWD" "$@" -- "${command[@]}"; }
        every "4 ranks, asynchronous, rank $r" $wide train.train_iters=3 checkpoint.save_interval=1 checkpoint.async_save=true checkpoint.keep=2
    done
fi
echo "# $tried points"
done_testing
