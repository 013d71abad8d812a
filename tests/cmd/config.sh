#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Configuration as a user of DFM, Automodel or neither writes it: files, flags, lengths, batches, origins.
. "$TOP/tests/lib.sh"
export OMP_NUM_THREADS=1
S="model.num_layers=1 model.hidden_size=32 model.num_attention_heads=2 model.ffn_hidden_size=64 model.text_dim=64
model.freq_dim=64 dataset.F_latents=1 dataset.H_latents=4 dataset.W_latents=4"
train() { wan-train -q --mock $S --metrics /dev/null "$@"; }
plan() { wan-train --mock --plan --memory 999G $S "$@" 2>&1; }
says() { # says REGEX command...: what it prints holds a line like that
    local re=$1; shift; "$@" >says.out 2>&1; grep -Eq -- "$re" says.out
}

# lengths and rates
cat >epochs.yaml <<'Y'
step_scheduler: {global_batch_size: 2, local_batch_size: 1, num_epochs: 100}
Y
ok "num_epochs alone is the length of the run" says '^run +51200 steps, 100 epochs$' plan epochs.yaml
ok "at Automodel's constant rate" says '^rate +warm-up of 0 steps, then constant: 5e-06 first, 5e-06 last$' plan epochs.yaml
cat >cosine.yaml <<'Y'
step_scheduler: {global_batch_size: 2, num_epochs: 1}
optim: {learning_rate: 5e-5}
lr_scheduler: {lr_decay_style: cosine, lr_warmup_steps: 0, min_lr: 1e-6}
Y
ok "its cosine ends at the smallest rate" says 'cosine: 5e-05 first, 1.302e-06 last' plan cosine.yaml dataset.mock_samples=40
ok "in the run too" wan-train -q --mock $S cosine.yaml dataset.mock_samples=40 --metrics c.json
ok "20 steps, from 5e-5 to 1.3e-6" jq -se 'length == 20 and .[0].lr == 5e-5 and (.[19].lr - 1.302e-6 | fabs) < 1e-9' c.json
ok "people read what that system logs: the rate after the step" says 'step 20/20 .* lr 1e-06 ' wan-train --mock $S cosine.yaml \
    dataset.mock_samples=40 --metrics /dev/null checkpoint.save=
ok "of a Megatron run that of the step" says 'step 2/2 .* lr 5e-05 ' wan-train --mock $S optimizer.lr=1e-4 optimizer.min_lr=0 \
    scheduler.lr_decay_style=linear scheduler.lr_warmup_iters=0 train.train_iters=2 --metrics /dev/null checkpoint.save=
cat >warm.yaml <<'Y'
step_scheduler: {global_batch_size: 2, num_epochs: 1}
lr_scheduler: {lr_decay_style: cosine, lr_warmup_steps: 1000}
Y
ok "a warm-up longer than the epochs is" says 'warm-up of 1000 steps, which is the whole run, then' plan warm.yaml dataset.mock_samples=40
ok "warned of, by the run too" says 'the warm-up of 1000 steps takes the whole run' wan-train --mock $S warm.yaml \
    dataset.mock_samples=40 --metrics /dev/null checkpoint.save=
ok "where steps end the run first, the epochs are fewer" says '^run +7 steps, 0.35 epochs$' plan warm.yaml train.train_iters=7 \
    dataset.mock_samples=40
ok "a Megatron run keeps its warm-up in proportion" says 'warm-up of 20 steps' plan train.train_iters=100
ok "epochs are counted in samples: 7 steps of 4" train dataset.mock_samples=28 train.epochs=1 train.global_batch_size=4 checkpoint.save=run
ok "the next one in batches of 2" wan-train -q --mock $S dataset.mock_samples=28 train.epochs=2 train.global_batch_size=2 \
    checkpoint.save=run --metrics e.json
ok "ends at 56 samples" [ "$(jq -c '[.step,.consumed_samples,.epoch]' e.json | tail -n 1)" = "[21,56,2]" ]

ok "a checkpoint after each epoch" train dataset.mock_samples=10 train.epochs=3 train.global_batch_size=4 \
    checkpoint.save_every_epoch=true checkpoint.save=each
ok "of 10 samples in steps of 4" [ "$(ls each | tr '\n' ' ')" = "iter_0000003 iter_0000005 iter_0000008 latest_checkpointed_iteration.txt " ]

# the global batch
printf 'batch:\n  batch_size_per_node: 8\n' >node.yaml
ok "a batch per node" says '^step +8 samples' plan node.yaml
ok "on two ranks of one node too" says '^step +8 samples' env ASAN_OPTIONS=detect_leaks=0 mpirun --allow-run-as-root --oversubscribe --bind-to none -n 2 \
    wan-train --mock --plan --memory 999G $S node.yaml
ok "micro-batches of two ranks" says '^step +12 samples' env ASAN_OPTIONS=detect_leaks=0 mpirun --allow-run-as-root --oversubscribe --bind-to none -n 2 \
    wan-train --mock --plan --memory 999G $S train.gradient_accumulation_steps=3 train.micro_batch_size=2
fails 2 'global_batch_size 5 is not the 3 of micro-batches' "a batch that contradicts them" \
    train train.global_batch_size=5 gradient_accumulation_steps=3
ok "a batch on the command line counts before one of a file" says '^step +2 samples' plan node.yaml train.global_batch_size=2
ok "which is named" grep -q 'train.batch_size_per_node=8: train.global_batch_size on the command line counts' says.out
printf 'train: {global_batch_size: 5}\n' >whole.yaml
ok "and the other way round" says '^step +6 samples' plan whole.yaml train.gradient_accumulation_steps=6
ok "which is named too" grep -q 'train.global_batch_size=5: train.gradient_accumulation_steps on the command line counts' says.out
ok "a micro-batch that says nothing is named with the reason" says \
    'accepted without effect: train.micro_batch_size=2: a micro-batch is one pack' plan train.micro_batch_size=2

# context parallel, as the 1.3B recipe has it
printf 'model: {context_parallel_size: 8}\ntrain: {global_batch_size: 2, micro_batch_size: 1}\n' >wan_1_3B.yaml
ok "a layout of 8 ranks is planned by one process" says '^ranks +8: pp 1 x dp 1 x cp 8 x tp 1$' wan-train --mock --plan \
    --training-mode pretrain wan_1_3B.yaml
if [ "${MPI:-0}" = 1 ] && command -v mpirun >/dev/null; then
    ok "and runs on 8" says '^wan-train: step 1/1 ' env ASAN_OPTIONS=detect_leaks=0 mpirun --allow-run-as-root --oversubscribe --bind-to none -n 8 \
        wan-train --mock $S wan_1_3B.yaml dataset.H_latents=8 train.train_iters=1 --metrics /dev/null checkpoint.save=
else
    skip "a run of 8 ranks" "a build without MPI"
fi

# geometry
ok "heads alone do not widen the model" says 'width 1536, 16 heads' wan-train --mock --plan --memory 999G model.num_attention_heads=16
ok "the width alone keeps the heads' width" says 'width 256, 2 heads' wan-train --mock --plan --memory 999G model.hidden_size=256
fails 1 'hidden_size 1536 is not heads x kv_channels' "heads that do not divide it" \
    wan-train --mock --plan model.num_attention_heads=7

printf 'model: {hidden_size: 1536, crossattn_emb_size: 1536, num_attention_heads: 12}\n' >wide.yaml
ok "a width on the command line counts for both names in a file" says \
    'accepted without effect: model.crossattn_emb_size=1536: model.hidden_size on the command line counts' plan wide.yaml
ok "what it saves" train wide.yaml checkpoint.save=wide train.train_iters=1
ok "is read again" train wide/iter_0000001/run_config.yaml checkpoint.save= train.train_iters=1
printf 'model: {hidden_size: 1536, kv_channels: 128, num_attention_heads: 12}\n' >heads.yaml
ok "a width and heads on the command line count before a head's width in a file" says 'width 32, 2 heads' plan heads.yaml
ok "a head's width before their number" says 'width 32, 4 heads' wan-train --mock --plan --memory 999G heads.yaml model.hidden_size=32 model.kv_channels=8
printf 'scheduler: {lr_warmup_fraction: 0.5}\n' >part.yaml
ok "a warm-up in steps on the command line counts before a part of the run in a file" says \
    'accepted without effect: scheduler.lr_warmup_fraction=0.5: scheduler.lr_warmup_iters on the command line counts' plan part.yaml scheduler.lr_warmup_iters=1
for k in "train.sample_prompts=x: train.sample_interval is 0" "scheduler.lr_wsd_decay_iters=9: it is of scheduler.lr_decay_style=WSD" \
    "flow.logit_std=2: it is of flow.timestep_sampling=logit_normal" "model.cp_comm_type=a2a: model.context_parallel_size is 1" \
    "model.recompute_num_layers=3: model.recompute_granularity is none" \
    "model.cpu_offloading_num_layers=2: model.cpu_offloading is false"; do
    ok "what another key leaves without effect: ${k%%:*}" says "accepted without effect: $k" plan "${k%%:*}"
done
U="model.recompute_granularity=full model.recompute_num_layers"
ok "selective recompute has no groups of blocks" says \
    'accepted without effect: model.recompute_num_layers=3: model.recompute_granularity=selective does its part again block by block' \
    plan model.recompute_num_layers=3 model.recompute_granularity=selective
ok "... full has" test -z "$(plan $U=3 2>&1 | grep 'without effect')"
ok "... and nothing where it has one" test -z "$(plan flow.logit_std=2 flow.timestep_sampling=logit_normal 2>&1 | grep 'without effect')"
fails 2 'lr_warmup_iters 1 and scheduler.lr_warmup_fraction 0.5: give one of them' "both on the command line do not" \
    train scheduler.lr_warmup_iters=1 scheduler.lr_warmup_fraction=0.5
fails 2 'a warm-up of 5 steps, but scheduler.lr_decay_iters is 5' "a warm-up that never ends" train scheduler.lr_warmup_iters=5 scheduler.lr_decay_iters=5
fails 2 'crossattn_emb_size 64 is not model.hidden_size 32' "two on the command line do not" train model.crossattn_emb_size=64

# Automodel's quick start: epochs, a batch per node, a folder of .meta files, all in sections of their own
cat >quick.yaml <<'Y'
recipe: somebody.train.TrainWan21DiffusionRecipe
seed: 7
model: {pretrained_model_name_or_path: Wan-AI/Wan2.1-T2V-1.3B-Diffusers}
data: {dataloader: {_target_: somebody.datasets.build_wan21_dataloader, meta_folder: /data/meta/, batch_size: 1, num_workers: 1}}
batch: {batch_size_per_node: 4}
training: {num_epochs: 2}
optim: {learning_rate: 2e-5, optimizer: {weight_decay: 0.02, betas: [0.9, 0.98]}}
fsdp: {tp_size: 1, cp_size: 1, pp_size: 1, dp_size: 8}
checkpoint: {enabled: false, checkpoint_dir: /data/checkpoints/, save_consolidated: false}
Y
ok "the quick start's length" says '^run +6 steps, 2 epochs$' plan quick.yaml dataset.mock_samples=12
ok "runs" wan-train -q --mock $S quick.yaml dataset.mock_samples=12 --metrics quick.json
ok "... 6 steps of 4 samples at its rate" jq -se 'length == 6 and all(.samples == 4 and .lr == 2e-5)' quick.json

# what today's files of Automodel hold
cat >today.yaml <<'Y'
step_scheduler: {log_remote_every_steps: 2, save_checkpoint_every_epoch: false, global_batch_size: 2, max_steps: 2}
optimizer: {_target_: torch.optim.AdamW, foreach: true}
fsdp: {dp_size: none, tp_size: 1, cp_size: 1, pp_size: 1, dp_replicate_size: 1, activation_checkpointing: true}
flow_matching: {adapter_type: simple, adapter_kwargs: {}, i2v_prob: 0.3}
ci: {recipe_owner: somebody, time: 00:10:00}
data: {dataloader: {_target_: somebody.build_mock_dataloader, length: 4, num_frame_latents: 1, spatial_h: 4, spatial_w: 4}}
Y
ok "all of it is known" says ' step 2/2 ' wan-train $S today.yaml --metrics today.json
ok "what has no effect is named with its reason, line by line" [ "$(sed -nE 's/^.*without effect: ([a-z_.0-9]+)=.*: .{12,}/\1/p' says.out | sort | tr '\n' ' ')" = \
    "ci.recipe_owner ci.time data.dataloader._target_ flow_matching.adapter_type flow_matching.i2v_prob fsdp.dp_size optimizer._target_ optimizer.foreach " ]
ok "the others have theirs" says '^  recompute_granularity: full .*\(fsdp.activation_checkpointing\)$' wan-train --print-config today.yaml
ok "... a line for people every second step" grep -Eq '^  log_interval: 2 .*\(step_scheduler.log_remote_every_steps\)$' says.out
ok "... a checkpoint at the end of the run alone" grep -Eq '^  save_every_epoch: false .*\(step_scheduler.save_checkpoint_every_epoch\)$' says.out

# what is wrong is named at once
cat >bad.yaml <<'Y'
train:
  iters: 3
optimizer:
  lr: fast
  lrr: 1
Y
fails 2 'bad.yaml: line 2: unknown key "train.iters"; the nearest' "an unknown key" train bad.yaml seeed=1
ok "and another" grep -q 'bad.yaml: line 5: unknown key "optimizer.lrr"; the nearest known key is "optimizer.lr"' fails.err
ok "and a bad value" grep -q 'bad.yaml: line 4: key optimizer.lr: "fast"' fails.err
ok "and a word of the command line" grep -q '^unknown key "seeed"; the nearest known key is "seed"' fails.err
printf 'fsdp: {tp_sise: 2, ep_size: 1, cpu_offload: false}\n' >slip.yaml
fails 2 'unknown key "fsdp.tp_sise"; the nearest known key is "fsdp.tp_size"' "a slip in a section whose other keys are accepted" train slip.yaml
ok "which these are" sh -c '! grep -Eq "ep_size|cpu_offload" fails.err'
printf 'optimizer: {betas: [0.8, 0.9], adam_beta1: 0.7}\n' >betas.yaml
fails 2 'adam_beta1 = 0.7 disagrees with optimizer.betas = 0.8' "a pair and one of it that contradict" train betas.yaml
printf 'optimizer: {betas: [0.8, 0.9]}\n' >betas.yaml
ok "one of it on the command line counts" says '^  adam_beta1: 0.7 +# command line' wan-train --print-config betas.yaml optimizer.adam_beta1=0.7
printf 'peft:\n  dim: 8\n  alpha: 8\n' >lora.yaml
fails 2 'lora.yaml: line 2: key peft.dim: .*LoRA' "an adapter is refused" train lora.yaml
ok "once" [ "$(grep -c peft fails.err)" = 1 ]
ok "DFM's DiT file is a DiT" sh -c 'wan-train --mock --plan --memory 999G "$1" | grep -q "DiT, 28 blocks, width 1152, 16 heads"' - "$TOP/tests/data/yaml/dit_pretrain.yaml"
fails 2 'AdamW' "another optimizer" train optimizer._target_=torch.optim.Adam

# origins
cat >origin.yaml <<'Y'
dataset:
  path: ${oc.env:HOME}/x
optim:
  learning_rate: 1e-5
Y
wan-train --print-config origin.yaml train.global_batch_size=3 --dataset-path d wandb.name=x >full.yaml
ok "a value of the recipe" grep -Eq '^  adam_eps: 1e-08 +# recipe$' full.yaml
ok "of the recipe that the names imply" grep -Eq "^  adam_beta2: 0.999 +# Automodel's recipe$" full.yaml
ok "of the file, under its other name" grep -Eq '^  lr: 1e-05 +# origin.yaml: line 4 \(optim.learning_rate\)$' full.yaml
ok "of the command line" grep -Eq '^  global_batch_size: 3 +# command line$' full.yaml
ok "of a flag that overrides the file" grep -Eq '^  path: d +# command line$' full.yaml
ok "what has no effect, and why" grep -q '^# accepted without effect: wandb.name=x: nothing is sent to W&B; its own client' full.yaml
ok "DFM's keys for W&B too" says 'logger.wandb_project=DiT: nothing is sent to W&B' wan-train --print-config logger.wandb_project=DiT
values() { sed 's/ *#.*//; /^$/d'; }
ok "it reads back as itself" cmp <(wan-train --print-config full.yaml | values) <(values <full.yaml)
ok "with --plan the model is looked up" sh -c "wan-train --mock --plan --print-config model.size=14B --memory 999G | grep -Eq '^  num_layers: 40 +# model.size'"

# flags as typed in the Python systems
ok "a file as operand" train epochs.yaml train.train_iters=1
ok "-c, and Automodel's overrides" train -c epochs.yaml --step_scheduler.max_steps 1 --optim.learning_rate=1e-4
ok "--debug" says 'accepted without effect' wan-train --debug --mock $S logger.x=1 train.train_iters=1 --metrics /dev/null
fails 1 'nowhere' "--dataset-path" wan-train -q $S --dataset-path nowhere
ok "--config-file a --mock False" train --mock False --mock -c epochs.yaml train.train_iters=1
fails 2 'true or false' "a flag that is neither" train --plan=maybe
M=$TOP/tests/data/ref/pipe
sample() { wan-sample --sample_steps 1 --device cpu --base_seed 1 "$@"; }
ok "generate.py's names" sample --ckpt_dir "$M" --size 32*32 --frame_num 1 --prompt "a cat" --sequence_parallel False \
    --t5_cpu True --offload_model False --save_file g.png
ok "the same picture as ours" sample --model "$M" --sizes 32*32 --frame_nums 1 --prompts "a cat" --save_file h.png
same "byte for byte" g.png h.png
ok "those of Automodel's script" sample --model_id "$M" --size 32*32 --num-frames 1 --prompt "a cat" --tp-size 1 --cp-size 1 --pp-size 1 \
    --output i.png
same "the same picture again" i.png h.png
fails 2 'context_parallel_size N --cp_comm_type a2a' "--ulysses_size is called otherwise" sample --ulysses_size 2
fails 2 'image-to-video' "--image is not supported" sample --image x.png
ok "short list options take lists" sample -m "$M" -p "a cat" "a dog" -s 32*32 16*16 -n 1 -o l.png
same "one picture for each" l_00.png h.png
fails 1 'nowhere: No such file' "--video_folder" wan-decode --video_folder nowhere -o n.wan
fails 2 'wan-shard --output-dir DIR makes the shards' "--output_dir, which is another tool's" wan-decode --video_folder . --output_dir out
fails 2 'it is wan-encode that has it' "and --model" wan-decode --video_folder . --model x
fails 2 'posterior sample' "--stochastic" wan-encode --stochastic
fails 1 'empty input' "--output_dir of the one that has it" wan-shard --output_dir out </dev/null
ok "a mock loader in the file" wan-train -q $S --metrics /dev/null "$TOP/tests/data/yaml/automodel_mock.yaml" --metrics m.json
ok "two steps" [ "$(wc -l <m.json)" = 2 ]

# what is saved reads back whatever text was in it
printf -v odd 'a\342\200\250b: c'
for name in x "$odd" "$(printf 'caf\351')" "\${x}"; do
    rm -rf a
    train train.train_iters=1 checkpoint.save=a "wandb.name=\\$name" "checkpoint.pretrained_checkpoint=" dataset.split="\\$name"
    ok "saved and read: $(printf %q "$name")" train --config-file a/iter_0000001/run_config.yaml checkpoint.save=b
done

# a file that cannot be read is no wrong configuration
fails 1 'nowhere.yaml: cannot open: No such file' "a configuration that is not there" wan-train --mock nowhere.yaml
fails 1 ': cannot read: ' "one that cannot be read" wan-train --mock --config-file /proc/self/mem
echo 'train: {nothing: 1}' >wrong.yaml
fails 2 'wrong.yaml.*nothing' "one that says something wrong" wan-train --mock wrong.yaml

# the starting points, where make install puts them
mkdir -p put/bin put/share/wan-tools; cp "$(command -v wan-train)" put/bin; cp -r "$TOP/examples/configs" put/share/wan-tools
ok "without arguments they are shown" says 'pretrain_14B.yaml$' bash -c 'put/bin/wan-train; [ $? = 2 ]'
ok "each with a line about it" says '^ +Fine-tuning of the published WAN 1.3B' bash -c 'put/bin/wan-train; [ $? = 2 ]'
cp -rL "$M" weights # four layers and all parts of a pipeline
for f in "$TOP"/examples/configs/*.yaml; do
    name=$(basename "$f")
    ok "$name: --plan" says '^  total' wan-train -q --mock --plan --memory 999G "$f" checkpoint.pretrained_checkpoint= \
        $(grep -q 'mode: finetune' "$f" && echo model.mode=pretrain)
    small="$S model.crossattn_emb_size=32"
    [ "$name" = dit.yaml ] && small="${S/model.freq_dim=64/} model.crossattn_emb_size=64" # of the text, and no sinusoid of its own
    ok "$name: with sizes made small" wan-train -q --mock "$f" $small model.mode=pretrain \
        train.train_iters=2 train.global_batch_size=2 train.batch_size_per_node=0 checkpoint.save= --metrics /dev/null
    arrived=$(wan-train --mock --plan --print-config --memory 999G "$f" checkpoint.pretrained_checkpoint= model.mode=pretrain |
        grep -c 'examples/configs')
    ok "$name: its values arrive" [ "$arrived" -ge 8 ]
done

# the sampler finds the other parts through the run
ok "a fine-tune of a whole model" wan-train -q --mock --metrics /dev/null dataset.F_latents=1 dataset.H_latents=4 \
    dataset.W_latents=4 train.train_iters=1 checkpoint.pretrained_checkpoint=weights checkpoint.save=tuned
ok "sampled without --model" sample --checkpoint_dir tuned --sizes 32*32 --frame_nums 1 --prompts "a cat" --save_file t.png
ok "and with it" sample --model weights --checkpoint_dir tuned --sizes 32*32 --frame_nums 1 --prompts "a cat" --save_file u.png
same "the same" t.png u.png
fails 2 'no model.components stands in run/iter_0000021' "a run that names none" sample --checkpoint_dir run --prompts x
fails 2 'model is missing' "no run at all" sample --prompts x

# the real files, where they are: planned as they stand, and trained at a small size
layout="model.tensor_model_parallel_size=1 model.context_parallel_size=1 model.sequence_parallel=false"
small="$S $layout"
for f in "$SAMPLES"/yaml/*.yaml; do
    [ -e "$f" ] || { skip "the files of DFM and Automodel" "$SAMPLES/yaml is not there"; continue; }
    short="train.train_iters=2 train.global_batch_size=2 checkpoint.save= --metrics real.json"
    case $f in
    *_lora.yaml) fails 2 'LoRA' "$(basename "$f") is refused" wan-train --mock --plan $small --config-file "$f"; continue ;;
    *dit_pretrain.yaml) plans='^model +DiT, 28 blocks' sizes="${S/model.freq_dim=64/} checkpoint.load=LATEST" ;;
    *) plans='^  total' sizes=$small ;;
    esac
    ok "$(basename "$f"): --plan" says "$plans" wan-train --mock --plan --memory 999G $layout --config-file "$f"
    ok "... two steps" wan-train -q --mock $sizes $short --config-file "$f"
    ok "... of two samples" jq -se 'length == 2 and all(.samples == 2 and .loss > 0)' real.json
done
done_testing
