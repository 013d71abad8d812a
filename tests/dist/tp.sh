#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Tensor parallel training: products and heads shared out over ranks, evenly and not.
. "$TOP/tests/lib.sh"
if [ "${MPI:-0}" != 1 ] || ! command -v mpirun >/dev/null; then
    skip "tensor parallel ranks" "a build without MPI"
    done_testing
fi
. "$TOP/tests/ranks.sh"
trained start
ok "one rank" one --metrics 1.json debug.dump=1.st checkpoint.save=
like_one tp2 2 model.tensor_model_parallel_size=2 checkpoint.save=
like_one tp3 3 model.tensor_model_parallel_size=3 checkpoint.save=
like_one tp2-dp2 4 model.tensor_model_parallel_size=2 checkpoint.save=
like_one tp2-full 2 model.tensor_model_parallel_size=2 model.recompute_granularity=full checkpoint.save=
like_one tp2-selective 2 model.tensor_model_parallel_size=2 model.recompute_granularity=selective checkpoint.save=
fails 1 'a rank would have none' "more ranks than heads" run 4 model.tensor_model_parallel_size=4 checkpoint.save=
sp="model.sequence_parallel=true checkpoint.save="
like_one tp2-sp 2 model.tensor_model_parallel_size=2 $sp
like_one tp3-sp 3 model.tensor_model_parallel_size=3 $sp
like_one tp2-sp-dp2 4 model.tensor_model_parallel_size=2 $sp
like_one tp2-sp-cp2 4 model.tensor_model_parallel_size=2 model.context_parallel_size=2 $sp
like_one tp2-sp-pp2 4 model.tensor_model_parallel_size=2 model.pipeline_model_parallel_size=2 $sp
like_one tp2-sp-full 2 model.tensor_model_parallel_size=2 model.recompute_granularity=full model.recompute_num_layers=2 $sp
like_one tp2-sp-selective 2 model.tensor_model_parallel_size=2 model.recompute_granularity=selective $sp

# the DiT: norms of each head, whose weight all heads share
T="model.type=dit model.num_layers=3 model.hidden_size=96 model.num_attention_heads=3 model.ffn_hidden_size=80
model.text_dim=32 model.text_len=16 dataset.F_latents=2 dataset.H_latents=8 dataset.W_latents=8
dataset.context_seq_len=8 dataset.mock_vary=true dataset.mock_samples=20 dataset.seq_length=64
train.global_batch_size=7 optimizer.lr=1e-3 scheduler.lr_decay_style=constant scheduler.lr_warmup_iters=0
dist.bucket_bytes=65536 edm.cfg_dropout_prob=0.2 optimizer.clip_grad=0.5"
STEPS=6
trained dit
ok "a DiT on one rank" one --metrics 1.json debug.dump=1.st checkpoint.save=
like_one dit-tp2 2 model.tensor_model_parallel_size=2 checkpoint.save=
like_one dit-tp3-sp 3 model.tensor_model_parallel_size=3 $sp
like_one dit-tp2-sp-selective 2 model.tensor_model_parallel_size=2 model.recompute_granularity=selective $sp
done_testing
