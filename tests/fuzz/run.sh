#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs each fuzz target (make fuzz) for a while, from the seeds of seeds.sh and what earlier runs found
# (build/fuzz/corpus).  Stops at the first find, which libFuzzer writes to build/fuzz/found.
#
#     tests/fuzz/run.sh [SECONDS] [NAME...]        default 60 seconds each, all targets
set -eu
cd "$(dirname "$0")/../.."
out=${BUILD:-build}/fuzz
export PATH=$PWD/${BUILD:-build}/bin:$PATH UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
seconds=${1:-60}; shift || :
names=${*:-$(cd tests/fuzz && ls fuzz_*.c | sed 's/^fuzz_//; s/\.c$//')}
make -s fuzz
tests/fuzz/seeds.sh "$out/seeds"
export WAN_FUZZ_GOOD=$out/seeds/video/h264.mp4
mkdir -p "$out/found"
for n in $names; do
    [ -x "$out/fuzz_$n" ] || continue
    mkdir -p "$out/corpus/$n" "$out/seeds/$n"
    set -- -max_total_time="$seconds" -rss_limit_mb=2048 -malloc_limit_mb=1024 -timeout=20 -max_len=65536 \
        -artifact_prefix="$out/found/$n-" -print_final_stats=1 -close_fd_mask=1
    [ ! -f "tests/fuzz/$n.dict" ] || set -- "$@" -dict="tests/fuzz/$n.dict"
    if ! "$out/fuzz_$n" "$@" "$out/corpus/$n" "$out/seeds/$n" 2>"$out/$n.log"; then
        tail -60 "$out/$n.log"; echo "$n: FOUND something (see $out/$n.log)"; exit 1
    fi
    awk -v n="$n" -v s="$seconds" '/number_of_executed_units/ { u = $2 } /cov: / { for (i = 1; i < NF; i++) { if ($i == "cov:") c = $(i + 1); if ($i == "corp:") k = $(i + 1) } }
        END { printf "%-12s %s seconds, %d inputs, %d places reached, corpus %s, nothing found\n", n, s, u, c, k }' "$out/$n.log"
done
