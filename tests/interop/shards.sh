# SPDX-License-Identifier: Apache-2.0
# Our shards read by others' programs, sample by sample: webdataset, Megatron Energon 6.0.1 and 7,
# HuggingFace datasets; our .meta files by torch and pickle.  make check-interop brings them along.
. "$TOP/tests/lib.sh"
py7=${WAN_INTEROP:-}/now/bin/python py6=${WAN_INTEROP:-}/energon6/bin/python
if [ -z "${WAN_INTEROP:-}" ] || [ ! -x "$py7" ] || [ ! -x "$py6" ]; then
    for what in webdataset "Energon 7" "Energon 6.0.1" "HuggingFace datasets" ".meta files"; do
        skip "shards in $what" "make check-interop installs it"
    done
    done_testing
fi
read_with() { "$1" "$TOP/tests/interop/read_shards.py" "$2" "$3" | LC_ALL=C sort; }
"${EXAMPLES:-$TOP/build/examples}/draw_clips" --copies 1 --frames 5 all >draw.log 2>&1
mkdir -p "clips/a b" clips/猫 clips/v1.5 clips/__meta__
i=0
for f in $(ls all | grep '\.mp4$' | head -n 9); do
    i=$((i + 1)); d=$(ls clips | sed -n "$((i % 4 + 1))p")
    cp "all/$f" "clips/$d/clip $i.x.mp4"; echo "caption $i \"with\" <signs> & é" >"clips/$d/clip $i.x.txt"
done
wan-decode -q --height 64 --width 64 clips >frames.wan
for dtype in f32 bf16 f16; do
    wan-encode -q --model "$TOP/examples/tiny" --latent-dtype $dtype --text-dtype $dtype frames.wan >enc.wan
    wan-shard -q --shard_maxcount 2 -o ds.$dtype <enc.wan && wan-index -q --split-ratio 1,0,0 ds.$dtype
    # what is in them, in our own words: key, caption, digests of the numbers
    wan-record ls enc.wan | jq -r '[.key, .meta.caption, (.tensors | map({(.name): .}) | add | (.latent, .text) | "\(.shape | tostring) \(.sha256)")] | @tsv' |
        LC_ALL=C sort >ours.$dtype
    for reader in webdataset energon datasets; do
        read_with "$py7" $reader ds.$dtype >theirs 2>err; cat err >&2
        same "$dtype: $("$py7" -c "from importlib.metadata import version as v; n = {'energon': 'megatron-energon'}.get('$reader', '$reader'); print(n, v(n))") gives all of it" ours.$dtype theirs
    done
    read_with "$py6" energon ds.$dtype >theirs 2>err; cat err >&2
    same "$dtype: $("$py6" -c "from importlib.metadata import version as v; print('megatron-energon', v('megatron-energon'))") gives all of it" ours.$dtype theirs
    # .meta files, whose text is padded: the latents, the captions
    wan-record to-meta -q -o meta.torch enc.wan && wan-record to-meta -q --form pickle -o meta.pickle enc.wan
    cut -f2,3 ours.$dtype | LC_ALL=C sort >ours.meta
    for form in torch pickle; do
        read_with "$py7" meta-$form meta.$form >theirs 2>err; cat err >&2
        same "$dtype: .meta files as $form" ours.meta theirs
    done
    rm -r meta.torch meta.pickle
done
ok "nine samples each" test "$(wc -l <ours.f32)" = 9
done_testing
