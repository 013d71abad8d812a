# SPDX-License-Identifier: Apache-2.0
# wan-convert: round trips byte for byte, namings, types, sharding; every kind of wrong folder.
. "$TOP/tests/lib.sh"
export LC_ALL=C
R=$TOP/tests/data/ref
W=diffusion_pytorch_model.safetensors
bytes() { stat -Lc %s "$@"; }
no() { ! "$@"; }

ok "import a HuggingFace folder" wan-convert import "$R/net_b" ck
same "the file is the one diffusers wrote" ck/iter_0000000/transformer/$W "$R/net_b/transformer/$W"
ok "the run points to iteration 0" grep -qx 0 ck/latest_checkpointed_iteration.txt
ok "export it" wan-convert export ck hf
same "the weights are back" hf/transformer/$W "$R/net_b/transformer/$W"
same "config.json too" hf/transformer/config.json ck/iter_0000000/transformer/config.json
ok "eps is written as a person would" grep -q '"eps": 1e-6' hf/transformer/config.json

mkdir .two.tmp; exec 8<.two.tmp; flock -n 8
fails 1 '.two.tmp: another process' "two at a time into one folder" wan-convert export ck two
exec 8<&-; ok "what one left that was killed goes" sh -c "touch .two.tmp/x && wan-convert -q export ck two && diff -r hf two && [ ! -e .two.tmp ]"
ok "export in the official naming" wan-convert export --naming official ck official
ok "official names" grep -aq '"blocks.1.self_attn.q.weight"' official/$W
ok "import the official folder" wan-convert import official ck2
same "norm2 and norm3 came back right" ck2/iter_0000000/transformer/$W "$R/net_b/transformer/$W"
ok "import what the official code wrote" wan-convert import "$R/net_b/official" ck3
same "the same weights" ck3/iter_0000000/transformer/$W "$R/net_b/transformer/$W"

ok "import sharded weights into one file" wan-convert import "$R/net_c" one
ok "export them sharded" wan-convert export --max-shard-size 100K one many
ok "there is an index" test -f many/transformer/$W.index.json
ok "import the shards" wan-convert import many again
same "one file again" again/iter_0000000/transformer/$W one/iter_0000000/transformer/$W

ok "bf16 stays bf16" wan-convert import --hf-model "$R/net_d" --megatron-path d
same "bf16 byte for byte" d/iter_0000000/transformer/$W "$R/net_d/transformer/$W"
ok "to fp32" wan-convert export --torch-dtype float32 --megatron-path d --hf-path d32
ok "and back" wan-convert import --dtype bf16 d32 d16
same "bf16 to fp32 to bf16 changes nothing" d16/iter_0000000/transformer/$W "$R/net_d/transformer/$W"
ok "fp32 takes about twice the bytes" test "$(bytes d32/transformer/$W)" -gt $(($(bytes "$R/net_d/transformer/$W") * 18 / 10))

ok "copy the other components" wan-convert export --copy-components --hf-model "$R/pipe" ck full
same "the VAE" full/vae/$W "$R/pipe/vae/$W"
same "the tokenizer" full/tokenizer/spiece.model "$R/pipe/tokenizer/spiece.model"
ok "model_index.json" test -f full/model_index.json

mkdir -p repo/google && cp "$R/net_b/official/"* repo && cp -r "$R/tokenizer_plain/tokenizer" repo/google/umt5-xxl
cp "$TOP/tests/data/torch/official_vae.pth" repo/Wan2.1_VAE.pth
cp "$TOP/tests/data/torch/official_umt5.pth" repo/models_t5_umt5-xxl-enc-bf16.pth
ok "a whole folder of the official repository" wan-convert export --copy-components repo whole
same "its transformer" whole/transformer/$W "$R/net_b/transformer/$W"
ok "its other parts" test -s whole/vae/$W -a -s whole/text_encoder/model.safetensors -a \
    -s whole/tokenizer/spiece.model -a -s whole/scheduler/scheduler_config.json -a -s whole/model_index.json
cp "$TOP/tests/data/torch/official_umt5.pth" repo/Wan2.1_VAE.pth
fails 1 'Wan2.1_VAE.pth: tensor .*no part of this model' "a VAE that is none" \
    wan-convert export --copy-components repo whole2
ok "leaves no VAE" no test -e whole2/vae

fails 1 'ck/iter_0000000: is there already; --force' "does not replace" wan-convert import "$R/net_b" ck
ok "--force does" wan-convert import --force "$R/net_b" ck
ok "and leaves nothing aside" sh -c 'test "$(ls -A ck | tr "\n" " ")" = "iter_0000000 latest_checkpointed_iteration.txt "'
cp -r ck trained && mv trained/iter_0000000 trained/iter_12345678 && echo 12345678 >trained/latest_checkpointed_iteration.txt
ok "a step beyond seven digits is exported" wan-convert export trained eight
same "with its weights" eight/transformer/$W "$R/net_b/transformer/$W"
fails 1 'trained: holds a training run of 12345678 steps' "an import into a run" wan-convert import "$R/net_b" trained
ok "leaves it as it was" sh -c 'test "$(ls trained)" = "$(printf "iter_12345678\nlatest_checkpointed_iteration.txt")" &&
    grep -qx 12345678 trained/latest*'
ok "unless told so" wan-convert import --force "$R/net_b" trained
ok "then it begins anew" grep -qx 0 trained/latest_checkpointed_iteration.txt

# components are looked for before anything is made, and nothing is half there
mkdir -p none
fails 1 'none: has no vae, nor Wan2.1_VAE.pth' "components that are not there" wan-convert export -c --hf-model none ck noc
ok "leave nothing" no test -e noc
mkdir -p noc/vae
fails 1 'noc/vae: is there already' "components where one is already" wan-convert export -c --hf-model "$R/pipe" ck noc
ok "leave it at that" test "$(ls -A noc)" = vae
ok "--force replaces it" wan-convert export -fc --hf-model "$R/pipe" ck noc
ok "all is there, and nothing aside" test "$(ls -A noc | tr '\n' ' ')" = "model_index.json scheduler text_encoder tokenizer transformer vae "
ok "nor beside" no ls -d .noc.tmp
mkdir far; for to in led pieces; do ln -s far/$to $to; done # a link stays, what it leads to is made
ok "export to a link to nothing" wan-convert export --naming official ck led
ok "and over the folder that it leads to now" wan-convert export -f --naming official ck led
ok "entries into a folder behind a link" wan-convert export ck pieces
mv far/pieces/transformer far/elsewhere; ln -s ../elsewhere far/pieces/transformer
ok "and over one that is a link itself" wan-convert export -f --dtype bf16 ck pieces
ok "the links stay" test -L led -a -L pieces -a -L far/pieces/transformer
ok "the folders are there" test -s far/led/config.json -a -s far/elsewhere/config.json -a "$(ls -A far | tr '\n' ' ')" = "elsewhere led pieces "
ok "with what was written last" test "$(bytes far/elsewhere/$W)" -lt "$(bytes noc/transformer/$W)"
ln -s round round; fails 1 'round: too many links' "a link to itself" wan-convert export ck round

# WAN 2.2 is named and refused
two() { rm -rf two; cp -rL "$R/pipe" two; chmod -R u+w two; }
two; cp -r two/transformer two/transformer_2
fails 1 'two: a WAN 2.2 model of two experts' "a second transformer" wan-convert export two y
two; sed -i 's/{/{"boundary_ratio": 0.875,/' two/model_index.json
fails 1 'two: a WAN 2.2 model of two experts' "a boundary between experts" wan-convert import two y
two; sed -i 's/{/{"transformer_2": ["diffusers", "WanTransformer3DModel"],/' two/model_index.json
fails 1 'two: a WAN 2.2 model of two experts' "an expert named, but not there" wan-convert import two y
two; sed -i '0,/{/s/{/{"expand_timesteps": true,/' two/model_index.json
fails 1 'timestep for every token' "timesteps per token" wan-convert import two y
rm -rf two; mkdir -p two/high_noise_model two/low_noise_model
fails 1 'two: a WAN 2.2 model of two experts' "the official layout" wan-convert import two y
two; sed -i '0,/{/s/{/{"transformer_2": [null, null], "boundary_ratio": null, "expand_timesteps": false,/' two/model_index.json
ok "keys that say nothing" wan-convert import two y2

mkdir -p home/own && : >home/own/thesis.tex
fails 1 'home: not replaced: home/own' "--force takes no folder of folders" \
    wan-convert export --force --naming official ck home
mkdir notes; echo a >notes/a.txt; echo '{"caption": "a"}' >notes/clip.json
fails 1 'notes: not replaced: nothing in it says that it is a model' "nor one of notes and captions" \
    wan-convert export --force --naming official ck notes
ok "which stays" [ "$(cat notes/a.txt)" = a ]
fails 1 'not replaced: .*thesis.tex' "nor one with other files" \
    wan-convert export --force --naming official ck home/own
ok "which is still there" test -e home/own/thesis.tex

# the last weight becomes 1e6, which F16 does not reach
cp -rL "$R/net_b/transformer" large && chmod -R u+w large
printf '\000\044\164\111' | dd of=large/$W bs=1 seek=$(($(bytes large/$W) - 4)) conv=notrunc 2>/dev/null
ok "a large weight in bf16" wan-convert import --dtype bf16 large l16
fails 1 'too large for F16' "a large weight in fp16" wan-convert import --dtype fp16 large lf16
ok "leaves nothing" no test -e lf16/iter_0000000
printf '\377\377\377\177' | dd of=large/$W bs=1 seek=$(($(bytes large/$W) - 4)) conv=notrunc 2>/dev/null
fails 1 'large/.*element [0-9]* is not finite' "a weight that is no number" wan-convert import large nan

# broken(CONFIG EDIT): the weights of net_b under another config
broken() { rm -rf bad; cp -rL "$R/net_b/transformer" bad; chmod -R u+w bad; sed -i "$1" bad/config.json; }
broken 's/"num_layers": 2/"num_layers": 3/'
fails 1 'tensor blocks\.2\.[a-z0-9_.]*: missing' "missing weight" wan-convert import bad x
broken 's/"num_layers": 2/"num_layers": 1/'
fails 1 'tensor blocks\.1\.[a-z0-9_.]*: no part of this model \(nor are 26 others\)' "extra weights" \
    wan-convert import bad x
broken 's/"ffn_dim": 52/"ffn_dim": 53/'
fails 1 'tensor blocks\.0\.ffn.*has shape \[52, ?24\], expected \[53, ?24\]' "wrong shape" wan-convert import bad x
broken 's/"ffn_dim"/"fnn_dim"/'
fails 1 'config.json: unknown key "fnn_dim", did you mean "ffn_dim"' "unknown key" wan-convert import bad x
broken 's/"image_dim": null/"image_dim": 1280/'
fails 1 'image_dim.*image-to-video models are not supported' "image-to-video model" wan-convert import bad x
broken 's/"num_attention_heads": 2/"num_attention_heads": 0/'
fails 1 'heads is 0' "no heads" wan-convert import bad x
broken 's/{/{{/'
fails 1 'config.json: invalid JSON' "config.json that is no JSON" wan-convert import bad x
broken 's/x/x/'; rm bad/config.json
fails 1 'bad: neither a training run' "no config.json" wan-convert import bad x
broken 's/x/x/'; sed -i 's/blocks.0.attn1.norm_q.weight/blocks.0.attn1.scale_weightq/' bad/$W
fails 1 'FP8 weights with scales .*not supported' "FP8 repack" wan-convert import bad x
broken 's/x/x/'; sed -i 's/model.*//' bad/$W; truncate -s 1000 bad/$W
fails 1 "$W: " "truncated weights" wan-convert import bad x
mkdir variant && cp "$R/net_b/transformer/config.json" variant
cp -L "$R/net_b/transformer/$W" variant/diffusion_pytorch_model.fp16.safetensors
ok "the only variant of a folder" wan-convert import variant v
same "is what it holds" v/iter_0000000/transformer/$W "$R/net_b/transformer/$W"
cp variant/diffusion_pytorch_model.fp16.safetensors variant/diffusion_pytorch_model.ema.safetensors
fails 1 'both .* and .*: name the one to read' "two variants" wan-convert import variant v2
rm variant/*.safetensors
printf 'version https://%s\noid sha256:0\nsize 9\n' git-lfs >variant/$W
fails 1 'a git-lfs pointer, not the file itself' "a pointer of git-lfs" wan-convert import variant v3
fails 1 'nowhere' "no such folder" wan-convert import nowhere x
fails 1 'iter_0000007: no such checkpoint' "no such iteration" wan-convert export --checkpoint_step 7 ck y
fails 1 'no training run' "an iteration of no training run" wan-convert export --checkpoint_step 7 "$R/net_b" y
ok "nothing was left behind" no ls -d x/iter_0000000 x/.iter_0000000.tmp y/transformer 2>/dev/null
fails 2 'say import, export, quantize, gather or check first' "no verb" wan-convert ck hf
fails 2 '--hf-model is missing' "no folders" wan-convert import
fails 2 'for export' "naming of an import" wan-convert import --naming official "$R/net_b" x
if [ -e /dev/full ] && [ "$(id -u)" = 0 ]; then skip "unwritable folder" "root may write anywhere"
else mkdir ro && chmod a-w ro; fails 1 'ro' "unwritable folder" wan-convert import "$R/net_b" ro; fi
done_testing
