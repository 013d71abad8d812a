#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Ranks that share one copy of the weights: FSDP, HSDP, ZeRO-1, alone and with the other axes.
. "$TOP/tests/lib.sh"
if [ "${MPI:-0}" != 1 ] || ! command -v mpirun >/dev/null; then
    skip "shards" "a build without MPI"
    done_testing
fi
STEPS=10
. "$TOP/tests/ranks.sh"
F=dist.use_megatron_fsdp=true
Z=optimizer.use_distributed_optimizer=true
last=iter_0000010/transformer
final() { # final NAME: like_one's run wrote the weights of one rank
    local e
    e=$("$OBJ/tests/train/check_debug" "$1/$last" "one/$last" "")
    ok "$1: final weights within 1e-5 of one rank's ($e)" within "$e" 1e-5
    e=$("$OBJ/tests/train/check_debug" {"$1",one}/iter_0000010/optimizer/ema.safetensors "")
    ok "$1: and their average ($e)" within "$e" 1e-5
}
T="$T optimizer.ema_decay=0.9 optimizer.adam_eps=1e-5"
both() { like_one "$@" checkpoint.save="$1"; final "$1"; }
trained start
ok "one rank" one --metrics 1.json debug.dump=1.st checkpoint.save=one
both zero1-2 2 $Z
both fsdp2 2 $F
both fsdp3 3 $F dist.bucket_bytes=16384
both hsdp-2x2 4 $F fsdp.dp_replicate_size=2 train.recipe=megatron
both zero1-2x2 4 $Z dist.dp_replicate_size=2 dist.bucket_bytes=4096
both cp2-fsdp2 4 $F model.context_parallel_size=2
both cp2-zero1 2 $Z model.context_parallel_size=2
both tp2-fsdp2 4 $F model.tensor_model_parallel_size=2
both fsdp2-full 2 $F model.recompute_granularity=full
G="model.recompute_granularity=full model.recompute_num_layers=2" # of three blocks
like_one fsdp2-groups 2 $F $G checkpoint.save=
for x in "zero1-2 2 $Z" "fsdp3 3 $F dist.bucket_bytes=16384"; do
    set -- $x
    ok "$1 again" run "${@:2}" checkpoint.save=again.$1
    ok "$1: the same bytes again" diff -r $1 again.$1
done
# a rank without a micro-batch makes the calls of the others
ok "one rank, one sample a step" one train.global_batch_size=1 --metrics 1.json debug.dump=1.st checkpoint.save=
like_one few-fsdp3 3 $F train.global_batch_size=1 checkpoint.save=
like_one few-fsdp3-groups 3 $F $G train.global_batch_size=1 checkpoint.save=
like_one few-hsdp 4 $F dist.dp_replicate_size=2 train.global_batch_size=1 checkpoint.save=
like_one few-zero1 3 $Z train.global_batch_size=1 checkpoint.save=

# weights travel in the type of the products
ok "one rank, bf16" one --precision bf16 --metrics 1.json debug.dump=1.st checkpoint.save=
like_one bf16-fsdp2 2 $F --precision bf16 checkpoint.save=
like_one bf16-zero1 3 $Z --precision bf16 checkpoint.save=

plan() { # plan RANKS CLASS args...: MiB of a class; one word of a model whose weights are most of it
    local ranks=$1 class=$2; shift 2
    run "$ranks" --plan model.num_layers=8 model.hidden_size=384 model.ffn_hidden_size=1536 "$@" |
        awk -v c="$class" '$1 == c {print $2}'
}
share() { awk -v a="$1" -v b="$2" -v w="$3" 'BEGIN {d = a / b / w - 1; exit !(d < 0.02 && d > -0.02)}'; }
T=${T% checkpoint.pretrained_checkpoint=*}
m=$(plan 1 optimizer)
ok "the plan: moments shared out over 2 ranks" share "$(plan 2 optimizer $Z)" "$m" 0.5
ok "... over 4" share "$(plan 4 optimizer $F)" "$m" 0.25
ok "... over 2 of 4" share "$(plan 4 optimizer $F dist.dp_replicate_size=2)" "$m" 0.5
ok "a section fsdp shares out over all ranks" share "$(plan 2 optimizer fsdp.dp_replicate_size=1 train.recipe=megatron)" "$m" 0.5
# the DiT
T="model.type=dit model.num_layers=3 model.hidden_size=96 model.num_attention_heads=3 model.ffn_hidden_size=80
model.text_dim=32 model.text_len=16 dataset.F_latents=2 dataset.H_latents=8 dataset.W_latents=8
dataset.context_seq_len=8 dataset.mock_vary=true dataset.mock_samples=20 dataset.seq_length=64
train.global_batch_size=7 optimizer.lr=1e-3 scheduler.lr_decay_style=constant scheduler.lr_warmup_iters=0
edm.cfg_dropout_prob=0.2 optimizer.clip_grad=0.5"
STEPS=5
trained dit
ok "a DiT on one rank" one --metrics 1.json debug.dump=1.st checkpoint.save=
like_one dit-zero1 2 $Z checkpoint.save=
like_one dit-fsdp2-cp2 4 $F model.context_parallel_size=2 checkpoint.save=
done_testing
