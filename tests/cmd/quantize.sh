# SPDX-License-Identifier: Apache-2.0
# Weights as GGUF and back: wan-convert quantize, import of what it wrote, and a video from the file.
. "$TOP/tests/lib.sh"
ln -s "$TOP/examples/tiny" model
wan-train -q --mock --config-file model/stage1.yaml dataset.F_latents=1 dataset.H_latents=8 dataset.W_latents=8 \
    model.hidden_size=256 model.ffn_hidden_size=512 model.num_layers=2 train.global_batch_size=2 train.train_iters=2 checkpoint.save=run >train.log 2>&1
size() { stat -c %s "$1"; }
for t in q8_0 q4_k; do
    ok "quantize --type $t" wan-convert quantize --type $t run $t.gguf
    cp "$ok_err" said
    ok "as blocks where rows are whole blocks" grep -qE "$t.gguf: [1-9][0-9]* tensors as $t, [1-9]" said
    fails 1 'is there already; --force' "not over a file that is there" wan-convert quantize --type $t run $t.gguf
    cp $t.gguf before.gguf
    ok "unless it must" wan-convert quantize --force --type $t run $t.gguf
    same "and gives the same bytes" before.gguf $t.gguf
    ok "the file is a model: import" wan-convert import --dtype fp32 $t.gguf back.$t
    ok "that knows its sizes" sh -c 'jq -S "del(._diffusers_version)" "$1" >a && jq -S "del(._diffusers_version)" "$2" | diff a - >&2' sh \
        run/iter_0000002/transformer/config.json back.$t/iter_0000000/transformer/config.json
    ok "a video from it" wan-sample -q --model model --checkpoint_dir $t.gguf --prompts "a red circle" --sizes 64*64 \
        --frame_nums 1 --sample_steps 2 --base_seed 1 --latents-out $t.safetensors --save_file $t.png
    ok "and from what was imported, which is the same weights" wan-sample -q --model model --checkpoint_dir back.$t --prompts "a red circle" \
        --sizes 64*64 --frame_nums 1 --sample_steps 2 --base_seed 1 --latents-out back.safetensors --save_file back.png
    # blocks are unpacked in the product, which sums in another order: the values are held to each other by check_held
    ok "is as large" [ "$(size $t.safetensors)" = "$(size back.safetensors)" ]
    wan-sample -v --model model --checkpoint_dir $t.gguf --prompts "a red circle" --sizes 64*64 --frame_nums 1 \
        --sample_steps 1 --save_file said.png 2>said
    ok "blocks are kept in memory" grep -q "matrices stay $t," said
done
ok "q8_0 is smaller than half of fp32" [ $((2 * $(size q8_0.gguf))) -lt "$(size run/iter_0000002/transformer/diffusion_pytorch_model.safetensors)" ]
ok "q4_k is smaller than q8_0" [ "$(size q4_k.gguf)" -lt "$(size q8_0.gguf)" ]
head -c 50000 q4_k.gguf >cut.gguf
fails 1 'cut.gguf: tensor .*: the file ends before its data do' "a file that is cut" wan-convert import cut.gguf no
fails 1 'cut.gguf: ' "and for sampling" wan-sample -q --model model --checkpoint_dir cut.gguf --prompts a --sizes 64*64 --frame_nums 1
sed 's/\x03\x00\x00\x00\x00\x00\x00\x00wan/\x03\x00\x00\x00\x00\x00\x00\x00wax/' q8_0.gguf >wax.gguf
fails 1 'architecture "wax", not "wan"' "another architecture" wan-convert import wax.gguf no
ok "to standard output the same bytes" sh -c 'wan-convert quantize --type q4_k run - | cmp - q4_k.gguf'
if has_pty; then
    script -qec "wan-convert quantize run -; echo status \$?" /dev/null >tty.out </dev/null
    ok "not to a terminal" sh -c 'grep -q "refusing to write binary data to a terminal" tty.out && grep -q "status 1" tty.out'
else skip "not to a terminal" "no script(1), or no pseudo-terminal to be had"; fi
fails 2 'is none of q8_0\|q4_k' "a type that is not written" wan-convert quantize --type q6_k run x.gguf
fails 2 'are for export' "--naming has no meaning here" wan-convert quantize --naming official run x.gguf
done_testing
