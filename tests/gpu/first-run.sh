#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The first minutes on a GPU: what teaches most comes first, every result is written as it comes, and all
# ends by itself within FIRST_SECONDS (540).  A second run goes on where the first ended.
#
#     make first-run CUDA_ARCH=90a [FIRST=folder]          builds, then runs this
#
# In the folder (build/first-run): results.tsv (part, item, status, seconds, what), log, and one file for
# each item.  Status: ok; wrong, hang, memory, failed (named at the end, first); row (a measured row, its
# columns behind it); note (what the programs warn of); skipped (not here, and why).  An item that is done
# is not run again; one that failed is, before the others, once the programs have changed.
#
# PLUGIN, PLAIN (a plugin without cuDNN), OBJ, BENCH, GRAPH, CHECKS: what was built.  FIRST_SIZES: models
# to time ("14B 1.3B"); FIRST_LIMIT: no item takes longer; FIRST_CHECK: no check does; PYTHON: one with torch.
# Exit: 0 all is well, 1 something failed, 4 nothing failed and some is left for another run.
set -u
out=$(realpath -m "${1:-$(dirname "$0")/../../build/first-run}")
cd "$(dirname "$0")/../.."
most=${FIRST_SECONDS:-540} cap=${FIRST_LIMIT:-$most}
python=${PYTHON:-python3} toolkit=${CUDA_HOME:-/usr/local/cuda}
read -r big small <<<"${FIRST_SIZES:-14B 1.3B}"
PATH=$PATH:$toolkit/bin
export WAN_CUDA_PLUGIN=$PLUGIN WAN_CHECK_DEVICE=cuda
export LD_LIBRARY_PATH=$toolkit/lib64${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
mkdir -p "$out" || exit 1
tsv=$out/results.tsv log=$out/log
build=$(cat "$PLUGIN" "$BENCH" "$OBJ"/tests/kernels/check_act 2>/dev/null | cksum | cut -d' ' -f1)
touch "$tsv" "$out/done"
left=() bad=() device=

say() { echo "$SECONDS s: $*" | tee -a "$log"; }
put() { printf '%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" "$5" >>"$tsv"; }
# The last word on an item: its status and the build that it is of.
known() { awk -F'\t' -v p="$1" -v i="$2" '$1 == p && $2 == i { s = $3 " " $4 } END { print s }' "$out/done"; }
over() { # whether an item need not be run: done, or failed in the same build
    local status of
    read -r status of < <(known "$1" "$2")
    case $status in ok | skipped) return 0 ;; '') return 1 ;; *) [ "$of" = "$build" ] ;; esac
}
finish() { # part item status seconds what
    put "$@"
    printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$build" >>"$out/done"
    say "$1/$2: $3${5:+: $5}"
    case $3 in ok | skipped) ;; *) bad+=("$1/$2: $3: $5") ;; esac
}
absent() { over "$1" "$2" || finish "$1" "$2" skipped 0 "$3"; }

# What the output of an item says went wrong: exit status, limit.
verdict() {
    local first
    first=$(grep -m1 -E '^not ok ' "$file" | cut -c1-200)
    if [ "$1" -eq 124 ] || [ "$1" -eq 137 ]; then echo "hang	ran past its $2 s"
    elif grep -qiE 'out of ([a-z]+ )?memory|cudaErrorMemoryAllocation' "$file"; then
        echo "memory	$(grep -m1 -iE 'out of ([a-z]+ )?memory|cudaErrorMemoryAllocation' "$file" | cut -c1-200)"
    elif [ -n "$first" ]; then echo "wrong	$(grep -c '^not ok ' "$file") results, first: ${first#not ok }"
    elif [ "$1" -ne 0 ]; then echo "failed	exit $1: $(grep -vE '^ok |^#|^$' "$file" | tail -1 | cut -c1-200)"
    fi
}
# Rows of tables and warnings of an item become lines of the table.
harvest() {
    local cells of=
    grep '^| ' "$file" | grep -vE '^\|[-: |]*$|^\| (at D|training)' | while IFS= read -r row; do
        cells=$(sed 's/^| *//; s/ *|$//; s/ *| */\t/g' <<<"$row")
        case $row in "|   "*) cells="$of, $cells" ;; *) of=${cells%%	*} ;; esac # "  backward" of what
        put "$1" "$2" row "$3" "$cells"
        echo "    $row" | tee -a "$log"
    done
    grep -hE '(^|: )(warning: )?(attention|conv|linear_[a-z]*): (cuDNN|cuBLASLt)' "$file" | sort -u | head -5 |
        while IFS= read -r note; do put "$1" "$2" note "$3" "$note"; say "$1/$2: note: $note"; done
}
# part item limit command...: runs it while there is time
item() {
    local part=$1 name=$2 limit=$3 began=$SECONDS rc what status room=$((most - SECONDS))
    shift 3
    over "$part" "$name" && return
    [ "$limit" -le "$cap" ] || limit=$cap
    if [ "$room" -lt 10 ] || [ "$room" -lt $((limit / 4)) ]; then left+=("$part/$name"); return; fi
    file=$out/$part-${name//[ \/]/_}.out
    timeout -k 3 $((room - 4 < limit ? room - 4 : limit)) "$@" >"$file" 2>&1
    rc=$?
    if [ $rc -eq 124 ] && [ "$room" -lt $((limit + 4)) ]; then # it was not given its time
        left+=("$part/$name")
        return
    fi
    harvest "$part" "$name" $((SECONDS - began))
    what=$(verdict $rc "$limit")
    status=${what%%	*}
    finish "$part" "$name" "${status:-ok}" $((SECONDS - began)) "${what#*	}"
}
# The same for what needs the device
on() {
    if [ -n "$device" ]; then absent "$1" "$2" "$device"; else item "$@"; fi
}
bench() { on "$1" "$2" "$3" "$BENCH" "${@:4}"; } # part item limit arguments...

# ---- 1: is there a device, what is it, what are its ceilings
say "build $build, folder $out"
if command -v nvidia-smi >/dev/null; then
    item device nvidia-smi 15 nvidia-smi -q -d CLOCK,POWER,MEMORY
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>&1 | tee -a "$log"
else
    absent device nvidia-smi 'not installed'
fi
# Whether the device can be opened; else `device` says why not.
look() {
    local rc
    timeout -k 3 $((cap < 40 ? cap : 40)) "$BENCH" nothing >"$out/look.out" 2>&1
    rc=$?
    device=
    [ $rc -eq 3 ] && device=$(sed -n 's/^bench_gpu: SKIPPED: //p' "$out/look.out")
    if [ $rc -eq 124 ] || [ $rc -eq 137 ]; then device='opening the device does not end'; fi
}
look
if [[ $device == *libcudnn* ]] && [ -e "${PLAIN:-/nowhere}" ]; then
    put device cudnn note 0 "$device"
    say "no cuDNN: $device; the plugin without it is used"
    export WAN_CUDA_PLUGIN=$PLAIN
    GRAPH=
    look
fi
if [ -n "$device" ]; then put device open failed 0 "$device"; bad+=("device: $device"); say "device: $device"; fi
bench device ceilings 30 ceilings $([ "$big" = tiny ] && echo tiny)

# ---- 2: every op against the reference, what failed before first
[ -z "${GRAPH-}" ] || on ops sdpa_graph 60 "$GRAPH"
order() { # names of checks: those that failed, then those of attention and products, then the rest
    local c
    for c in $CHECKS; do
        case $(known ops "$c") in '' | ok* | skipped*) ;; *) echo "0 $c"; continue ;; esac
        case $c in linear | attention | layernorm | device) echo "1 $c" ;; *) echo "2 $c" ;; esac
    done | sort -s -k1,1 | cut -d' ' -f2
}
for c in $(order); do
    prog=$(ls "$OBJ"/tests/{kernels,gpu}/check_"$c" 2>/dev/null)
    on ops "$c" "${FIRST_CHECK:-60}" "${prog:-$c is not built}"
done

# ---- 3: the training step, each attention backward
bench step "$big none" 70 step "$big" 0 none
on step "$big none, any order" 50 env WAN_BENCH_ANY_ORDER=1 "$BENCH" step "$big" 0 none
on step "$big none, two passes" 50 env WAN_BENCH_TWO_PASSES=1 "$BENCH" step "$big" 0 none
bench step "$big selective" 60 step "$big" 0 selective
[ "$big" = tiny ] || bench step "pictures selective" 40 step pictures 0 selective
# ---- 4: tables
tiny=$([ "$big" = tiny ] && echo tiny)
bench tables attention 40 attention $tiny
bench tables products 30 products $tiny
bench tables rows 30 rows $tiny
# ---- 5, 6: the VAE, sampling
bench vae decode 30 decode $tiny
bench vae encode 30 encode $tiny
bench sample "$small" 40 sample "$small" 4
bench sample "$small recorded" 40 sample "$small" 4 graphs
# ---- 7
bench fp8 "$big none" 60 step "$big" 0 none fp8
bench fp8 "sample $small" 40 sample "$small" 4 fp8
# ---- 8: PyTorch on the same shapes
layers=$(sed -n 's/^layers //p' "$out/step-${big}_none.out" 2>/dev/null | tail -1)
if [ "$big" != tiny ] && timeout 30 "$python" -c 'import torch; torch.cuda.init()' 2>/dev/null; then
    for s in "$big" "$small"; do
        item torch "$s" 90 "$python" tests/bench/step_torch.py "$s" "$([ "$s" = "$big" ] && echo "${layers:-2}" || echo 30)"
    done
else
    absent torch "$big" 'no torch with CUDA here'
fi
# ---- 9: sanitizer
if command -v compute-sanitizer >/dev/null && [ -z "$device" ]; then
    for c in layernorm rmsnorm residual conv linear; do
        item sanitizer "memcheck $c" 60 compute-sanitizer --tool memcheck --error-exitcode 3 \
            "$OBJ/tests/kernels/check_$c"
    done
    item sanitizer 'racecheck rmsnorm' 60 compute-sanitizer --tool racecheck --error-exitcode 3 \
        "$OBJ/tests/kernels/check_rmsnorm"
else
    absent sanitizer memcheck "${device:-compute-sanitizer is not installed}"
fi
# ---- 10: profiles
if command -v nsys >/dev/null && [ -z "$device" ]; then
    item profile nsys 60 nsys profile -f true -o "$out/step" --stats=true "$BENCH" step "$big" 2 none
else
    absent profile nsys "${device:-nsys is not installed}"
fi
if command -v ncu >/dev/null && [ -z "$device" ]; then
    item profile ncu 60 ncu -f -o "$out/rows" --set basic -c 40 "$BENCH" rows
else
    absent profile ncu "${device:-ncu is not installed}"
fi

# ---- what failed first, then what is left
for b in ${bad[@]+"${bad[@]}"}; do echo "FAILED $b"; done | tee -a "$log"
for l in ${left[@]+"${left[@]}"}; do echo "LEFT $l"; done | tee -a "$log"
say "end: ${#bad[@]} failed, ${#left[@]} left, table in $tsv"
[ ${#bad[@]} -eq 0 ] || exit 1
[ ${#left[@]} -eq 0 ] || exit 4
