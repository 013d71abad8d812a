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

ranks() { timeout 300 mpirun --allow-run-as-root --oversubscribe --bind-to none -n "$@"; }
# ways of products: measured where asked for, kept, and read by whoever goes on (WAN_EMU_FASTEST: emu.cc)
A="-q --mock --precision bf16 $T train.train_iters=4 checkpoint.save_interval=2"
A=${A/ checkpoint.save=/}
files() { (cd "$1" && find "iter_$2" -name '*.safetensors' | sort | xargs sha256sum); }
again() { "$@"; [ $? = 75 ]; }
autotune() { env WAN_EMU_FASTEST="$1" wan-train $A "${@:2}"; }
ok "a run that measures its products" autotune 2 checkpoint.save=w1 train.autotune=true
ok "keeps $(wc -l <w1/ways.txt) lines, those of products all of one way" test "$(grep ^cublasLt w1/ways.txt | cut -f 3 | sort -u | wc -l)" = 1
mkdir w2 && cp w1/ways.txt w2 # attention is measured by a real clock
ok "two steps of the same" again autotune 2 checkpoint.save=w2 train.autotune=true train.exit_interval=2
ok "go on where another way would be faster" autotune 1 checkpoint.save=w2 train.autotune=true
same "the same file" w1/ways.txt w2/ways.txt
ok "and the checkpoint of a run without a stop" cmp <(files w1 0000004) <(files w2 0000004)
mkdir w3 && cp w1/ways.txt w3
ok "a repeated run that is given the file" autotune 0 checkpoint.save=w3
ok "ends with the same bytes" cmp <(files w1 0000004) <(files w3 0000004)
ok "without the file" autotune 2 checkpoint.save=w4
ok "its sums are in another order" test "$(files w1 0000004 | sort)" != "$(files w4 0000004 | sort)"
ok "two ranks" ranks 2 wan-train $A checkpoint.save=w5 train.autotune=true
ok "have the ways of both ($(wc -l <w5/ways.txt) lines)" test "$(wc -l <w5/ways.txt)" -gt 5
printf 'no ways\n' >w3/ways.txt
fails 1 'ways.txt: does not begin' "a file that is none" autotune 0 checkpoint.save=w3

# over NCCL, in whose place an emulation is (WAN_EMU_NCCL_FAIL: tests/gpu/emu/emu_nccl.cc)
export WAN_NCCL_PLUGIN=$EMU_NCCL
plain=$T
T="$T --transport nccl"
like_one nccl-dp2 2
like_one nccl-dp2-many 2 dist.bucket_bytes=1024 # some 300 sums under way at once
like_one nccl-fsdp2 2 dist.use_megatron_fsdp=true
like_one nccl-pp2 2 $pp=2
ok "what steps of two ranks ask of the device: as much as those of one" env WAN_CHECK_DEVICE=cuda:0 WAN_CHECK_TRANSPORT=nccl \
    timeout 300 mpirun --allow-run-as-root --oversubscribe --bind-to none -n 1 "$OBJ/tests/gpu/check_quiet" : \
    -n 1 sh -c '"$OBJ/tests/gpu/check_quiet" >quiet.2'
nccl_ahead() { # N ranks that run ahead tell what the same ranks tell that read every step
    timeout 300 mpirun --allow-run-as-root --oversubscribe --bind-to none -n "$1" wan-train -q --mock --precision fp32 $T \
        train.train_iters=5 "${@:2}"
}
ok "two ranks, step by step" nccl_ahead 2 --metrics w.json debug.dump=w.st
ok "two ranks that run ahead" nccl_ahead 2 --metrics h.json
ok "tell the same" alike h.json w.json 5
ok "four, by tensor and pipeline, step by step" nccl_ahead 4 $tp=2 $pp=2 --metrics w.json debug.dump=w.st
ok "that run ahead" nccl_ahead 4 $tp=2 $pp=2 --metrics h.json
ok "tell the same" alike h.json w.json 5
ok "two that share out tokens, and two copies, step by step" nccl_ahead 4 $cp=2 --metrics w.json debug.dump=w.st
ok "that run ahead" nccl_ahead 4 $cp=2 --metrics h.json
ok "tell the same" alike h.json w.json 5
ok "steps that are not finite" nccl_ahead 2 --metrics w.json debug.dump=w.st $huge
ok "the same, ahead" nccl_ahead 2 --metrics h.json $huge
ok "skips the same ones" alike h.json w.json 5
broken() { # broken SECONDS: two ranks, of which the second loses a link, end within so long
    local begin=$SECONDS rc
    timeout 100 mpirun --allow-run-as-root --oversubscribe --bind-to none -n 1 wan-train -q --mock --precision fp32 $T \
        train.train_iters=50 : -n 1 -x WAN_EMU_NCCL_FAIL=40 wan-train -q --mock --precision fp32 $T train.train_iters=50 >broken.log 2>&1
    rc=$?
    cat broken.log >&2
    [ $rc -ne 0 ] && [ $rc -ne 124 ] && [ $((SECONDS - begin)) -le "$1" ]
}
ok "a lost link between two ranks ends the run within 60 s" broken 60
ok "with a sentence ($(grep -om1 'nccl: group.*' broken.log))" grep -q 'nccl: group .*network error' broken.log
T=$plain

P="--device cuda:0 --model $TOP/tests/data/ref/pipe --sample_steps 1 --precision fp32 --sizes 32*48 --frame_nums 5
--base_seed 1 --prompts cat"
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
O="-q --mock --precision bf16 model.num_layers=8 model.hidden_size=256 model.num_attention_heads=4 model.ffn_hidden_size=2048
model.text_dim=32 model.text_len=8 model.freq_dim=32 dataset.F_latents=1 dataset.H_latents=4 dataset.W_latents=4
dataset.context_seq_len=4 dataset.mock_samples=4 train.global_batch_size=2 train.train_iters=2 scheduler.lr_warmup_iters=1"
ok "a training run of $(wan-train $O --plan --device cuda 2>/dev/null | awk '$1 == "total" { print $2 }') MiB" \
    wan-train $O --device cuda:0 checkpoint.save=near --metrics o1.json
fails 1 'device.s memory|out of cuda memory' "is too large for 290 MB" env WAN_EMU_MEMORY=290000000 wan-train $O --device cuda:0 checkpoint.save=no
ok "with --offload it is not" env WAN_EMU_MEMORY=290000000 wan-train $O --device cuda:0 --offload checkpoint.save=far --metrics o2.json
ok "and has the same losses" cmp <(told o1.json) <(told o2.json)
ok "and checkpoints, byte for byte" cmp <(files near 0000002) <(files far 0000002)

# parts of micro-batches whose shape comes again are done from recordings
G="--mock --device cuda:0 model.num_layers=3 model.hidden_size=64 model.num_attention_heads=2 model.ffn_hidden_size=128
model.text_dim=32 model.text_len=8 model.freq_dim=32 dataset.F_latents=2 dataset.H_latents=4 dataset.W_latents=4
dataset.context_seq_len=4 dataset.mock_samples=20 dataset.seq_length=16 train.global_batch_size=5 train.train_iters=4
scheduler.lr_warmup_iters=1 flow.cfg_dropout_prob=0.3 dist.bucket_bytes=16384 checkpoint.save_interval=2"
recorded() { # recorded NAME RANKS args...: the checkpoints and metrics of a run without --graphs
    local name=$1 ranks=$2; shift 2
    rm -rf plain graphs g.log
    ok "$name" ranks "$ranks" wan-train -q $G checkpoint.save=plain --metrics g1.json "$@"
    ok "  recorded" ranks "$ranks" sh -c 'exec wan-train "$@" 2>>g.log' sh $G checkpoint.save=graphs --metrics g2.json --graphs "$@"
    ok "  $(sed -n 's/.*: \(.*from recordings\)/\1/p' g.log | tail -n 1)" test "$(sed -n 's/.*: \(.*\) parts .*recordings/\1/p' g.log | tail -n 1)" -ge 20
    ok "  every update but the first" test "$(sed -n 's/.* and \(.*\) updates .*recordings/\1/p' g.log | tail -n 1)" = 3
    ok "  the same losses and norms" cmp <(told g1.json) <(told g2.json)
    ok "  the same $(files plain 0000004 | wc -l) files, byte for byte" cmp <(files plain 0000004) <(files graphs 0000004)
}
recorded "a run of one rank, fp32" 1 --precision fp32
recorded "bf16, selective recompute, validations" 1 --precision bf16 model.recompute_granularity=selective \
    train.eval_interval=2 train.eval_iters=2
recorded "fp8, full recompute" 1 --precision fp8 model.recompute_granularity=full
recorded "fp8, states shared out" 2 --precision fp8 optimizer.use_distributed_optimizer=true
recorded "fp8, weights shared out, full recompute in groups" 2 --precision fp8 dist.use_megatron_fsdp=true \
    model.recompute_granularity=full model.recompute_num_layers=2
recorded "bf16 with --offload" 1 --precision bf16 --offload
recorded "ways that are measured" 1 --precision bf16 train.autotune=true
recorded "two data parallel ranks" 2 --precision bf16
recorded "two that share weights" 2 --precision bf16 dist.use_megatron_fsdp=true
recorded "a pipeline of two" 2 --precision bf16 $pp=2
recorded "two tensor parallel ranks" 2 --precision bf16 $tp=2
recorded "that share out the rows of the stream, full recompute" 2 --precision bf16 $tp=2 model.sequence_parallel=true \
    model.recompute_granularity=full
recorded "two that share out tokens, in a ring" 2 --precision bf16 $cp=2
recorded "by all-to-all, with weights shared" 2 --precision bf16 $cp=2 $kind=a2a dist.use_megatron_fsdp=true
recorded "tensor parallel ranks over NCCL" 2 --precision bf16 $tp=2 --transport nccl
on_cpu() { wan-train -q $G checkpoint.save= --device cpu train.train_iters=1 --graphs 2>cpu.err && grep -q 'nothing is recorded on this device' cpu.err; }
ok "a CPU says that it records nothing" on_cpu

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
