#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Tensor parallel training: products and heads shared out over ranks, evenly and not.
. "$TOP/tests/lib.sh"
if [ "${MPI:-0}" != 1 ] || ! command -v mpirun >/dev/null; then
    skip "tensor parallel ranks" "a build without MPI"
    done_testing
fi
. "$TOP/tests/ranks.sh"
ok "one rank" one --metrics 1.json debug.dump=1.st checkpoint.save=
like_one tp2 2 model.tensor_model_parallel_size=2 checkpoint.save=
like_one tp3 3 model.tensor_model_parallel_size=3 checkpoint.save=
like_one tp2-dp2 4 model.tensor_model_parallel_size=2 checkpoint.save=
like_one tp2-full 2 model.tensor_model_parallel_size=2 model.recompute_granularity=full checkpoint.save=
like_one tp2-selective 2 model.tensor_model_parallel_size=2 model.recompute_granularity=selective checkpoint.save=
fails 1 'a rank would have none' "more ranks than heads" run 4 model.tensor_model_parallel_size=4 checkpoint.save=
fails 1 'a model of type dit on several tensor parallel ranks: not supported yet' "a DiT, whose gradients are not summed" \
    mpirun --allow-run-as-root --oversubscribe --bind-to none -n 2 wan-train -q --mock --plan model.type=dit \
    model.size=dit-s model.tensor_model_parallel_size=2
done_testing
