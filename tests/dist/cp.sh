#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Context parallel training: every sample's tokens shared out over a ring of ranks, evenly and not.
. "$TOP/tests/lib.sh"
if [ "${MPI:-0}" != 1 ] || ! command -v mpirun >/dev/null; then
    skip "context parallel ranks" "a build without MPI"
    done_testing
fi
. "$TOP/tests/ranks.sh"
ok "one rank" one --metrics 1.json debug.dump=1.st checkpoint.save=
C=model.context_parallel_size
like_one cp2 2 $C=2 checkpoint.save=
like_one cp3 3 $C=3 checkpoint.save=
like_one cp2-dp2 4 $C=2 model.recompute_granularity=full checkpoint.save=
like_one cp2-tp2 4 $C=2 model.tensor_model_parallel_size=2 checkpoint.save=
run 2 $C=2 checkpoint.save=c1 >/dev/null 2>&1
run 2 $C=2 checkpoint.save=c2 >/dev/null 2>&1
ok "the same layout twice: the same bytes" diff -r c1 c2
done_testing
