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
fails 2 'core_attn: the output of attention is kept' "core_attn is refused, with the reason" run $S model.recompute_modules=core_attn
fails 2 'none of layernorm, qk_norm, mlp_act' "an unknown word" run $S "model.recompute_modules=[layernorm, gelu]"
fails 2 'is for model.recompute_granularity=selective' "another mode" run model.recompute_modules=layernorm
done_testing
