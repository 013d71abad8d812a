#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A checkpoint of any layout goes on under any other: the same weights, the same next samples.
. "$TOP/tests/lib.sh"
if [ "${MPI:-0}" != 1 ] || ! command -v mpirun >/dev/null; then
    skip "checkpoints across layouts" "a build without MPI"
    done_testing
fi
STEPS=6
. "$TOP/tests/ranks.sh"
layout() { # layout NAME: ranks and keys
    case $1 in
    one) echo 1 ;;
    dp2) echo 2 ;;
    tp2) echo 2 model.tensor_model_parallel_size=2 ;;
    tp3) echo 3 model.tensor_model_parallel_size=3 ;;
    cp2) echo 2 model.context_parallel_size=2 ;;
    tp2cp2) echo 4 model.tensor_model_parallel_size=2 model.context_parallel_size=2 ;;
    fsdp3) echo 3 dist.use_megatron_fsdp=true ;;
    tp2zero1) echo 4 model.tensor_model_parallel_size=2 optimizer.use_distributed_optimizer=true ;;
    esac
}
ok "one rank" run 1 --metrics one.json checkpoint.save=one checkpoint.save_interval=3
for pair in "tp2 one tp3 fsdp3" "tp2cp2 one cp2 tp2zero1" "fsdp3 one cp2 tp2zero1"; do
    set -- $pair
    from=$1; shift
    ok "$from" run $(layout $from) --metrics $from.json checkpoint.save=$from checkpoint.save_interval=3
    ok "$from again: the same bytes" eval 'run $(layout $from) checkpoint.save=$from.again checkpoint.save_interval=3 &&
        diff -r $from $from.again'
    ok "$from: files of one rank's checkpoint" diff <(cd one && find . -type f | sort) <(cd $from && find . -type f | sort)
    for to; do
        mkdir $from.$to
        cp -r $from/iter_0000003 $from.$to
        ok "$from resumes as $to" run $(layout $to) checkpoint.save=$from.$to --metrics $from.$to.json
        e=$( (head -n 3 $from.json; cat $from.$to.json) >j.json; losses j.json one.json)
        ok "... with the losses of one rank ($e)" within "$e" 1e-5
    done
done
# a learning rate of 0 writes what was loaded: bit for bit
from=fsdp3/iter_0000003
for to in one dp2 tp2 tp3 tp2zero1 fsdp3; do
    ok "loaded as $to, a step that moves nothing" run $(layout $to) train.train_iters=4 optimizer.lr=0 \
        optimizer.min_lr=0 optimizer.weight_decay=0 checkpoint.load=$from checkpoint.save=still.$to checkpoint.verify=false
    mv still.$to/iter_0000004 still.$to/w
    sed -i 's/"step": *4/"step": 3/' still.$to/w/train_state.json && rm still.$to/w/manifest.json
    ok "... and written: the same weights bit for bit" diff -r fsdp3/iter_0000003/transformer still.$to/w/transformer
    from=still.$to/w
done
done_testing
