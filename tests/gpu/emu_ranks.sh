#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Several ranks on one emulated device (EMU, the plugin that make check-emu builds), over the MPI transport:
# the axes in device memory, in training, sampling and encoding, against one rank on that device.
. "$TOP/tests/lib.sh"
if [ "${MPI:-0}" != 1 ] || ! command -v mpirun >/dev/null; then
    skip "ranks on an emulated device" "a build without MPI"
    done_testing
fi
STEPS=2
. "$TOP/tests/ranks.sh"
export WAN_CUDA_PLUGIN=$EMU
T="model.num_layers=2 model.hidden_size=48 model.num_attention_heads=3 model.ffn_hidden_size=32 model.text_dim=32
model.text_len=8 model.freq_dim=32 dataset.F_latents=2 dataset.H_latents=4 dataset.W_latents=4
dataset.context_seq_len=4 dataset.mock_vary=true dataset.mock_samples=8 dataset.seq_length=16
train.global_batch_size=4 dist.bucket_bytes=16384 checkpoint.save= --device cuda:0"
ok "one rank" one --metrics 1.json debug.dump=1.st
tp=model.tensor_model_parallel_size cp=model.context_parallel_size pp=model.pipeline_model_parallel_size
kind=model.cp_comm_type
like_one dp2 2
like_one zero1 2 optimizer.use_distributed_optimizer=true
like_one fsdp2 2 dist.use_megatron_fsdp=true
like_one tp2 2 $tp=2
like_one tp2-sp 2 $tp=2 model.sequence_parallel=true
like_one cp2 2 $cp=2
like_one cp2-a2a 2 $cp=2 $kind=a2a
like_one cp4-both 4 $cp=4 $kind=a2a+p2p
like_one cp3-tp2 6 $cp=3 $tp=2
like_one pp2 2 $pp=2
like_one pp2-cp2 4 $pp=2 $cp=2

# without a dump the losses of a step are read when the next one has been started (train_priv.h, wan_train_late)
told() { jq -c '[.step, .loss, .grad_norm, .lr, .sigma_bins, has("skipped")]' "$1"; }
alike() { told "$1" >told.1; told "$2" >told.2; [ "$(wc -l <told.1)" = "$3" ] && cmp told.1 told.2; }
ok "one rank, which runs ahead" one --metrics ahead.json
ok "tells the same" alike ahead.json 1.json 2
STEPS=5
huge="optimizer.lr=1000 optimizer.weight_decay=1 optimizer.clip_grad=0 train.max_skipped=9"
ok "steps that are not finite" one --metrics bad1.json debug.dump=bad.st $huge
ok "the same, ahead" one --metrics bad2.json $huge
ok "skips the same ones" alike bad2.json bad1.json 5
ok "which are some ($(grep -c skipped bad2.json))" grep -q skipped bad2.json
STEPS=2

F="-q --mock model.num_layers=2 model.hidden_size=64 model.num_attention_heads=2 model.ffn_hidden_size=128
model.text_dim=32 model.text_len=8 model.freq_dim=32 dataset.F_latents=2 dataset.H_latents=4 dataset.W_latents=4
dataset.context_seq_len=4 dataset.mock_samples=8 dataset.seq_length=16 train.global_batch_size=2 train.train_iters=3
checkpoint.save="
ok "three steps in fp8 on the device" wan-train $F --device cuda:0 --precision fp8 --metrics e.json
ok "on the CPU" wan-train $F --device cpu --precision fp8 --metrics c.json
ok "in bf16" wan-train $F --device cpu --precision bf16 --metrics b.json
far() { # the largest relative difference of losses and norms
    jq -n --slurpfile a "$1" --slurpfile b "$2" '[range(3) as $i | ("loss", "grad_norm") as $k | $a[$i][$k] / $b[$i][$k] - 1 | fabs] | max'
}
near=$(far e.json c.json) other=$(far b.json c.json)
ok "fp8 on the device is fp8 on the CPU ($near), and not bf16 ($other)" \
    awk -v a="$near" -v b="$other" 'BEGIN { exit !(a < 1e-3 && b > 2e-5) }'

ok "what steps ask of the device" env WAN_CHECK_DEVICE=cuda:0 "$OBJ/tests/gpu/check_quiet"

P="--device cuda:0 --model $TOP/tests/data/ref/pipe --sample_steps 1 --precision fp32 --sizes 32*48 --frame_nums 5
--base_seed 1 --prompts cat"
ranks() { timeout 300 mpirun --allow-run-as-root --oversubscribe --bind-to none -n "$@"; }
ok "a video on one rank" wan-sample $P --latents-out s1.st --save_file 1.mp4
ok "a larger model" wan-train -q --mock --device cpu --precision fp32 model.num_layers=20 model.hidden_size=192 \
    model.num_attention_heads=2 model.ffn_hidden_size=768 model.text_dim=40 model.text_len=16 dataset.F_latents=1 \
    dataset.H_latents=4 dataset.W_latents=4 dataset.context_seq_len=8 dataset.mock_samples=4 \
    train.global_batch_size=2 train.train_iters=1 checkpoint.save=large
large() { # large BYTES args...: on a device of so many bytes
    env WAN_EMU_MEMORY="$1" wan-sample --device cuda:0 --model "$TOP/tests/data/ref/pipe" --checkpoint_dir large \
        --sample_steps 2 --precision fp32 --sizes 16*16 --frame_nums 1 --base_seed 1 --prompts cat --force "${@:2}"
}
ok "its picture" large 1000000000 --latents-out l1.st --save_file 1.png
fails 1 'the device has .* free .*--offload leaves the weights' "150 MB are too little for 49 of weights beside the libraries' work space" \
    large 150000000 --save_file 2.png
ok "they suffice with the weights in host memory" large 150000000 --offload --latents-out l2.st --save_file 2.png
same "the same latents, byte for byte" l2.st l1.st
like() { # like N args...: the latents of one rank
    ok "a video on $*" ranks "$1" wan-sample $P --latents-out s2.st --save_file 2.mp4 "${@:2}"
    e=$(WAN_CUDA_PLUGIN='' "$OBJ/tests/train/check_debug" s2.st s1.st latents)
    ok "its latents within 1e-5 ($e)" within "$e" 1e-5
}
like 2
like 2 --context-parallel 2
like 2 --tensor-parallel 2
like 4 --context-parallel 2 --cp-comm-type p2p

M=$TOP/examples/tiny
"$EXAMPLES/draw_clips" --copies 1 --frames 5 all >draw.log 2>&1
mkdir two && for f in $(ls all | grep '\.mp4$' | head -n 2); do cp "all/$f" "all/${f%.mp4}.json" two/; done
ok "frames" wan-decode -q --height 32 --width 32 -o f.wan two
ok "encoded on one rank" wan-encode --device cuda:0 --model "$M" -o 1.wan f.wan
ok "on two" ranks 2 wan-encode --device cuda:0 --model "$M" -o 2.wan f.wan
same "the same bytes" 2.wan 1.wan
done_testing
