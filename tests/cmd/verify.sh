# SPDX-License-Identifier: Apache-2.0
# Whoever reads the weights of a checkpoint holds them against its manifest; wan-convert check does so for any
# folder.
. "$TOP/tests/lib.sh"
M=$TOP/tests/data/ref/pipe
ok "a run" wan-train -q --mock --precision fp32 checkpoint.pretrained_checkpoint="$M/transformer" dataset.F_latents=1 \
    dataset.H_latents=4 dataset.W_latents=4 dataset.context_seq_len=4 scheduler.lr_warmup_iters=0 checkpoint.save=run \
    optimizer.ema_decay=0.9 train.train_iters=2 train.global_batch_size=1
I=run/iter_0000002
sample() { wan-sample -q --model "$M" --checkpoint_dir run --sample_steps 1 --device cpu --sizes 32*32 --frame_nums 1 \
    --prompts "a cat" --base_seed 1 -f --save_file x.png "$@"; }
flip() { # flip FILE: one bit of its last byte
    local at; at=$(($(stat -c %s "$1") - 1))
    printf "$(printf '\\x%02x' $(($(tail -c 1 "$1" | od -An -tu1) ^ 1)))" | dd of="$1" bs=1 seek=$at conv=notrunc status=none
}
nan=nan/iter_0000002/transformer/diffusion_pytorch_model.safetensors # its first element is NaN
cp -r run nan && printf '\0\0\300\177' | dd of=$nan bs=1 seek=$((8 + $(od -An -tu8 -N8 $nan))) conv=notrunc status=none
fails 1 '^wan-train: nan/iter_0000002/transformer: not all of these weights are finite' "weights that are not finite are no start" \
    wan-train -q --mock --precision fp32 checkpoint.pretrained_checkpoint=nan checkpoint.verify=false dataset.F_latents=1 \
    dataset.H_latents=4 dataset.W_latents=4 dataset.context_seq_len=4 checkpoint.save= train.train_iters=2
W=$I/transformer/diffusion_pytorch_model.safetensors E=$I/optimizer/ema.safetensors
ok "is as it was written" wan-convert -q check run
ok "sampled" sample
ok "exported" wan-convert -q export run good
flip $W
last=$(($(stat -c %s $W) - 1)) # ranges of 64 KiB
fails 1 "^wan-convert: $W: differs from manifest.json in bytes $((last / 65536 * 65536)) to $last: the file is damaged or was changed" "a flipped bit: check" wan-convert check run
fails 1 "^wan-convert: $W: differs from manifest.json" "... export" wan-convert export run bad
ok "... makes nothing" test ! -e bad
fails 1 "^wan-sample: $W: differs from manifest.json" "... sampling the last weights" sample --last_weights
ok "... not the average, which is whole" sample
ok "... nor if told so" sample --last_weights --no-verify
ok "... nor export" wan-convert -q export --no-verify run told
flip $W
ok "flipped back it is whole" wan-convert -q check run
flip $E
fails 1 "^wan-sample: $E: differs from manifest.json" "a flipped bit in the average" sample
rm -f $E
fails 1 "$E: No such file or directory" "a file that is gone" wan-convert check run

cp -rL "$M/transformer" plain
ok "a folder without a manifest gets one" wan-convert -q check plain
ok "which is there" test -s plain/manifest.json
ok "and holds" wan-convert -q check plain
head -c 300000 /dev/zero >plain/more.bin && rm plain/manifest.json
ok "made again with another file" wan-convert -q check plain
ok "whose ranges have digests" [ "$(jq -c '.files["more.bin"].ranges | [.bytes, (.crc32c | length)]' plain/manifest.json)" = "[65536,5]" ]
cp plain/manifest.json was.json && jq -c '.files["more.bin"].ranges.crc32c[3] = "00000000"' was.json >plain/manifest.json
fails 1 "^wan-convert: plain/more.bin: is as its digest in manifest.json says, and not as that in bytes 196608 to 262143: manifest.json is damaged" \
    "a digest that is damaged" wan-convert check plain
mv was.json plain/manifest.json
printf x | dd of=plain/more.bin bs=1 seek=196607 conv=notrunc status=none
printf x | dd of=plain/more.bin bs=1 seek=200000 conv=notrunc status=none
fails 1 "^wan-convert: plain/more.bin: differs from manifest.json in bytes 131072 to 196607: " "the first range that differs is named" wan-convert check plain
rm plain/more.bin plain/manifest.json && wan-convert -q check plain
echo >>plain/config.json
fails 1 "^wan-convert: plain/config.json: differs from manifest.json: it has" "until a file is changed" wan-convert check plain
cp "$M/transformer/config.json" plain/ && flip plain/config.json
fails 1 "^wan-convert: plain/config.json: differs from manifest.json in bytes 0 to $(($(stat -c %s plain/config.json) - 1)): " "... one bit of it" wan-convert check plain
mkdir dots bytes && echo a >dots/a..b.txt && wan-convert -q check dots
ok "two dots in a name lead nowhere" wan-convert -q check dots
jq -c '.files["../x"] = .files["a..b.txt"]' dots/manifest.json >out.json && mv out.json dots/manifest.json
fails 1 '"../x" leads out of the folder' "but not for a name" wan-convert check dots
touch bytes/$'\xff'
fails 1 'or a name that is not UTF-8' "a name that JSON cannot hold" wan-convert check bytes
fails 1 "^wan-convert: nowhere: no such folder" "no folder" wan-convert check nowhere
fails 2 "check takes one folder" "two folders" wan-convert check plain run

# the parts of a model, whichever of its two folders has the manifest
cp -rL "$M" whole && mkdir -p whole && "${EXAMPLES:-$TOP/build/examples}/draw_clips" --copies 1 --frames 9 all >/dev/null
mkdir clips && f=$(ls all | grep '\.mp4$' | head -n 1) && cp "all/$f" "all/${f%.mp4}.json" clips
ok "a clip" wan-decode -q --height 16 --width 16 --center-crop -o clip.wan clips
ok "a whole model gets a manifest" wan-convert -q check whole
frames() { wan-encode -q --model whole -o latents.wan -f "$@" clip.wan; }
video() { wan-sample -q --model whole --sample_steps 1 --device cpu --sizes 32*32 --frame_nums 1 --prompts "a cat" --base_seed 1 -f --save_file x.png "$@"; }
ok "encoded" frames
ok "sampled" video
for p in vae text_encoder tokenizer; do
    f=whole/$p/$(ls -S whole/$p | head -n 1)
    flip "$f"
    fails 1 "^wan-encode: $f: differs from manifest.json" "$p with a flipped bit: encoding" frames
    fails 1 "^wan-sample: $f: differs from manifest.json" "... sampling" video
    case $p in tokenizer) ;; *) ok "... not if told so" frames --no-verify ;; esac
    flip "$f"
    if [ $p = vae ]; then ok "... nor where only captions are encoded" frames --text-only; fi
done
# training from a model's weights, and the weights named as a file
tune() { wan-train -q --mock --precision fp32 dataset.F_latents=1 dataset.H_latents=4 dataset.W_latents=4 dataset.context_seq_len=4 \
    train.train_iters=1 train.global_batch_size=1 --metrics /dev/null checkpoint.pretrained_checkpoint="$@"; }
f=whole/transformer/diffusion_pytorch_model.safetensors
ok "trained from the model" tune whole
flip $f
fails 1 "$f: differs from manifest.json" "not with a flipped bit" tune whole
fails 1 "$f: differs from manifest.json" "... nor from its transformer" tune whole/transformer/
fails 1 "$f: differs from manifest.json" "... nor from the file" tune $f
ok "... unless told so" tune whole checkpoint.verify=false
flip $f
mv whole/manifest.json whole.json
ok "the transformer alone gets one" wan-convert -q check whole/transformer
flip $f
fails 1 "^wan-sample: $f: differs from manifest.json" "which counts: sampling" video
fails 1 "^wan-convert: $f: differs from manifest.json" "... import" wan-convert import whole/transformer imported
fails 1 "$f: differs from manifest.json" "... training" tune whole
flip $f
rm whole/transformer/manifest.json
ok "the VAE alone gets one" wan-convert -q check whole/vae
f=whole/vae/$(ls -S whole/vae | head -n 1)
flip "$f"
fails 1 "^wan-encode: $f: differs from manifest.json" "which counts" frames
done_testing
