#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The VAE of full width beside diffusers' AutoencoderKLWan: both ways, both precisions, FRAMES frames of
# SIZE, THREADS each, in one run, the two in turn.  RT="chrt -r 1" runs all before everything else.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
B=${BUILD:-$top/build} M=$B/bench/model size=${SIZE:-416x240} w=${SIZE:-416x240} w=${w%x*} h=${size#*x}
export OMP_NUM_THREADS=${THREADS:-2}
mkdir -p "$M"
[ -e "$M/vae/config.json" ] || "$B/bench/make_model" vae "$M/vae" 96
echo "| frames of ${w}x$h | wan-tools s | diffusers s | ratio | wan-tools MiB | diffusers MiB | of it |"
echo "|---|---:|---:|---:|---:|---:|---:|"
for T in ${FRAMES:-1 17}; do
    runs=$((T < 9 ? 3 : 1))
    for way in ${WAYS:-encode decode}; do
        for p in ${PRECISIONS:-fp32 bf16}; do
            args=("$M/vae" "$way" "$p" "$T" "$h" "$w" "$runs")
            read -r s mib <<<"$(${RT:-} "$B/bench/vae" "${args[@]}")"
            read -r ts tmib <<<"$(${RT:-} "${PYTHON:-python3}" "$top/tests/bench/vae_torch.py" "${args[@]}" 2>/dev/null)"
            echo "$T $way $p $s $ts $mib $tmib" | awk '{ printf "| %s, %s, %s | %s | %s | %.2f | %d | %d | %.2f |\n", \
                $2, $1, $3, $4, $5, $5 / $4, $6, $7, $6 / $7 }'
        done
    done
done
