#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Context parallel training: every sample's tokens shared out over ranks, evenly and not, whose
# attention goes round a ring, is an all-to-all of heads, or both.
. "$TOP/tests/lib.sh"
if [ "${MPI:-0}" != 1 ] || ! command -v mpirun >/dev/null; then
    skip "context parallel ranks" "a build without MPI"
    done_testing
fi
. "$TOP/tests/ranks.sh"
trained start
ok "one rank" one --metrics 1.json debug.dump=1.st checkpoint.save=
C=model.context_parallel_size
like_one cp2 2 $C=2 checkpoint.save=
like_one cp3 3 $C=3 checkpoint.save=
like_one cp2-dp2 4 $C=2 model.recompute_granularity=full model.recompute_num_layers=2 checkpoint.save=
like_one cp2-tp2 4 $C=2 model.tensor_model_parallel_size=2 checkpoint.save=
K=model.cp_comm_type
like_one cp2-a2a 2 $C=2 $K=a2a checkpoint.save= # 3 heads: uneven
like_one cp3-a2a 3 $C=3 $K=a2a model.recompute_granularity=selective checkpoint.save=
like_one cp4-both 4 $C=4 $K=a2a+p2p checkpoint.save=
like_one cp2-tp2-both 4 $C=2 $K=a2a+p2p model.tensor_model_parallel_size=2 checkpoint.save=
again() { # again RANKS keys...: twice, the same bytes
    rm -rf c1 c2
    run "$@" checkpoint.save=c1 >/dev/null 2>&1 && run "$@" checkpoint.save=c2 >/dev/null 2>&1 && diff -r c1 c2
}
ok "the ring twice: the same bytes" again 2 $C=2
ok "all-to-all twice: the same bytes" again 2 $C=2 $K=a2a
ok "both twice: the same bytes" again 4 $C=4 $K=a2a+p2p
fails 1 '3 heads on 4 context parallel ranks, a rank would have none' "more ranks than heads" \
    run 4 $C=4 $K=a2a checkpoint.save=
fails 1 '1 head on 2 context parallel ranks' "the same on one tensor parallel rank" \
    run 4 $C=2 $K=a2a model.tensor_model_parallel_size=2 checkpoint.save=
fails 2 'model.cp_comm_type' "a way that does not exist" run 2 $C=2 $K=ring checkpoint.save=
done_testing
