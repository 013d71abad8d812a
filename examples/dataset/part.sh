#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# part.sh DIR - one part of the clips as shards in DIR, with a contact sheet, a report of each clip and the
# list of what gave nothing.  Options come from the Makefile, by the environment.
set -uo pipefail
dir=$1 cache=()
[ -z "$CACHE" ] || cache=(--cache "$CACHE")
rm -f "$dir"/{done,sheet.png,sheet.fifo}
mkfifo "$dir/sheet.fifo" || exit 1
trap 'rm -f "$dir/sheet.fifo"' EXIT
# the sheet is made on the way; where no clip gives a record there is none
wan-record sheet -q --rows 12 --columns 6 --tile 72 -o "$dir/sheet.png" "$dir/sheet.fifo" 2>/dev/null &
wan-decode -q $DECODE --allow-bad "$MAX_BAD" --part "$PART" --report "$dir/report.jsonl" --rejects "$dir/rejects.tsv" \
    "$CLIPS" 2>"$dir/log" | tee "$dir/sheet.fifo" | wan-encode --model "$MODEL" "${cache[@]}" $ENCODE 2>>"$dir/log" |
    wan-shard -q --force $SHARD -o "$dir" 2>>"$dir/log"
status=("${PIPESTATUS[@]}")
wait
if [ "${status[0]}" -eq 0 ] && [ -z "$(jq 'select(.status == "ok") | 1' "$dir/report.jsonl")" ]; then
    rm -f "$dir"/*.tar "$dir"/*.tar.idx
elif [ "${status[*]}" != "0 0 0 0" ]; then
    cat "$dir/log" >&2
    exit 1
fi
