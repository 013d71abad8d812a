#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Pipelines of the other model, with sequence parallel; what all ranks must agree on although the last
# stage alone has losses and each stage its own gradients: a validation, a step that is skipped.
. "$TOP/tests/lib.sh"
if [ "${MPI:-0}" != 1 ] || ! command -v mpirun >/dev/null; then
    skip "pipeline parallel ranks" "a build without MPI"
    done_testing
fi
. "$TOP/tests/ranks.sh"
P=model.pipeline_model_parallel_size V=model.virtual_pipeline_model_parallel_size
S="model.tensor_model_parallel_size=2 model.sequence_parallel=true"
W=$T

T="model.type=dit model.num_layers=3 model.hidden_size=96 model.num_attention_heads=3 model.ffn_hidden_size=80
model.text_dim=32 model.text_len=16 dataset.F_latents=2 dataset.H_latents=8 dataset.W_latents=8
dataset.context_seq_len=8 dataset.mock_vary=true dataset.mock_samples=20 dataset.seq_length=64
train.global_batch_size=7 optimizer.lr=1e-3 scheduler.lr_decay_style=constant scheduler.lr_warmup_iters=0
dist.bucket_bytes=65536 optimizer.clip_grad=0.5"
trained start
ok "a DiT on one rank" one --metrics 1.json debug.dump=1.st checkpoint.save=
like_one dit-pp2-interleaved 2 $P=2 $V=2 checkpoint.save=
like_one dit-pp5 5 $P=5 model.recompute_granularity=full checkpoint.save=
like_one dit-pp2-tp2-sp 4 $P=2 $S checkpoint.save=

T=$W
ok "one rank" one --metrics 1.json debug.dump=1.st checkpoint.save=
like_one pp2-tp2-sp 4 $P=2 $V=2 $S checkpoint.save=

# in bf16 too the sums are made in the order of one rank
half() { timeout 200 mpirun --allow-run-as-root --oversubscribe --bind-to none -n "$1" wan-train -q --mock \
    --precision bf16 $T train.train_iters=5 optimizer.clip_grad=0 "${@:2}"; }
ok "bf16 on one rank" half 1 checkpoint.save=b1
ok "bf16 on interleaved stages" half 2 $P=2 $V=2 checkpoint.save=b2
ok "... the same weights and moments" eval 'diff -r b[12]/iter_0000005/transformer && diff -r b[12]/iter_0000005/optimizer'

# a learning rate that ruins the weights: what is skipped, and why
STEPS=4
ruin="optimizer.lr=1000 optimizer.weight_decay=1000 optimizer.clip_grad=0 train.max_skipped=10 checkpoint.save="
ok "a run that fails to learn" one $ruin --metrics bad.json
ok "... skips steps" test "$(jq -r 'select(.skipped) | .skipped' bad.json | wc -l)" -ge 2
ok "... on a pipeline" run 3 $P=3 $ruin --metrics pp.json
ok "... the same ones" diff <(jq -c '[.step, .skipped]' bad.json) <(jq -c '[.step, .skipped]' pp.json)

# validation after each step, on what is not trained on
model=$TOP/examples/tiny
"${EXAMPLES:-$TOP/build/examples}/draw_clips" --copies 1 --frames 5 all >draw.log 2>&1
mkdir clips
for f in $(ls all | grep '\.mp4$' | awk 'NR % 20 == 1' | head -n 8); do
    cp "all/$f" clips/
    echo '{"caption":"one caption for all"}' >"clips/${f%.mp4}.json"
done
shards() { wan-decode -q --height 64 --width 64 clips | wan-encode -q --model "$model" |
    wan-shard -q --shard_maxcount 2 -o ds && wan-index -q --split-ratio 1,1,0 ds; }
ok "eight clips in four shards" shards
val() { # val RANKS args...
    timeout 200 mpirun --allow-run-as-root --oversubscribe --bind-to none -n "$1" wan-train -q --precision fp32 $W \
        model.text_dim=64 model.text_len=32 dataset.path=ds train.global_batch_size=4 \
        train.train_iters=3 train.eval_interval=1 train.eval_iters=2 checkpoint.save= "${@:2}"
}
ok "a validation on one rank" val 1 --metrics v1.json
ok "... on three stages" val 3 $P=3 --metrics v3.json
ok "... on interleaved ones, and two pipelines" val 4 $P=2 $V=2 --metrics v4.json
STEPS=3
for k in 3 4; do
    e=$(losses <(jq '{loss: .val_loss}' v$k.json) <(jq '{loss: .val_loss}' v1.json))
    ok "... gives the losses of one rank ($e)" within "$e" 1e-5
done
done_testing
