# SPDX-License-Identifier: Apache-2.0
# The average of the weights: its formula, resumed and under other layouts, validated, sampled.
. "$TOP/tests/lib.sh"
T="model.num_layers=2 model.hidden_size=64 model.num_attention_heads=2 model.ffn_hidden_size=96 model.text_dim=32
model.text_len=16 model.freq_dim=32 dataset.F_latents=2 dataset.H_latents=8 dataset.W_latents=8
dataset.context_seq_len=8 scheduler.lr_warmup_iters=0 scheduler.lr_decay_style=constant optimizer.lr=1e-3
optimizer.weight_decay=0 train.global_batch_size=3 checkpoint.keep=0"
train() { wan-train -q --mock --precision fp32 $T "$@"; }
ema() { echo "$1/iter_000000$2/optimizer/ema.safetensors"; }
weights() { echo "$1/iter_000000$2/transformer/diffusion_pytorch_model.safetensors"; }
near() { awk -v e="$1" -v b="$2" 'BEGIN { exit !(e ~ /^[0-9]/ && e + 0 <= b) }'; }

ok "an average over four steps" train optimizer.ema_decay=0.9 checkpoint.save=a train.train_iters=4 checkpoint.save_interval=1
ok "has its file" test -s "$(ema a 4)"
ok "training is the same without it" train checkpoint.save=no train.train_iters=4
ok "... to the byte" cmp "$(weights a 4)" "$(weights no 4)"
ok "and nothing of it is kept there" test ! -e "$(ema no 4)"

ok "half of the run" train optimizer.ema_decay=0.9 checkpoint.save=b train.train_iters=2
ok "and the other half" train optimizer.ema_decay=0.9 checkpoint.save=b train.train_iters=4
ok "give the same bytes" cmp "$(ema a 4)" "$(ema b 4)"
ok "a fifth step, of rate 0" train optimizer.ema_decay=0.9 checkpoint.load=b checkpoint.save=c train.train_iters=5 optimizer.lr=0
ok "... with new moments" train optimizer.ema_decay=0.9 checkpoint.load=b checkpoint.save=d train.train_iters=5 optimizer.lr=0 \
    checkpoint.load_optim=false
ok "... the average goes on as with the old" cmp "$(ema c 5)" "$(ema d 5)"
ok "a run that kept none begins one" train optimizer.ema_decay=0.9 checkpoint.save=no train.train_iters=5
ok "... in its file" test -s "$(ema no 5)"

# sampled: three steps from the weights of a pipeline
M=$TOP/tests/data/ref/pipe
ok "a run from a model's weights" wan-train -q --mock --precision fp32 checkpoint.pretrained_checkpoint="$M/transformer" \
    dataset.F_latents=1 dataset.H_latents=4 dataset.W_latents=4 dataset.context_seq_len=4 optimizer.lr=0.02 \
    scheduler.lr_warmup_iters=0 optimizer.ema_decay=0.9 checkpoint.save=s train.train_iters=3 train.global_batch_size=1
sample() { wan-sample --model "$M" --checkpoint_dir s --sample_steps 2 --device cpu --sizes 32*32 --frame_nums 1 \
    --prompts "a cat" --base_seed 1 -f --save_file "$@"; }
sample mean.png 2>said
ok "its average is sampled, and said to be" grep -q 'the average of the weights is sampled: s/iter_0000003/optimizer/ema.safetensors' said
ok "or the last weights" sample last.png --last_weights
ok "which make another picture" bash -c '! cmp -s mean.png last.png'
at=$OBJ/tests/reliability/at
waiting() { # the call of the average, killed when its latent waits for the VAE
    mkdir kept
    for k in $(seq 6 40); do
        (cd kept && "$at" kill "$k" -- wan-sample --model "$M" --checkpoint_dir ../s --sample_steps 2 --device cpu \
            --sizes 32*32 --frame_nums 1 --prompts "a cat" --base_seed 1 --save_file v.png)
        [ ! -s kept/.v.png.latent ] || return 0
    done
    return 1
}
ok "a latent of the average that waits" waiting
ok "is none of the last weights" bash -c "cd kept && wan-sample --model '$M' --checkpoint_dir ../s --sample_steps 2 --device cpu \
    --sizes 32*32 --frame_nums 1 --prompts 'a cat' --base_seed 1 --save_file v.png --continue --last_weights"
same "which are sampled" kept/v.png last.png
cp "$(ema s 3)" "$(weights s 3)" && rm "$(ema s 3)"
ok "the average in the place of the weights" sample moved.png --no-verify
same "makes the same picture" moved.png mean.png
if [ "${MPI:-0}" = 1 ] && command -v mpirun >/dev/null; then
    export OMP_NUM_THREADS=1
    for how in dist.use_megatron_fsdp=true model.tensor_model_parallel_size=2 model.pipeline_model_parallel_size=2; do
        ok "two ranks, $how" env ASAN_OPTIONS=detect_leaks=0 mpirun --allow-run-as-root --oversubscribe --bind-to none -n 2 wan-train -q --mock \
            --precision fp32 $T $how optimizer.ema_decay=0.9 checkpoint.save=r train.train_iters=4
        e=$("$OBJ/tests/train/check_debug" "$(ema r 4)" "$(ema a 4)" "")
        ok "... keep the same average (within 1e-5: $e)" near "$e" 1e-5
        rm -rf r
    done
else
    skip "averages of several ranks" "a build without MPI"
fi
done_testing
