# SPDX-License-Identifier: Apache-2.0
# wan-convert and wan-sample on what people have: files by name, names with something around them, hub
# caches, pointers, other pipelines.
. "$TOP/tests/lib.sh"
export LC_ALL=C
R=$TOP/tests/data/ref
W=diffusion_pytorch_model.safetensors
no() { ! "$@"; }
le64() { local i x=$1; for i in 1 2 3 4 5 6 7 8; do printf "\\$(printf %03o $((x & 255)))"; x=$((x >> 8)); done; }
# rename FILE OUT FILTER: OUT is the safetensors FILE with the names that jq makes of .key
rename() {
    local n; n=$(od -An -tu8 -N8 "$1" | tr -d ' ')
    tail -c +9 "$1" | head -c "$n" | jq -cj "with_entries($3)" >header
    { le64 "$(stat -c %s header)"; cat header; tail -c +$((9 + n)) "$1"; } >"$2"
}
# what CASE OUT: the imported weights of OUT are those of net_b
what() { same "$1: the same weights" "$2/iter_0000000/transformer/$W" "$R/net_b/transformer/$W"; }

# two forms of one checkpoint: the folder does not say which, a name does
wan-convert -q export --max-shard-size 20000 "$R/net_b" two
cp -L "$R/net_b/transformer/$W" two/transformer
fails 1 "both $W.index.json and $W are there: name the one to read" "two forms" wan-convert import two t0
ok "the file by its name" wan-convert import two/transformer/$W t1
what file t1
ok "the shards by their index" wan-convert import two/transformer/$W.index.json t2
what index t2
fails 1 'a checkpoint step was given, but this is a file' "a step of a file" \
    wan-convert export --checkpoint_step 1 two/transformer/$W t3
fails 1 'nosuch.safetensors: no such folder' "a file that is not there" wan-convert import nosuch.safetensors t3

# names with something around them
mkdir p && cp "$R/net_b/transformer/config.json" p
for prefix in _orig_mod. module. model.diffusion_model. diffusion_model. module._orig_mod. model.; do
    rename "$R/net_b/transformer/$W" p/$W '.key |= if . == "__metadata__" then . else "'$prefix'" + . end'
    ok "prefix $prefix" wan-convert import p "p_$prefix"
    what "$prefix" "p_$prefix"
done
rename "$R/net_b/transformer/$W" p/$W '.key |= sub("^blocks.(?<n>[0-9]+)."; "blocks.\(.n)._checkpoint_wrapped_module._orig_mod.")'
ok "wrapped blocks" wan-convert import p wrapped
what wrapped wrapped
rename "$R/net_b/transformer/$W" p/$W '.key |= if . == "__metadata__" then . else "net.ema." + . end'
fails 1 'unknown prefix "net.ema." before ' "an unknown prefix" wan-convert import p p1
rename "$R/net_b/transformer/$W" p/$W '.key |= if . == "proj_out.bias" then "module.proj_out.weight" else . end'
fails 1 'tensors module.proj_out.weight and proj_out.weight: the same one twice|tensors proj_out.weight and module.proj_out.weight: the same' \
    "the same tensor twice" wan-convert import p p1
rename "$R/net_b/transformer/$W" p/$W '.key |= if . == "__metadata__" then . else "other" + (.|length|tostring) + . end'
fails 1 'none of the [0-9]* tensors there is of this model; one is other' "nothing of the model" wan-convert import p p1
rename "$R/net_b/transformer/$W" p/$W '.key |= if . == "proj_out.bias" then "img_emb.proj.0.bias" else . end'
fails 1 'an image-to-video model: not supported' "image-to-video weights" wan-convert import p p1
rename "$R/net_b/transformer/$W" p/$W '.key |= if . == "proj_out.bias" then "blocks.0.attn1.to_q.lora_A.weight" else . end'
fails 1 'a LoRA, not a model' "a LoRA" wan-convert import p p1
rename "$R/net_b/transformer/$W" p/$W 'if .key == "proj_out.bias" then .key = "scaled_fp8" | .value.dtype = "F8_E4M3" | .value.shape[0] *= 4 else . end'
fails 1 'scaled_fp8 \(the file has scales for it\): F8_E4M3: quantised weights' "FP8 with scales" wan-convert import p p1
ok "nothing was made" no ls -d p1

# single files, as ComfyUI has them: official names of the VAE, the text encoder's with its tokenizer inside
# join FILE FILE EXTRA OUT: the tensors of two safetensors files, and EXTRA as the bytes of spiece_model
join() {
    local a b na nb sa sb; na=$(od -An -tu8 -N8 "$1" | tr -d ' ') nb=$(od -An -tu8 -N8 "$2" | tr -d ' ')
    sa=$(($(stat -Lc %s "$1") - 8 - na)) sb=$(($(stat -Lc %s "$2") - 8 - nb))
    a=$(tail -c +9 "$1" | head -c "$na") b=$(tail -c +9 "$2" | head -c "$nb")
    jq -cjn --argjson a "$a" --argjson b "$b" --argjson s $sa --argjson e $((sa + sb)) --argjson n "$(stat -Lc %s "$3")" \
        '($a + ($b | with_entries(if .key == "__metadata__" then . else .value.data_offsets |= map(. + $s) end)))
        + {spiece_model: {dtype: "U8", shape: [$n], data_offsets: [$e, $e + $n]}}' >header
    { le64 "$(stat -c %s header)"; cat header; tail -c +$((9 + na)) "$1"; tail -c +$((9 + nb)) "$2"; cat "$3"; } >"$4"
}
mkdir one
map=$(jq -Rn '[inputs | split("\t") | {(.[1]): .[0]}] | add' "$TOP/tests/data/torch/official.names")
rename "$R/pipe/vae/$W" one/wan_2.1_vae.safetensors ".key |= ($map[.] // .)"
ok "(the VAE has official names)" grep -aq '"decoder.upsamples.0.residual.2.weight"' one/wan_2.1_vae.safetensors
join "$R"/pipe/text_encoder/model-0000{1,2}-of-00002.safetensors "$R/pipe/tokenizer/spiece.model" one/umt5_xxl_fp16.safetensors
rename "$R/net_b/transformer/$W" one/wan2.1_t2v.safetensors '.key |= if . == "__metadata__" then . else "model.diffusion_model." + . end'
cp "$R/net_b/transformer/config.json" one # its heads are not of 128
ok "three files become a folder" wan-convert gather one/*.safetensors gathered
ok "... with all that diffusers wants" test -s gathered/model_index.json -a -s gathered/scheduler/scheduler_config.json
same "... its transformer" gathered/transformer/$W "$R/net_b/transformer/$W"
same "... its VAE's weights" gathered/vae/$W "$R/pipe/vae/$W"
same "... its tokenizer" gathered/tokenizer/spiece.model "$R/pipe/tokenizer/spiece.model"
sample() { wan-sample -q --model "$1" --sample_steps 2 --device cpu --sizes 32*32 --frame_nums 5 --prompts "a lovely cat" \
    --base_seed 1 -o "$2"; }
ok "(a video of the folder it is from)" sample "$R/pipe" pipe.mp4
ok "a video of the folder gathered" sample gathered gathered.mp4
same "... is the same" gathered.mp4 pipe.mp4
fails 1 'gathered: is there already; --force' "does not replace" wan-convert gather one/*.safetensors gathered
ok "--force does" wan-convert gather --force one/*.safetensors gathered
ln -s gathered link; ok "behind a link too" wan-convert gather --force one/*.safetensors link
ok "which stays" test -L link -a -s gathered/model_index.json
fails 1 'wan_2.1_vae.safetensors and .*wan_2.1_vae.safetensors: both a vae' "one part twice" \
    wan-convert gather one/wan_2.1_vae.safetensors one/wan_2.1_vae.safetensors g1
ok "the official torch file alone" wan-convert gather "$TOP/tests/data/torch/official_vae.pth" g1
ok "... is no whole folder" test -s g1/vae/$W -a ! -e g1/model_index.json
rename one/umt5_xxl_fp16.safetensors one.safetensors '.key |= if . == "spiece_model" then "shared.spiece" else . end'
fails 1 "shared.spiece: no part of this model" "a tensor that is of no model" wan-convert gather one.safetensors g2
rename "$R/umt5/text_encoder/model-00001-of-00002.safetensors" one/umt5_xxl_fp8_e4m3fn_scaled.safetensors \
    'if .key == "shared.weight" then .value.dtype = "F8_E4M3" | .value.shape[0] *= 4 elif (.key | test("SelfAttention.q.weight")) then .key |= sub("weight$"; "scale_weight") else . end'
fails 1 'shared.weight \(the file has scales for it\): F8_E4M3: quantised weights' "a text encoder in FP8 with scales" \
    wan-convert gather one/umt5_xxl_fp8_e4m3fn_scaled.safetensors g2
fails 1 'neither a VAE, a UMT5 encoder nor a WAN transformer' "something else" wan-convert gather "$R/net_b/in.safetensors" g2
ok "nothing was made" no ls -d g2
fails 2 'gather takes files and the folder' "no folder" wan-convert gather one/wan_2.1_vae.safetensors

# a run that trains at this moment is left alone, whatever is said
M="model.num_layers=1 model.hidden_size=32 model.num_attention_heads=2 model.ffn_hidden_size=32 model.text_dim=32
model.freq_dim=32 dataset.F_latents=1 dataset.H_latents=4 dataset.W_latents=4 train.global_batch_size=1"
mkfifo lines
wan-train -q --mock $M train.train_iters=100000 checkpoint.save=alive --metrics lines 2>/dev/null & alive=$!
head -n 3 lines >/dev/null && exec 8<lines
fails 1 'alive: another process trains or imports into this run' "an import into a run that trains" \
    wan-convert import --force "$R/net_b" alive
fails 1 'another process trains' "a second run in the same folder" wan-train -q --mock $M train.train_iters=1 checkpoint.save=alive
kill $alive; exec 8<&-; wait $alive 2>/dev/null
ok "nothing of that is in it" no ls -d alive/iter_0000000
ok "and it can be taken again" wan-train -q --mock $M train.train_iters=1 checkpoint.save=alive2 --metrics /dev/null

# one file of ComfyUI, alone in its folder: the model is in the shapes
wan-train -q --mock model.num_layers=2 model.hidden_size=256 model.num_attention_heads=2 model.ffn_hidden_size=64 \
    model.text_dim=32 model.freq_dim=32 dataset.F_latents=1 dataset.H_latents=4 dataset.W_latents=4 \
    train.global_batch_size=1 train.train_iters=1 checkpoint.save=run --metrics /dev/null 2>/dev/null
wan-convert -q export --naming official run official
mkdir comfy
rename official/$W comfy/wan2.1_t2v.safetensors '.key |= if . == "__metadata__" then . else "model.diffusion_model." + . end'
ok "a file without config.json" wan-convert import comfy/wan2.1_t2v.safetensors c1
same "its weights" c1/iter_0000000/transformer/$W run/iter_0000001/transformer/$W
same "its config.json" c1/iter_0000000/transformer/config.json run/iter_0000001/transformer/config.json
ok "a run may start from it" wan-train -q --mock dataset.F_latents=1 dataset.H_latents=4 dataset.W_latents=4 \
    checkpoint.pretrained_checkpoint=comfy/wan2.1_t2v.safetensors train.global_batch_size=1 train.train_iters=1 \
    checkpoint.save=c2 --metrics /dev/null
cp "$R/net_b/transformer/$W" comfy/narrow.safetensors
fails 1 'no config.json beside it, .*width is no whole number of heads' "a width that says nothing" \
    wan-convert import comfy/narrow.safetensors c3
cp "$R/pipe/vae/$W" comfy/vae.safetensors
fails 1 'no patch_embedding.weight, the first of a WAN transformer' "a VAE" wan-convert import comfy/vae.safetensors c3

# the root of a hub cache
H=hub/models--Wan-AI--Tiny
mkdir -p $H/refs $H/snapshots/abc123 && cp -rL "$R/pipe/." $H/snapshots/abc123
printf abc123 >$H/refs/main
ok "a hub cache by its root" wan-convert import $H h1
same "its transformer" h1/iter_0000000/transformer/$W "$R/pipe/transformer/$W"
ok "its other parts too" wan-convert export --copy-components --hf-model $H h1 h2
same "its VAE" h2/vae/$W "$R/pipe/vae/$W"
ok "for wan-sample as well" wan-sample -q -m $H --prompts cat --sizes 16*16 --frame_nums 1 --sample_steps 1 --base_seed 1 -o h.png
printf other >$H/refs/main
fails 1 'refs/main: names a snapshot that is not there' "a reference to nothing" wan-convert import $H h3
rm $H/refs/main
fails 1 'refs/main' "no reference" wan-convert import $H h3

# RUN/LATEST
ok "LATEST of a run" wan-convert export run/LATEST l1
same "is its newest step" l1/transformer/$W run/iter_0000001/transformer/$W
mkdir -p am/epoch_0_step_9/model/consolidated && cp "$R/net_b/transformer/"* am/epoch_0_step_9/model/consolidated
ln -s epoch_0_step_9 am/LATEST
ok "LATEST of Automodel, a link" wan-convert import am/LATEST l2
what "LATEST, a link" l2
rm am/LATEST && echo epoch_0_step_9 >am/LATEST
ok "a file" wan-convert import am/LATEST l3
what "LATEST, a file" l3
echo epoch_7 >am/LATEST
fails 1 'am/LATEST: names a folder that is not there: epoch_7' "a pointer to nothing" wan-convert import am/LATEST l4
fails 1 'no such folder' "LATEST of nothing" wan-convert import comfy/LATEST l4

# model_index.json
index() { rm -rf m; cp -rL "$R/pipe" m; chmod -R u+w m; jq "$1" "$R/pipe/model_index.json" >m/model_index.json; }
index '._class_name = "WanImageToVideoPipeline"'
fails 1 'WanImageToVideoPipeline \(image-to-video\), and only the text-to-video WanPipeline' "image-to-video" wan-convert import m m1
fails 1 'image-to-video' "for wan-sample too" wan-sample -m m --prompts cat -o m.mp4
index '._class_name = "CogVideoXPipeline"'
fails 1 'm/model_index.json: a CogVideoXPipeline, and only' "another pipeline" wan-convert import m m1
index '._class_name = 7'
fails 1 '_class_name is no text' "no class" wan-convert import m m1
index 'del(._class_name)'
ok "a class that is not said" wan-convert import m m2

index '._class_name = "WanImageToVideoPipeline"'
fails 1 'image-to-video' "the parts of another pipeline" wan-convert export -c --hf-model m run m3
ok "nothing was made of it" no ls -d m3 m1

# distributed checkpoints of torch: DFM's and Automodel's, and torch.save's files
fails 0 '2 tensors of the training state are left out' "a run of Megatron" wan-convert import "$R/dcp/megatron" d1
what "Megatron: two ranks, stacked layers, woven matrices" d1
ok "one step of it" wan-convert export --checkpoint_step 4 "$R/dcp/megatron" d2
same "the same weights" d2/transformer/$W "$R/net_b/transformer/$W"
wan-convert -q import --dtype bf16 "$R/net_b" b16
ok "a step of Automodel" wan-convert import "$R/dcp/automodel/epoch_0_step_3" d3
same "its weights" d3/iter_0000000/transformer/$W b16/iter_0000000/transformer/$W
ok "a file of torch.save" wan-convert import "$R/dcp/model.bin" d4
same "its weights too" d4/iter_0000000/transformer/$W b16/iter_0000000/transformer/$W
fails 1 'a distributed checkpoint of torch; wan-convert import makes a run of it' "wan-sample says who reads it" \
    wan-sample -m "$R/pipe" --checkpoint_dir "$R/dcp/megatron" --prompts cat -o d.mp4
cp -r "$R/dcp/megatron/iter_0000004" d && chmod -R u+w d && rm d/__1_0.distcp
fails 1 'd/.metadata: __1_0.distcp: No such file' "a file of it is missing" wan-convert import d d5
cp "$R/dcp/megatron/iter_0000004/__1_0.distcp" d && rm d/run_config.yaml
fails 1 'd: no config.json beside it.*whole number of heads' "nothing says the heads" wan-convert import d d5
echo 'model: {num_attention_heads: 5}' >d/run_config.yaml
fails 1 'whole number of heads' "heads that do not divide" wan-convert import d d5
ok "nothing is left of those" no ls -d d5
done_testing
