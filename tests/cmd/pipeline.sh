# SPDX-License-Identifier: Apache-2.0
# The whole path as a user types it, through pipes and through files; and what happens when a stage
# dies or a stream is cut: the next stage fails with a sentence that names the record, and nothing
# half-written keeps a final name.
. "$TOP/tests/lib.sh"
set -o pipefail
model=$TOP/examples/tiny
yaml=$TOP/examples/tiny
"${EXAMPLES:-$TOP/build/examples}/draw_clips" --copies 1 --frames 9 all >draw.log 2>&1
mkdir clips
for f in $(ls all | grep '\.mp4$' | awk 'NR % 20 == 1' | head -n 8); do cp "all/$f" "all/${f%.mp4}.json" clips/; done
decode=(wan-decode -q --height 64 --width 64 --center-crop)

ds1() { "${decode[@]}" --mode frames --num-frames 8 clips | wan-encode --model "$model" |
    wan-shard --shard_maxcount 8 -o ds1 && wan-index --split-ratio 8,1,1 ds1; }
ds2() { "${decode[@]}" clips | wan-encode --model "$model" | wan-shard --shard_maxcount 1 -o ds2 &&
    wan-index --split-ratio 8,1,1 ds2; }
train1() { wan-train --config-file "$yaml/stage1.yaml" --training-mode pretrain dataset.path=ds1 \
    checkpoint.save=ck1 train.train_iters=22; }
train2() { wan-train --config-file "$yaml/stage2.yaml" --training-mode pretrain dataset.path=ds2 \
    checkpoint.pretrained_checkpoint=ck1 checkpoint.save=ck2 train.train_iters=22; }
sample() { wan-sample --model "$model" --checkpoint_dir ck2 --prompts "a lovely cat" --sizes 64*64 \
    --frame_nums 9 --sample_steps 4 --base_seed 1 --save_file cat.mp4; }
ok "frames to one-frame shards" ds1
ok "clips to video shards" ds2
ok "every shard and its index are sound" wan-index --check ds2
ok "stage 1" train1
ok "stage 2 from stage 1" train2
ok "a sampled video" sample
frames_of() { "${decode[@]}" --fps source cat >cat.wan && wan-record ls cat.wan | jq -e '.tensors[0].shape == [9,64,64,3]'; }
mkdir cat && cp cat.mp4 cat/ && echo '{"caption":"a cat"}' >cat/cat.json
ok "... of 9 frames of 64x64" frames_of
same_video() { cp cat.mp4 first.mp4 && sample && cmp cat.mp4 first.mp4; }
ok "the same seed gives the same video" same_video

# the other model, from the same shards
dit() { local stage=$1; shift; wan-train -q --config-file "$yaml/dit$stage.yaml" dataset.path=ds$stage checkpoint.save=dk$stage \
    train.train_iters=22 --metrics "dit$stage.jsonl" "$@"; }
ok "a DiT, stage 1" dit 1
ok "stage 2 from stage 1" dit 2 checkpoint.pretrained_checkpoint=dk1
ok "it learns" jq -se '.[0].loss > 0.7 and (.[-5:] | map(.loss) | add / 5) < 0.85 * .[0].loss' dit1.jsonl
dit_video() { wan-sample --model "$model" --checkpoint_dir dk2 --prompts "a lovely cat" --sizes 64*64 --frame_nums 9 \
    --sample_steps 4 --base_seed 1 --save_file dit.mp4; }
ok "a video of it" dit_video

files() { "${decode[@]}" clips >frames.wan && wan-encode --model "$model" <frames.wan >latents.wan &&
    wan-shard --shard_maxcount 1 -o ds3 <latents.wan && wan-index --split-ratio 8,1,1 ds3; }
ok "the same through files" files
same_tree() { diff -r ds2 ds3 >&2; }
ok "pipes and files give the same bytes" same_tree

sizes() { # an image-sized run at another resolution
    wan-decode -q --height "$1" --width "$2" --center-crop --frames 5 "$(ls clips/*.mp4 | head -n 1)" |
        wan-encode --model "$model" | wan-shard -o "ds_$1" && wan-index "ds_$1" &&
        wan-sample --model "$model" --checkpoint_dir ck2 --prompts "a cat" --sizes "$2*$1" --frame_nums 5 \
            --sample_steps 2 --base_seed 1 --save_file "cat_$1.mp4"
}
ok "240x416" sizes 240 416
ok "480x832" sizes 480 832

# a stream cut at many places: always a failure that names the record, never a final name
cut_at() { head -c "$1" frames.wan >cut.wan; }
encode_cut() { ! wan-encode --model "$model" <cut.wan >out.wan 2>err && grep -Eq 'record|stream' err; }
size=$(stat -c %s frames.wan)
cuts() {
    local k at
    for k in 1 7 8 9 63 64 65 100 1000 $((size / 3)) $((size / 2)) $((size - 65)) $((size - 64)) $((size - 1)); do
        at=$k
        cut_at "$at"
        encode_cut || { echo "cut at $at: $(cat err)" >&2; return 1; }
    done
}
ok "wan-encode notices a cut anywhere" cuts
lsize=$(stat -c %s latents.wan)
shard_cuts() {
    local at
    for at in 5 64 200 $((lsize / 2)) $((lsize - 64)) $((lsize - 1)); do
        rm -rf dcut
        head -c "$at" latents.wan >cut.wan
        ! wan-shard --shard_maxcount 100 -o dcut <cut.wan 2>err && grep -Eq 'record|stream' err || { echo "cut at $at: $(cat err)" >&2; return 1; }
        [ -z "$(ls dcut)" ] || wan-shard -q -x dcut | wan-record check >good || # the records in front of the cut
            { echo "cut at $at left a shard that is not whole" >&2; return 1; }
    done
}
ok "wan-shard notices a cut anywhere and leaves whole shards only" shard_cuts
killed() { # the first stage dies: the second fails
    rm -rf dkill
    { "${decode[@]}" clips | head -c 300000; } 2>/dev/null | wan-encode --model "$model" 2>err.encode |
        wan-shard -o dkill 2>err.shard
    local st=("${PIPESTATUS[@]}")
    [ "${st[1]}" -eq 1 ] && [ "${st[2]}" -eq 1 ] && grep -q record err.shard && ! ls dkill/*.tar >/dev/null 2>&1
}
ok "a dead stage stops the stages behind it" killed
fails 1 'full|No space|write' "a full disk is noticed (wan-encode)" sh -c "wan-encode -q --model $model <frames.wan >/dev/full"
fails 1 'full|No space|write' "a full disk is noticed (wan-decode)" sh -c "${decode[*]} clips >/dev/full"
done_testing
