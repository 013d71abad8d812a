#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The inputs that fuzzing starts from: DIR/NAME/*, for each target of tests/fuzz.  Taken from tests/data,
# or made here; wan-index must be on the PATH, and ffmpeg for videos.
#
#     tests/fuzz/seeds.sh DIR
set -eu
cd "$(dirname "$0")/../.."
out=$1
rm -rf "$out"
to() { mkdir -p "$out/$1"; cat >"$out/$1/$2"; } # TARGET NAME <data
first() { local b=$1; shift; printf "\\$b"; cat "$@"; } # BYTE (octal) in front of what is read
le32() { local i; for i in "$@"; do printf "\\x$(printf %02x $((i & 255)))\\x$(printf %02x $((i >> 8 & 255)))\\x$(printf %02x $((i >> 16 & 255)))\\x$(printf %02x $((i >> 24 & 255)))"; done; }
varint() { local v=$1; while ((v > 127)); do printf "\\x$(printf %02x $((v & 127 | 128)))"; v=$((v >> 7)); done; printf "\\x$(printf %02x "$v")"; }
bytes() { local t; t=$(mktemp); cat >"$t"; varint $(($1 << 3 | 2)); varint "$(wc -c <"$t")"; cat "$t"; rm -f "$t"; } # FIELD <data
number() { varint $(($1 << 3)); varint "$2"; }                                                                    # FIELD VALUE

# ---- torch, records, shards, safetensors
for f in f32 f16 bf16 u16 empty scalar shared strided param; do to zip $f <tests/data/torch/$f.pth; to metafile $f <tests/data/torch/$f.pth; done
to zip state <tests/data/torch/state.pth
to legacy legacy <tests/data/torch/legacy.pt
{ # 2^60 paths through tuples of a tuple twice, all looked at for the type of each of two storages
    printf '\x80\2\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\2M\xe9\3.\x80\2}.\x80\2}X\1\0\0\0d\x89'
    printf '2\x86%.0s' {1..60}
    printf 's.\x80\2](X\1\0\0\0aX\1\0\0\0be.'
} | to legacy found-shared-tuples
for f in tests/data/torch/*.pickle; do to pickle "$(basename "$f")" <"$f"; to metafile "$(basename "$f")" <"$f"; done
find tests/data/torch/automodel -name '*.meta' -size -64k -print0 | while IFS= read -r -d '' f; do to metafile "$(basename "$f" | tr ' ' _)" <"$f"; done
first 0 tests/data/ref/dcp/megatron/iter_0000004/.metadata | to dcp megatron
first 0 tests/data/ref/dcp/automodel/epoch_0_step_3/model/.metadata | to dcp automodel
head -c 20000 tests/data/ref/dcp/megatron/iter_0000004/__0_0.distcp | first 1 | to dcp piece
for f in tests/data/record/*.wan; do to record "$(basename "$f")" <"$f"; done
{ head -c 17408 tests/data/torch/dfm/*.tar; head -c 1024 /dev/zero; } | to tar dfm
{ head -c 16384 tests/data/torch/butterfly/*.tar; head -c 1024 /dev/zero; } | to tar butterfly
find tests/data -name '*.safetensors' -size -32k | while read -r f; do to safetensors "$(echo "${f#tests/data/}" | tr / _)" <"$f"; done
st() { printf "\\x$(printf %02x "${#1}")\0\0\0\0\0\0\0%s" "$1"; head -c "$2" /dev/zero; } # HEADER BYTES
st '{"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},"b":{"dtype":"BF16","shape":[],"data_offsets":[8,10]}}  ' 10 | to safetensors two
st '{"__metadata__":{"wan_key":"k","x":"y"},"a":{"dtype":"I64","shape":[0,3],"data_offsets":[0,0]}}' 0 | to safetensors none

index() { printf '{"weight_map":{%s}}' "$1" | first 0 | to stfolder "index$2"; }
index '"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"' 1; index '"a":"../x.safetensors"' 2; index '"a":3' 3
index '"c":"model-00001-of-00002.safetensors"' 4; index '' 5; index '"a":"model-00001-of-00002.safetensors"' 6; printf '\0[]' | to stfolder list
st '{"a":{"dtype":"F16","shape":[1,2],"data_offsets":[0,4]}}' 4 | first 1 | to stfolder f16; st '{"b":{"dtype":"I64","shape":[1,2],"data_offsets":[0,16]}}' 16 | first 2 | to stfolder i64
bad() { st "$1" "$2" | to safetensors "bad$3"; st "$1" "$2" | first 1 | to stfolder "bad$3"; }
bad '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}' 4 1; bad '{"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}}' 4 2; bad '{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}' 4 3
bad '{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}' 4 4; bad '{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}' 8 5; bad '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}' 8 6
bad '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}' 4 7; bad '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{}}' 4 8
bad '{"__metadata__":{"x":1}}' 0 9; bad '[]' 0 10; bad '{"a":3}' 0 11; bad '{"a":{"dtype":"F32","shape":3,"data_offsets":[0,4]}}' 4 12; bad '{"a":{"dtype":"F32","shape":[1],"x":1,"data_offsets":[0,4]}}' 4 13
bad '{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,4]}}' 4 14; bad '{"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}}' 4 15; bad ' {}' 0 16
for t in F64 F8_E4M3 F8_E5M2 I32 U8 BOOL I16 U64; do bad '{"a":{"dtype":"'$t'","shape":[0],"data_offsets":[0,0]}}' 0 $t; done
to gguf types <tests/data/ref/gguf/types.gguf

# ---- side files of a dataset
printf '\0split_parts:\n  train:\n  - x.tar\n  val: []\nexclude:\n- x.tar/000002\n' | to index split
printf '\0split_parts: {train: ["{x,y}.tar"], test: [shard-{000..002}.tar]}\n' | to index braces
printf '\4a-{000..012}.tar' | to index runs; printf '\4{a,b{1..3}}.tar' | to index nested; printf '\4{3..1}{' | to index open
printf '\1{"shard_counts": {"x.tar": 6}}' | to index info
printf '\2energon_version: 6.0.1\nshard_counts:\n  x.tar: 6\n' | to index yaml
printf '\3\0\0\0\0\0\0\0\0' | to index idx
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
wan-record from-cache -q -o "$tmp/x.wan" tests/data/cache
to record cache <"$tmp/x.wan"; cat tests/data/record/two.wan "$tmp/x.wan" | to record two-streams
wan-shard -q -o "$tmp/own" "$tmp/x.wan"
for k in tar dataset; do to $k own <"$tmp"/own/*.tar; done
head -c 40960 tests/data/torch/dfm/*.tar | { cat; head -c 1024 /dev/zero; } | to dataset dfm
{ head -c 20000 "$tmp"/own/*.tar; printf x; } | to dataset cut
wan-record to-safetensors -q -o "$tmp/st" "$tmp/x.wan"
find "$tmp/st" -name '*.safetensors' | head -n 1 | while read -r f; do first 1 "$f" | to stfolder record; done
echo '{"x":1}' >"$tmp/d.json"
mix() { # parts of samples that are not whole, or not ours
    rm -rf "$tmp/mix"; mkdir "$tmp/mix"
    tar xf tests/data/torch/dfm/*.tar -C "$tmp/mix" --wildcards '000000.*' '000001.*' 2>/dev/null || tar xf "$(ls tests/data/torch/dfm/*.tar)" -C "$tmp/mix"
    (cd "$tmp/mix" && "$@" && tar cf - --sort=name --owner=0 --group=0 --mtime=@0 -- *) | to tar "mix-$1-${2##*/}"; cp "$out/tar/mix-$1-${2##*/}" "$out/dataset/"
}
mix rm 000000.pth; mix rm 000000.json; mix cp "$tmp/d.json" 000000.json; mix cp 000000.pickle 000000.pth; mix mkdir __provenance__; mix cp 000000.json readme
cp tests/data/torch/dfm/*.tar "$tmp/a.tar"; wan-index -q --split-ratio 1,0,0 "$tmp"
to sizes dfm <"$tmp/.nv-meta/samples.bin"
first 3 "$tmp/a.tar.idx" | to index whole

# ---- caches of other trainers
d=tests/data/cache/dpipe/cache/wan/cache_1.000x16x16x9 k=0
for f in "$d"/latents/metadata.db "$d"/text_embeddings_1/metadata.db "$d"/latents/shard_0.bin "$d"/latents/shard_1.bin \
    "$d"/text_embeddings_1/shard_0.bin "$d"/text_embeddings_1/shard_1.bin tests/data/cache/musubi/sub/clip_0*.safetensors \
    tests/data/cache/musubi/sub/clip_wan_te.safetensors; do first $k "$f" | to sqlite $k; k=$((k + 1)); done

# ---- YAML, JSON, configurations, words
for f in tests/data/yaml/*.yaml examples/tiny/*.yaml examples/configs/*.yaml; do
    to config "$(basename "$f")" <"$f"; to yaml "$(basename "$f")" <"$f"
done
printf 'a: &x {b: 1, c: [~, yes, "no"]}\nd:\n  <<: *x\n  c: !!str 3\ne: !!binary aGVsbG8=\nf: [*x, {<<: [*x]}]\n' | to yaml anchors
printf 'a: {<<: [{b: 1}, {c: 2}], <<: {d: 3}}\n? k\n: |\n  text\n--- \n' | to yaml merges
printf 'a: !!float 1.5\nb: !!int 3\nc: !x y\n' | to yaml tags
printf 'dataset:\n  path: ["a b", "c\\"d\\n", {x: 1, y: [2, ~]}, yes]\noptimizer:\n  betas: [0.9, 0.95]\n  lr: {}\n' | to config lists
printf 'optimizer: {lr: x, betas: [1], weight_decay: -1}\ntrain: {train_iters: 1.5e3, global_batch_size: yes}\ncheckpoint: {dtype: fp8, async_save: 3}\nnone: {such: 1}\n' | to config wrong
printf 'checkpoint:\n  save: ${oc.env:HOME,x}/run\nmodel:\n  hidden_size: ${train.train_iters}\ntrain: {train_iters: 5}\n' | to config references
printf '{"a": 1, "b": [1.5, true, null, "x\\u00e9"], "c": {"a": "s"}}' | to json object
printf '{"a": 1.25}' | to json real; printf '{"a": true}' | to json true; printf '{"a": "x"}' | to json text
printf '{"a": 1, "a": 2}' | to json twice; printf '[[[[1]]], {"\\ud83d\\ude00": -0.0e5}]' | to json nested
printf -- '-n\n5\n--bytes=3M\n--real\n1e3\n-s\nx\n--kind\ntwo\n--prompts\na\nb\n--no-flag\n-mmf\n--\nrest' | to options all
printf -- '--flag\nfalse\n--count_of=7\n-n-3\n-b1G\n-p\nx\n-1\n--flag=True\n-\n--nmber\n3' | to options forms
printf -- '-recipout of memorye-' | to options found-words-of-memory
printf -- '-nx' | to options number; printf -- '--bytes\n1Q' | to options size; printf -- '--kind=four' | to options enum
printf -- '--real=nan' | to options real; printf -- '--more=3' | to options count; printf -- '-z' | to options letter
printf -- '-n' | to options novalue; printf -- '--flag=maybe' | to options maybe; printf -- '--no-name' | to options noname; printf -- '-nx5k' | to options bundle
printf 'optimizer.lr=1e-4\n+train.train_iters=5\n~train.train_iters\ncheckpoint.save=/x\ndataset.path=[a,b]' | to options words
printf 'optimizer.lr=x\nnone.such=1\ntrain.global_batch_size=-1\nmodel.seq_length\noptimizer.betas=[0.9,0.95]\n=\n' | to options wrong

# ---- tokenizers
piece() { { printf %s "$1" | bytes 1; printf '\x15'; le32 "$2"; [ -z "${3-}" ] || number 3 "$3"; } | bytes 1; } # TEXT BITS-OF-SCORE [TYPE]
map() { # A becomes a
    le32 776; le32 $((128 << 10)); head -c 764 /dev/zero; le32 0x80000000; le32 $((1 << 10 | 0x141)); printf 'a\0'
}
pieces() { piece '<pad>' 0 3; piece '</s>' 0 3; piece '<unk>' 0 2; piece ▁ 0xc0000000; piece a 0xc0400000; piece ▁a 0xbf800000; piece cat 0xc0800000; }
{ pieces; number 3 1 | bytes 2; { printf nmt_nfkc | bytes 1; map | bytes 2; } | bytes 3; } >"$tmp/spiece"
first 0 "$tmp/spiece" | to spiece 0model
{ pieces; piece '<0x41>' 0 6; number 3 1 | bytes 2; } | first 0 | to spiece 1bytes
{ pieces; number 3 2 | bytes 2; } | first 0 | to spiece 2bpe
{ pieces; { map | bytes 2; map | bytes 2; } | bytes 3; } | first 0 | to spiece found-two-normalisers
{ piece '<pad>' 0 3; piece '</s>' 0 3; piece $'\x9f\x98\x80 a' 0 2; piece ▁ 0xc0000000; { map | bytes 2; } | bytes 3; } | first 0 | to spiece found-half-character
printf '\2{"extra_ids": 3}' | to spiece 3config
norm='{"type":"Sequence","normalizers":[{"type":"Precompiled","precompiled_charsmap":"'$(map | base64 -w0)'"},{"type":"Strip","strip_left":true,"strip_right":true},{"type":"Replace","pattern":{"Regex":" {2,}"},"content":"▁"},{"type":"Replace","pattern":{"String":"b"},"content":"a"}]}'
added='[{"id":0,"content":"<pad>","special":true,"normalized":false,"lstrip":true,"rstrip":true,"single_word":false},{"id":1,"content":"</s>","special":true}]'
vocab='[["<pad>",0.0],["</s>",0.0],["<unk>",0.0],["▁",-2.0],["a",-3.0],["▁a",-1.0],["<0x0A>",-5]]'
json() { printf '{"added_tokens":%s,"normalizer":%s,"pre_tokenizer":%s,"model":{"type":"Unigram","unk_id":2,"byte_fallback":%s,"vocab":%s}}' "$1" "$2" "$3" "$4" "$vocab"; }
json "$added" "$norm" '{"type":"Sequence","pretokenizers":[{"type":"WhitespaceSplit"},{"type":"Metaspace","replacement":"▁","prepend_scheme":"first"}]}' true | first 1 | to spiece 4json
json '[]' null '{"type":"Metaspace","replacement":"▁","add_prefix_space":false}' false | first 1 | to spiece 5plain
json '[]' '{"type":"Lowercase"}' '{"type":"Metaspace","replacement":"▁"}' false | first 1 | to spiece 6lower
json '[]' '{"type":"Replace","pattern":{"Regex":"x"}}' '{"type":"ByteLevel"}' false | first 1 | to spiece 7regex
json '[]' null '{"type":"ByteLevel"}' false | first 1 | to spiece 8byte

# ---- manifests
sum=$(printf abc | sha256sum | cut -d' ' -f1) two=$(printf '{}' | sha256sum | cut -d' ' -f1)
printf '{"files":{"a":{"bytes":3,"sha256":"%s"},"transformer/config.json":{"bytes":2,"sha256":"%s"}}}' "$sum" "$two" | to manifest good
printf '{"files":{"a":{"bytes":3,"crc32c":"364b3fb7"}}}' | to manifest crc
printf '{"files":{"../a":{"bytes":3,"sha256":"x"}}}' | to manifest out; printf '{"files":{"gone":{"bytes":3,"sha256":"x"}}}' | to manifest gone
printf '{"files":{"a":{"bytes":4,"sha256":"%s"}}}' "$sum" | to manifest longer; printf '{"files":[]}' | to manifest list
printf '{"files":{"a":{"bytes":-1}}}' | to manifest minus; printf '{"files":{"a":{"bytes":3,"sha256":3}}}' | to manifest typed

printf '{"files":{"a":{"bytes":3,"crc32c":"364b3fb8","ranges":{"bytes":65536,"crc32c":["364b3fb7"]}}}}' | to manifest ranges; printf '{"files":{"a":{"bytes":3,"crc32c":"0","ranges":{"bytes":65536,"crc32c":["0"]}}}}' | to manifest range
printf '{"files":{"a":{"bytes":3,"sha256":"0","ranges":{"bytes":7,"crc32c":3}}}}' | to manifest odd; printf '{"files":{"a":{"bytes":3,"sha256":"0","ranges":{"bytes":65536,"crc32c":3}}}}' | to manifest nolist

printf '[]' | to manifest array; printf S | to manifest saved

# ---- captions and lists
printf '\0{"caption":"a cat","prompt":["p","q"],"text":null}' | to captions json
printf '\0{"prompt":[1]}' | to captions wrong; printf '\0{"x":1}' | to captions none; printf '\0[]' | to captions array
printf '\1{"caption":"one"}\n\n{"text":"two"}\r\n{"usr":"x"}\nrest' | to captions jsonl
printf '\2a cat  \r\n' | to captions txt; printf '\2\377' | to captions latin1; printf '\2' | to captions empty
printf '\3path,caption,start\r\n"a,b.mp4","says ""x""\nmore",1.5\nc.mp4,d,\n\nshort\n"open' | to captions csv
printf '\3path,caption\n"a"x,b\nc,d,e\n\377,f\n' | to captions csvbad
printf '\4path\tcaption\tfps\nx.mp4\tits caption\t16\n' | to captions tsv
printf '\5{"path":"x.mp4","caption":"c","start":0.5,"end":2}\n{"video":"y.mp4"}\n[]\n{' | to captions lines
printf '\6[{"file_name":"x.mp4","first_frame":1,"end_frame":9},{"path":3},4]' | to captions list; printf '\6{"items":[{"path":"x.mp4"}]}' | to captions items
printf '\6\xef\xbb\xbf{"data":[{"path":"../x.mp4","caption":["a","b"]}]}' | to captions mark

# ---- videos
clip() { ffmpeg -nostdin -v error -f lavfi -i testsrc2=s=32x16:r=16:d=0.3 "${@:2}" -bitexact "$tmp/$1" && to video "$1" <"$tmp/$1"; } # NAME OPTION...
if command -v ffmpeg >/dev/null; then
    clip h264.mp4 -c:v libx264 -pix_fmt yuv420p; clip mpeg4.avi -c:v mpeg4; clip vp9.webm -c:v libvpx-vp9; clip pal.gif
else
    echo 'no ffmpeg: no seeds for fuzz_video' >&2
fi
printf 'RIFF\20\0\0\0AVI LIST' | to video avi; printf 'GIF89a\1\0\1\0\200\0\0\0\0\0\377\377\377,\0\0\0\0\1\0\1\0\0\2\2D\1\0;' | to video gif
printf '#EXTM3U\n#EXTINF:1,\n/etc/passwd\n' | to video m3u8
