# SPDX-License-Identifier: Apache-2.0
# What is found in the folder of a run: leftovers of a killed one, and what cannot be read.  Killing it is
# done in tests/reliability/kill.sh.
. "$TOP/tests/lib.sh"
export OMP_NUM_THREADS=1 ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0
T="model.num_layers=1 model.hidden_size=32 model.num_attention_heads=2 model.ffn_hidden_size=32
model.text_dim=32 model.text_len=16 model.freq_dim=32 dataset.F_latents=1 dataset.H_latents=4
dataset.W_latents=4 dataset.context_seq_len=8 dataset.mock_samples=8 dataset.seq_length=64
train.global_batch_size=2 scheduler.lr_warmup_iters=0"
train() { wan-train -q --mock --precision fp32 $T --metrics /dev/null "$@"; }
ok "two steps" train checkpoint.save=old train.train_iters=2 checkpoint.save_interval=1

# a run that another program killed between the two renames
rm -rf run && cp -r old run && mv run/iter_0000002 run/.iter_0000002.old && mkdir run/.iter_0000002.tmp
ok "a step aside is exported" wan-convert -q export run hf
same "with its weights" {hf,old/iter_0000002}/transformer/diffusion_pytorch_model.safetensors
ok "and put back by the next run" train checkpoint.save=run train.train_iters=3
ok "as it was" diff -r run/iter_0000002 old/iter_0000002
ok "with nothing left over" [ "$(ls -A run | tr '\n' ' ')" = "iter_0000001 iter_0000002 iter_0000003 latest_checkpointed_iteration.txt " ]

# a folder that cannot be read to its end is no folder without steps
ok "a folder that is none" sh -c ': >file'
fails 1 'file/run: Not a directory' "holds no run" train checkpoint.save=file/run train.train_iters=1
if [ "$(id -u)" = 0 ]; then
    skip "a folder that may not be read" "root may read anything"
else
    cp -r old shut && chmod a-r shut && rm -f shut/latest*
    fails 1 'shut: Permission denied' "a folder that may not be read" train checkpoint.save=shut train.train_iters=3
fi
done_testing
