#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Checkpoints that all ranks write together, before the next step or behind it.
. "$TOP/tests/lib.sh"
if [ "${MPI:-0}" != 1 ] || ! command -v mpirun >/dev/null; then
    skip "checkpoints of several ranks" "a build without MPI"
    done_testing
fi
STEPS=4
. "$TOP/tests/ranks.sh"
ASAN_OPTIONS=verify_asan_link_order=0:$ASAN_OPTIONS
S="checkpoint.save_interval=2"
A="$S checkpoint.async_save=true"
F=dist.use_megatron_fsdp=true
STUCK_SO=$OBJ/tests/dist/stuck.so
ok "three shards" run 3 $F $S checkpoint.save=now
ok "a file is summed up from what the ranks wrote" [ "$(jq '[.files[] | select(.crc32c)] | length' now/iter_0000004/manifest.json)" = 3 ]
ok "... as one that reads it finds" run 1 $S checkpoint.save=now train.train_iters=5
rm -r now/iter_0000005 && echo 4 >now/latest_checkpointed_iteration.txt
ok "written behind the steps" run 3 $F $A checkpoint.save=behind
same_files() { diff -r -x run_config.yaml -x manifest.json "$1" "$2"; } # these have checkpoint.async_save
ok "... the same bytes" same_files now behind
ok "one rank writes behind" one $A checkpoint.save=alone
ok "... what it writes before the next step" one $S checkpoint.save=alone.now
ok "... the same bytes" same_files alone.now alone
ok "many files of bf16 weights" run 3 $F $A checkpoint.save=parts checkpoint.dtype=bf16 checkpoint.max_shard_bytes=100000
ok "... as one rank makes them" one $S checkpoint.save=parts1 checkpoint.dtype=bf16 checkpoint.max_shard_bytes=100000
ok "... by name" diff <(cd parts && find . -type f | sort) <(cd parts1 && find . -type f | sort)
ok "... resumed by another layout, verified" run 2 checkpoint.save=parts checkpoint.dtype=bf16 train.train_iters=5
ok "the plan counts the copy: masters and two moments" awk '$1 == "optimizer" {o = $2} $1 == "snapshot" {s = $2}
    END {exit !(o > 1 && s > 1.48 * o && s < 1.52 * o)}' <(run 2 $F $A --plan model.hidden_size=384 checkpoint.save=planned)

slow() { # slow NAME FOLDER: two shards in the background whose writes wait for the file NAME.go
    local name=$1 to=$2
    (export LD_PRELOAD=$STUCK_SO STUCK=$PWD/$name.go
     exec mpirun --allow-run-as-root --oversubscribe --bind-to none -n 2 sh -c \
        'echo $$ >pid.$OMPI_COMM_WORLD_RANK; exec wan-train -q --mock --precision fp32 "$@"' sh $T $F \
        checkpoint.async_save=true checkpoint.save_interval=10 \
        checkpoint.save=$to train.train_iters=4000 --metrics $name.json) >$name.out 2>$name.err &
    job=$!
}
reached() { # reached FILE LINES: within a minute
    for _ in $(seq 300); do
        [ "$(wc -l 2>/dev/null <"$1" || echo 0)" -ge "$2" ] && return
        sleep 0.1
    done
    return 1
}
slow go go
ok "training goes on while nothing can be written" reached go.json 15
ok "... and the checkpoint has no name yet" [ ! -e go/latest_checkpointed_iteration.txt ]
: >go.go
for _ in $(seq 600); do [ -e go/latest_checkpointed_iteration.txt ] && break; sleep 0.1; done
ok "it has when all is written" [ -e go/latest_checkpointed_iteration.txt ]
kill -TERM "$(cat pid.0)"
wait $job
ok "a signal ends the run with 75" [ $? = 75 ]
ok "... with the checkpoint of its last step" [ "$(cat go/latest_checkpointed_iteration.txt)" = "$(tail -n 1 go.json | jq .step)" ]
ok "... that resumes" run 3 $F checkpoint.save=go train.train_iters=$(($(cat go/latest_checkpointed_iteration.txt) + 1))

ok "two steps" run 2 $F $S checkpoint.save=full train.train_iters=2
slow full full
reached full.json 15
printf full >full.go
wait $job
ok "a disk that fills up meanwhile ends the run" [ $? = 1 ]
ok "... which names the file" grep -Eq 'full/.iter_[0-9]*.tmp/transformer/.*safetensors: tensor .*: cannot be written: No space' full.err
ok "... and leaves the checkpoint before alone" [ "$(ls -A full | tr '\n' ' ')" = "iter_0000002 latest_checkpointed_iteration.txt " ]
slow dead full
reached dead.json 15
kill -KILL "$(cat pid.1)"
wait $job
ok "killed while it writes" [ -d full/.iter_0000010.tmp ]
ok "... the checkpoint before resumes" run 3 $F checkpoint.save=full train.train_iters=3
ok "... and what was unfinished is gone" [ "$(ls -A full | tr '\n' ' ')" = "iter_0000002 iter_0000003 latest_checkpointed_iteration.txt " ]
done_testing
