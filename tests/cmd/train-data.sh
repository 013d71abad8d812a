#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# wan-train on shards: which samples it trains and validates on, and what a dropped caption becomes.
# With optimizer.lr=0 every loss is that of the same weights, so runs can be compared number by number.
. "$TOP/tests/lib.sh"
export OMP_NUM_THREADS=1
model=$TOP/examples/tiny
"${EXAMPLES:-$TOP/build/examples}/draw_clips" --copies 1 --frames 5 all >draw.log 2>&1
mkdir clips
for f in $(ls all | grep '\.mp4$' | awk 'NR % 20 == 1' | head -n 8); do
    cp "all/$f" clips/
    echo '{"caption":"one caption for all"}' >"clips/${f%.mp4}.json"
done
records() { wan-decode -q --height 64 --width 64 clips | wan-encode -q --model "$model"; }
ok "eight clips in four shards" sh -c "set -e; $(declare -f records); model=$model; records | wan-shard -q --shard_maxcount 2 -o ds
    wan-index -q --split-ratio 2,1,1 ds"
train() { wan-train -q --precision fp32 model.num_layers=2 model.hidden_size=64 model.num_attention_heads=2 \
    model.ffn_hidden_size=96 model.text_dim=64 model.text_len=32 model.freq_dim=32 optimizer.lr=0 checkpoint.save= \
    checkpoint.pretrained_checkpoint=ck train.global_batch_size=4 dataset.path=ds train.eval_interval=1 \
    train.eval_iters=2 "$@"; }
num() { jq "$2" "$1" | sort -u; } # the different values of a field
ok "weights that look at the text" train checkpoint.pretrained_checkpoint= checkpoint.save=ck optimizer.lr=3e-3 \
    scheduler.lr_warmup_iters=1 train.train_iters=60 train.eval_interval=0 --metrics w.json

# validation
ok "validation after each step" train train.train_iters=3 flow.cfg_dropout_prob=0 --metrics a.json
ok "draws the same each time" [ "$(num a.json .val_loss | wc -l)" = 1 ]
ok "while training does not" [ "$(num a.json .loss_unweighted | wc -l)" = 3 ]
ok "it is not weighted, and captions stay" train train.train_iters=3 flow.cfg_dropout_prob=1 \
    flow.use_loss_weighting=false --metrics b.json
ok "so it is the same" [ "$(num a.json .val_loss)" = "$(num b.json .val_loss)" ]
cp -r ds other
awk '/val:/ {v = 1} /test:/ {v = 2} /tar/ && v {line[v] = $0} {text[NR] = $0} END {for (i = 1; i <= NR; i++)
    print text[i] == line[1] ? line[2] : text[i] == line[2] ? line[1] : text[i]}' ds/.nv-meta/split.yaml >other/.nv-meta/split.yaml
ok "val and test exchanged" sh -c '! cmp -s ds/.nv-meta/split.yaml other/.nv-meta/split.yaml'
ok "the run on it" train train.train_iters=3 flow.cfg_dropout_prob=0 dataset.path=other --metrics c.json
ok "trains on the same samples" [ "$(jq .loss a.json)" = "$(jq .loss c.json)" ]
ok "validates on others" [ "$(num a.json .val_loss)" != "$(num c.json .val_loss)" ]
ok "no validation when told so" train train.train_iters=2 train.eval_interval=0 --metrics d.json
ok "leaves its number out" [ "$(num d.json .val_loss)" = null ]

# shards that the index does not know
cp -r ds grown; cp ds/shard-rank00-000001.tar grown/x1.tar; cp grown/x1.tar grown/x2.tar
ok "a folder with new shards" sh -c "$(declare -f train); train dataset.path=grown train.train_iters=1 train.eval_interval=0 --metrics g.json 2>grown.err"
ok "is said to have them, once" [ "$(grep -c 'grown: 2 shards are not in the index, the first of them x1.tar; run wan-index again' grown.err)" = 1 ]
ok "one that has none is not" sh -c "$(declare -f train); train train.train_iters=1 train.eval_interval=0 --metrics g.json 2>none.err && ! grep 'in the index' none.err"

# captions left out
ok "every caption left out" train train.train_iters=3 flow.cfg_dropout_prob=1 --metrics none.json
ok "is counted" [ "$(num none.json .dropped_captions)" = 4 ]
ok "is another loss" [ "$(jq .loss none.json)" != "$(jq .loss a.json)" ]
ok "rows for a caption left out" sh -c "wan-encode -q --model $model --prompt 'one caption for all' |
    wan-record -q to-safetensors -o ds/empty_text.safetensors"
ok "they are used" train train.train_iters=3 flow.cfg_dropout_prob=1 --metrics rows.json
ok "as if the caption were there: here it is the same text" [ "$(jq .loss rows.json)" = "$(jq .loss a.json)" ]
fails 1 'no tensor "text"' "rows that are none" train train.train_iters=1 \
    dataset.empty_text="$model/vae/diffusion_pytorch_model.safetensors"
rm ds/empty_text.safetensors

# an epoch
ok "four steps on four samples" train train.train_iters=4 train.global_batch_size=1 dataset.num_workers=0 --metrics e.json
ok "are one epoch" [ "$(jq .epoch e.json | tail -n 1)" = 1 ]

# ranks
if [ "${MPI:-0}" = 1 ] && command -v mpirun >/dev/null; then
    mkdir 0 1
    cp -r ds 0/d
    cp -r other 1/d
    printf '  - %s\n' "$(sed -n 's/^ *- \(.*000002.tar\)$/\1/p' ds/.nv-meta/split.yaml)" >extra
    awk -v f=extra '{print} /train:/ {getline x <f; print x}' ds/.nv-meta/split.yaml >1/d/.nv-meta/split.yaml
    export -f train
    export ASAN_OPTIONS=detect_leaks=0 # Open MPI leaks
    fails 1 'rank 1 reads other data than rank 0 in d' "ranks with different shards" mpirun --allow-run-as-root \
        --oversubscribe --bind-to none -n 2 bash -c 'cd $OMPI_COMM_WORLD_RANK && train dataset.path=d train.train_iters=1 checkpoint.pretrained_checkpoint=../ck'
else
    skip "ranks with different shards" "a build without MPI"
fi
# the index says how large the samples are: the trainer starts without looking into a shard
cp -rp ds blank; for t in blank/*.tar; do s=$(wc -c <$t); touch -r $t t; : >$t; truncate -s $s $t; touch -r t $t; done
ok "it starts without reading a sample" train --dry-run train.train_iters=3 dataset.path=blank
fails 1 'blank/shard-rank00-00000[0-9].tar' "and names the shard whose sample it cannot read" train train.train_iters=1 dataset.path=blank
# keys as others write them: the same samples under other names
mkdir odd; for t in ds/*.tar; do
    mkdir m; tar xf $t -C m
    tar cf odd/${t##*/} --format=pax --sort=name --transform "s#^\./\([^.]\)#./d e/$(printf '\303\251') \1#" -C m ./ && rm -rf m
done
ok "keys with blanks, ./ and other letters" sh -c 'wan-index -q --split-ratio 2,1,1 odd 2>err && wan-index -q --check odd 2>err'
ok "are trained on" train train.train_iters=3 flow.cfg_dropout_prob=0 dataset.path=odd --metrics odd.json
ok "as the same samples" [ "$(jq .loss a.json)" = "$(jq .loss odd.json)" ]
done_testing
