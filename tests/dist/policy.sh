#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Weights that run out of range: under every axis all ranks leave out the same steps, name the same parameter,
# and give up at the same one, as one rank does.
. "$TOP/tests/lib.sh"
if [ "${MPI:-0}" != 1 ] || ! command -v mpirun >/dev/null; then
    skip "steps that all ranks leave out" "a build without MPI"
    done_testing
fi
. "$TOP/tests/ranks.sh"
B="optimizer.lr=1000 optimizer.weight_decay=1000 train.max_skipped=3 checkpoint.save="
says='wan-train: step 5: the loss is not finite, first in the gradient of .*, for 4 steps in a row'
fails 1 "$says" "one rank gives up" one $B --metrics 1.json
cp fails.err 1.err
skipped() { jq -c '[.step, .skipped]' "$1"; }
while read -r name args; do
    fails 1 "$says" "$name gives up" run 2 $args $B --metrics n.json </dev/null
    ok "... after the steps that one rank leaves out, with its sentences" \
        diff <(skipped 1.json; grep 'made no update' 1.err) <(skipped n.json; grep 'made no update' fails.err)
done <<'LAYOUTS'
dp2
fsdp2 dist.use_megatron_fsdp=true
zero1-2 optimizer.use_distributed_optimizer=true
tp2 model.tensor_model_parallel_size=2
cp2 model.context_parallel_size=2
pp2 model.pipeline_model_parallel_size=2
LAYOUTS
done_testing
