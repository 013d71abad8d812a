#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# wan-train on several datasets: folders, shard patterns, weights, repetitions, Energon's metadatasets;
# the same bytes after a stop and on two ranks.  With optimizer.lr=0 runs compare number by number.
. "$TOP/tests/lib.sh"
export OMP_NUM_THREADS=1
model=$TOP/examples/tiny
"${EXAMPLES:-$TOP/build/examples}/draw_clips" --copies 1 --frames 5 all >draw.log 2>&1
mkdir clips
i=0
for f in $(ls all | grep '\.mp4$' | awk 'NR % 20 == 1' | head -n 8); do
    cp "all/$f" clips/
    echo "{\"caption\":\"caption $((i = i + 1))\"}" >"clips/${f%.mp4}.json"
done
wan-decode -q --height 64 --width 64 clips | wan-encode -q --model "$model" >all.wan
wan-shard -q --shard_maxcount 2 -o ds <all.wan && wan-index -q --split-ratio 1,0,0 ds
ok "eight clips in four shards" [ "$(ls ds/*.tar | wc -l)" = 4 ]
# a and b: the first and the last four clips, as shards of their own
for d in a b; do
    mkdir $d
    [ $d = a ] && set -- $(ls ds/*.tar | head -n 2) || set -- $(ls ds/*.tar | tail -n 2)
    cp "$@" $d && wan-index -q --split-ratio 1,0,0 $d
done
train() { wan-train -q --precision fp32 model.num_layers=1 model.hidden_size=32 model.num_attention_heads=2 \
    model.ffn_hidden_size=32 model.text_dim=64 model.text_len=32 model.freq_dim=32 optimizer.lr=0 checkpoint.save= \
    flow.cfg_dropout_prob=0 train.global_batch_size=4 train.eval_interval=0 train.train_iters=6 "$@"; }
losses() { jq -c '[.loss_unweighted,.tokens]' "$1"; }
same_run() { cmp <(losses "$1") <(losses "$2"); }

ok "a folder" train dataset.path=ds --metrics folder.json
ok "its shards by a pattern" train "dataset.path=ds/$(cd ds && ls *.tar | paste -sd, | sed 's/.*/{&}/')" --metrics pattern.json
ok "are the same run" same_run folder.json pattern.json
ok "a list of one folder" train 'dataset.path=[ds]' --metrics list.json
ok "is the same run" same_run folder.json list.json
ok "two folders" train 'dataset.path=[a, b]' --metrics two.json
ok "are another order of the same samples" bash -c '! cmp -s <(jq .loss two.json) <(jq .loss folder.json)'
ok "an epoch of which is all eight" [ "$(jq .epoch two.json | sed -n 2p)" = 1 ]

# weights: 3 of 4 samples of every block of 4 positions come from a
ok "only a" train dataset.path=a dataset.shuffle=false --metrics a.json
ok "a weight" train 'dataset.path=[{path: a, weight: 3}, {path: b, weight: 1}]' --metrics w.json
printf '__module__: megatron.energon\n__class__: MetadatasetV2\nsplits:\n  train:\n    blend:\n      - {path: a, weight: 6}\n      - {path: ../%s/b, weight: 2}\n' "$(basename "$PWD")" >mix.yaml
ok "the same from Energon's file" train dataset.path=mix.yaml --metrics file.json
ok "is the same run" same_run w.json file.json
mkdir deep && sed 's#path: a#path: ../a#; s#path: ../[^/]*/b#path: ../b#' mix.yaml >deep/inner.yaml
printf 'splits:\n  train: {path: deep/inner.yaml}\n' >outer.yaml
ok "nested, relative to each file" train dataset.path=outer.yaml --metrics nested.json
ok "is the same run too" same_run w.json nested.json
ok "in a configuration file" sh -c "$(declare -f train); printf 'dataset:\n  path:\n    - path: a\n      weight: 3\n    - {path: b, weight: 1}\n' >c.yaml
    train --config-file c.yaml --metrics conf.json"
ok "is the same run again" same_run w.json conf.json
ok "repetitions" train 'dataset.path=[{path: a, repetitions: 2}, b]' --metrics rep.json
ok "make an epoch of twelve" [ "$(jq .epoch rep.json | sed -n 3p)" = 1 ]
ok "of which the plan counts two" sh -c "$(declare -f train); train --plan 'dataset.path=[{path: a, repetitions: 2}, b]' |
    grep -q '^run  *6 steps, 2 epochs\$'"

# which samples: with one sigma and no noise of its own a loss names its sample
debug() { train dataset.shuffle=false train.global_batch_size=1 train.train_iters=8 "$@"; }
ok "in order" debug 'dataset.path=[a, b]' --metrics o.json
ok "as in the one folder" debug dataset.path=ds --metrics p.json
ok "sample by sample" same_run o.json p.json
ok "weights without shuffle" debug 'dataset.path=[{path: a, weight: 1}, {path: b, weight: 1}]' --metrics alt.json
ok "take turns" debug 'dataset.path=[{path: b, weight: 1}, {path: a, weight: 1}]' --metrics alt2.json
ok "in the order given" bash -c '! cmp -s <(jq .loss alt.json) <(jq .loss alt2.json)'

# position only: a stop, two ranks
W='[{path: a, weight: 3}, {path: b, weight: 1}]'
learn() { train "dataset.path=$W" optimizer.lr=1e-3 scheduler.lr_warmup_iters=1 "$@"; }
ok "six steps of learning" learn checkpoint.save=whole
ok "three of them" bash -c "$(declare -f train learn); W='$W'; learn checkpoint.save=half train.exit_interval=3; [ \$? = 75 ]"
ok "and the rest" learn checkpoint.save=half
ok "end in the same bytes" diff -r whole/iter_0000006/transformer half/iter_0000006/transformer
two() { ASAN_OPTIONS=detect_leaks=0 mpirun --allow-run-as-root --oversubscribe --bind-to none -n 2 bash -c "$(declare -f train learn); W='$W'; learn $*"; } # Open MPI leaks
ok "on two ranks" two --metrics ranks.json
ok "on one" learn --metrics one.json
ok "with the same losses" awk 'NR==FNR {x[FNR]=$1; next} {d=($1-x[FNR])/x[FNR]; if (d*d>1e-10) bad=1} END {exit bad||FNR!=6}' \
    <(jq .loss one.json) <(jq .loss ranks.json)
ok "the saved configuration names them" grep -q "path: \"\[{path: a, weight: 3}" whole/iter_0000006/run_config.yaml
ok "and reads back" wan-train -q --precision fp32 --config-file whole/iter_0000006/run_config.yaml checkpoint.save= --metrics again.json
ok "to the same run" same_run one.json again.json
learn checkpoint.save=other dataset.path='[a, b]' train.train_iters=1
fails 0 'trained on other data' "other data under a checkpoint are named" learn checkpoint.save=other

# validation takes the val parts there are
cp -r ds v && wan-index -q --split-ratio 2,1,1 v
ok "of one of two" train 'dataset.path=[a, v]' train.eval_interval=1 train.eval_iters=1 --metrics val.json
ok "it is there" jq -se 'all(.val_loss | type == "number")' val.json
printf 'splits:\n  train: [a, b]\n  val: {path: v, split_part: test}\n' >val.yaml
ok "of a file" train dataset.path=val.yaml train.eval_interval=1 train.eval_iters=1 --metrics val2.json
ok "another part" bash -c '[ "$(jq -s ".[0].val_loss" val.json)" != "$(jq -s ".[0].val_loss" val2.json)" ]'

# what cannot be
fails 1 'nowhere: no .nv-meta' "a folder that is not there" train 'dataset.path=[a, nowhere]'
fails 1 'no shard of this folder' "a shard that is not indexed" train 'dataset.path=a/x-{0..1}.tar'
fails 1 'cannot be mixed' "weights and repetitions" train 'dataset.path=[{path: a, weight: 1}, {path: b, repetitions: 2}]'
sed 's/weight: 2/joint: 1/' mix.yaml >joint.yaml
fails 1 'joint.yaml: line 7: "joint" of a dataset' "a word that is not known" train dataset.path=joint.yaml
fails 1 'a: split.yaml has no part "nope"' "a part that is not there" train 'dataset.path=[{path: a, split_part: nope}, b]'
done_testing
