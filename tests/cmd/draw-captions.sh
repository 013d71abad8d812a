#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Several captions of a clip in one record: encoded, kept in shards, one of them drawn each time the
# sample is trained on, or those of one field for each dataset of a mixture.
. "$TOP/tests/lib.sh"
export OMP_NUM_THREADS=1
is() { [ "$1" = "$2" ] || { echo "got: $1; wanted: $2" >&2; false; }; }
model=$TOP/examples/tiny
"${EXAMPLES:-$TOP/build/examples}/draw_clips" --copies 1 --frames 5 all >draw.log 2>&1
mkdir clips one two three
i=0
for f in $(ls all | grep '\.mp4$' | head -n 2); do
    i=$((i + 1)); s=${f%.mp4}
    for d in clips one two three; do cp "all/$f" $d; done
    printf '{"caption": ["a red circle %d", "the second text of number %d is longer than all the others, so that it needs more rows"], "vila_caption": "three"}' $i $i >clips/$s.json
    printf '{"caption": "a red circle %d"}' $i >one/$s.json
    printf '{"caption": "the second text of number %d is longer than all the others, so that it needs more rows"}' $i >two/$s.json
    printf '{"vila_caption": "three"}' >three/$s.json
done
prepare() { wan-decode -q --height 64 --width 64 "$@" | wan-encode -q --model "$model" >x.wan && wan-shard -q -o d.$1 <x.wan && wan-index -q --split-ratio 1,0,0 d.$1; }
for d in one two three; do prepare $d || exit 1; done
wan-decode -q --height 64 --width 64 --captions all clips >all.wan
ok "all captions of all fields are in the record" is "$(wan-record ls --no-digest all.wan | jq -c '.meta | [.caption, .caption_field, .caption_list]' | head -1)" \
    '["a red circle 1","caption",[{"field":"caption","text":"a red circle 1"},{"field":"caption","text":"the second text of number 1 is longer than all the others, so that it needs more rows"},{"field":"vila_caption","text":"three"}]]'
ok "of a field alone with --caption-field" is "$(wan-decode -q --captions all --caption-field caption clips | wan-record ls --no-digest - | jq -c '.meta.caption_list | length' | head -1)" 2
ok "words are counted for each" is "$(wan-decode -q --captions all --min-words 2 clips | wan-record ls --no-digest - | jq -c '[.meta.caption_list[].field]' | head -1)" '["caption","caption"]'
wan-encode -q --model "$model" all.wan >enc.wan
sha() { wan-record ls "$1" | jq -r --arg n "$2" 'select(.tensors) | .tensors[] | select(.name == $n) | .sha256'; }
wan-encode -q --model "$model" -p "a red circle 1" "the second text of number 1 is longer than all the others, so that it needs more rows" three >prompts.wan
ok "each is encoded as it is alone" is "$(for n in text text_2 text_3; do sha enc.wan $n | head -1; done)" "$(sha prompts.wan text)"
wan-shard -q -o d.all <enc.wan && wan-index -q --split-ratio 1,0,0 d.all
ok "the shards are sound" wan-index --check d.all
wan-shard -x d.all | wan-record ls - | jq -cS '[.key, .meta.caption_list, [.tensors[] | [.name, .sha256]]]' >back; wan-record ls enc.wan | jq -cS '[.key, .meta.caption_list, [.tensors[] | [.name, .sha256]]]' >there
same "and give the records back" there back
rows() { wan-index --stat $1 2>/dev/null | awk -F'\t' '$2 == "text" { print $3 }' | tr '\n' ' '; }
ok "the index has the rows of the longest ($(rows d.all); of the first $(rows d.one))" test "$(rows d.all)" = "$(rows d.two)" -a "$(rows d.all)" != "$(rows d.one)"

train() { wan-train -q --precision fp32 model.num_layers=1 model.hidden_size=32 model.num_attention_heads=2 \
    model.ffn_hidden_size=32 model.text_dim=64 model.text_len=64 model.freq_dim=32 optimizer.lr=0 checkpoint.save= \
    flow.cfg_dropout_prob=0 train.global_batch_size=1 train.eval_interval=0 train.train_iters=30 dataset.shuffle=false "$@"; }
# a model that has learned to look at captions: its output begins at zero
train dataset.path=d.one optimizer.lr=1e-2 scheduler.lr_warmup_iters=1 train.train_iters=12 checkpoint.save=base
base=$PWD/base/iter_0000012/transformer
same_model() { train checkpoint.pretrained_checkpoint="$base" "$@"; }
for d in one two three all; do same_model dataset.path=d.$d --metrics $d.json || exit 1; jq .loss $d.json >$d.loss; done
ok "the captions make a difference" is "$(paste one.loss two.loss three.loss | awk '$1 == $2 || $1 == $3 || $2 == $3' | wc -l)" 0
paste one.loss two.loss three.loss all.loss | awk '{ print $4 == $1 ? 1 : $4 == $2 ? 2 : $4 == $3 ? 3 : "none" }' >drawn
ok "every step trains on one of the sample's three: $(tr '\n' ' ' <drawn)" is "$(sort -u drawn | tr '\n' ' ')" "1 2 3 "
ok "each of them often" is "$(sort drawn | uniq -c | awk '$1 < 4' | wc -l)" 0
same_model dataset.path=d.all rng.seed=7 --metrics seed.json
for d in one two three; do same_model dataset.path=d.$d rng.seed=7 --metrics s.$d.json; jq .loss s.$d.json >s.$d; done
jq .loss seed.json | paste s.one s.two s.three - | awk '{ print $4 == $1 ? 1 : $4 == $2 ? 2 : $4 == $3 ? 3 : "none" }' >drawn7
ok "another seed draws others" is "$(cmp -s drawn drawn7 && echo same)$(grep -c none drawn7)" 0
same_model dataset.path=d.all dataset.draw_captions=false --metrics first.json; jq .loss first.json >first.loss
same "draw_captions=false: the first" first.loss one.loss
same_model 'dataset.path=[{path: d.all, caption_field: vila_caption}]' --metrics field.json; jq .loss field.json >field.loss
same "caption_field of a dataset: those of that field" field.loss three.loss
same_model 'dataset.path=[{path: d.all, caption_field: caption}]' --metrics field.json; jq .loss field.json | paste one.loss two.loss - | awk '{ print $3 == $1 ? 1 : $3 == $2 ? 2 : "none" }' >drawn
ok "of two of that field one is drawn" is "$(sort -u drawn | tr '\n' ' ')" "1 2 "
printf 'splits:\n  train:\n    blend:\n      - {path: d.all, caption_field: vila_caption, weight: 1}\n      - {path: d.one, weight: 1}\n' >mix.yaml
same_model dataset.path=mix.yaml --metrics mix.json
ok "in a mixture each dataset has its own" is "$(jq .loss mix.json | paste three.loss one.loss - | head -1 | awk '{ print $3 == $1 }')" 1
printf 'splits:\n  train:\n    blend_epochized:\n      - {path: d.one}\n      - {path: d.all}\n    caption_field: caption\n' >outer.yaml
ok "or that of the whole blend" same_model dataset.path=outer.yaml train.train_iters=2
fails 1 'd.all/shard-rank00-000000.tar: sample .*: none of its 3 captions is of field "usr"' "a field that no caption has" same_model 'dataset.path=[{path: d.all, caption_field: usr}]'
fails 1 'its caption is of field "caption", not of "vila_caption"' "a sample with another" same_model 'dataset.path=[{path: d.one, caption_field: vila_caption}]'
learn() { train dataset.path=d.all optimizer.lr=1e-3 scheduler.lr_warmup_iters=1 train.train_iters=6 "$@"; }
learn checkpoint.save=whole
learn checkpoint.save=half train.exit_interval=3; learn checkpoint.save=half
ok "a run that was stopped draws the same" diff -r whole/iter_0000006/transformer half/iter_0000006/transformer
done_testing
