#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# wan-train as a user runs it, on mock data: metrics, layers of the configuration, resume, signals, trouble.
. "$TOP/tests/lib.sh"
export OMP_NUM_THREADS=1
T="model.num_layers=2 model.hidden_size=64 model.num_attention_heads=2 model.ffn_hidden_size=96
model.text_dim=32 model.text_len=16 model.freq_dim=32 dataset.F_latents=2 dataset.H_latents=8
dataset.W_latents=8 dataset.context_seq_len=8 dataset.mock_vary=true dataset.mock_samples=20
dataset.seq_length=64 train.global_batch_size=6 optimizer.lr=1e-3 scheduler.lr_decay_style=constant
scheduler.lr_warmup_iters=2"
train() { wan-train -q --mock --precision fp32 $T "$@"; }
status() { # status N command...: succeeds when the exit status is N
    local want=$1; shift; "$@"; [ $? = "$want" ]
}
field() { jq -r ".$2" "$1"; }

# a run and its numbers
ok "a mock run" train train.train_iters=8 --metrics m.json
ok "one JSON line per step" [ "$(wc -l <m.json)" = 8 ]
ok "every line has the fields" jq -e '[.step,.loss,.loss_unweighted,.lr,.grad_norm,.tokens_per_s,
    .samples_per_s,.s_per_step,.model_tflops,.padding,.samples] | all(type=="number")' m.json
ok "a global batch counts samples" [ "$(field m.json samples | sort -u)" = 6 ]
ok "the loss of a random model starts near 2" jq -se '.[0].loss_unweighted > 1.5 and .[0].loss_unweighted < 2.6' m.json
ok "the learning rate warms up" jq -se '.[0].lr == 0 and .[1].lr == 0.0005 and .[2].lr == 0.001' m.json
ok "metrics go to standard output by default" sh -c "wan-train -q --mock $(echo $T) train.train_iters=1 | jq -e .loss"
ok "a bf16 run" wan-train -q --mock $T train.train_iters=8 --metrics b.json
ok "is near fp32" awk 'NR==FNR {x[FNR]=$1; next} {d=($1-x[FNR])/x[FNR]; if (d*d>1e-4) bad=1} END {exit bad}' \
    <(jq .loss m.json) <(jq .loss b.json)
means() { jq -r .loss "$1" | awk '{s += $1} NR % 50 == 0 {print s / 50; s = 0}'; } # of 50 steps each
ok "500 steps in fp32" train train.train_iters=500 --metrics c32.json
ok "and in bf16" wan-train -q --mock $T train.train_iters=500 --metrics c16.json
ok "give the same curve: means of 50 steps within 1 %" awk 'NR==FNR {x[FNR]=$1; next}
    {d=($1-x[FNR])/x[FNR]; if (d>0.01||d<-0.01) bad=1} END {exit bad||FNR!=10}' <(means c32.json) <(means c16.json)
ok "a learnable set is learned" train train.train_iters=300 dataset.mock_samples=1 dataset.mock_vary=false \
    flow.cfg_dropout_prob=0 train.global_batch_size=2 optimizer.lr=3e-3 --metrics l.json
ok "its loss falls to 0.75" jq -se '(.[280:] | map(.loss_unweighted) | add/length) < 0.75 * (.[:10] | map(.loss_unweighted) | add/length)' l.json

# what the numbers mean
ok "sigma bins hold every sample, and the mean of their losses is the loss" jq -se 'all((.sigma_bins | map(.[0]) | add) == .samples
    and (((.sigma_bins | map(.[0] * (.[1] // 0)) | add) / .samples / .loss_unweighted - 1) | fabs) < 1e-5)' m.json
ok "two samples of one sigma: the same latent, twice" train train.train_iters=2 train.global_batch_size=2 dataset.mock_samples=1 \
    dataset.mock_vary=false optimizer.lr=0 flow.timestep_sampling=uniform flow.shift=1 flow.sigma_min=0.49999 \
    flow.sigma_max=0.50001 flow.stratify=true flow.cfg_dropout_prob=0 --metrics noise.json
ok "the weight is 1 + shift sigma" jq -se 'all((.loss / .loss_unweighted - 1.5 | fabs) < 1e-4)' noise.json
ok "each has its own noise" jq -se 'all((.sigma_bins[4][1] / .sigma_bins[5][1] - 1 | fabs) > 1e-3)' noise.json
ok "another in the next step" jq -se '(.[0].loss / .[1].loss - 1 | fabs) > 1e-3' noise.json
plan() { train --plan dataset.mock_vary=false "$@"; }
ok "full-size videos only" train train.train_iters=2 dataset.mock_vary=false train.global_batch_size=5 dataset.seq_length=100 --metrics v.json
plan train.global_batch_size=5 dataset.seq_length=100 >v.plan
ok "model_tflops is the plan's compute over the time of a step" awk -v p="$(awk '/^compute/ {print $2}' v.plan)" \
    '{d = $1 / p - 1; if (d > 1e-3 || d < -1e-3) bad = 1} END {exit bad || NR != 2}' <(jq '.model_tflops * .s_per_step' v.json)
ok "padding is what two packs of three samples do not hold" [ "$(jq '[.tokens, .packs, (.padding * 1e6 | round)]' -c v.json | sort -u)" = "[160,2,166667]" ]

ok "where the time went is not more than there was" jq -se 'all((.time | .data + .forward + .backward + .optimizer) <= .s_per_step * 1.01)
    and all(.time.forward > 0 and .time.backward > 0 and .time.optimizer > 0)' c32.json
ok "nor less than half of it" jq -se '(map(.time | .data + .forward + .backward + .optimizer) | add) > 0.5 * (map(.s_per_step) | add)' c32.json
ok "a run that saves" train train.train_iters=3 checkpoint.save=timed checkpoint.save_interval=1 --metrics t.json
ok "says what that took" jq -se '.[0].time.save == 0 and .[1].time.save > 0 and .[2].time.save > 0' t.json
wan-train --progress --mock $T train.train_iters=40 --metrics /dev/null 2>progress.txt
ok "the line of progress has step, loss, rate and time left" grep -aEq 'step 40/40  loss [0-9.]+  [0-9.e-]+ s/step.*  0 s left' progress.txt
wan-train --progress --mock model.num_layers=1 model.hidden_size=16 model.num_attention_heads=1 model.ffn_hidden_size=16 \
    model.text_dim=2048 model.text_len=512 model.freq_dim=16 dataset.context_seq_len=512 dataset.F_latents=1 dataset.H_latents=2 \
    dataset.W_latents=2 dataset.num_workers=0 train.global_batch_size=1 train.train_iters=8 train.eval_interval=4 train.eval_iters=1 \
    checkpoint.save=waits --metrics /dev/null 2>waits.txt
ok "and what it waits for: samples that are slow to make" grep -aEq 'step 8/8 .* s/step, [0-9]+ % of it waiting for data  0 s left' waits.txt
ok "a validation, a checkpoint" sh -c 'grep -aq "step 4  validating" waits.txt && grep -aq "step 8  writing a checkpoint" waits.txt'

# one noise level for a pack: with room for all samples in one, one tenth of the levels in a step
ok "a noise level for each sample" train train.train_iters=6 dataset.seq_length=1000 train.global_batch_size=12 --metrics each.json
ok "is several in a step" jq -se 'all(.packs == 1 and (.sigma_bins | map(select(.[0] > 0)) | length) > 2)' each.json
ok "one for each pack" train train.train_iters=6 dataset.seq_length=1000 train.global_batch_size=12 train.timestep_per_pack=true --metrics pack.json
ok "is one in a step" jq -se 'all(.packs == 1 and (.sigma_bins | map(select(.[0] > 0)) | length) == 1)' pack.json
ok "another in the next" jq -se 'map(.sigma_bins | map(.[0] > 0)) | unique | length > 1' pack.json

# validation: the same noise levels each time, its own samples, in mock too where somebody says so
ok "a run with validation" train train.train_iters=4 train.eval_interval=2 train.eval_iters=3 optimizer.lr=0 --metrics val.json
ok "at its steps" [ "$(jq -c 'select(.val_loss) | .step' val.json | tr '\n' ' ')" = "2 4 " ]
ok "nothing learned, the same loss" jq -se 'map(.val_loss // empty) | .[0] == .[1]' val.json
ok "other batches, another loss" train train.train_iters=2 train.eval_interval=2 train.eval_iters=2 optimizer.lr=0 --metrics val2.json
ok "not that of the first three" sh -c '[ "$(jq "select(.val_loss).val_loss" val2.json)" != "$(jq -s "map(.val_loss // empty)[0]" val.json)" ]'
ok "it changes nothing of training" train train.train_iters=4 optimizer.lr=0 --metrics noval.json
ok "the same losses without it" sh -c '[ "$(jq .loss val.json)" = "$(jq .loss noval.json)" ] && ! grep -q val_loss noval.json'

# the plan, the configuration
train --plan >plan.txt
ok "--plan names parameters, tokens and memory" grep -Eq 'total +[0-9.]+' plan.txt
ok "and how fast this device multiplies" grep -Eq '^products +[1-9][0-9]* GFLOP/s in fp32, [1-9][0-9]* in bf16' plan.txt
ok "each way of it by name" bash -c "WAN_CPU_ISA=portable wan-train -q --mock --device cpu --plan model.num_layers=1 model.hidden_size=64 \
    model.num_attention_heads=2 | grep -q '^device .* threads, .*, bf16 widened to fp32'"
ok "and none that oneDNN is forbidden" env -u WAN_CPU_ISA ONEDNN_MAX_CPU_ISA=avx512_core bash -c "wan-train -q --mock --device cpu --plan \
    model.num_layers=1 model.hidden_size=64 model.num_attention_heads=2 | grep -q '^device .* threads, .*, bf16 widened to fp32'"
fails 1 'needs .* MiB' "--plan refuses what does not fit" train --plan --memory 1M
fails 1 'needs .* MiB' "so does a run" train --memory 1M
fails 2 'nearest known key is "optimizer.lr"' "an unknown key" train optimizer.lrr=1
fails 2 'line 2: unknown key "train.iters"' "an unknown key in YAML" sh -c \
    'printf "train:\n  iters: 3\n" >bad.yaml; wan-train --mock --config-file bad.yaml'
fails 2 'one of' "a misspelled sampling" train flow.timestep_sampling=logit
fails 1 'dataset.path' "no data" wan-train -q $T
fails 1 'nowhere' "no such data" wan-train -q $T dataset.path=nowhere
fails 1 'no such folder' "no such weights" train checkpoint.pretrained_checkpoint=nowhere
fails 1 'tensor parallel 2 take a multiple of 2 ranks, but 1 was' "an axis that is not there yet" train model.tensor_model_parallel_size=2
fails 1 'multiple|fit|even|heads' "a geometry that does not fit" train model.hidden_size=65 model.num_attention_heads=3
fails 1 'makes 8 channels of 16' "an answer of another shape than the input" train model.out_channels=8
fails 1 'makes 8 channels of 16' "is found by the plan" train --plan model.out_channels=8
fails 2 'nearest|unknown' "an unknown option" wan-train --mok

# resume: 5 + 5 steps = 10 steps, and with the data read in the training thread
ok "ten steps" train train.train_iters=10 checkpoint.save=whole checkpoint.save_interval=5 --metrics w.json
ok "stopped after five" status 75 train train.train_iters=10 checkpoint.save=half checkpoint.save_interval=5 train.exit_interval=5
ok "and resumed" train train.train_iters=10 checkpoint.save=half checkpoint.save_interval=5 dataset.num_workers=0
ok "weights are the same bytes" diff -r {whole,half}/iter_0000010/transformer
ok "moments are the same bytes" diff -r {whole,half}/iter_0000010/optimizer
same "the state is the same" {whole,half}/iter_0000010/train_state.json
same "so is the configuration" {whole,half}/iter_0000010/run_config.yaml
same "the pointer names step 10" {whole,half}/latest_checkpointed_iteration.txt
ok "the checkpoint at step 5 is the same" diff -r {whole,half}/iter_0000005
ok "ckpt_step goes back" train train.train_iters=6 checkpoint.load=whole checkpoint.ckpt_step=5 checkpoint.save=back --metrics back.json
ok "to the sixth step" [ "$(field back.json loss)" = "$(sed -n 6p w.json | jq .loss)" ]
ok "the saved configuration runs" sh -c "train() { wan-train -q --mock --precision fp32 \"\$@\"; }; \
    train --config-file whole/iter_0000005/run_config.yaml train.train_iters=1 --metrics c.json"
ok "and trains the same" [ "$(field c.json loss)" = "$(sed -n 1p w.json | jq .loss)" ]
ok "load_optim=false goes on with new moments" train train.train_iters=12 checkpoint.load=whole \
    checkpoint.load_optim=false checkpoint.save=anew --metrics a.json
ok "at step 11" [ "$(field a.json step | head -n 1)" = 11 ]
ok "resumed in full for comparison" train train.train_iters=12 checkpoint.load=whole checkpoint.save=full12 --metrics f.json
ok "the same weights" [ "$(head -n 1 a.json | jq .loss)" = "$(head -n 1 f.json | jq .loss)" ]
ok "other moments" [ "$(tail -n 1 a.json | jq .loss)" != "$(tail -n 1 f.json | jq .loss)" ]
ok "pretrained_checkpoint takes the weights to step 0" train train.train_iters=1 checkpoint.pretrained_checkpoint=whole checkpoint.save=pre --metrics p.json
ok "and only those" [ "$(jq .step p.json)" = 1 ]
mkdir imported imported/iter_0000000
cp -r whole/iter_0000010/transformer imported/iter_0000000/
echo 0 >imported/latest_checkpointed_iteration.txt
ok "a checkpoint without state, as wan-convert imports it" train train.train_iters=1 checkpoint.load=imported checkpoint.save=imp --metrics i.json
ok "starts at step 0 from its weights" [ "$(jq .loss i.json)" = "$(jq .loss p.json)" ]
ok "two passes over the data" train train.epochs=2 dataset.mock_samples=15 --metrics e.json
ok "end after 5 steps of 6" [ "$(wc -l <e.json)" = 5 ]
# passes are counted by samples, whatever the batch was
last() { tail -n 1 "$1" | jq -c '[.step,.consumed_samples,.epoch]'; }
ok "one pass over 28 samples" train train.epochs=1 dataset.mock_samples=28 train.global_batch_size=4 checkpoint.save=pass --metrics pass.json
ok "is 7 steps" [ "$(last pass.json)" = "[7,28,1]" ]
cp -r pass pass7
ok "a second with half the batch" train train.epochs=2 dataset.mock_samples=28 train.global_batch_size=2 checkpoint.save=pass --metrics pass.json
ok "is 14 more" [ "$(last pass.json)" = "[21,56,2]" ]
ok "a second with another batch" train train.epochs=2 dataset.mock_samples=28 train.global_batch_size=7 checkpoint.save=pass7 --metrics p7.json
ok "is 4 more" [ "$(last p7.json)" = "[11,56,2]" ]
ok "both are done" train train.epochs=2 dataset.mock_samples=28 checkpoint.save=pass7 --metrics done.json
ok "and make no step more" [ ! -s done.json ]

# where a run goes on from, and where it is kept
mkdir nothing
fails 1 'checkpoint.load: nothing: no checkpoint there' "a resume from an empty folder" train train.train_iters=1 checkpoint.load=nothing
ok "a model folder" cp -r whole/iter_0000010 model
rm model/train_state.json
fails 1 'model: no checkpoint there .*pretrained_checkpoint' "is none" train train.train_iters=1 checkpoint.load=model
ok "LATEST may find nothing" train train.train_iters=1 checkpoint.save=nothing checkpoint.load=LATEST
for dry in --dry-run --metrics=late.json; do
    fails 1 'checkpoint.save: /proc/nowhere: cannot create' "a place that cannot be written" \
        train train.train_iters=3 checkpoint.save=/proc/nowhere/ck $dry
done
ok "is found before the first step" [ ! -e late.json ]
if [ -w /dev/shm ] && room=$(mktemp -d /dev/shm/wan.XXXXXX) && mount -t tmpfs -o size=64k none "$room" 2>/dev/null; then
    fails 1 'checkpoint takes [0-9.]* MiB, and there is room for 0.1 MiB' "too little space" \
        train train.train_iters=3 checkpoint.save="$room/ck" --dry-run
    umount "$room"; rmdir "$room"
else
    skip "too little space" "no file system can be mounted here: see check_rundir"
fi
ok "a step of eight digits" sh -c 'cp -r whole many && mv many/iter_0000010 many/iter_12345678 &&
    sed -i "s/\"step\": *10/\"step\": 12345678/" many/iter_12345678/train_state.json && echo 12345678 >many/latest_checkpointed_iteration.txt'
ok "goes on" train train.train_iters=12345679 checkpoint.save=many checkpoint.verify=false
ok "to the next" [ -d many/iter_12345679/transformer ]
ok "keep leaves the newest two" train train.train_iters=5 checkpoint.save=kept checkpoint.save_interval=1 checkpoint.keep=2
ok "iter 4 and 5" [ "$(ls kept | tr '\n' ' ')" = "iter_0000004 iter_0000005 latest_checkpointed_iteration.txt " ]
cp -r kept/iter_0000004 kept/iter_0000003 # a run that was killed before it removed its oldest step
rm kept/latest_checkpointed_iteration.txt # or before its pointer
ok "where nothing is left to do" train train.train_iters=5 checkpoint.save=kept checkpoint.save_interval=1 checkpoint.keep=2
ok "... the newest two, too" [ "$(ls kept | tr '\n' ' ')" = "iter_0000004 iter_0000005 latest_checkpointed_iteration.txt " ]
ok "bf16 weights keep fp32 masters" train train.train_iters=3 checkpoint.save=small checkpoint.dtype=bf16
ok "resume from them" train train.train_iters=10 checkpoint.save=small checkpoint.dtype=bf16
ok "loses nothing" cmp small/iter_0000010/optimizer/exp_avg.safetensors whole/iter_0000010/optimizer/exp_avg.safetensors

# the file of metrics holds each step once
steps() { jq -c .step "$1" | tr '\n' ' '; }
ok "six steps, checkpoints at 3 and 6" train train.train_iters=6 checkpoint.save=again checkpoint.save_interval=3 --metrics g.json
head -n 3 g.json >g3.json
rm -r again/iter_0000006
echo 3 >again/latest_checkpointed_iteration.txt
printf '{"step":7,"loss"' >>g.json # as a killed run may leave it
ok "resumed at 3 into the same file" train train.train_iters=5 checkpoint.save=again --metrics g.json
cp ok.err drop.err
ok "which says what it replaces" grep -q 'g.json: dropped 4 lines of an earlier run after step 3' drop.err
ok "each step is there once" [ "$(steps g.json)" = "1 2 3 4 5 " ]
same "the first three as they were" g3.json <(head -n 3 g.json)
ok "a new run replaces them all" train train.train_iters=2 --metrics g.json
ok "with its own" [ "$(steps g.json)" = "1 2 " ]
echo 'dear diary' >diary
cp diary diary.was
fails 1 'diary: line 1 is no line of metrics' "a file that is something else" train train.train_iters=1 --metrics diary
same "is left as it is" diary diary.was
ok "a pipe is only written to" sh -c "wan-train -q --mock --precision fp32 $(echo $T) train.train_iters=2 \
    --metrics /dev/stdout | jq -e .step"

# mock data of a size that the configuration implies
tokens() { wan-train -q --mock --plan model.num_layers=1 model.hidden_size=64 model.num_attention_heads=2 --memory 1T "$@" |
    sed -n 's/.*the longest of \([0-9]*\) tokens/\1/p'; }
ok "DFM's mock video where nothing is said" [ "$(tokens)" = 37440 ]
ok "fits a capacity that is given" [ "$(tokens dataset.seq_length=1024)" = 945 ]
ok "even the least" [ "$(tokens dataset.seq_length=1)" = 1 ]
ok "unless its size is given" [ "$(tokens dataset.seq_length=1024 dataset.F_latents=2)" = 3120 ]

# damage
cp -r whole hurt
printf X | dd of=hurt/iter_0000010/optimizer/exp_avg.safetensors bs=1 seek=4000 conv=notrunc 2>/dev/null
fails 1 'exp_avg.safetensors: differs from manifest' "a damaged checkpoint" train train.train_iters=11 checkpoint.save=hurt
fails 1 'exp_avg.safetensors: differs from manifest' "also where only its weights are wanted" train train.train_iters=1 \
    checkpoint.pretrained_checkpoint=hurt
rm -r hurt && cp -r whole hurt
rm hurt/iter_0000010/train_state.json
fails 1 'train_state.json: No such file' "a checkpoint without its state is not taken for imported weights" \
    train train.train_iters=11 checkpoint.save=hurt
rm -r hurt && cp -r whole hurt
rm hurt/latest_checkpointed_iteration.txt
ok "without the pointer, as a killed run may leave it" train train.train_iters=11 checkpoint.save=hurt --metrics n.json
ok "the newest step goes on" [ "$(jq .step n.json)" = 11 ]
echo 10 >hurt/latest_checkpointed_iteration.txt
rm -r hurt/iter_0000010
fails 1 'iter_0000010: no such checkpoint' "a checkpoint that is gone" train train.train_iters=11 checkpoint.save=hurt
fails 1 'num_layers' "weights of another size" train model.num_layers=3 checkpoint.pretrained_checkpoint=whole
fails 1 'needs weights' "a finetune from nothing" train model.mode=finetune
parameters() { wan-train -q --mock --plan train.global_batch_size=1 "$@" | sed -n 's/.*: \([0-9]*\) parameters/\1/p'; }
ok "random weights take the geometry of a model folder" [ "$(parameters model.mode=pretrain \
    model.pretrained_model_name_or_path=whole)" = "$(parameters $T)" ]
ok "and are random" train model.mode=pretrain model.pretrained_model_name_or_path=whole train.train_iters=1 --metrics q.json
ok "as without it" [ "$(jq .loss q.json)" = "$(sed -n 1p m.json | jq .loss)" ]
fails 1 'nowhere' "a model folder that is not there" train model.mode=pretrain model.pretrained_model_name_or_path=nowhere

# signals
wan-train -q --mock --precision fp32 $T train.train_iters=100000 checkpoint.save=sig --metrics s.json 2>sig.err &
pid=$!
for i in $(seq 100); do [ -s s.json ] && break; sleep 0.05; done
kill -TERM $pid
wait $pid
ok "SIGTERM ends with status 75" [ $? = 75 ]
at=$(cat sig/latest_checkpointed_iteration.txt)
ok "after a finished step with a checkpoint" [ "$at" = "$(tail -n 1 s.json | jq .step)" ]
k=$((at + 4))
ok "resumed for four more steps" train train.train_iters=$k checkpoint.save=sig
ok "and uninterrupted" train train.train_iters=$k checkpoint.save=nosig
ok "both are the same" diff -r {sig,nosig}/iter_$(printf %07d $k)

wan-train -q --mock --precision fp32 $T train.train_iters=100000 checkpoint.save=behind --metrics b.json 2>behind.err & pid=$!
for i in $(seq 1000); do [ -s b.json ] && break; sleep 0.05; done
kill -INT $pid; had=$(wc -l <b.json)
for i in $(seq 600); do [ "$(wc -l <b.json)" -gt $((had + 2)) ] && break; sleep 0.05; done
ok "in a script's background SIGINT is ignored, as the shell asks" [ "$(wc -l <b.json)" -gt $((had + 2)) ]
kill -TERM $pid; wait $pid
ok "SIGTERM is not" [ $? = 75 ]

(set -m # a job of its own: the shell lets background jobs ignore SIGINT
wan-train -q --mock --precision fp32 $T train.train_iters=3 dataset.H_latents=208 dataset.W_latents=208 \
    dataset.F_latents=8 checkpoint.save=twice --metrics /dev/null 2>twice.err &
pid=$!
sleep 0.5; kill -INT $pid
for i in $(seq 20); do sleep 0.1; kill -INT $pid || break; done # one that comes too soon is the first again
wait $pid; echo $? >twice.rc) 2>/dev/null
ok "a second SIGINT kills" [ "$(cat twice.rc)" = 130 -a -z "$(ls -A twice)" ]

wan-train -q --mock --precision fp32 $T train.train_iters=100000 checkpoint.save=killed checkpoint.save_interval=1 \
    checkpoint.keep=3 --metrics k.json 2>k.err &
pid=$!
for i in $(seq 100); do [ -d killed/iter_0000004 ] && break; sleep 0.05; done
kill -KILL $pid
wait $pid 2>/dev/null
at=$(cat killed/latest_checkpointed_iteration.txt)
mkdir killed/.iter_0000099.tmp
ok "killed in the midst of writing checkpoints" [ "$at" -ge 3 ]
ok "it resumes" train train.train_iters=$((at + 2)) checkpoint.save=killed checkpoint.save_interval=1 checkpoint.keep=3
ok "and sweeps what was left" [ -z "$(ls -d killed/.iter_* 2>/dev/null)" ]
ok "a dry run checks and trains nothing" train --dry-run --metrics dry.json checkpoint.save=dry
ok "and writes nothing" [ ! -s dry.json -a ! -e dry ]

# trouble
fails 1 '<stdout>: .*No space' "a plan to a full disk" sh -c "wan-train -q --mock --plan $(echo $T) >/dev/full"
fails 1 '<stdout>: .*No space' "so for the keys" sh -c 'wan-train --help-keys >/dev/full'
fails 1 'metrics' "metrics to a full disk" train train.train_iters=2 --metrics /dev/full
fails 1 '/dev/null/ck' "a folder that cannot be made" train train.train_iters=1 checkpoint.save=/dev/null/ck
(trap '' XFSZ; ulimit -f 20; train train.train_iters=1 checkpoint.save=full 2>full.err)
ok "a full disk is an error" [ $? = 1 ]
ok "that names the file" grep -q 'full/.*safetensors' full.err
ok "and leaves nothing behind" [ -z "$(ls -A full)" ]
ok "a closed reader of metrics does not end the run" sh -c "wan-train --mock $(echo $T) train.train_iters=200 \
    checkpoint.save=pipe 2>pipe.err | head -n 1 >/dev/null; [ -d pipe/iter_0000200 ]"

# the manual
sed -n '/^\.\\" BEGIN KEYS/,/^\.\\" END KEYS/p' "$TOP/man/wan-train.1" | sed '1d;$d' >keys.man
wan-train --help-keys-mdoc >keys.live
same "the key table of the man page is live" keys.man keys.live
done_testing
