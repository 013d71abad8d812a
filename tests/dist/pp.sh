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
ok "one rank" one --metrics 1.json debug.dump=1.st checkpoint.save=c1
P=model.pipeline_model_parallel_size
like_one pp2 2 $P=2 checkpoint.save=
like_one pp4 4 $P=4 model.recompute_granularity=full checkpoint.save=
done_testing
