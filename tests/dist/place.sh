#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Which device a rank takes, with a plugin that calls the CPU a GPU; and processes that srun started
# without MPI.
. "$TOP/tests/lib.sh"
T="model.num_layers=1 model.hidden_size=32 model.num_attention_heads=2 model.ffn_hidden_size=32
model.text_dim=32 model.text_len=16 model.freq_dim=32 dataset.F_latents=1 dataset.H_latents=4
dataset.W_latents=4 dataset.context_seq_len=8 dataset.mock_samples=8 dataset.seq_length=64
train.global_batch_size=2 train.train_iters=1 checkpoint.save="
fails 1 'srun started 4 processes .* --mpi=pmix' "srun without MPI" \
    env SLURM_STEP_NUM_TASKS=4 wan-train -q --mock $T
ok "unless they shall be runs of their own" env SLURM_STEP_NUM_TASKS=4 wan-train -q --transport self --mock $T
ok "one process of a job step" env SLURM_STEP_NUM_TASKS=1 wan-train -q --mock $T

export WAN_CUDA_PLUGIN=$OBJ/tests/dist/fake_gpu.so
says() { cp "$ok_err" said; ok "$1" grep -Eq "$2" said; }
one() { FAKE_GPUS=$1 wan-train --mock $T --device "$2"; }
ok "auto with a GPU" one 1 auto; says "takes it" 'on fake GPU 0'
ok "auto without" one 0 auto; says "takes the CPU" 'on .*threads'
fails 1 'no fake device' "cuda without" one 0 cuda
fails 1 'cuda:3: this machine has 2' "a number that is not there" one 2 cuda:3
if [ "${MPI:-0}" != 1 ] || ! command -v mpirun >/dev/null; then
    skip "devices of several ranks" "a build without MPI"
    done_testing
fi
export OMP_NUM_THREADS=1 ASAN_OPTIONS=detect_leaks=0 # Open MPI leaks
two() { # two GPUS FIRST-OF-RANK-0 FIRST-OF-RANK-1 DEVICE
    mpirun --allow-run-as-root --oversubscribe --bind-to none -n 2 sh -c \
        'export FAKE_GPUS=$1 FAKE_FIRST=$2; [ $OMPI_COMM_WORLD_RANK = 0 ] || FAKE_FIRST=$3
        exec wan-train --mock --device $4 '"$(echo $T)" sh "$@"
}
ok "two ranks, two GPUs" two 2 0 0 cuda
ok "each rank sees its own alone" two 1 0 1 cuda
fails 1 'ranks 0 and 1 have the same GPU .*fake GPU 0.*--device cuda:0' "two ranks, one GPU" two 1 0 0 cuda
ok "shared when told" two 1 0 0 cuda:0; says "on it" '2 ranks, the first on fake GPU 0'
ok "auto with one for each" two 2 0 0 auto; says "takes them" 'the first on fake GPU 0'
ok "auto with one for two" two 1 0 0 auto; says "takes the CPU" 'the first on .*threads'
unset WAN_CUDA_PLUGIN
uneven() { # three ranks on two machines of two and one
    mpirun --allow-run-as-root --oversubscribe --bind-to none -n 3 unshare -u sh -c \
        'hostname m$((OMPI_COMM_WORLD_RANK / 2)); exec wan-train -q --mock --device cpu "$@"' sh $T "$@"
}
if unshare -u hostname other 2>/dev/null; then
    ok "machines of two and of one rank: a batch for each" uneven train.global_batch_size=4 train.batch_size_per_node=2 \
        --metrics m.json
    ok "four samples" [ "$(jq .samples m.json)" = 4 ]
else
    skip "machines of two and of one rank" "host names cannot be changed here"
    skip "their batch" "host names cannot be changed here"
fi
done_testing
