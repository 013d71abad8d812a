# SPDX-License-Identifier: Apache-2.0
# begin.sh all|part - what Makefile looks at first: sets goal, and PARTS: as many as when the dataset was begun,
# for other numbers would make every part anew.
stop() { echo "$*" >&2; exit 1; }
[ -e "$CLIPS" ] || stop "CLIPS=$CLIPS: not there"
[ -e "$MODEL" ] || stop "MODEL=$MODEL: not there"
mkdir -p -- "$OUT"
begun=$(cat "$OUT/parts" 2>/dev/null || :)
PARTS=${PARTS:-$begun}
[ -n "$PARTS" ] || PARTS=$("$HERE/parts.sh" "$CLIPS")
[[ $PARTS =~ ^[1-9][0-9]{0,4}$ ]] || stop "PARTS=$PARTS: no number of parts"
goal=report.html
if [ "$1" = part ]; then
    [[ $N =~ ^[1-9][0-9]{0,4}$ ]] || stop "N=$N: no number of a part"
    [ "$N" -le "$PARTS" ] || stop "N=$N: there are only PARTS=$PARTS"
    [ "${begun:-$PARTS}" = "$PARTS" ] || stop "PARTS=$PARTS: $OUT was begun in $begun; the goal all makes it anew"
    goal=$(printf '%05d/done' "$N")
fi
[ "$begun" = "$PARTS" ] || { echo "$PARTS" >"$OUT/parts.$$.new" && mv "$OUT/parts.$$.new" "$OUT/parts"; }
