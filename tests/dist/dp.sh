#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Data parallel training: 2 and 3 ranks against one, checkpoints across rank counts, ranks that differ,
# die or hang.  Ranks are oversubscribed processes of this machine.
. "$TOP/tests/lib.sh"
if [ "${MPI:-0}" != 1 ] || ! command -v mpirun >/dev/null; then
    skip "data parallel ranks" "a build without MPI"
    done_testing
fi
export OMP_NUM_THREADS=1 OMPI_MCA_btl_vader_single_copy_mechanism=none
export ASAN_OPTIONS=detect_leaks=0 # Open MPI leaks
T="model.num_layers=3 model.hidden_size=64 model.num_attention_heads=2 model.ffn_hidden_size=96
model.text_dim=32 model.text_len=16 model.freq_dim=32 dataset.F_latents=2 dataset.H_latents=8
dataset.W_latents=8 dataset.context_seq_len=8 dataset.mock_vary=true dataset.mock_samples=20
dataset.seq_length=64 train.global_batch_size=7 optimizer.lr=1e-3 scheduler.lr_decay_style=constant
scheduler.lr_warmup_iters=0 dist.bucket_bytes=16384"
run() { # run RANKS args...
    local ranks=$1; shift
    mpirun --allow-run-as-root --oversubscribe --bind-to none -n "$ranks" \
        wan-train -q --mock --precision fp32 $T "$@"
}
error() { "$OBJ/tests/train/check_debug" "$1" "$2"; }
within() { awk -v e="$1" -v b="$2" 'BEGIN {exit !(e ~ /^[0-9]/ && e + 0 <= b)}'; }
losses() { # largest relative difference of two metrics files of 20 steps
    paste <(jq .loss "$1") <(jq .loss "$2") | awk '{d = ($1 - $2) / $2; if (d < 0) d = -d; if (d > m) m = d}
        END {printf "%.3g", NR == 20 ? m : 9}'
}

ok "one rank" wan-train -q --mock --precision fp32 $T train.train_iters=20 --metrics 1.json \
    debug.dump=1.st checkpoint.save=c1 checkpoint.save_interval=10
for p in 2 3; do
    ok "$p ranks" run $p train.train_iters=20 --metrics $p.json debug.dump=$p.st checkpoint.save=c$p \
        checkpoint.save_interval=10
    e=$(error $p.st 1.st)
    ok "$p ranks: gradients of the first step within 1e-6 of one rank's ($e)" within "$e" 1e-6
    e=$(losses $p.json 1.json)
    ok "$p ranks: loss of 20 steps within 1e-5 ($e)" within "$e" 1e-5
    ok "$p ranks consumed the same samples" [ "$(jq -c '[.consumed_samples,.tokens]' $p.json)" = "$(jq -c '[.consumed_samples,.tokens]' 1.json)" ]
    ok "$p ranks again" run $p train.train_iters=20 checkpoint.save=again$p checkpoint.save_interval=10
    ok "$p ranks: the same bytes again" diff -r c$p again$p
done
ok "the metrics hold the imbalance, the waiting and what was said" jq -se 'all(.[]; .imbalance >= 1 and .imbalance < 2 and
    .s_waiting >= 0 and (.comm.dp_cp.all_reduce | .[0] > 1 and .[1] > 0 and .[2] > 0))' 2.json
ok "sums of all gradients: the same bytes whatever the ranks" [ "$(jq .comm.dp_cp.all_reduce[1] 2.json)" = "$(jq .comm.dp_cp.all_reduce[1] 3.json)" ]
ok "where the weights come from is said once" [ "$(mpirun --allow-run-as-root --oversubscribe --bind-to none -n 3 wan-train --mock \
    --precision fp32 $T train.train_iters=1 checkpoint.save= 2>&1 | grep -Ec 'random weights from|weights from')" = 1 ]
for p in 1 2; do
    cp -r c3 from3on$p
    rm -r from3on$p/iter_0000020
    echo 10 >from3on$p/latest_checkpointed_iteration.txt
    ok "a checkpoint of 3 ranks resumes on $p" run $p train.train_iters=20 checkpoint.save=from3on$p --metrics r$p.json
    e=$( (head -n 10 3.json; cat r$p.json) >j$p.json; losses j$p.json 3.json)
    ok "with the same next samples: loss within 1e-5 ($e)" within "$e" 1e-5
done
ok "more ranks than samples" run 3 train.global_batch_size=2 train.train_iters=2 --metrics few.json

both() { mpirun --allow-run-as-root --oversubscribe --bind-to none \
    -n 1 wan-train -q --mock $T train.train_iters=1 : -n 1 wan-train -q --mock $T train.train_iters=1 "$@"; }
fails 2 'rank 1 was started with another configuration than rank 0: optimizer.lr differs' "a rank with another configuration" \
    both optimizer.lr=2e-3
fails 2 '0: train.exit_interval differs' "... that ends at another step" both train.exit_interval=1
fails 2 '0: checkpoint.save differs' "... that saves where the other does not" both checkpoint.save=elsewhere
ok "what each rank has of its own may differ" both logger.log_interval=3 dataset.num_workers=0
other() { mpirun --allow-run-as-root --oversubscribe --bind-to none -n 2 sh -c \
    'cd $OMPI_COMM_WORLD_RANK && exec wan-train -q --mock --precision fp32 "$@"' sh $T train.train_iters=1 \
    checkpoint.save= "$@"; }
mkdir 0 1
cp -r c1/iter_0000020 0/w
cp -r c1/iter_0000010 1/w
fails 1 'rank 1 starts with other weights' "a rank with other weights" other checkpoint.pretrained_checkpoint=w
for r in 0 1; do cp -r c1/iter_0000010 $r/s; done
sed -i 's/"step": 10/"step": 9/' 1/s/train_state.json
fails 1 'rank 1 starts at step 9, rank 0 at 10' "a rank with another state" other checkpoint.load=s checkpoint.verify=false
fails 1 'nowhere' "a rank that cannot write ends the others" run 2 train.train_iters=1 checkpoint.save=/dev/null/nowhere

start() { # start METRICS args...: two ranks in the background; their pids in $ranks
    (exec mpirun --allow-run-as-root --oversubscribe --bind-to none -n 2 sh -c \
        'echo $$ >pid.$OMPI_COMM_WORLD_RANK; exec wan-train -q --mock --precision fp32 "$@"' sh $T \
        train.train_iters=1000000 --metrics "$@") >"$1.out" 2>"$1.err" &
    job=$!
    for i in $(seq 200); do [ -s "$1" ] && break; sleep 0.05; done
    ranks=$(cat pid.0 pid.1)
}
ended() { # the job ends within 60 s, with a bad status
    local t=0
    while kill -0 $job 2>/dev/null && [ $t -lt 600 ]; do sleep 0.1; t=$((t + 1)); done
    [ $t -lt 600 ] && ! wait $job
}
start dead checkpoint.save=
kill -KILL $(echo $ranks | awk '{print $2}')
ok "a killed rank ends the others" ended
ok "with a sentence that names it" grep -Eq 'rank 1' dead.err
start hung checkpoint.save= dist.dead_seconds=3
kill -STOP $(echo $ranks | awk '{print $2}')
sleep 5
kill -CONT $(echo $ranks | awk '{print $2}') 2>/dev/null
ok "a rank that hangs ends the others" ended
ok "with our sentence that names it" grep -Eq 'rank 1 on .* has not answered' hung.err
# each status is written down by the shell that started the rank
term() { # term RANK: SIGTERM to it, of three
    rm -rf pid.* status.* term stopped
    (exec mpirun --allow-run-as-root --oversubscribe --bind-to none -n 3 sh -c \
        'wan-train -q --mock --precision fp32 "$@" & echo $! >pid.$OMPI_COMM_WORLD_RANK; wait; wait $!
        echo $? >status.$OMPI_COMM_WORLD_RANK' sh $T train.train_iters=1000000 \
        --metrics term checkpoint.save=stopped) >term.out 2>term.err &
    job=$!
    for i in $(seq 200); do [ -s term ] && break; sleep 0.05; done
    kill -TERM "$(cat "pid.$1")"
    wait $job
    [ "$(cat status.*)" = "$(printf '75\n75\n75')" ] || { cat status.* term.err; return 1; }
}
for r in 0 1 2; do
    ok "SIGTERM to rank $r of 3 stops all with status 75" term $r
    s=$(cat stopped/latest_checkpointed_iteration.txt)
    ok "... and one checkpoint, that of the last step" [ "$(ls stopped | tr '\n' ' ')$(tail -n 1 term | jq .step)" = "$(printf 'iter_%07d' $s) latest_checkpointed_iteration.txt $s" ]
    ok "... which goes on" run 2 checkpoint.save=stopped train.train_iters=$((s + 1))
done
done_testing
