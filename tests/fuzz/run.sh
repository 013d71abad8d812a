#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Fuzzes each target (make fuzz) until it has had so many seconds of processor time with nothing found, from
# the seeds of seeds.sh and what earlier runs reached.  It can be ended at any time and goes on where it was:
#
#     FUZZ_DIR/corpus/NAME       inputs that reached something new
#     FUZZ_DIR/found/NAME-*      what broke it: a find ends this program, and the seconds of its target begin anew
#     FUZZ_DIR/ledger            a line for each CHUNK (60 seconds, one target after the other):
#                                NAME DATE COMMIT SECONDS INPUTS PLACES-REACHED FINDS
#
#     tests/fuzz/run.sh [SECONDS] [NAME...]        default 60 seconds each, all targets; 0 prints the sums alone
#
# FUZZ_DIR is build/fuzz unless it is set; MOST=SECONDS ends after so long, between two chunks.
set -eu
cd "$(dirname "$0")/../.."
out=${BUILD:-build}/fuzz dir=${FUZZ_DIR:-${BUILD:-build}/fuzz} chunk=${CHUNK:-60}
export PATH=$PWD/${BUILD:-build}/bin:$PATH UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
seconds=${1:-60}; shift || :
commit=$(cat .commit 2>/dev/null || git rev-parse --short HEAD)
# what comes from others first
names=${*:-$({ printf '%s\n' record tar safetensors zip pickle legacy video sqlite spiece gguf json yaml; (cd tests/fuzz && ls fuzz_*.c | sed 's/^fuzz_//; s/\.c$//'); } | awk '!seen[$0]++')}
for n in ${*:-}; do [ -f "tests/fuzz/fuzz_$n.c" ] || { echo "no target $n"; exit 2; }; done
mkdir -p "$dir/found"; touch "$dir/ledger"

# NAME: "seconds since the last find, inputs, places" of the ledger
sum() { awk -v n="$1" '$1 == n { s += $4; u += $5; if ($6 > c) c = $6; if ($7) { s = 0; finds += $7 } } END { printf "%d %d %d %d\n", s, u, c, finds }' "$dir/ledger"; }
table() {
    local n s u c f done=0 all=0
    for n in $names; do
        [ -x "$out/fuzz_$n" ] || continue
        read -r s u c f < <(sum "$n")
        printf '%-12s %5d s clean, %11d inputs, %6d places reached, corpus %5d, %d found\n' "$n" "$s" "$u" "$c" "$(find "$dir/corpus/$n" -type f 2>/dev/null | wc -l)" "$f"
        all=$((all + 1)); [ "$s" -lt "$seconds" ] || done=$((done + 1))
    done
    [ "$seconds" = 0 ] || echo "$done of $all targets have $seconds s"
}
one() { # one NAME SECONDS
    local n=$1 log=$dir/$1.log rc=0 t u c
    mkdir -p "$dir/corpus/$n" "$out/seeds/$n"
    set -- -max_total_time="$2" -rss_limit_mb=2048 -malloc_limit_mb=1024 -timeout=20 -max_len=65536 \
        -artifact_prefix="$dir/found/$n-" -print_final_stats=1 -close_fd_mask=1
    case $n in # words of the format
    json | safetensors | stfolder | dcp | manifest | captions | index | dataset | tar | spiece) set -- "$@" -dict=tests/fuzz/json.dict ;;
    yaml | config) set -- "$@" -dict=tests/fuzz/yaml.dict ;;
    pickle | zip | legacy | metafile) set -- "$@" -dict=tests/fuzz/torch.dict ;;
    gguf | video | options | record | sqlite) set -- "$@" -dict="tests/fuzz/$n.dict" ;;
    esac
    { TIMEFORMAT='%U %S'; time "$out/fuzz_$n" "$@" "$dir/corpus/$n" "$out/seeds/$n" 2>"$log"; } 2>"$dir/$n.time" || rc=$?
    t=$(awk '{ printf "%.1f", $1 + $2 }' "$dir/$n.time")
    u=$(awk '/number_of_executed_units/ { u = $2 } END { print u + 0 }' "$log")
    c=$(awk '/cov: / { for (i = 1; i < NF; i++) if ($i == "cov:") c = $(i + 1) } END { print c + 0 }' "$log")
    echo "$n $(date +%F) $commit $t $u $c $((rc != 0))" >>"$dir/ledger"
    [ $rc = 0 ] || { tail -60 "$log"; echo "$n: FOUND something (see $log)"; exit 1; }
}
[ "$seconds" != 0 ] || { table; exit; }
make -s fuzz
tests/fuzz/seeds.sh "$out/seeds"
export WAN_FUZZ_GOOD=$out/seeds/video/h264.mp4
left=1
while [ $left = 1 ]; do
    left=0
    for n in $names; do
        [ -x "$out/fuzz_$n" ] || continue
        read -r s _ < <(sum "$n")
        [ "$s" -lt "$seconds" ] || continue
        [ -z "${MOST-}" ] || [ "$SECONDS" -lt "$MOST" ] || break 2
        left=1
        one "$n" $((seconds - s < chunk ? seconds - s : chunk))
    done
done
table
