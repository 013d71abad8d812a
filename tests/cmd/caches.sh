# SPDX-License-Identifier: Apache-2.0
# Caches of other trainers: musubi-tuner's and diffusion-pipe's become records and shards; .meta files for
# NeMo are written and read back.  tests/data/cache/make.py made the caches, of numbers that tell their place.
. "$TOP/tests/lib.sh"
is() { [ "$1" = "$2" ] || { echo "got: $1; wanted: $2" >&2; false; }; }
cp -r "$TOP/tests/data/cache" cache
wan-record from-cache -q -o c.wan cache
ok "keys are places, captions those of musubi-tuner" is "$(wan-record ls --no-digest c.wan | jq -r '.key + "=" + .meta.caption' | tr '\n' ' ')" \
    "musubi/sub/a_b_00000-009_0016x0016=caption 0 musubi/sub/clip_00001-009_0016x0016=caption 1 musubi/sub/pic_0016x0016=caption 2 cache_1_-2E-000x16x16x9/000000= cache_1_-2E-000x16x16x9/000001= cache_1_-2E-000x16x16x9/000002= "
ok "texts have their true lengths" is "$(wan-record ls --no-digest c.wan | jq -r '.tensors[] | select(.name == "text") | .shape[0]' | tr '\n' ' ')" "5 7 3 4 5 6 "
wan-record from-cache -o silent.wan cache 2>&-
same "what is said goes nowhere when standard error is closed, not into the file" silent.wan c.wan
numbers() { # numbers KEY TENSOR: BF16 ones
    wan-record to-safetensors -q -k "$1" -o one.safetensors c.wan
    local head; head=$(od -An -tu8 -N8 one.safetensors | tr -d ' ')
    set -- $(tail -c +9 one.safetensors | head -c "$head" | jq --arg n "$2" '.[$n].data_offsets[]')
    tail -c +$((9 + head + $1)) one.safetensors | head -c $(($2 - $1)) | od -An -v -w2 -tu2 |
        awk '{ e = int($1 / 128) % 256; v = (1 + $1 % 128 / 128) * 2 ^ (e - 127); print $1 % 32768 ? ($1 > 32767 ? -v : v) : 0 }'
}
wrong=0
i=0; for key in musubi/sub/a_b_00000-009_0016x0016 musubi/sub/clip_00001-009_0016x0016 musubi/sub/pic_0016x0016; do
    numbers $key latent | awk -v i=$i '$1 != (NR - 1) % 97 / 32 + i { bad = 1 } END { exit bad || NR < 64 }' || wrong="$wrong $key"
    numbers $key text | awk -v i=$i '$1 != (NR - 1) % 31 / 16 + 1 + i { bad = 1 } END { exit bad || NR < 24 }' || wrong="$wrong $key text"; i=$((i + 1))
done
ok "musubi-tuner: latents and texts, not those of the image" is "$wrong" 0
wrong=0
for i in 0 1 2; do key=cache_1_-2E-000x16x16x9/00000$i
    numbers $key latent | awk -v i=$i '$1 != (NR - 1) % 97 / 32 + i { bad = 1 } END { exit bad || NR != 192 }' || wrong="$wrong $key"
    # to 8 bits, as 20 + x needs
    numbers $key text | awk -v i=$i '{ d = $1 - ((NR - 1) % 31 / 16 + 1 + 10 * i) } d * d > 0.004 { bad = 1 } END { exit bad || NR != 8 * (4 + i) }' || wrong="$wrong $key text"
done
ok "diffusion-pipe: each latent with its first text" is "$wrong" 0
ok "a cache becomes a dataset" sh -c 'wan-shard -q -o ds c.wan && wan-index -q --split-ratio 1,0,0 ds && wan-index --check ds'
ok "one key of it" is "$(wan-record from-cache -q -k '*pic*' cache | wan-record ls --no-digest - | jq -s length)" 1
rm cache/musubi/sub/clip_wan_te.safetensors
fails 1 'clip_00001-009_0016x0016_wan.safetensors: no file of its text beside it' "a text that is missing" wan-record from-cache -o x.wan cache
rm -r cache/musubi; head -c 5000 cache/dpipe/cache/wan/*/text_embeddings_1/shard_0.bin >cut; cat cut >"$(ls cache/dpipe/cache/wan/*/text_embeddings_1/shard_0.bin)"
fails 1 'latents: item 1: .*shard_0.bin: ends before its item 2' "a shard that was cut" wan-record from-cache -o x.wan cache
mkdir both; cp "$TOP/tests/data/cache/musubi/sub/pic_wan_te.safetensors" both/x_wan_te.safetensors
printf '\xa8\0\0\0\0\0\0\0%-168s\1\2' '{"latents_1x1x1_a":{"dtype":"U8","shape":[1,1,1,1],"data_offsets":[0,1]},"latents_1x1x1_b":{"dtype":"U8","shape":[1,1,1,1],"data_offsets":[1,2]}}' >both/x_0008x0008_wan.safetensors
fails 1 'both latents_1x1x1_a and latents_1x1x1_b' "two latents in one file" wan-record from-cache -o x.wan both
if command -v sqlite3 >/dev/null; then
    cp -r cache torn; db=$(ls torn/dpipe/cache/wan/*/text_embeddings_1/metadata.db)
    page=$(sqlite3 "$db" "SELECT rootpage FROM sqlite_master WHERE name = 'items'") size=$(sqlite3 "$db" "PRAGMA page_size")
    printf 'torn' | dd of="$db" bs=1 seek=$(((page - 1) * size)) conv=notrunc 2>/dev/null
    fails 1 'metadata.db: .*malformed' "a list of items that cannot be read to its end" wan-record from-cache -o x.wan torn
else skip "a list of items that cannot be read to its end" "no sqlite3 here"; fi
command -v sqlite3 >/dev/null && sqlite3 cache/dpipe/cache/wan/*/text_embeddings_1/metadata.db 'DELETE FROM items WHERE rowid = 6' &&
    fails 1 '3 latents and 5 texts: which belong together' "texts without their latent" wan-record from-cache -o x.wan cache ||
    skip "texts without their latent" "no sqlite3 here"
mkdir none; fails 1 'no cache of musubi-tuner' "a folder without any" wan-record from-cache -o x.wan none
fails 2 'needs folders' "no operand" wan-record from-cache

# ---- .meta files
for form in torch pickle; do
    wan-record to-meta -q --form $form --text-rows 9 -o m.$form c.wan
    wan-record from-meta -q m.$form | wan-record ls - | jq -cS '[.key, .meta.caption, (.tensors[] | [.name, .shape, .sha256])]' | sort >back
    wan-record ls c.wan | jq -cS '[.key, .meta.caption, (.tensors | sort_by(.name)[] | [.name, .shape, .sha256])]' | sort >there
    same "to-meta --form $form, and back: the same records under the same keys" there back
done
wild="a/b a_-2F-b a_-_-2F--b a_-5F--2F-b _- - __x__ __x__/a x/__x__ a_-h00 v1_-2E-5/c_-20-d $(printf 'k%.0s' $(seq 245))"
wan-record to-safetensors -q -k "*pic*" -o pic.safetensors c.wan
for key in $wild; do wan-record from-safetensors -q -k "$key" pic.safetensors; done >wild.wan
wan-record to-meta -q -o wild wild.wan
ok "keys of any form are one file each, and come back" is "$(wan-record from-meta -q wild | wan-record ls --no-digest - | jq -r .key | sort | tr '\n' ' ')" "$(printf '%s\n' $wild | sort | tr '\n' ' ')"
mkdir -p paths/__x__ 'paths/b c'; for p in v1.5 a_-zz 100%2 '100%' __x__/n 'b c/d'; do cp m.torch/*pic*.meta "paths/$p.meta"; done
ok "names that are no keys are written as paths" is "$(wan-record from-meta -q paths | wan-record ls --no-digest - | jq -r .key | sort | tr '\n' ' ')" "$(printf '%s\n' v1_-2E-5 a_-zz 100_-25-2 100_-25- _-5F-_x__/n b_-20-c/d | sort | tr '\n' ' ')"
mkdir -p pt/16x16 pt/16x32 # as Automodel's buckets: a folder for each size
for f in m.torch/*.meta; do d=16x16; case $f in *pic*) d=16x32 ;; esac; f=${f##*/}; cp "m.torch/$f" "pt/$d/${f%.meta}.pt"; done
wan-record from-meta -q pt >pt.wan
wan-record ls pt.wan | jq -cS '[.meta.caption, (.tensors[] | [.name, .shape, .sha256])]' | sort >back
sed -E 's/^\["[^"]*",/[/' there | sort >there.nokey
same "Automodel's buckets of .pt files" back there.nokey
ok "of which the folder is in the key" is "$(wan-record ls --no-digest pt.wan | jq -r .key | cut -d/ -f1 | sort | uniq -c | tr -s ' \n' ' ')" " 5 16x16 1 16x32 "
ok "one key of them" is "$(wan-record from-meta -q -k '16x32/*' pt | wan-record ls --no-digest - | jq -s length)" 1
fails 1 'pt: holds .meta or .pt files of Automodel; convert them' "not taken for shards" wan-index pt
ok "one file for each key, none in folders" is "$(ls m.torch | head -2 | tail -1)" "cache_1_-2E-000x16x16x9%2F000001.meta"
fails 1 'record 2 .*: 7 rows of text, more than the 6 that all files have' "a text that is longer" wan-record to-meta --text-rows 6 -o x c.wan
cat c.wan c.wan >twice.wan
fails 1 'used before' "a key twice" wan-record to-meta -o y twice.wan
fails 2 'needs -o DIR' "no folder" wan-record to-meta c.wan
done_testing
