#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# model.recompute_modules: whatever selective does again and whatever it keeps, losses and norms are those of a run
# that keeps everything, and --plan counts what each of them takes.
. "$TOP/tests/lib.sh"
T="model.num_layers=3 model.hidden_size=96 model.num_attention_heads=3 model.ffn_hidden_size=160 model.text_dim=32
model.text_len=8 dataset.F_latents=2 dataset.H_latents=8 dataset.W_latents=8 dataset.context_seq_len=4
dataset.mock_vary=true dataset.mock_samples=8 dataset.seq_length=128 train.global_batch_size=4 train.train_iters=2
scheduler.lr_warmup_iters=0 checkpoint.save="
run() { wan-train -q --mock --device cpu --precision bf16 $T "$@"; }
told() { jq -c '[.step, .loss, .grad_norm]' "$1"; }
kept() { wan-train -q --plan --mock --device cpu --precision bf16 $T "$@" 2>/dev/null; }
activations() { awk '$1 == "activations" { print $2; exit }'; }
part() { sed -n "s/^what selective.*$1 \([0-9.]*\).*/\1/p"; }
near() { awk -v a="$1" -v b="$2" 'BEGIN { d = a - b; exit !(d < 0.31 && d > -0.31) }'; }
S=model.recompute_granularity=selective
for type in wan dit; do
    M=model.type=$type
    rm -f ./*.json
    ok "$type: everything is kept" run $M --metrics none.json
    for list in layernorm qk_norm mlp_act layernorm,mlp_act "[qk_norm, mlp_act]"; do
        ok "$type: $list again" run $M $S "model.recompute_modules=$list" --metrics some.json
        ok "  the same losses and norms" cmp <(told none.json) <(told some.json)
    done
    kept $M $S >plan.txt
    all=$(activations <plan.txt)
    for module in layernorm qk_norm mlp_act; do
        others=$(echo layernorm qk_norm mlp_act | tr ' ' '\n' | grep -v $module | paste -sd,)
        more=$(kept $M $S "model.recompute_modules=$others" | activations) own=$(part $module <plan.txt)
        ok "$type: $module kept is $own MiB more ($all, $more)" near "$more" "$(awk -v a="$all" -v b="$own" 'BEGIN { print a + b }')"
    done
    none=$(kept $M | activations)
    ok "$type: all of it is what none keeps ($none)" near "$none" \
        "$(awk -v a="$all" -v b="$(part layernorm <plan.txt)" -v c="$(part qk_norm <plan.txt)" -v d="$(part mlp_act <plan.txt)" 'BEGIN { print a + b + c + d }')"
done
# Uniform recompute in groups of blocks: the same bytes of the gradient and of the weights as without recompute, and
# the plan's memory falls while inputs are saved and grows by what a group works in.
G="model.num_layers=5 model.recompute_granularity=full model.recompute_num_layers"
trained() { run model.num_layers=5 debug.dump="$1.st" --metrics "$1.json" checkpoint.save="$1" "${@:2}"; }
like_none() { # like_none NAME words...
    ok "$type: $1" trained "$@"
    ok "  the gradient of a run that keeps everything, byte by byte" cmp "$1.st" all.st
    ok "  its losses and norms" cmp <(told "$1.json") <(told all.json)
    ok "  its weights" diff -r "$1/iter_0000002/transformer" all/iter_0000002/transformer
    rm -r "${1:?}"
}
for type in wan dit; do
    M=model.type=$type
    rm -rf ./*.json all
    ok "$type: everything is kept" trained all $M
    for size in 1 2 3 9; do like_none "groups of $size" $M $G=$size; done
done
memory() { kept model.num_layers=5 "$@" | awk '$1 == "total" { print $2; exit }'; }
m=$(memory) m1=$(memory $G=1) m2=$(memory $G=2) m5=$(memory $G=5)
ok "memory: one by one $m1, pairs $m2, all at once $m5, none $m" awk -v a="$m1" -v b="$m2" -v c="$m5" -v d="$m" 'BEGIN { exit !(a < b && b < c && c <= d + 1) }'
deep="model.num_layers=40 model.recompute_granularity=full model.ffn_hidden_size=64"
m1=$(memory $deep) m2=$(memory $deep model.recompute_num_layers=2)
ok "of many thin blocks pairs take less than single ones: $m2, $m1" awk -v a="$m2" -v b="$m1" 'BEGIN { exit !(a < b) }'
ok "the plan says so" eval 'kept $G=2 | grep -q "^recomputed in groups of 2 blocks: their inputs are kept"'
fails 2 'in groups of 2 .model.recompute_num_layers. keep nothing that could leave' "activations do not leave for the host" run $G=2 model.cpu_offloading=true
fails 2 'core_attn: the output of attention is kept' "core_attn is refused, with the reason" run $S model.recompute_modules=core_attn
fails 2 'none of layernorm, qk_norm, mlp_act' "an unknown word" run $S "model.recompute_modules=[layernorm, gelu]"
fails 2 'is for model.recompute_granularity=selective' "another mode" run model.recompute_modules=layernorm
done_testing
