#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Two ranks of one thread beside one rank of two threads, training: tokens/s, and the ratio that has to be
# 0.9 at least.  The best of ROUNDS rounds, which take turns, so that other work on the machine falls on all.
#
#     make bench-dist            ROUNDS=5 WIDTH=1536 LAYERS=2 LAYOUTS="cp2 cp2-a2a"
set -eu
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
rounds=${ROUNDS:-5} width=${WIDTH:-1536} layers=${LAYERS:-2}
keys="model.num_layers=$layers model.hidden_size=$width model.num_attention_heads=12 model.ffn_hidden_size=8960
model.text_dim=64 model.text_len=32 dataset.F_latents=1 dataset.H_latents=64 dataset.W_latents=64
dataset.context_seq_len=16 dataset.mock_samples=4 train.global_batch_size=2 train.train_iters=3 checkpoint.save="
cp=model.context_parallel_size
names=(one ${LAYOUTS:-fsdp2 cp2 cp2-a2a})
declare -A best args=(
    [fsdp2]="dist.use_megatron_fsdp=true"
    [cp2]="$cp=2"
    [cp2-a2a]="$cp=2 model.cp_comm_type=a2a"
)
run() { # run NAME: tokens/s of its fastest step but the first
    local threads=1 start=(mpirun --oversubscribe --bind-to none -n 2)
    [ "$1" = one ] && threads=2 start=(env)
    OMP_NUM_THREADS=$threads "${start[@]}" wan-train -q --mock --device cpu $keys ${args[$1]:-} |
        jq -s '[.[1:][].tokens_per_s] | max'
}
for ((i = 0; i < rounds; i++)); do
    for name in "${names[@]}"; do
        t=$(run "$name")
        best[$name]=$(jq -n "[$t, ${best[$name]:-0}] | max")
    done
done
printf '%-10s %10s %8s\n' layout tokens/s ratio
for name in "${names[@]}"; do
    awk -v n="$name" -v t="${best[$name]}" -v o="${best[one]}" 'BEGIN { printf "%-10s %10.1f %8.2f\n", n, t, t / o }'
done
