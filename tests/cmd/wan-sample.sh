# SPDX-License-Identifier: Apache-2.0
# wan-sample: files as named, the same bytes again, prompts in lists, bad command lines and folders.
. "$TOP/tests/lib.sh"
M=$TOP/tests/data/ref/pipe
G() { wan-sample --model "$M" --sample_steps 3 --device cpu "$@"; }
S() { G --sizes 32*32 --frame_nums 5 "$@"; }

ok "a video" S --prompts "a lovely cat" --base_seed 1 --save_file cat.mp4
ok "it is there" test -s cat.mp4
ok "again" S --prompts "a lovely cat" --base_seed 1 --save_file again.mp4
same "the same seed makes the same bytes" cat.mp4 again.mp4
ok "a cache of text rows, empty" S -v --cache rows --prompts "a lovely cat" --base_seed 1 --save_file c0.mp4
ok "holds the prompt and the negative one" test "$(ls rows | wc -l)" = 2
ok "then full" bash -c "wan-sample --model '$M' --sample_steps 3 --device cpu --sizes 32*32 --frame_nums 5 -v --cache rows \
    --prompts 'a lovely cat' 'a dog' --base_seed 1 --save_file c1.mp4 2>cache.txt"
ok "two of three were there" grep -q 'text rows: 2 of 3 from rows' cache.txt
ok "where the time went" grep -Eq '[0-9.]+ s: text [0-9.]+, weights [0-9.]+, steps [0-9.]+, VAE and files [0-9.]+$' cache.txt
ok "now three are" test "$(ls rows | wc -l)" = 3
same "the first video with an empty cache" c0.mp4 cat.mp4
same "and with a full one" c1_00.mp4 cat.mp4
f=rows/$(ls rows | head -1) && head -c 100 "$f" >cut && mv cut "$f"
fails 1 "rows/.*safetensors: " "a broken file in the cache" S --cache rows --prompts "a lovely cat" "a dog" --base_seed 1 --save_file c2.mp4
ok "another seed" S --prompts "a lovely cat" --base_seed 2 --save_file other.mp4
ok "makes another video" bash -c '! cmp -s cat.mp4 other.mp4'
ok "two prompts" S --prompts "a dog" "a lovely cat" --base_seed 1 --save_file two.mp4
ok "have two names" test -s two_00.mp4 -a -s two_01.mp4
same "a prompt gives the same video alone and in a list" two_01.mp4 cat.mp4
for p in fp32 bf16 fp16; do
    S --prompts "a lovely cat" --base_seed 1 --vae_precision $p -o - >$p.wan
    wan-record to-safetensors -o $p.safetensors $p.wan
done
# differ A B: mean and largest difference of the bytes of two files, in levels of 255
differ() { cmp -l "$1" "$2" | awk -v n="$(stat -c %s "$1")" 'function o(x) { return int(x / 100) * 64 + int(x % 100 / 10) * 8 + x % 10 }
    { d = o($2) - o($3); d = d < 0 ? -d : d; s += d; m = d > m ? d : m } END { printf "%.3f %d\n", s / n, m }'; }
ok "the VAE in bf16 is another, and near" bash -c "set -- $(differ fp32.safetensors bf16.safetensors); awk \"BEGIN { exit !(\$1 > 0.001 && \$1 < 2 && \$2 < 24) }\""
ok "in fp16 it is nearer" bash -c "set -- $(differ fp32.safetensors fp16.safetensors) $(differ fp32.safetensors bf16.safetensors); awk \"BEGIN { exit !(\$1 > 0 && \$1 < \$3 / 3 && \$2 < 8) }\""
S --prompts "a lovely cat" x --plan -o none.mp4 >plan.txt
ok "of two videos, 10 frames, 8 tokens each" grep -q '^videos  *2, 10 frames, at most 8 tokens' plan.txt
ok "of 3 calls of two passes" grep -q '^work  *3 calls of 2 passes together a video: [0-9.e-]* TFLOP' plan.txt
ok "with memory and time" bash -c 'grep -q "^transformer .* GiB: .* weights" plan.txt && grep -q "^VAE .*GiB" plan.txt && grep -q "^time .* TFLOP/s" plan.txt'
ok "and nothing is made" bash -c '! ls none*.mp4 2>/dev/null'
for end in webm mkv gif mov; do
    ok "a .$end" S --prompts "a lovely cat" --base_seed 1 -o c.$end
done
ok "a picture for each frame" S --prompts "a lovely cat" --base_seed 1 -o f_%02d.png
ok "five of them" bash -c 'test -s f_00.png -a -s f_04.png -a ! -e f_05.png'
ok "diffusers' names of the options" wan-sample --model "$M" --num-inference-steps 3 --device cpu --height 32 --width 32 \
    --num-frames 5 --prompt "a lovely cat" --seed 1 --guidance-scale 5 --flow-shift 5 --output alias.mp4
same "mean the same" alias.mp4 cat.mp4
ok "a preview" S --prompts "a lovely cat" --base_seed 1 --preview p.png --save_file shown.mp4
same "leaves the video alone" shown.mp4 cat.mp4
ok "and shows both latent frames, 8 pixels high" test "$(od -An -tx1 -j16 -N8 p.png | tr -d ' ')" = 0000001400000008
ok "the same at an earlier step" S --prompts "a lovely cat" --base_seed 1 --sample_steps 2 --preview p2.png --save_file shown2.mp4
ok "is another picture" bash -c '! cmp -s p.png p2.png && head -c 4 p2.png | grep -aq PNG'
fails 1 'nowhere/p.png' "no place for a preview" S --prompts x --preview nowhere/p.png --save_file none.mp4
ok "a picture" G --sizes 32*32 --frame_nums 1 --prompts "a lovely cat" --base_seed 1 --save_file cat.png
ok "is a PNG" bash -c 'head -c 4 cat.png | grep -aq PNG'
ok "the default name" S --task t2v-1.3B --prompts "a/b c" --base_seed 1
ok "is DFM's" test -s t2v-1.3B_DefaultExp_videoindex0_size32x32_a_b_c.mp4
ok "a folder for them" G --task t2v-1.3B --sizes 32*32 --frame_nums 1 --prompts "a lovely cat" --base_seed 1 --output_dir new/er
same "made, with the default name in it" new/er/t2v-1.3B_DefaultExp_videoindex0_size32x32_a_lovely_cat.png cat.png
ok "one that is there, by -o" G --task t2v-1.3B --sizes 32*32 --frame_nums 1 --prompts "a lovely cat" --base_seed 2 -o new
ok "too" test -s new/t2v-1.3B_DefaultExp_videoindex0_size32x32_a_lovely_cat.png
ok "with a name of ours" G --sizes 32*32 --frame_nums 1 --prompts "a lovely cat" --base_seed 1 --output_dir new -o c.png
same "the picture" new/c.png cat.png
fails 2 'c.xyz: no file of that kind' "a name that ends like no file" G --prompts x -o c.xyz
fails 2 'both say where it goes' "a folder twice" G --prompts x --output_dir new -o other/c.png
ok "--plan makes none" bash -c "wan-sample -q --model '$M' --device cpu --plan --sizes 32*32 --frame_nums 1 -p x --output_dir newest && test ! -e newest"
ok "records" bash -c "wan-sample --model '$M' --sample_steps 2 --sizes 48*32 32*48 --frame_nums 5 1 --prompts x y \
    --base_seed 1 --save_file - >v.wan && wan-record check v.wan && wan-record ls v.wan >v.jsonl"
ok "of the sizes asked for, width first" bash -c 'grep -q "\[5, *32, *48, *3\]" v.jsonl && grep -q "\[1, *48, *32, *3\]" v.jsonl'
ok "guidance 1 is one pass" S --sample_guide_scale 1 --prompts x --base_seed 1 --save_file one.mp4
ok "in which a negative prompt has no part, which is said" bash -c 'wan-sample "$@" 2>&1 | grep -q "the negative prompt: no effect"' \
    sh --model "$M" --device cpu --sample_steps 1 --sample_guide_scale 1 --sizes 32*32 --frame_nums 1 --prompts x --negative_prompt y --save_file neg.png
ok "a random seed is printed" bash -c "wan-sample --model '$M' --sample_steps 1 --sizes 32*32 --frame_nums 1 \
    --prompts x --save_file r.png 2>&1 | grep -Eq 'seed [0-9]+'"

ok "a training run is found" wan-convert import "$M" run
ok "sample from it" S --checkpoint_dir run --prompts "a lovely cat" --base_seed 1 --save_file ck.mp4
same "the same model, the same video" ck.mp4 cat.mp4
ok "an iteration of it" S --checkpoint_dir run --checkpoint_step 0 --prompts x --save_file ck0.mp4
fails 1 'iter_0000005' "an iteration it lacks" S --checkpoint_dir run --checkpoint_step 5 --prompts x
mv run/iter_0000000 run/iter_12345678 && rm -f run/latest*
ok "a step of eight digits, without the pointer file" S --checkpoint_dir run --prompts "a lovely cat" --base_seed 1 --save_file ck8.mp4
same "is found" ck8.mp4 cat.mp4
echo 12345678 >run/latest_checkpointed_iteration.txt
ok "and with it" S --checkpoint_dir run --prompts "a lovely cat" --base_seed 1 --save_file ck9.mp4
same "is found too" ck9.mp4 cat.mp4
cp -rL "$M" two && chmod -R u+w two && cp -r two/transformer two/transformer_2
fails 1 'two: a WAN 2.2 model of two experts' "a model of two experts" wan-sample --model two --sample_steps 1 \
    --sizes 32*32 --frame_nums 1 --prompts x --base_seed 1 --save_file two.png
fails 1 'nowhere' "no such checkpoint" S --checkpoint_dir nowhere --prompts x

fails 2 '--height and --width: give both' "half a size" G --frame_nums 5 --height 32 --prompts x
fails 2 'give --sizes or' "two kinds of sizes" S --height 32 --width 32 --prompts x
fails 2 'multiples of 16' "width 40" G --frame_nums 5 --sizes 40*32 --prompts x
fails 2 'is not WIDTH\*HEIGHT' "a size that is none" G --sizes 32 --prompts x
fails 2 '6 is not 4n\+1; the nearest are 5 and 9' "6 frames" G --sizes 32*32 --frame_nums 6 --prompts x
fails 2 '2 values for 3 videos' "3 prompts, 2 sizes" G --frame_nums 5 --sizes 32*32 48*48 --prompts x y z
fails 2 'give --prompts' "no prompt" S
fails 2 '--model is missing' "no model" wan-sample --prompts x
fails 2 'a PNG holds one frame' "5 frames into a PNG" S --prompts x --save_file x.png
fails 2 'unexpected operand' "a prompt without its option" S -- x
fails 2 'prompt 2: the prompt is not valid UTF-8' "a prompt in Latin-1" S --prompts x "$(printf 'caf\351')"
fails 1 'd.mp4: is a directory' "a folder of that name" bash -c "mkdir d.mp4; wan-sample --model '$M' \
    --sizes 32*32 --frame_nums 5 --sample_steps 1 --device cpu --prompts x --save_file d.mp4"
ok "a long prompt" bash -c "wan-sample --model '$M' --sample_steps 1 --sizes 32*32 --frame_nums 1 --device cpu \
    --prompts \"\$(printf 'a cat %.0s' {1..400})\" --save_file long.png 2>long.err"
ok "is cut, and it is said" grep -q 'cut to 512 tokens, [0-9]* lost' long.err
fails 1 'no/such' "an unwritable folder, before the work" S --prompts x --save_file no/such/x.mp4
fails 1 'no/such' "latents into no folder, before the work" S --prompts x --save_file y.mp4 --latents-out no/such/l
fails 1 'no/such' "a picture into no folder" G --sizes 32*32 --frame_nums 1 --prompts x --save_file no/such/x.png
if [ -e /dev/full ]; then
    fails 1 'stdout|No space' "records to a full disk" bash -c "wan-sample --model '$M' --sample_steps 1 \
        --sizes 32*32 --frame_nums 5 --prompts x --base_seed 1 --save_file - >/dev/full"
fi
ok "a reader that goes away ends it quietly" bash -c "wan-sample -q --model '$M' --sample_steps 1 \
    --sizes 32*32 --frame_nums 5 --prompts x --base_seed 1 --save_file - | head -c 1 >/dev/null"
fails 1 'tensor noise: has shape' "noise of another size" G --frame_nums 5 --sizes 48*48 --prompts x --noise "$M/in.safetensors"
fails 1 'tensor text' "a text file without text" S --text "$M/out.safetensors"
nan() { # nan FILE OFFSET: four bytes that are not a number in F32 and in BF16
    printf '\377\377\377\177' | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}
cp "$M/in.safetensors" nan.safetensors && chmod u+w nan.safetensors
nan nan.safetensors $((8 + $(od -An -tu8 -N8 nan.safetensors) + 1120)) # its tensor noise
fails 1 'element 0 of its noise is not finite' "noise that is no number" S --prompts x --save_file x.mp4 --noise nan.safetensors
cp -rL "$M" sick && chmod -R u+w sick
for w in sick/transformer/*.safetensors; do nan "$w" $(($(stat -c %s "$w") - 4)); done
fails 1 'the latent is not finite after step 1 of 3' "a weight that is no number shows at once" \
    wan-sample --model sick --sample_steps 3 --device cpu --sizes 32*32 --frame_nums 1 --prompts x --save_file x.png
cp -rL "$M" broken && chmod -R u+w broken && rm broken/vae/*.safetensors
fails 1 'broken/vae' "no VAE weights" wan-sample -v --model broken --sizes 32*32 --frame_nums 1 \
    --sample_steps 1 --prompts x --save_file y.png
ok "are known before the work" bash -c '! grep -Eq "seed|text encoder|loaded" fails.err'
ok "nothing half-written has a name" bash -c '! ls y.png x.png x.mp4 2>/dev/null'
done_testing
