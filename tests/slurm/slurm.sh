#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The batch files of examples/jobs under a real Slurm of this machine (cluster.sh): data preparation as
# an array job, training on two tasks, its time limit, preemption, requeue.  `make check-slurm`.
. "$TOP/tests/lib.sh"
. "$TOP/tests/slurm/cluster.sh"
jobs=$TOP/examples/jobs
for f in "$jobs"/*.sbatch; do ok "$(basename "$f") is a script" bash -n "$f"; done
why=$(cluster_why)
[ -n "$why" ] || [ "${MPI:-0}" = 1 ] || why="a build without MPI"
if [ -n "$why" ]; then
    skip "the batch files under Slurm" "$why"
    done_testing
fi
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_btl_vader_single_copy_mechanism=none
export OMP_NUM_THREADS=1 ASAN_OPTIONS=detect_leaks=0 # Open MPI leaks
trap cluster_stop EXIT
trap 'exit 1' INT TERM
if ! cluster_start "$PWD/slurm"; then
    ok "a Slurm of this machine: $why" false
    done_testing
fi
ok "a Slurm of this machine" sinfo

await() { # await SECONDS command...: until it succeeds
    local end=$((SECONDS + $1)); shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || { echo "still not: $*" >&2; squeue >&2; tail -n 5 ./*/slurm-*.out >&2; return 1; }
        sleep 0.2
    done
}
of() { scontrol -o show job "$1" 2>/dev/null | grep -Eo " $2=[^ ]*" | head -n 1 | cut -d= -f2-; } # of ID FIELD
is() { [ "$(of "$1" "$2")" = "$3" ]; }
queued_again() { is "$1" Restarts "$2" && is "$1" JobState PENDING; } # and the step has ended
done_well() { is "$1" JobState COMPLETED && is "$1" ExitCode 0:0; }

# ---- training jobs: a folder each, a configuration whose length is changed while the job is queued
config() { # config STEPS >train.yaml
    cat <<YAML
model: {num_layers: 2, hidden_size: 64, num_attention_heads: 2, ffn_hidden_size: 96, text_dim: 32, text_len: 16, freq_dim: 32}
dataset: {mock: true, F_latents: 2, H_latents: 8, W_latents: 8, context_seq_len: 8, mock_vary: true, mock_samples: 20, seq_length: 64}
train: {global_batch_size: 8, train_iters: $1}
optimizer: {lr: 1.0e-3}
scheduler: {lr_decay_style: constant, lr_warmup_iters: 0}
checkpoint: {save: run, save_interval: 1000000}
YAML
}
train() { # train FOLDER sbatch-options...: prints the id
    local dir=$1; shift
    mkdir "$dir" && config 1000000 >"$dir/train.yaml"
    sbatch --parsable --chdir="$PWD/$dir" --ntasks-per-node=2 --cpus-per-task=1 --gpus-per-node=2 "$@" \
        "$jobs/train.sbatch" train.yaml --device cpu --precision fp32
}
step_of() { cat "$1/run/latest_checkpointed_iteration.txt"; }
reached() { [ "$(tail -n 1 "$1/metrics.jsonl" | jq .step)" -ge "$2" ]; } # reached FOLDER STEP
consistent() { # the one checkpoint is of the last step that was reported, and both ranks ended by it
    local k; k=$(step_of "$1") || return
    [ "$(tail -n 1 "$1/metrics.jsonl" | jq .step)" = "$k" ] &&
        [ "$(cd "$1/run" && echo iter_*)" = "$(printf 'iter_%07d' "$k")" ] &&
        [ -z "$(find "$1/run" -name '*.tmp*' -o -name '.*.new')" ]
}
every_step_once() { jq .step "$1/metrics.jsonl" | cmp - <(seq "$2"); }

ok "a training job is queued" eval 'A=$(train limit --time=1 --signal=TERM@45)'
# ---- beside it, the data
"${EXAMPLES:-$TOP/build/examples}/draw_clips" --copies 1 --frames 9 all >draw.log 2>&1
mkdir -p clips/a clips/b
set -- $(ls all/*.mp4 | head -n 4)
for f in "$1" "$2"; do cp "$f" "${f%.mp4}.json" clips/a/; done
for f in "$3" "$4"; do cp "$f" "${f%.mp4}.json" clips/b/; done
export DATASET_MK=$TOP/examples/dataset/Makefile
prepare() { sbatch --parsable --cpus-per-task=1 "$@" "$jobs/prepare.sbatch" CLIPS=clips MODEL="$TOP/examples/tiny" \
    OUT=shards DECODE="--height 64 --width 64" SPLIT=1,1,0; }
ok "an array job with a task for each part" eval 'P=$(prepare --array=1-2)'
ok "and one that indexes, after it" eval 'I=$(prepare --dependency=afterok:$P)'
ok "the array is done" await 60 eval '[ -f shards/00001/done ] && [ -f shards/00002/done ]'
ok "the index too" await 60 done_well "$I"
ok "the dataset is whole" sh -c 'wan-index --check shards 2>&1 | grep -q "4 samples"'
ok "a task without a part" eval 'N=$(prepare --array=3)'
ok "fails" await 30 eval 'scontrol -o show job $N | grep -q "JobState=FAILED"'
ok "and says so" grep -q 'PARTS=3: shards was begun in 2' "slurm-${N}_3.out"
ok "ranks that Slurm starts without pmix are not many runs of one rank" eval \
    '! srun --mpi=none --overlap -n 2 wan-train -q --mock --dry-run >srun.out 2>&1 && grep -q "srun started 2 processes .*--mpi=pmix" srun.out'

# ---- the time limit
ok "the training job has steps of two ranks" await 30 reached limit 1
ok "... two" [ "$(head -n 1 limit/metrics.jsonl | jq .ranks)" = 2 ]
ok "before its time limit it is stopped and queued again" await 60 queued_again "$A" 1
ok "with one checkpoint, of the last step" consistent limit
k=$(step_of limit)
config $((k + 3)) >limit/train.yaml
scontrol update JobId="$A" TimeLimit=5
ok "it goes on and is done" await 60 done_well "$A"
ok "every step once" every_step_once limit $((k + 3))
ok "the last has a checkpoint" [ "$(step_of limit)" = $((k + 3)) ]

# ---- preemption, then the administrator's requeue
ok "a job of low priority" eval 'B=$(train moved --partition=low --exclusive)'
ok "runs" await 40 reached moved 20
ok "a job of high priority" eval 'H=$(sbatch --parsable --partition=high --exclusive --output=high.out --wrap "sleep 1")'
ok "pushes it back into the queue" await 40 queued_again "$B" 1
ok "with one checkpoint, of the last step" consistent moved
k=$(step_of moved)
ok "and is done" await 40 done_well "$H"
ok "the first one goes on" await 40 reached moved $((k + 20))
ok "it is requeued by hand" scontrol requeue "$B"
ok "and stops" await 40 queued_again "$B" 2
ok "with one checkpoint more, of the last step" eval '[ "$(tail -n 1 moved/metrics.jsonl | jq .step)" = "$(step_of moved)" ]'
end=$(($(step_of moved) + 10))
config $end >moved/train.yaml
ok "it goes on and is done" await 60 done_well "$B"
ok "every step once" every_step_once moved $end
mkdir straight && config $end >straight/train.yaml
straight() { (cd straight && timeout 100 mpirun --oversubscribe --bind-to none -n 2 wan-train -q --config-file train.yaml \
    --device cpu --precision fp32 --metrics metrics.jsonl); }
ok "the same without a stop" straight
last=$(printf 'iter_%07d/transformer' $end)
ok "gives the same weights bit for bit" diff -r "moved/run/$last" "straight/run/$last"

cluster_stop
ok "nothing is left of it" eval '! pgrep -f "$PWD/slurm/"'
done_testing
