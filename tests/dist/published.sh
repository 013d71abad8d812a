#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Configurations as they are published, for 8 GPUs or many more, on 8 ranks of this machine: the files as
# they are, only sizes of the model and the data made small by key=value; losses as of one rank.
. "$TOP/tests/lib.sh"
if [ "${MPI:-0}" != 1 ] || ! command -v mpirun >/dev/null; then
    skip "published configurations" "a build without MPI"
    done_testing
fi
STEPS=2
. "$TOP/tests/ranks.sh"
S="model.num_layers=2 model.hidden_size=96 model.num_attention_heads=3 model.ffn_hidden_size=64
model.crossattn_emb_size=96 model.text_dim=32 model.text_len=16 model.freq_dim=32 dataset.F_latents=2
dataset.H_latents=8 dataset.W_latents=8 dataset.context_seq_len=8 dataset.mock_vary=true"
T= # the file says the rest
laid_out() { # laid_out FILE MESH: by its own keys, on 8 ranks
    mpirun --allow-run-as-root --oversubscribe --bind-to none -n 8 wan-train --mock --plan --config-file "$1" $S |
        grep -q "^layout  *$2"
}
published() { # published FILE MESH
    local f=$1 mesh=$2 name e
    name=$(basename "$f" .yaml)
    ok "$name on one rank" one --config-file "$f" $S checkpoint.save= --metrics 1.json model.tensor_model_parallel_size=1 \
        model.context_parallel_size=1 model.pipeline_model_parallel_size=1 model.sequence_parallel=false
    ok "$name on 8" run 8 --config-file "$f" $S checkpoint.save= --metrics 8.json
    e=$(losses 8.json 1.json)
    ok "$name: losses of one rank ($e)" within "$e" 1e-5
    ok "$name: is laid out as it says, $mesh" laid_out "$f" "$mesh"
}
for dir in "$TOP/tests/data/yaml:" "$SAMPLES/yaml:dfm_"; do
    at=${dir%%:*} before=${dir##*:}
    [ -e "$at/${before}wan_14B.yaml" ] || { skip "the published files themselves" "$at is not there"; continue; }
    published "$at/${before}wan_1_3B.yaml" 'pp 1 x dp 1 .*x cp 8 x tp 1'
    published "$at/${before}wan_14B.yaml" 'pp 1 x dp 1 .*x cp 4 x tp 2'
    published "$at/${before}h100_perf${before:+_pretrain_mock}.yaml" 'pp 1 x dp 1 .*x cp 4 x tp 2'
    for f in "$at/${before}"{b200_perf,gb200_perf_pretrain_mock}.yaml; do
        [ -e "$f" ] && published "$f" 'pp 1 x dp 4 .*x cp 2 x tp 1'
    done
done
done_testing
