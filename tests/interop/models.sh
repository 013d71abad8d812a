# SPDX-License-Identifier: Apache-2.0
# Models that others' programs make and read: diffusers and transformers sample what we trained, we sample what
# they saved, to the same latents; torch of two ages and safetensors, both ways.  make check-interop brings them.
. "$TOP/tests/lib.sh"
new=${WAN_INTEROP:-}/now/bin/python old=${WAN_INTEROP:-}/torch_old/bin/python
if [ -z "${WAN_INTEROP:-}" ] || [ ! -x "$new" ] || [ ! -x "$old" ]; then
    for what in "diffusers and transformers" "torch of two ages" safetensors; do
        skip "models in $what" "make check-interop installs them"
    done
    done_testing
fi
export HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error
M=$TOP/tests/interop/models.py
W=diffusion_pytorch_model.safetensors
py() { "$new" "$M" "$@"; }
versions() { "$1" -c "
from importlib.metadata import version as v
print(', '.join(n + ' ' + v(n) for n in '$2'.split()))"; }
ours() { # ours FOLDER OUT args...
    wan-sample -q --model "$1" --precision fp32 --device cpu --noise noise --latents-out "$2" --prompts "a red fox in the snow" \
        --sizes 48*32 --frame_nums 9 --sample_steps 6 -o none.mp4 -f "${@:3}"; }
theirs() { py sample "$1" noise "$2" 48*32 9 6 "a red fox in the snow" "$3" "$4"; } # FOLDER OUT OTHER BOUND

ok "a pipeline of $(versions "$new" "diffusers transformers")" py make saved "$TOP/tests/data/ref/pipe/tokenizer" noise 16 3 4 6
ok "sampled by us" ours saved ours.st
ok "by diffusers: the same latents" theirs saved theirs.st ours.st 2e-4
ok "trained by us" wan-train -q --mock --precision fp32 checkpoint.pretrained_checkpoint=saved dataset.F_latents=3 \
    dataset.H_latents=4 dataset.W_latents=6 dataset.context_seq_len=8 optimizer.lr=3e-3 scheduler.lr_warmup_iters=0 \
    train.global_batch_size=2 train.train_iters=3 checkpoint.save=run --metrics /dev/null
ok "exported with its parts, the transformer in pieces" wan-convert export -q -c --max-shard-size 20000 --hf-model saved run out
ok "... of several files" test -s out/transformer/$W.index.json
ok "sampled by us from the run" ours saved ours2.st --checkpoint_dir run
ok "by diffusers from the export: the same latents" theirs out theirs2.st ours2.st 2e-4
ok "... which are others than before" bash -c '! cmp -s ours2.st ours.st'

"${EXAMPLES:-$TOP/build/examples}/draw_clips" --copies 1 --frames 5 all >draw.log 2>&1
mkdir clips && for f in $(ls all | head -n 6); do cp "all/$f" clips; done
wan-decode -q --height 64 --width 64 clips | wan-encode -q --model "$TOP/examples/tiny" >enc.wan
wan-record to-safetensors -q -o enc.st enc.wan && wan-shard -q -o shards <enc.wan && mkdir members && cat shards/*.tar | tar -xi -C members
t=run/iter_0000003/transformer
for python in "$new" "$old"; do
    name=$(versions "$python" "torch safetensors")
    rm -rf pth && mkdir pth && cp $t/config.json pth
    ok "$name: our weights, moments and shards" "$python" "$M" trade $t/$W out/transformer run/iter_0000003/optimizer members enc.st pth
    for how in new legacy; do
        ok "... its file, ${how}, is imported" wan-convert import -q pth/$how.pth from
        same "... to the byte" from/iter_0000000/transformer/$W $t/$W
        rm -rf from
    done
done
done_testing
