# SPDX-License-Identifier: Apache-2.0
# Within a step the threads of OpenMP take no lock and no memory: more steps, not one more of either.
. "$TOP/tests/lib.sh"
if grep -q asan_ "$(command -v wan-train)"; then
    skip "locks and memory of a step's threads" "AddressSanitizer has its own"
    done_testing
fi
export OMP_NUM_THREADS=4 OMP_DYNAMIC=false
T="model.num_layers=2 model.hidden_size=128 model.num_attention_heads=2 model.ffn_hidden_size=256
model.text_dim=64 model.text_len=32 dataset.F_latents=3 dataset.H_latents=16
dataset.W_latents=16 dataset.context_seq_len=24 dataset.mock_samples=8 dataset.seq_length=256
train.global_batch_size=2 scheduler.lr_warmup_iters=0 checkpoint.save="
counts() { # counts STEPS args...: "threads locks pieces" of a run
    rm -f said
    LOCKS=$PWD/said LD_PRELOAD="$OBJ/tests/train/locks.so" wan-train -q --mock --metrics /dev/null $T train.train_iters="$@" >&2 && cat said
}
for how in "fp32" "bf16" "bf16 model.recompute_granularity=full" "fp32 model.type=dit"; do
    few=$(counts 2 --precision $how) many=$(counts 6 --precision $how)
    ok "$how: three threads, no lock and no piece of memory ($few, and $many)" [ "${few%% *}" = 3 -a "$few" = "$many" ]
done
said=$(LOCKS_TRY=1 counts 2 --precision fp32)
ok "what they ask for would be seen ($said)" [ "$said" = "3 3 6" ]
done_testing
