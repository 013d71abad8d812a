#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs each fuzz target (make fuzz) for a while, from seeds in tests/data.
#
#     tests/fuzz/run.sh [SECONDS] [NAME...]        default 60 seconds each, all targets
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:-60}; shift || :
names=${*:-$(cd tests/fuzz && ls fuzz_*.c | sed 's/^fuzz_//; s/\.c$//')}
make -s fuzz
out=build/fuzz
for n in $names; do
    seeds=$out/seeds/$n; mkdir -p "$seeds" "$out/corpus/$n"
    case $n in
    zip) cp tests/data/torch/*.pt* "$seeds" ;;
    pickle) cp tests/data/torch/*.pickle "$seeds" ;;
    index)
        printf '0split_parts:\n  train:\n  - x.tar\n  val: []\nexclude:\n- x.tar/000002\n' >"$seeds/split"
        printf '1{"shard_counts": {"x.tar": 6}}' >"$seeds/info"
        printf '2energon_version: 6.0.1\nshard_counts:\n  x.tar: 6\n' >"$seeds/yaml"
        printf '3\0\0\0\0\0\0\0\0' >"$seeds/idx" ;;
    tar) head -c 17408 tests/data/torch/dfm/*.tar >"$seeds/dfm.tar"; head -c 1024 /dev/zero >>"$seeds/dfm.tar" ;;
    record) cp tests/data/record/*.wan "$seeds" ;;
    config) cp tests/data/yaml/*.yaml examples/tiny/*.yaml "$seeds" ;;
    safetensors) find tests/data -name '*.safetensors' -size -64k -exec cp {} "$seeds" \; ;;
    esac
    echo "== $n: $seconds seconds"
    "$out/fuzz_$n" -max_total_time="$seconds" -rss_limit_mb=2048 -malloc_limit_mb=1024 -timeout=10 \
        -max_len=65536 -verbosity=0 "$out/corpus/$n" "$seeds"
done
