# SPDX-License-Identifier: Apache-2.0
# The way in which bf16 operands are multiplied belongs to a run: one that goes on sums as before.
. "$TOP/tests/lib.sh"
unset WAN_CPU_ISA
T="model.num_layers=2 model.hidden_size=64 model.num_attention_heads=2 model.ffn_hidden_size=96 model.text_dim=32
model.text_len=16 model.freq_dim=32 dataset.F_latents=2 dataset.H_latents=8 dataset.W_latents=8
dataset.context_seq_len=8 scheduler.lr_warmup_iters=0 scheduler.lr_decay_style=constant optimizer.lr=1e-2"
train() { wan-train -q --mock --precision bf16 $T "$@"; }
said() { grep -q "\"bf16_products\": \"$2\"" "$1/iter_000000$3/train_state.json"; }
ok "widened operands" env WAN_CPU_ISA=portable wan-train -q --mock --precision bf16 $T checkpoint.save=a train.train_iters=4
ok "the run says so" said a portable 4
ok "the same, half of it" env WAN_CPU_ISA=portable wan-train -q --mock --precision bf16 $T checkpoint.save=b train.train_iters=2
ok "and on with what this CPU would choose" train checkpoint.save=b train.train_iters=4
ok "goes on as before" said b portable 4
ok "to the same bytes" diff -r a/iter_0000004/transformer b/iter_0000004/transformer
ok "a run of another kind of CPU" sed -i 's/"portable"/"abacus"/' b/iter_0000004/train_state.json
ok "goes on" train checkpoint.save=b checkpoint.verify=false train.train_iters=5
wan-train --mock --precision bf16 $T checkpoint.save=b checkpoint.load=b/iter_0000004 checkpoint.verify=false train.train_iters=5 2>said
ok "and says that it rounds otherwise" grep -q 'bf16 products by "abacus", which this CPU does not have' said
ok "fp32 has no such products" wan-train -q --mock --precision fp32 $T checkpoint.save=c train.train_iters=1
ok "and does not name any" [ "$(grep -c bf16_products c/iter_0000001/train_state.json)" = 0 ]
done_testing
