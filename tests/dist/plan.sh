#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# wan-train --plan --ranks against a real run of every layout of layouts.txt on CPU ranks: bytes of memory,
# calls and bytes of every group as its counters say.  Then what a plan of machines that are not there says.
# A few layouts; LAYOUTS=all: every one (make check-dist).
. "$TOP/tests/lib.sh"
if [ "${MPI:-0}" != 1 ] || ! command -v mpirun >/dev/null; then
    skip "plans against runs" "a build without MPI"
    done_testing
fi
STEPS=1
. "$TOP/tests/ranks.sh"
T="$T model.num_layers=4 model.num_attention_heads=4 checkpoint.save="
foresee() { wan-train --plan --mock --precision fp32 --ranks "$@"; }
said() { jq -r '.comm | to_entries[] | .key as $g | .value | to_entries[] | "\($g) \(.key) \(.value[0]) \(.value[1])"' "$1" | tr ' ' '\t' | sort; }
foreseen() { # the table of messages, whose groups may have names of two words
    sed -n '/^messages/,/^time/{/^  /p}' "$1" | awk '{ for (i = 1; $i !~ /^(all_|reduce_|broadcast|barrier|send|recv)/; i++);
        g = $1; for (j = 2; j < i; j++) g = g " " $j; print g, $i, $(i+1), $(i+2) }' | tr ' ' '\t' | sort
}
near() { awk -v a="$1" -v b="$2" -v e="$3" 'BEGIN { d = a / b - 1; exit !(d <= e && -d <= e) }'; }
total() { awk '$1 == "total" { print $2 }' "$1"; }
rows=$(grep -v '^#' "$TOP/tests/dist/layouts.txt" | sed 's/ \* / /')
[ "${LAYOUTS:-}" = all ] || rows=$(echo "$rows" | grep -E '^(dp3|zero1-2|fsdp3|cp4-a2a-p2p|pp2-interleaved|tp2-sp-cp2-fsdp2) ')
while read -r name ranks args; do
    run "$ranks" $args --metrics m.json </dev/null >run.err 2>&1 || { ok "$name runs" false; continue; }
    foresee "$ranks" $T train.train_iters=1 $args >p.txt 2>&1 || cat p.txt >&2
    ok "$name: memory of rank 0 ($(total p.txt)) as it was allocated" near "$(total p.txt)" "$(jq '.memory - .workspace' m.json)" 0.02
    ok "$name: calls and bytes as counted" diff <(said m.json) <(foreseen p.txt)
done <<<"$rows"
# a model large enough that what the kernels take for themselves is small
B="model.hidden_size=512 model.ffn_hidden_size=2048 model.tensor_model_parallel_size=2 dist.use_megatron_fsdp=true optimizer.ema_decay=0.99"
run 4 $B --metrics m.json >/dev/null 2>&1
foresee 4 $T train.train_iters=1 $B >p.txt
own=$(sed -n 's/.*kernels of a CPU: \([0-9]*\) bytes.*/\1/p' p.txt)
ok "memory within 2 % with the kernels' own ($(total p.txt) + $own, $(jq .memory m.json))" near "$(($(total p.txt) + own))" "$(jq .memory m.json)" 0.02
optimizer() { awk '$1 == "optimizer" { print $2; exit }'; }
moments=$(foresee 4 $T train.train_iters=1 ${B/ optimizer.ema_decay=0.99} | optimizer)
ok "an average of weights is half as much as the moments" near "$(optimizer <p.txt)" "$((moments * 3 / 2))" 0.001

ok "16 pieces of a pipeline on each of two ranks, every border counted" sh -c "wan-train --plan --mock --ranks 2 $(echo $T) \
    model.num_layers=34 model.pipeline_model_parallel_size=2 model.virtual_pipeline_model_parallel_size=16 |
    grep -c ' send ' | grep -qx 31"

# machines that are not there
W="dataset.F_latents=21 dataset.H_latents=60 dataset.W_latents=104 train.global_batch_size=8"
plan() { wan-train --plan --mock --ranks "$@" $W; }
ok "1.3B on 8 H100" eval 'plan 8 --device h100 model.size=1.3B model.recompute_granularity=full >h100.txt'
graphs=$(plan 8 --device h100 model.size=1.3B model.recompute_granularity=full --graphs 2>graphs.err | tee graphs.txt | awk '$1 == "recordings" { print $2 / 1048576 }')
ok "what recordings take is counted, as for one rank ($graphs MiB)" near "$graphs" \
    "$(wan-train --plan --mock --device cuda --graphs --memory 999G model.size=1.3B $W 2>/dev/null | sed -n 's/^ *of it *\([0-9.]*\) .*recordings.*/\1/p')" 0.001
ok "... in the total" near "$(total graphs.txt)" "$(awk -v g="$graphs" '$1 == "total" { print $2 + g * 1048576 }' h100.txt)" 1e-6
ok "... and nobody says that a device records nothing" test ! -s graphs.err
eight=$(awk '$1 == "buffers" { print $2; exit }' <(plan 8 --device h100 model.size=1.3B model.recompute_granularity=full --precision fp8)) wide=$(awk '$1 == "buffers" { print $2; exit }' <(plan 8 --device h100 model.size=1.3B model.recompute_granularity=full --precision bf16))
ok "weights kept in eight bits are buffers: two bytes each, beside the operands ($eight, $wide)" \
    awk -v a="$eight" -v b="$wide" 'BEGIN { d = (a - b) / 1.2e9; exit !(d > 1.9 && d < 4) }'
seconds() { awk '$1 == "predicted" { print $2 }' "$1"; }
ok "its FLOPs are the model's, without recompute" near "$(sed -n 's/.*of them the model.s \([0-9.e+]*\) .*/\1/p' h100.txt)" \
    "$(wan-train --plan --mock --memory 99T model.size=1.3B $W | awk '$1 == "compute" { print $2 }')" 0.001
sed -n '/^name:/,/^workspace:/p' h100.txt >cluster.yaml
ok "a file of what was assumed" eval 'plan 8 --device cluster.yaml model.size=1.3B model.recompute_granularity=full >again.txt'
ok "plans the same" diff <(grep -v ^name h100.txt) <(grep -v ^name again.txt)
sed -i 's/^\(products\|attention\|attention_backward\|memory_rate\|link\|network\): \([0-9.e+]*\)/\1: 1e30/; s/^.*_latency: .*//; s/^products: .*/products: 1e14/' cluster.yaml
plan 8 --device cluster.yaml model.size=1.3B model.recompute_granularity=full >slow.txt
ok "with products alone a step takes as long as they do" near "$(seconds slow.txt)" \
    "$(awk '/^compute of a rank/ { print $5 / 100 }' slow.txt)" 0.001
ok "a pipeline waits (p - 1) / m of the computing" eval 'plan 8 --device cluster.yaml model.size=1.3B model.pipeline_model_parallel_size=4 model.recompute_granularity=full >pp.txt &&
    near "$(sed -n "s/.* \([0-9.]*\) bubble.*/\1/p" pp.txt)" "$(sed -n "s/^time.*: \([0-9.]*\) computing.*/\1/p" pp.txt | awk "{ print \$1 * 3 / 4 }")" 0.001'
fails 1 'the run needs [0-9.]+ GiB of a rank, and the libraries 5.59 of the 74.51 that h100 has' "14B does not fit on one" \
    plan 1 --device h100 model.size=14B
ok "after the plan" grep -q 'does not fit: 74.51 GiB' fails.out
for d in h200 b200 a100; do ok "on $d" eval 'plan 8 --device $d model.size=1.3B model.recompute_granularity=full | grep -q "^name: $d"'; done
fails 2 'not one of a100, h100, h200, b200' "an unknown machine" plan 8 --device v100
echo 'flops: 3' >bad.yaml
fails 2 'bad.yaml: unknown key "flops"' "an unknown key of one" plan 8 --device bad.yaml
fails 2 'for --plan' "--ranks without --plan" wan-train --mock --ranks 8
ok "a search" eval 'wan-train --plan --mock --ranks 8 --search --device h100 model.size=1.3B $W >search.txt'
ok "shows what fits, the fastest first" eval 'awk "\$2 == \"s\" && \$6 == \"tp\"" search.txt | sort -c -n'
best=$(seconds search.txt)
ok "and plans that in full" near "$best" "$(awk '$2 == "s" { print $1; exit }' search.txt)" 0.001
done_testing
