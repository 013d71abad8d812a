#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The whole path on an emulated device (EMU, the plugin that make check-emu builds), each tool beside the same
# command on the CPU: clips to latents and text rows, 20 steps of training, stopped and gone on, sampled videos; on
# one rank, on two, with weights in host memory.  Bounds: wan-numerics(7).
. "$TOP/tests/lib.sh"
export WAN_CUDA_PLUGIN=$EMU OMP_NUM_THREADS=1 OMPI_MCA_btl_vader_single_copy_mechanism=none
M=$TOP/examples/tiny
within() { awk -v e="$1" -v b="$2" 'BEGIN { exit !(e ~ /^[0-9]/ && e + 0 <= b) }'; }
apart() { WAN_CUDA_PLUGIN='' "$OBJ/tests/train/check_debug" "$1" "$2" "${3-}"; } # largest relative error of a tensor
near() { # near NAME FILE FILE BOUND [PREFIX]
    local e; e=$(apart "$2" "$3" "${5-}")
    ok "$1 within $4 ($e)" within "$e" "$4"
}
ranks() { timeout 300 mpirun --allow-run-as-root --oversubscribe --bind-to none -n "$@"; }

"$EXAMPLES/draw_clips" --copies 1 --frames 5 all >draw.log 2>&1
mkdir two && for f in $(ls all | grep '\.mp4$' | head -n 2); do cp "all/$f" "all/${f%.mp4}.json" two/; done
ok "frames" wan-decode -q --height 32 --width 32 --frames 5 -o f.wan two

# ---- clips to shards
encode() { # encode DEVICE: NAME.wan, its tensors in NAME.d, shards in NAME.ds
    wan-encode -q --device "$2" --model "$M" -o "$1.wan" f.wan && wan-record -q to-safetensors -o "$1.d" "$1.wan" &&
        wan-shard -q -o "$1.ds" "$1.wan" && wan-index -q --split-ratio 1,0,0 "$1.ds" &&
        wan-encode -q --device "$2" --model "$M" --prompt "" | wan-record -q to-safetensors -o "$1.ds/empty_text.safetensors"
}
ok "encoded on the CPU" encode cpu cpu
ok "encoded on the device" encode gpu cuda:0
i=0
for f in $(cd cpu.d && find . -name '*.safetensors' | sort); do
    i=$((i + 1))
    near "  clip $i: latent" "gpu.d/$f" "cpu.d/$f" 1e-5 latent
    near "  clip $i: text rows" "gpu.d/$f" "cpu.d/$f" 1e-5 text
done
fails 1 'record 1 .*: latent: element .* is not finite' "  kernels that leave out a block are noticed" \
    env WAN_EMU_FAULT=wrong:wan-encode wan-encode -q --device cuda:0 --model "$M" -o w.wan f.wan
near "  text rows of no caption" gpu.ds/empty_text.safetensors cpu.ds/empty_text.safetensors 1e-5 text

# a text encoder of five layers comes through two rooms; from its second window on it stays, where there is memory
mkdir five && cp -r "$M"/* five/ && rm -r five/text_encoder && "$BIN/../bench/make_model" umt5 five/text_encoder 256 4 1024 5 960 >/dev/null
five() { # five FILE args...: the captions alone, in windows of one
    wan-encode -v --device "${2:-cuda:0}" --model five --text-window 1 -o "$1.wan" f.wan 2>"$1.log" && wan-record -q to-safetensors -o "$1.d" "$1.wan"
}
ok "five layers of text on the CPU" five f1 cpu
ok "  on the device" five f2
ok "  where they stay ($(grep -o 'the 5 layers.*' f2.log))" grep -q 'the 5 layers of the text encoder stay' f2.log
ok "  on a device that has no room for them" env WAN_EMU_MEMORY=145000000 bash -c "$(declare -f five); five f3"
ok "  where they do not stay" eval '! grep -q "stay on the device" f3.log'
for f in $(cd f1.d && find . -name '*.safetensors' | sort); do
    near "  text rows" "f2.d/$f" "f1.d/$f" 1e-5 text
    same "  the same bytes either way" "f3.d/$f" "f2.d/$f"
done

# ---- training, each from its own shards
T="--config-file $M/stage2.yaml --training-mode pretrain train.global_batch_size=2 train.train_iters=20
checkpoint.save_interval=10 checkpoint.keep=2 scheduler.lr_warmup_iters=2 logger.log_interval=100"
train() { # train NAME SHARDS args...
    wan-train -q $T dataset.path="$2" checkpoint.save="$1" --metrics "$1.json" "${@:3}"
}
curve() { # largest relative difference of two curves of 20 losses and norms
    jq -n --slurpfile a "$1" --slurpfile b "$2" '[range(20) as $i | ("loss", "grad_norm") as $k |
        $a[$i][$k] / $b[$i][$k] - 1 | fabs] | max'
}
last=iter_0000020/transformer/diffusion_pytorch_model.safetensors
ok "20 steps on the CPU" train c cpu.ds --device cpu --precision fp32
ok "20 steps on the device" train g gpu.ds --device cuda:0 --precision fp32
e=$(curve g.json c.json)
ok "  losses and norms within 1e-4 ($e)" within "$e" 1e-4
near "  weights" g/$last c/$last 1e-3
stopped() { train r gpu.ds --device cuda:0 --precision fp32 train.exit_interval=10; [ $? -eq 75 ]; }
ok "10 steps on the device, then an end" stopped
ok "  the other 10" train r gpu.ds --device cuda:0 --precision fp32
same "  the same weights as without a break, byte for byte" r/$last g/$last
ok "20 steps, recorded, with states in host memory" train ro gpu.ds --device cuda:0 --precision fp32 --graphs --offload
same "  the same weights, byte for byte" ro/$last g/$last
ok "20 steps, recorded, blocks recomputed in pairs" train rg gpu.ds --device cuda:0 --precision fp32 --graphs \
    model.recompute_granularity=full model.recompute_num_layers=2
same "  the same weights, byte for byte" rg/$last g/$last
ok "20 steps in bf16 on the CPU" train cb cpu.ds --device cpu --precision bf16
ok "20 steps in bf16 on the device" train gb gpu.ds --device cuda:0 --precision bf16
e=$(curve gb.json cb.json)
ok "  losses and norms within 1 % ($e)" within "$e" 0.01

# ---- videos
S="-q --model $M --prompts circle --sizes 32*32 --frame_nums 5 --sample_steps 4 --sample_guide_scale 2.5 --base_seed 1 --precision fp32 --force"
sample() { # sample NAME args...: NAME.st and NAME.wan
    wan-sample $S --latents-out "$1.st" --save_file - "${@:2}" >"$1.wan"
}
pixels() { # bytes of two files that differ by more than one, and by one, of a thousand
    [ "$(stat -c %s "$1")" = "$(stat -c %s "$2")" ] || { echo all all; return; }
    cmp -l "$1" "$2" | awk -v all="$(stat -c %s "$1")" '
        function dec(o) { return int(o / 100) * 64 + int(o % 100 / 10) * 8 + o % 10 }
        { d = dec($2) - dec($3); d * d > 1 ? far++ : one++ } END { printf "%d %.3g", far, 1000 * one / all }'
}
alike() { # alike NAME A B: frames of two videos
    local far one; read -r far one < <(pixels "$2" "$3")
    ok "$1 ($far by more than one, $one of 1000 by one)" within "$far" 0
}
ok "a video on the CPU" sample vc --device cpu --checkpoint_dir c
ok "from the same weights on the device" sample vs --device cuda:0 --checkpoint_dir c
near "  latents" vs.st vc.st 1e-4
alike "  frames" vs.wan vc.wan
ok "from the device's own weights" sample vg --device cuda:0 --checkpoint_dir g
near "  latents" vg.st vc.st 1e-3
alike "  frames" vg.wan vc.wan
ok "with the weights in host memory" sample vo --device cuda:0 --checkpoint_dir g --offload
same "  the same frames, byte for byte" vo.wan vg.wan
ok "with recorded passes" sample vr --device cuda:0 --checkpoint_dir g --graphs --passes apart
same "  the same frames, byte for byte" vr.wan vg.wan
ok "a pack of both passes" sample vt --device cuda:0 --checkpoint_dir g --precision bf16 --passes together
ok "  recorded" sample vu --device cuda:0 --checkpoint_dir g --precision bf16 --passes together --graphs
same "  the same frames, byte for byte" vu.wan vt.wan
e8() { sample "$1" --device "$2" --checkpoint_dir g --precision fp8; }
ok "a video in fp8 on the CPU" e8 v8c cpu
ok "  on the device" e8 v8g cuda:0
near "  latents" v8g.st v8c.st 0.003
ok "  recorded" sample v8r --device cuda:0 --checkpoint_dir g --precision fp8 --graphs
same "  the same frames, byte for byte" v8r.wan v8g.wan
e=$(apart v8c.st vc.st)
ok "  which are not those of fp32 ($e)" awk -v e="$e" 'BEGIN { exit !(e > 0.002 && e < 0.2) }'
# ways of products: measured in front of the first video, kept, and read by whoever repeats it (WAN_EMU_FASTEST: emu.cc)
fast() { env WAN_EMU_FASTEST="$1" bash -c "$(declare -f sample); M=$M S='$S'; sample $2 --device cuda:0 --checkpoint_dir g --precision bf16 $3"; }
ok "a video in bf16" fast 2 w0
ok "  whose products are measured" fast 2 w1 "--ways ways.txt"
ok "  keeps $(wc -l <ways.txt) lines, of products of one way" test "$(grep ^cublasLt ways.txt | cut -f 3 | sort -u | wc -l)" = 1
cp ways.txt first.txt
ok "  again, where another way would be faster, recorded" fast 1 w2 "--ways ways.txt --graphs"
same "  the same file" ways.txt first.txt
same "  and latents, byte for byte" w2.st w1.st
ok "  which are not those of what is proposed first" test "$(cmp w1.st w0.st 2>&1)"
printf 'no ways\n' >none.txt
fails 1 'none.txt: does not begin' "  a file that is none" sample w3 --device cuda:0 --checkpoint_dir g --ways none.txt
# the first of three videos is decoded while the second is sampled
printf 'circle\nsquare\nred circle\n' >three.txt
many() { # many NAME args...: the prompts of a file
    local v=${S/-q --model $M --prompts circle/-v --model $M}
    wan-sample ${v/--frame_nums 5/--frame_nums 17} --checkpoint_dir g --prompt_file three.txt --latents-out "$1.st" --save_file "$1.mp4" "${@:2}" 2>"$1.log"
}
ok "three videos on the device" many m1 --device cuda:0
ok "  decoded beside" grep -q 'decoded while the next ones are sampled' m1.log
ok "  three with little memory" env WAN_EMU_MEMORY=600000000 bash -c "$(declare -f many); M=$M S='$S'; many m2 --device cuda:0"
ok "  decoded afterwards" grep -q 'decoded after the last one' m2.log
same "  the same latents" m1.st m2.st
for i in 00 01 02; do same "  the same video $i" "m1_$i.mp4" "m2_$i.mp4"; done
fails 1 'graphs: passes cannot be recorded with --offload' "not with weights in host memory" \
    sample vf --device cuda:0 --checkpoint_dir g --graphs --offload

# ---- two ranks
if [ "${MPI:-0}" = 1 ] && command -v mpirun >/dev/null; then
    ok "encoded by two ranks" ranks 2 wan-encode -q --device cuda:0 --model "$M" -o 2.wan f.wan
    same "  the same bytes" 2.wan gpu.wan
    two() { ranks 2 wan-train -q $T dataset.path=gpu.ds checkpoint.save=t --metrics t.json --device cuda:0 --precision fp32; }
    ok "20 steps on two ranks" two
    e=$(curve t.json g.json)
    ok "  losses and norms within 1e-5 of one rank's ($e)" within "$e" 1e-5
    near "  weights" t/$last g/$last 1e-4
    ok "a video on two ranks" ranks 2 wan-sample $S --device cuda:0 --checkpoint_dir t --latents-out v2.st --save_file v2.mp4
    near "  latents" v2.st vc.st 1e-3
else
    skip "the path on two ranks" "a build without MPI"
fi
done_testing
