#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Lines of the parsers that the seeds, changes of them, what earlier fuzzing found (FUZZ_DIR/corpus), and
# failing allocations reach: llvm-cov's table, the lines that are missed (build/fuzz/missed.txt), and one
# sentence.  Fails below 90 %.
set -eu
cd "$(dirname "$0")/../.."
out=${BUILD:-build}/fuzz dir=${FUZZ_DIR:-${BUILD:-build}/fuzz}
parsers="lib/base/yaml.c lib/base/json.c lib/base/opt.c
    lib/rec/record/record_format.c lib/rec/record/record_read.c
    lib/rec/shard/shard_read.c lib/rec/shard/shard_name.c lib/rec/shard/samplemap_read.c lib/rec/shard/measure.c
    lib/rec/shard/info.c lib/rec/shard/split.c lib/rec/shard/yamlin.c lib/rec/shard/names.c lib/rec/shard/sizes.c
    lib/rec/shard/cachefile.c lib/rec/shard/cachefile_db.c lib/rec/shard/metafile.c
    lib/rec/shard/dataset.c lib/rec/shard/dataset_read.c
    lib/rec/tensor/safetensors.c lib/rec/tensor/record_st.c lib/rec/tensor/torch.c lib/rec/tensor/torchzip.c lib/rec/tensor/torch_source.c
    lib/rec/tensor/torch_values.c lib/rec/tensor/pickle.c lib/rec/tensor/pickle_torch.c lib/rec/tensor/pickle_value.c
    lib/rec/tensor/dcp.c lib/rec/tensor/dcp_read.c
    lib/model/text/tokenizer.c lib/model/text/tokenizer_load.c lib/model/text/tokenizer_norm.c lib/model/files/manifest.c
    lib/media/clip_rows.c lib/media/clip_caption.c
    lib/train/config/config_yaml.c lib/train/config/config_value.c"
tests/fuzz/seeds.sh "$out/seeds"
export WAN_FUZZ_GOOD=$out/seeds/video/h264.mp4
rm -rf "$out/profile"; mkdir -p "$out/profile"
objects=
for c in "$out"/cover_*; do
    n=${c##*/cover_}
    ls -d "$out/seeds/$n"/* "$dir/corpus/$n"/* >"$out/inputs" 2>/dev/null || :
    m=100 k=30; case $n in video) m=3 k=5 ;; dataset | config) m=20 k=10 ;; esac
    LLVM_PROFILE_FILE=$out/profile/$n-%p.raw xargs -d '\n' -n 500 "$c" -m 0 <"$out/inputs" >/dev/null 2>&1
    LLVM_PROFILE_FILE=$out/profile/$n-%p.raw "$c" -m $m -k $k "$out/seeds/$n"/* 2>/dev/null | sed "s/^/$n: /"
    objects="$objects -object $c"
done
find "$out/profile" -name '*.raw' >"$out/raws"
llvm-profdata merge -sparse -f "$out/raws" -o "$out/all.profile"
rm -rf "$out/profile"
first=${objects# -object }; first=${first%% *}
# shellcheck disable=SC2086
llvm-cov report "$first" $objects -instr-profile="$out/all.profile" $parsers >"$out/report.txt" 2>/dev/null
# shellcheck disable=SC2086
llvm-cov show "$first" $objects -instr-profile="$out/all.profile" $parsers 2>/dev/null |
    awk '/^\/.*:$/ { f = $0; sub(".*/lib/", "lib/", f); sub(":$", "", f) } /^ *[0-9]+\| +0\|/ { print f ":" $0 }' >"$out/missed.txt"
awk '/^[a-z].*\.c / { printf "%-24s %5d lines, %5d missed, %s\n", $1, $8, $9, $10 } /^TOTAL/ {
    printf "parsers: %d of %d lines reached, %s (missed ones: '"$out"'/missed.txt)\n", $8 - $9, $8, $10; p = $10 + 0 } END { exit p < 90 }' "$out/report.txt"
