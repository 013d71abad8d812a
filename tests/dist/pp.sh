#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Pipeline parallel training: parts of the model on several ranks, packs of different sizes through
# them.  One rank's numbers are one pipeline's, digit by digit: the sums are made in one order.
. "$TOP/tests/lib.sh"
if [ "${MPI:-0}" != 1 ] || ! command -v mpirun >/dev/null; then
    skip "pipeline parallel ranks" "a build without MPI"
    done_testing
fi
. "$TOP/tests/ranks.sh"
T="$T model.num_layers=4"
P=model.pipeline_model_parallel_size V=model.virtual_pipeline_model_parallel_size
bytes() { # bytes RANKS args...
    local f
    run "$@" checkpoint.save=again checkpoint.save_interval=4 || return 1
    for f in transformer optimizer train_state.json; do
        diff -r c1/iter_0000008/$f again/iter_0000008/$f || return 1
    done
    rm -r again
}
same() { ok "$1: weights, moments and state are those of one rank, byte by byte" bytes "${@:2}"; }
trained start
ok "one rank" one --metrics 1.json debug.dump=1.st checkpoint.save=c1 checkpoint.save_interval=4 optimizer.clip_grad=0
same pp2 2 $P=2 optimizer.clip_grad=0
same pp2-groups 2 $P=2 optimizer.clip_grad=0 model.recompute_granularity=full model.recompute_num_layers=2
same pp2-interleaved-groups 2 $P=2 $V=2 optimizer.clip_grad=0 model.recompute_granularity=full model.recompute_num_layers=2
half() { mkdir again && cp -r c1/iter_0000004 again; }
half && same "the second half on three stages" 3 $P=3 optimizer.clip_grad=0
same pp2-interleaved 2 $P=2 $V=3 optimizer.clip_grad=0 model.recompute_granularity=selective
stopped() { run "$@"; [ $? = 75 ]; }
ok "half of it on interleaved stages" stopped 2 $P=2 $V=2 optimizer.clip_grad=0 train.exit_interval=4 checkpoint.save=again
same "the rest on one rank" 1 optimizer.clip_grad=0
ok "one rank, clipped" one --metrics 1.json debug.dump=1.st checkpoint.save=
like_one pp4 4 $P=4 model.recompute_granularity=full checkpoint.save=
like_one pp2-interleaved 2 $P=2 $V=2 checkpoint.save=
like_one pp2-tp2-zero1 8 $P=2 model.tensor_model_parallel_size=2 optimizer.use_distributed_optimizer=true checkpoint.save=
like_one pp2-fsdp2 4 $P=2 dist.use_megatron_fsdp=true checkpoint.save=
like_one pp2-fsdp3-interleaved 6 $P=2 $V=2 dist.use_megatron_fsdp=true checkpoint.save=

# fewer micro-batches than stages; a pipeline without any, beside one that has some
few="train.global_batch_size=1 dataset.mock_samples=5"
ok "one rank, one sample a step" one $few --metrics 1.json debug.dump=1.st checkpoint.save=
like_one pp3-one-micro 3 $P=3 $few checkpoint.save=
like_one pp2-one-micro-interleaved 2 $P=2 $V=3 $few checkpoint.save=
like_one pp2-dp2-one-idle 4 $P=2 $V=2 $few checkpoint.save=
like_one pp2-fsdp2-one-idle 4 $P=2 $few dist.use_megatron_fsdp=true checkpoint.save=

fails 1 'model has 6 parts to share out' "more stages than parts" run 7 $P=7 checkpoint.save=
fails 1 'on one pipeline rank' "several pieces on one stage" one $V=2 checkpoint.save=
done_testing
