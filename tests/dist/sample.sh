#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# wan-sample on several ranks: the passes of guidance, tokens and heads shared out, evenly and not; the
# latents of one rank, the same bytes again, rank 0 alone writes, an error of any rank ends all.
. "$TOP/tests/lib.sh"
if [ "${MPI:-0}" != 1 ] || ! command -v mpirun >/dev/null; then
    skip "sampling on several ranks" "a build without MPI"
    done_testing
fi
. "$TOP/tests/ranks.sh"
M=$TOP/tests/data/ref/pipe
P="--model $M --sample_steps 3 --device cpu --precision fp32"
seed="--base_seed 1"
V="--sizes 32*48 --frame_nums 5"
one() { wan-sample $P $V $seed --prompts "a cat" "$@"; }
ranks() { # ranks N args...
    local n=$1; shift
    timeout 100 mpirun --allow-run-as-root --oversubscribe --bind-to none -n "$n" wan-sample $P $V $seed --prompts "a cat" "$@"
}
like() { # like NAME FILE N args...: the latents of one rank in FILE
    local name=$1 file=$2 e; shift 2
    rm -f n.st n.mp4
    ok "$name" ranks "$@" --latents-out n.st --save_file n.mp4
    e=$("$OBJ/tests/train/check_debug" n.st "$file" latents)
    ok "$name: latents within 1e-5 of one rank's ($e)" within "$e" 1e-5
    ok "$name: its frames" test -s n.mp4
}
ok "one rank" one --latents-out 1.st --save_file 1.mp4
ok "one rank, the passes apart" one --passes apart --latents-out p.st --save_file p.mp4
e=$("$OBJ/tests/train/check_debug" p.st 1.st latents)
ok "as in one pack: latents within 1e-5 ($e)" within "$e" 1e-5
ok "the plan says which" sh -c "wan-sample $P $V --prompts 'a cat' --plan | grep -q '2 passes together' &&
    ! wan-sample $P $V --prompts 'a cat' --passes apart --plan | grep -q together"
for p in fp32 bf16; do
    ok "weights on the device, $p" one --precision $p --latents-out w.st --save_file w.mp4
    ok "... in host memory" one --precision $p --offload --latents-out o.st --save_file o.mp4
    same "$p: the same latents, byte for byte" o.st w.st
done
mkdir -p 14b/transformer
jq '.num_attention_heads = 40 | .attention_head_dim = 128 | .ffn_dim = 13824 | .num_layers = 40 | .text_dim = 4096' \
    "$M/transformer/config.json" >14b/transformer/config.json
takes() { # GiB of the transformer, as planned; there are no weights to check
    wan-sample --model "$TOP/examples/tiny" --checkpoint_dir 14b --sizes 832*480 --frame_nums 81 --prompts x --device cpu \
        --plan "$@" 2>/dev/null | awk '$1 == "transformer" { print $2 }'
}
with=$(takes --offload) without=$(takes)
ok "14B in 480p fits 24 GB with its weights in host memory ($with GiB), and without not ($without)" \
    awk -v a="$with" -v b="$without" 'BEGIN { exit !(a > 4 && a < 20 && b > 24) }'
ok "two ranks, by themselves" ranks 2 --latents-out 2.st --save_file 2.mp4
same "each makes one pass: the same latents, byte for byte" 2.st p.st
same "and frames" 2.mp4 p.mp4
like "context 2, heads" 1.st 2 --context-parallel 2
like "context 2, ring" 1.st 2 --context-parallel 2 --cp-comm-type p2p
like "tensor 2" 1.st 2 --tensor-parallel 2 --sequence_parallel
like "three ranks, by themselves" 1.st 3
like "four ranks, by themselves" 1.st 4
like "tensor 2, weights in host memory" 1.st 2 --tensor-parallel 2 --offload
like "2 passes x tensor 2" 1.st 4 --cfg-parallel --tensor_parallel_size 2
like "context 2 x tensor 2" 1.st 4 --context_parallel_size 2 --tensor_parallel_size 2 # one head each: p2p
# a call that was killed when its latent had been written, and no frame yet
at=$OBJ/tests/reliability/at
stopped() {
    mkdir kept
    for k in $(seq 6 40); do
        (cd kept && "$at" kill "$k" -- wan-sample $P $V $seed --prompts "a cat" --save_file v.mp4)
        [ ! -s kept/.v.mp4.latent ] || return 0
    done
    return 1
}
ok "a latent that waits for the VAE" stopped
ok "two ranks go on with it" bash -c "$(declare -f ranks); P='$P' V='$V' seed='$seed'; cd kept && ranks 2 --continue --save_file v.mp4"
same "all of each frame is made of it" kept/v.mp4 1.mp4
ok "again" ranks 4 --latents-out a.st --save_file a.mp4
ok "and again" ranks 4 --latents-out b.st --save_file b.mp4
same "the same layout, the same bytes" a.st b.st
ok "one rank, one pass" one --sample_guide_scale 1 --latents-out g.st --save_file g.mp4
like "one pass on two ranks" g.st 2 --sample_guide_scale 1
ok "a random seed" env seed= bash -c "$(declare -f ranks); P='$P' V='$V'; ranks 2 --save_file r.mp4 --latents-out r.st"
ok "records from rank 0" bash -c "$(declare -f ranks); P='$P' V='$V' seed='$seed'; ranks 2 --force --save_file - | wan-record check -"
ok "a folder of both models" wan-train -q --mock --precision fp32 model.type=dit model.num_layers=2 \
    model.hidden_size=48 model.num_attention_heads=3 model.ffn_hidden_size=64 model.text_dim=40 model.text_len=16 \
    dataset.H_latents=4 dataset.W_latents=4 dataset.context_seq_len=8 dataset.mock_samples=4 \
    train.global_batch_size=2 train.train_iters=2 checkpoint.save=dit
ok "a DiT on one rank" one --checkpoint_dir dit --latents-out d.st --save_file d.mp4
ok "its weights in host memory" one --checkpoint_dir dit --offload --latents-out o.st --save_file o.mp4
same "byte for byte" o.st d.st
ok "its passes apart" one --checkpoint_dir dit --passes apart --latents-out e.st --save_file e.mp4
e=$("$OBJ/tests/train/check_debug" e.st d.st latents)
ok "as in one pack: latents within 1e-5 ($e)" within "$e" 1e-5
like "a DiT on four" d.st 4 --checkpoint_dir dit --tensor-parallel 2
like "a DiT on three" d.st 3 --checkpoint_dir dit --context-parallel 3 --cp-comm-type a2a
V="--sizes 16*16 --frame_nums 1"
ok "one rank, a picture of one token" one --latents-out t.st --save_file t.png
like "a token for three ranks" t.st 3
fails 1 '3 ranks for 2 passes of guidance' "ranks that do not make up the layout" ranks 3 --cfg-parallel
fails 1 '2 ranks for 1 pass of guidance x context parallel 3' "more than there are" ranks 2 --context-parallel 3
fails 1 'guidance 1 makes one pass' "two passes where there is one" ranks 2 --cfg-parallel --sample_guide_scale 1
fails 1 '3 tensor parallel ranks for 2 heads' "more ranks than heads" ranks 3 --tensor-parallel 3
fails 1 '2 heads on 3 context parallel ranks' "the same in an all-to-all" ranks 3 --cp-comm-type a2a
fails 1 '1 rank for 1 pass of guidance x context parallel 2' "without mpirun" one --context-parallel 2
# rank 1 alone has a folder without a tensor
cp -rL "$M" broken && chmod -R u+w broken && rm broken/vae/*.safetensors
fails 1 'broken/vae' "an error of one rank ends all" timeout 60 mpirun --allow-run-as-root --oversubscribe --bind-to none \
    -n 1 wan-sample $P $V --prompts x --save_file x.mp4 : -n 1 wan-sample $P $V --prompts x --model broken --save_file x.mp4
done_testing
