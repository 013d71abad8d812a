#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds every tests/fuzz/fuzz_*.c with libFuzzer and sanitizers (clang) and runs each for a while,
# from the files in tests/data/<its seeds>.
#
#     tests/fuzz/run.sh [SECONDS] [NAME...]        default 60 seconds each, all targets
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:-60}; shift || :
names=${*:-$(cd tests/fuzz && ls fuzz_*.c | sed 's/^fuzz_//; s/\.c$//')}
out=build/fuzz; mkdir -p $out/corpus
pkgs="jansson libarchive yaml-0.1 sqlite3 zlib"
flags="-std=gnu11 -D_GNU_SOURCE -O1 -g1 -I. -DWAN_VERSION=\"fuzz\" -DWAN_COMMIT=\"fuzz\" -DWAN_FLAGS=\"\" \
    $(pkg-config --cflags $pkgs) -fsanitize=address,undefined -fno-sanitize-recover=undefined"
for f in lib/base/*.c lib/rec/*.c; do
    o=$out/$(echo "$f" | tr / _).o
    [ "$o" -nt "$f" ] || clang $flags -fsanitize=fuzzer-no-link -c -o "$o" "$f"
done
for n in $names; do
    clang $flags -fsanitize=fuzzer -o $out/fuzz_$n tests/fuzz/fuzz_$n.c $out/*.o \
        $(pkg-config --libs $pkgs) -lm
    seeds=$out/seeds_$n; mkdir -p $seeds $out/corpus/$n
    case $n in
    zip) cp tests/data/torch/*.pt* $seeds ;;
    pickle) cp tests/data/torch/*.pickle $seeds ;;
    tar) head -c 18432 tests/data/torch/dfm/*.tar >$seeds/dfm.tar; head -c 1024 /dev/zero >>$seeds/dfm.tar ;;
    record) find build/tests tests/data -name '*.rec' -size -64k -exec cp {} $seeds \; 2>/dev/null || : ;;
    safetensors) find tests/data -name '*.safetensors' -size -64k -exec cp {} $seeds \; ;;
    esac
    echo "== $n: $seconds seconds"
    $out/fuzz_$n -max_total_time="$seconds" -rss_limit_mb=2048 -malloc_limit_mb=1024 -timeout=10 \
        -max_len=65536 -print_final_stats=0 -verbosity=0 $out/corpus/$n $seeds
done
