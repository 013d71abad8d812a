# SPDX-License-Identifier: Apache-2.0
# Bits flipped, ends cut off: each change of a file is noticed and named, or harmless (corrupt.c).  FULL=1
# makes CHANGES=10000 of them.
. "$TOP/tests/lib.sh"
obj=${OBJ:-$(ls -dt "$TOP"/build/obj/*/ | head -1)}
export OMP_NUM_THREADS=1 ASAN_OPTIONS=verify_asan_link_order=0
all=500; [ -z "${FULL-}" ] || all=${CHANGES:-10000}
data=$TOP/tests/data

# ---- what is damaged: a record stream, a dataset of ours, one of DFM, a run, a model
mkdir record theirs model
ok "a record stream" wan-record from-cache -q -o record/x.wan "$data/cache"
ok "a dataset" sh -c 'wan-shard -q --shard-maxcount 2 -o ours record/x.wan && wan-index -q --split-ratio 1,0,0 --exclude 000001 ours'
cp "$data"/torch/dfm/*.tar theirs
ok "a dataset of another system" wan-index -q --split-ratio 1,0,0 theirs
ok "a run" wan-train -q --mock --precision bf16 model.num_layers=1 model.hidden_size=16 model.num_attention_heads=2 \
    model.ffn_hidden_size=16 model.text_dim=16 model.text_len=8 model.freq_dim=16 dataset.F_latents=1 dataset.H_latents=4 \
    dataset.W_latents=4 dataset.context_seq_len=8 dataset.mock_samples=8 dataset.seq_length=64 train.global_batch_size=2 \
    scheduler.lr_warmup_iters=0 optimizer.ema_decay=0.9 checkpoint.save=run checkpoint.save_interval=1 train.train_iters=3 --metrics /dev/null
cp -r run/iter_0000003/transformer "$data/ref/tokenizer_plain/tokenizer" model
ok "a model" wan-convert -q check model

try() { # try KIND DIR CHANGES
    ok "$1 $2" "$obj/tests/reliability/corrupt" "$1" "$2" "$3"
    sed 's/^/# /' "$ok_out"; sed 's/^/# /' "$ok_out" | tail -n 12 >&2
}
try record record $((all / 5))
try dataset ours $((all / 5))
try dataset theirs $((all / 10))
try index ours $((all / 5))
try index theirs $((all / 10))
try checkpoint run $((all / 10))
try model model $((all / 10))
done_testing
