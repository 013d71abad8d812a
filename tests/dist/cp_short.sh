#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Context parallel training where it is odd: samples of fewer tokens than ranks, ranks without a single
# row, text of 129 and 769 rows, and the DiT.
. "$TOP/tests/lib.sh"
if [ "${MPI:-0}" != 1 ] || ! command -v mpirun >/dev/null; then
    skip "odd shares of context parallel ranks" "a build without MPI"
    done_testing
fi
STEPS=5
. "$TOP/tests/ranks.sh"
C=model.context_parallel_size
case_of() { # case_of NAME keys...: one rank, whose results the next like_one are compared with
    ok "$1: one rank" one --metrics 1.json debug.dump=1.st checkpoint.save= "${@:2}"
}
M="dataset.H_latents=2 dataset.W_latents=2 checkpoint.save="
case_of "samples of 1 and 2 tokens" $M
like_one cp2 2 $C=2 $M
like_one cp5 5 $C=5 $M
like_one cp4-both 4 $C=4 model.cp_comm_type=a2a+p2p $M
M+=" dataset.seq_length=2 train.global_batch_size=3"
case_of "one sample in a pack" $M
like_one cp3-empty 3 $C=3 $M
like_one cp3-a2a-empty 3 $C=3 model.cp_comm_type=a2a $M
for rows in 129 769; do
    M="model.text_len=$rows dataset.context_seq_len=$rows checkpoint.save="
    case_of "$rows text rows" $M
    like_one cp2-text$rows 2 $C=2 $M
done
T="model.type=dit model.num_layers=2 model.hidden_size=48 model.num_attention_heads=3 model.ffn_hidden_size=64
model.text_dim=32 model.text_len=16 dataset.F_latents=2 dataset.H_latents=8 dataset.W_latents=8
dataset.context_seq_len=8 dataset.mock_vary=true dataset.mock_samples=20 dataset.seq_length=64
train.global_batch_size=7 optimizer.lr=1e-3 scheduler.lr_decay_style=constant scheduler.lr_warmup_iters=0
dist.bucket_bytes=65536 optimizer.clip_grad=0.5"
STEPS=8
case_of "a DiT"
like_one dit-cp2 2 $C=2 checkpoint.save=
like_one dit-cp3 3 $C=3 model.recompute_granularity=full checkpoint.save=
like_one dit-cp2-a2a 2 $C=2 model.cp_comm_type=a2a checkpoint.save=
run 2 $C=2 checkpoint.save=c1 >/dev/null 2>&1
run 2 $C=2 checkpoint.save=c2 >/dev/null 2>&1
ok "the same layout twice: the same bytes" diff -r c1 c2
done_testing
