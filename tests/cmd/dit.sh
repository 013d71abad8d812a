#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The DiT as a user of DFM's pretrain_dit_model.py trains it, and its samples: mock data, DFM's butterfly
# shards, its YAML file, resume, sizes of text and latents, solvers, guidance, pictures and videos.
. "$TOP/tests/lib.sh"
export OMP_NUM_THREADS=1
D="model.type=dit model.num_layers=2 model.hidden_size=32 model.num_attention_heads=2"
S="dataset.H_latents=8 dataset.W_latents=8 dataset.context_seq_len=6 dataset.mock_samples=20 train.global_batch_size=6
optimizer.lr=2e-3 scheduler.lr_decay_style=constant scheduler.lr_warmup_iters=2 model.text_dim=24 model.text_len=16"
train() { wan-train -q --mock --precision fp32 $D $S "$@"; }
bins() { jq -s 'map(.sigma_bins | map(.[0])) | transpose | map(add)' "$1" -c; }

# mock data
ok "a mock run" train train.train_iters=30 --metrics m.json
ok "its loss is near that of no answer" jq -se '.[0].loss > 0.6 and .[0].loss < 1.6 and .[0].loss == .[0].loss_unweighted' m.json
ok "the tenths of sigma hold every sample" jq -se 'all((.sigma_bins | map(.[0]) | add) == .samples)' m.json
ok "and about as many each" [ "$(bins m.json | jq 'min > 8 and max < 32')" = true ]
ok "captions are dropped" [ "$(jq -s 'map(.dropped_captions) | add | . > 20 and . < 55' m.json)" = true ]
ok "bf16" wan-train -q --mock $D $S train.train_iters=30 --metrics b.json
ok "is near fp32" awk 'NR==FNR {x[FNR]=$1; next} {d=($1-x[FNR])/x[FNR]; if (d*d>1e-4) bad=1} END {exit bad}' \
    <(jq .loss m.json) <(jq .loss b.json)
ok "a learnable set is learned" train train.train_iters=200 dataset.mock_samples=1 edm.cfg_dropout_prob=0 \
    train.global_batch_size=4 optimizer.lr=4e-3 --metrics l.json
ok "its loss falls by a third" jq -se '(.[180:] | map(.loss) | add/length) < 0.67 * (.[:10] | map(.loss) | add/length)' l.json
ok "latents of 4 channels" train model.in_channels=4 model.out_channels=4 train.train_iters=2
ok "videos" train dataset.F_latents=3 dataset.mock_vary=true train.train_iters=2
ok "the same run" train train.train_iters=30 --metrics m2.json
same "has the same losses" <(jq .loss m.json) <(jq .loss m2.json)
for r in selective full; do
    ok "recompute $r" train train.train_iters=30 model.recompute_granularity=$r --metrics $r.json
    same "has the same losses" <(jq .loss m.json) <(jq .loss $r.json)
done
ok "half of a run" train train.train_iters=15 checkpoint.save=half
ok "and the rest" train train.train_iters=30 checkpoint.save=half
ok "a run in one piece" train train.train_iters=30 checkpoint.save=whole
same "are the same weights" half/iter_0000030/transformer/diffusion_pytorch_model.safetensors \
    whole/iter_0000030/transformer/diffusion_pytorch_model.safetensors
same "and moments" half/iter_0000030/optimizer/exp_avg_sq.safetensors whole/iter_0000030/optimizer/exp_avg_sq.safetensors
ok "config.json says what it is" jq -e '._class_name == "DiTCrossAttentionModel" and .attention_head_dim == 16 and .ffn_dim == 128
    and .text_dim == 24 and .fps_dim == 32' whole/iter_0000030/transformer/config.json

# keys, files, plans
for m in s:12:384:6 b:12:768:12 l:24:1024:16 xl:28:1152:16; do
    IFS=: read -r size blocks width heads <<<"$m"
    ok "dit-$size" sh -c "wan-train --mock --plan --memory 999G model.size=dit-$size dataset.H_latents=16 dataset.W_latents=16 |
        grep -q 'DiT, $blocks blocks, width $width, $heads heads, ffn $((4 * width))'"
done
ok "dit-xl has 672 million parameters" sh -c "wan-train --mock --plan --memory 999G model.type=dit | grep -q ': 671805248 parameters'"
fails 1 'no size of a model of type dit' "a size of the other model" train model.size=14B train.train_iters=1
fails 2 'flow.shift is no key of a model of type dit' "a key of the other objective" train flow.shift=2
fails 1 'text rows of width 24.*text_dim' "text of another width" sh -c "cp -r '$TOP/tests/data/torch/butterfly' w && chmod -R u+w w &&
    wan-index -q w && wan-train -q $D dataset.path=w train.train_iters=1 model.text_dim=48"
fails 1 'a grid of 1x1025x1' "more places than there are" train dataset.H_latents=2050 dataset.W_latents=2 train.train_iters=1

# DFM's butterflies and its YAML file
cp -r "$TOP/tests/data/torch/butterfly" bf && chmod -R u+w bf
ok "butterfly shards are indexed" wan-index -q bf
ok "and sound" wan-index -q --check bf
YAML=$TOP/tests/data/yaml/dit_pretrain.yaml
dfm() { wan-train -q --dataset-path bf --config-file "$YAML" model.num_layers=1 model.hidden_size=64 model.text_dim=24 \
    checkpoint.save=bf_ck checkpoint.load=bf_ck train.global_batch_size=4 "$@"; }
ok "DFM's file trains on them" dfm train.train_iters=3 --metrics bf.json
ok "as a DiT" jq -e '._class_name == "DiTCrossAttentionModel" and .num_attention_heads == 16' bf_ck/iter_0000003/transformer/config.json
ok "4 samples of 4 to 6 tokens" [ "$(jq -s 'map([.samples, .tokens]) | unique | .[0]' -c bf.json)" = "[4,20]" ]
ok "a resumed run" dfm train.train_iters=5 --metrics bf2.json
ok "goes on" [ "$(jq .step bf2.json | tr '\n' ' ')" = "4 5 " ]
ok "crossattn_emb_size is the width of the text, as in DFM" dfm model.text_dim=0 model.crossattn_emb_size=24 train.train_iters=6
fails 1 'another key says' "two widths of the text" train model.crossattn_emb_size=32 train.train_iters=1

# samples: the text encoder and VAE of a tiny WAN folder
M=$TOP/tests/data/ref/pipe
ok "a DiT for them" train model.text_dim=40 model.text_len=512 train.train_iters=40 checkpoint.save=run
G() { wan-sample --model "$M" --checkpoint_dir run --device cpu --sample_steps 4 "$@"; }
V() { G --sizes 32*32 --frame_nums 5 --base_seed 1 "$@"; }
ok "a video" V --prompts "a lovely cat" --save_file cat.mp4
ok "again" V --prompts "a lovely cat" --save_file again.mp4
same "the same seed makes the same bytes" cat.mp4 again.mp4
ok "heun is the default" V --prompts "a lovely cat" --sample_solver heun --save_file heun.mp4
same "so it is the same" cat.mp4 heun.mp4
ok "euler" V --prompts "a lovely cat" --sample_solver euler --save_file euler.mp4
ok "is another" sh -c '! cmp -s cat.mp4 euler.mp4'
ok "a picture" G --sizes 48*32 --frame_nums 1 --prompts x --base_seed 1 --save_file cat.png
ok "is a PNG" sh -c 'head -c 4 cat.png | grep -aq PNG'
lat() { local out=$1; shift; V --prompts "a lovely cat" --save_file l.mp4 --latents-out "$out" "$@"; }
ok "a negative prompt" lat neg.st --negative_prompt "a dog"
ok "the empty one" lat empty.st --negative_prompt ""
ok "none at all" lat none.st
ok "are three" sh -c '! cmp -s neg.st empty.st && ! cmp -s empty.st none.st && ! cmp -s neg.st none.st'
ok "without guidance" lat one.st --sample_guide_scale 1
ok "no negative prompt matters" lat two.st --sample_guide_scale 1 --negative_prompt "a dog"
same "so it is the same" one.st two.st
ok "guidance 8 is the default" lat eight.st --sample_guide_scale 8
same "so it is the same too" none.st eight.st
fails 1 'no solver "unipc"' "a solver of the other model" V --prompts x --sample_solver unipc
fails 1 'shift' "a shift" V --prompts x --sample_shift 3
fails 1 'heun.*trained with flow|no solver "heun"' "heun for a WAN" wan-sample --model "$M" --sizes 32*32 --frame_nums 1 \
    --prompts x --sample_solver heun --base_seed 1
fails 1 'from 80 to 90' "levels the wrong way round" V --prompts x --sample_sigma_min 90
ok "other levels" lat lv.st --sample_sigma_max 40 --sample_sigma_min 0.01 --sample_rho 5
ok "make another" sh -c '! cmp -s lv.st none.st'
done_testing
