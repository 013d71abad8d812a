#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# One rank of a training run is killed, stopped, slowed, or started with another configuration or another
# build, at the start or in the middle: the others end within a minute with a sentence that names it.
#
#     lost.sh                one of each kind, less than half a minute
#     FAULTS=100 SEED=1      so many random ones on 2 to 8 ranks (make check-faults)
. "$TOP/tests/lib.sh"
if [ "${MPI:-0}" != 1 ] || ! command -v mpirun >/dev/null; then
    skip "faults of ranks" "a build without MPI"
    done_testing
fi
export OMP_NUM_THREADS=1 OMPI_MCA_btl_vader_single_copy_mechanism=none
export ASAN_OPTIONS=detect_leaks=0 # Open MPI leaks
HOST=$(uname -n)
T="model.num_layers=1 model.hidden_size=32 model.num_attention_heads=2 model.ffn_hidden_size=32
model.text_dim=32 model.text_len=16 model.freq_dim=32 dataset.F_latents=1 dataset.H_latents=4
dataset.W_latents=4 dataset.context_seq_len=8 dataset.mock_samples=8 dataset.seq_length=64
train.global_batch_size=8 train.train_iters=1000000 checkpoint.save= logger.log_interval=1"
# the same program in another version
sed 's/0\.1\.0 (/0.1.9 (/' "$(command -v wan-train)" >other-build
chmod +x other-build
export OTHER=$PWD/other-build

cat >rank.sh <<'RANK'
r=$OMPI_COMM_WORLD_RANK tool=wan-train
echo $$ >pid.$r
if [ $r = "$VICTIM" ]; then
    case $FAULT in
    stop-before) kill -STOP $$ ;;
    configuration) set -- "$@" optimizer.lr=2e-3 ;;
    build) tool=$OTHER ;;
    away) exec sleep 1000 ;;
    esac
fi
exec $tool -q --mock --precision fp32 "$@"
RANK

begin() { # begin RANKS FAULT VICTIM key=value...: in the background; $job
    rm -f pid.* metrics
    (exec env FAULT=$2 VICTIM=$3 mpirun --allow-run-as-root --oversubscribe --bind-to none -n "$1" \
        sh rank.sh $T --metrics metrics "${@:4}") >out 2>err &
    job=$!
}
await() { # await FILE: it has something in it
    for i in $(seq 600); do [ -s "$1" ] && return; sleep 0.05; done
    return 1
}
gone() { # no rank runs, or is stopped
    local p s
    for p in $(cat pid.*); do
        s=$(awk '/^State:/ { print $2 }' "/proc/$p/status" 2>/dev/null)
        [ "${s:-Z}" = Z ] || return 1
    done
}
ended() { # the job ends within a minute, with a bad status; 2: all ranks did, mpirun did not
    local t=0 rc=1
    while kill -0 $job 2>/dev/null && [ $t -lt ${PATIENCE:-600} ]; do sleep 0.1; t=$((t + 1)); done
    if [ $t -ge ${PATIENCE:-600} ]; then
        gone && rc=2
        kill -KILL $job $(cat pid.*) 2>/dev/null
        wait $job
        return $rc
    fi
    ! wait $job
}
moment() { perl -e 'select undef, undef, undef, rand $ARGV[0]' "$1"; } # up to so many seconds

# who is named, and how
lost="rank VICTIM on $HOST \\(process [0-9]+\\) "
call='; its last call was [a-z_]+ of [0-9]+ bytes, number [0-9]+ in group [a-z_]+|; it has made no call yet'
sentence() { # sentence FAULT
    case $1 in
    kill) echo "(${lost}has ended.*($call))" ;;
    stop) echo "(${lost}has not answered for [0-9]+ seconds.*($call))" ;;
    kill-start) echo "($(sentence kill))|process rank VICTIM with PID .* on node|rank VICTIM on $HOST has given no sign|rank VICTIM has not come" ;;
    stop-start) echo "($(sentence stop))|rank VICTIM on $HOST has (not come to the start|given no sign of life)|rank VICTIM has not come" ;;
    stop-before | away) echo "rank VICTIM on $HOST has not come to the start for [0-9]+ seconds" ;;
    configuration) echo 'rank [0-9]+ was started with another configuration than rank 0: optimizer.lr differs' ;;
    build) echo 'rank [0-9]+ on .* runs 0\.1\.[09] .*, rank 0 on .* runs 0\.1\.[09] ' ;;
    esac
}
launcher=0
trial() { # trial RANKS FAULT VICTIM: true when all ended and the victim was named
    local rc
    once "$@"; rc=$?
    [ $rc = 2 ] || return $rc
    launcher=$((launcher + 1)) # Open MPI 4.1: "PMIX ERROR: UNREACHABLE" where a process ends during its start
    once "$@"
}
once() {
    local dead=3 rc
    [ "$1" -gt 4 ] && dead=5
    begin "$1" "$2" "$3" dist.dead_seconds=$dead
    case $2 in
    kill | stop) await metrics && moment 1 ;;
    *-start) await "pid.$3" && moment 0.7 ;;
    esac
    case $2 in
    kill*) kill -KILL "$(cat "pid.$3")" ;;
    stop | stop-start) kill -STOP "$(cat "pid.$3")" ;;
    esac
    ended; rc=$?
    [ $rc = 2 ] && return 2
    [ $rc = 0 ] || { echo "did not end in a minute, or ended well" >&2; cat err >&2; return 1; }
    local re; re=$(sentence "$2" | sed "s/VICTIM/$3/g")
    grep -Eq "$re" err && return
    echo "nobody says: $re" >&2
    cat err >&2
    return 1
}
slowed() { # slowed RANKS VICTIM: stops and goes on; nobody is accused
    begin "$1" none "$2" train.train_iters=40 dist.dead_seconds=10 # it runs: other programs may stop it too
    await "pid.$2"
    local pid; pid=$(cat "pid.$2")
    while kill -STOP "$pid" 2>/dev/null; do sleep 0.3; kill -CONT "$pid" 2>/dev/null; sleep 0.1; done
    wait $job || { cat err >&2; return 1; }
}

if [ "${FAULTS:-0}" -gt 0 ]; then
    RANDOM=${SEED:-1}
    faults=(kill stop kill-start stop-start stop-before away configuration build slowed)
    for i in $(seq "$FAULTS"); do
        p=$((RANDOM % 7 + 2)) fault=${faults[RANDOM % ${#faults[@]}]}
        victim=$((RANDOM % p))
        case $((RANDOM % 3)) in 0) victim=0 ;; 1) victim=$((p - 1)) ;; esac
        began=$SECONDS
        if [ $fault = slowed ]; then
            ok "$i: rank $victim of $p slowed" slowed $p $victim
        else
            ok "$i: rank $victim of $p: $fault" trial $p $fault $victim
        fi
        echo "# $((SECONDS - began)) s"
    done
    echo "# made again because mpirun stayed when all ranks had ended: $launcher"
    done_testing
fi
ok "the last rank stopped" trial 2 stop 1
ok "the first rank stopped" trial 3 stop 0
ok "a rank killed" trial 3 kill 1
ok "a rank stopped before it began" trial 3 stop-before 2
ok "a rank with another configuration" trial 2 configuration 1
ok "a rank of another build" trial 2 build 1
ok "a rank that is slow is not accused" slowed 2 1
done_testing
