# SPDX-License-Identifier: Apache-2.0
# Videos that a run makes while it trains: the pictures of wan-sample, the same under every layout, and no
# trace in what is trained.
. "$TOP/tests/lib.sh"
M=$TOP/tests/data/ref/pipe
cat >prompts.txt <<'END'
a cat
{"prompt": "a dog on a beach", "size": "48*32", "frame_num": 5, "seed": 7}
END
T="checkpoint.pretrained_checkpoint=$M/transformer dataset.F_latents=1 dataset.H_latents=4 dataset.W_latents=4
dataset.context_seq_len=4 optimizer.lr=0.02 scheduler.lr_warmup_iters=0 scheduler.lr_decay_style=constant train.global_batch_size=2 train.train_iters=3
checkpoint.keep=0 checkpoint.save_interval=1"
S="train.sample_interval=2 train.sample_prompts=prompts.txt train.sample_steps=3 train.sample_seed=1"
train() { wan-train -q --mock --precision fp32 --device cpu $T "$@"; }
bytes() { (cd "$1" && find . -name '*.safetensors' -o -name train_state.json | sort | xargs sha256sum); }

ok "a run that makes samples" train $S optimizer.ema_decay=0.9 checkpoint.save=a --metrics a.json
ok "... of every second step and the last" test "$(cd a/samples && echo *)" = "iter_0000002.png iter_0000003.png"
ok "one that makes none" train optimizer.ema_decay=0.9 checkpoint.save=b --metrics b.json
ok "... has no folder of them" test ! -e b/samples
ok "and trains the same, to the byte" diff <(bytes a) <(bytes b)
ok "... of packs that no sample makes wider" diff <(jq .padding a.json) <(jq .padding b.json)
ok "half of a run" train $S optimizer.ema_decay=0.9 checkpoint.save=c train.train_iters=2
ok "and the other half" train $S optimizer.ema_decay=0.9 checkpoint.save=c
same "make the same pictures" c/samples/iter_0000003.png a/samples/iter_0000003.png
ok "... of the same weights" diff <(bytes a) <(bytes c)

# What wan-sample makes of the checkpoint, frame by frame, in the place where the sheet has it.
sample() { wan-sample --model "$M" --checkpoint_dir a --checkpoint_step 2 --sample_steps 3 --precision fp32 --device cpu \
    -f "$@"; }
pixels() { ffmpeg -nostdin -v error -i "$1" -vf "crop=$2" -pix_fmt rgb24 -f rawvideo -y "$3"; } # PNG W:H:X:Y RAW
near() { # PNG PNG: no number differs by more than 3
    pixels "$1" 146:66:0:0 near0 && pixels "$2" 146:66:0:0 near1 && test -s near0 &&
        cmp -l near0 near1 | awk '{ a = oct($2) - oct($3); if (a > 3 || a < -3) exit 1 }
            function oct(s, i, v) { for (i = 1; i <= length(s); i++) v = 8 * v + substr(s, i, 1); return v }'
}
if command -v ffmpeg >/dev/null; then
    ok "the first prompt by wan-sample" sample --prompts "a cat" --sizes 32*32 --frame_nums 1 --base_seed 1 -o one.png
    ok "the second" sample --prompts "a dog on a beach" --sizes 48*32 --frame_nums 5 --base_seed 7 -o two_%d.png
    ok "(the place of the first)" pixels a/samples/iter_0000002.png 32:32:0:0 sheet0
    ok "(its picture)" pixels one.png 32:32:0:0 one.raw
    same "the sheet shows it" sheet0 one.raw
    for k in 0 4; do
        ok "(the place of frame $k of the second)" pixels a/samples/iter_0000002.png "48:32:$((50 * k)):34" sheet1
        ok "(its picture)" pixels two_$k.png 48:32:0:0 two.raw
        same "the sheet shows it" sheet1 two.raw
    done
else
    skip "sheets beside what wan-sample makes" "no ffmpeg to read PNG with"
fi

fail() { # TEXT IN THE SENTENCE, ARGS
    train checkpoint.save=f $S "${@:2}" 2>said && return 1
    grep -q "train.sample_interval: .*$1" said && test ! -e f/iter_0000001
}
ok "no prompts" fail "no train.sample_prompts" train.sample_prompts=
ok "a file of prompts that is not there" fail "none.txt" train.sample_prompts=none.txt
ok "no place" fail "checkpoint.save is empty" checkpoint.save=
ok "no VAE" fail "/nowhere" model.components=/nowhere
ok "a size that cannot be" fail "multiples of 16" train.sample_size=33*32
ok "a number of frames that cannot be" fail "4n+1" train.sample_frames=4
ok "a size in the place of the data's" train $S train.sample_size=64*32 checkpoint.save=g train.train_iters=2

if [ "${MPI:-0}" = 1 ] && command -v mpirun >/dev/null; then
    export OMP_NUM_THREADS=1 ASAN_OPTIONS=detect_leaks=0 # Open MPI leaks
    for how in train.eval_iters=1 dist.use_megatron_fsdp=true model.tensor_model_parallel_size=2 model.context_parallel_size=2 \
        model.pipeline_model_parallel_size=2; do
        ok "two ranks, $how" mpirun --allow-run-as-root --oversubscribe --bind-to none -n 2 wan-train -q --mock \
            --precision fp32 --device cpu $T $S $how optimizer.ema_decay=0.9 checkpoint.save=r
        ok "... have the sheets" test "$(cd r/samples && echo *)" = "iter_0000002.png iter_0000003.png"
        ok "... like one rank's within 3 of 255" near r/samples/iter_0000002.png a/samples/iter_0000002.png
        rm -rf r
    done
else
    skip "samples of several ranks" "a build without MPI"
fi
done_testing
