# SPDX-License-Identifier: Apache-2.0
# Damaged clips: whatever libav says of them counts, one policy decides, and threads change nothing.
. "$TOP/tests/lib.sh"
command -v ffmpeg >/dev/null || { skip "damaged clips" "no ffmpeg"; done_testing; }
is() { [ "$1" = "$2" ] || { echo "got: $1; wanted: $2" >&2; false; }; }
draw() { ffmpeg -nostdin -y -v error -f lavfi -i "testsrc2=s=$1:r=24:d=2" "${@:2}"; printf '{"caption": "x"}' >"${*: -1:1}.json"; }
caption() { printf '{"caption": "x"}' >"${1%.*}.json"; }
hurt() { # hurt FROM TO PERCENT: 24 bytes in its middle written over
    cp "$1" "$2"; caption "$2"
    printf 'ZZZZZZZZZZZZZZZZZZZZZZZZ' | dd of="$2" bs=1 seek=$(($(stat -c %s "$1") * $3 / 100)) conv=notrunc status=none
}
meta() { wan-record ls --no-digest "$1" | jq -c "$2"; }

# ---- what only the log, or only a flag, says
draw 128x96 -pix_fmt yuvj420p -c:v mjpeg -q:v 3 ok.avi
draw 128x96 -pix_fmt yuv420p -c:v libx265 -x265-params log-level=none:keyint=24 ok.mp4
draw 128x96 -c:v mpeg4 -q:v 3 ok.mkv
draw 128x96 -c:v mpeg2video -bf 2 ok.mpg
draw 128x96 -c:v ffv1 -level 3 ok.nut
for f in ok.*; do case $f in *.json) ;; *) caption "$f"
    ok "${f#ok.}: nothing wrong with the whole one" wan-decode -q -o x.wan "$f"
    ok "${f#ok.}: no damaged frames in its record" is "$(meta x.wan .meta.frames_damaged)" 0 ;; esac; done
for f in avi mpg nut; do
    hurt ok.$f bytes.$f 50
    fails 1 "bytes.$f: damaged or truncated: [1-9][0-9]* of 4[0-9] frames \(libav: .+; this clip is left out" \
        "$f: bytes written over" wan-decode -q --fps source -o x.wan bytes.$f
done
for f in mp4 mkv; do
    ffmpeg -nostdin -v quiet -i ok.$f -c copy -bsf:v "noise=drop='eq(n,0)'" nokey.$f; caption nokey.$f
    fails 1 "nokey.$f: damaged or truncated: " "$f: its first key frame is missing" \
        wan-decode -q --fps source -o x.wan nokey.$f
done

# ---- the policy
mkdir three; cp ok.avi three/a.avi; hurt ok.avi three/b.avi 50; cp ok.avi three/c.avi; cp ok.json three/a.json; cp ok.json three/c.json
run() { wan-decode --fps source --report rep.jsonl -o out.wan "$@" three >log 2>&1; rc=$?; keys=$(meta out.wan .key | tr -d '\n'); }
run; ok "skip, the default: it is left out, the others are there" is "$rc $keys" '1 "a""c"'
run --damaged keep; ok "keep: all are there" is "$rc $keys" '0 "a""b""c"'
ok "keep: the count is in its record" is "$(meta out.wan '.meta.frames_damaged' | tr '\n' ' ')" "0 1 0 "
ok "keep: and in the report" is "$(jq -c .frames_damaged rep.jsonl | tr '\n' ' ')" "0 1 0 "
ok "keep: named" grep -q 'b.avi: damaged.*; this clip is kept' log
ok "keep: in the last line" grep -q '1 damaged clips are among' log
run --damaged stop; ok "stop: what was finished is whole" is "$rc $keys" '1 "a"'
ok "stop: named" grep -q 'b.avi: damaged.*; the run ends here' log
ok "stop: the stream is whole" wan-record check out.wan
run --damaged stop --allow-bad 5; ok "stop: a failure whatever is allowed" is "$rc" 1
ok "in the provenance" is "$(wan-record ls --header --no-digest out.wan | jq -r '.header.provenance[0].options.damaged' | head -1)" stop

# ---- a tail that is missing counts as the frames the file says it has
draw 64x48 -c:v mpeg4 -g 1 -movflags +faststart tail.mp4; caption tail.mp4
head -c $(($(stat -c %s tail.mp4) * 3 / 4)) tail.mp4 >cut.mp4; caption cut.mp4
wan-decode -q --fps source --damaged keep -o x.wan cut.mp4 2>log
ok "a cut mp4: damaged and decoded make the whole" is "$(meta x.wan '.meta | .frames_in + .frames_damaged > 47')" true
ok "$(cat log)" grep -q 'of .* frames' log

# ---- what libav takes for the end: cut anywhere, the whole one is whole
draw 64x48 -c:v mpeg4 -bf 0 w.avi; draw 64x48 -c:v libtheora w.ogv; draw 64x48 w.gif; draw 64x48 -pix_fmt yuv420p w.y4m; draw 64x48 -c:v mpeg2video w.mxf
ffmpeg -nostdin -y -v error -i w.avi -frames:v 1 w.jpg; ffmpeg -nostdin -v error -i w.avi -c copy -f avi - >w2.avi; caption w2.avi
for f in w.*; do case $f in *.json) ;; *) caption $f ;; esac; done
for f in w.avi w.ogv w.gif w.y4m w.mxf w.jpg; do
    ok "$f is whole" wan-decode -q --fps source -o x.wan $f
    told=; for part in 31 57 83 94; do
        head -c $(($(stat -c %s $f) * part / 100)) $f >part.${f#*.}; caption part.${f#*.}
        wan-decode -q --fps source -o x.wan part.${f#*.} 2>err; told+="$?$(grep -c 'part.*\(damaged or truncated: [1-9]\|no usable\|not a video\|no frame\)' err) "
    done
    ok "$f, cut anywhere: named" is "$told" "11 11 11 11 "
done
ok "one that was written to a pipe has no lengths, and is whole" wan-decode -q -o x.wan w2.avi
fails 1 'part.gif: damaged or truncated: 1 of [0-9]* frames \(the file ends before them' "how" sh -c "head -c \$((\$(stat -c %s w.gif) / 2)) w.gif >part.gif; wan-decode -q -o x.wan part.gif"

# ---- any number of threads: the same verdict, words and bytes (TIMES=16: 1,024 runs)
draw 256x144 -pix_fmt yuv420p -c:v libx264 -threads 1 -g 24 -bf 2 h264.mp4
draw 256x144 -c:v mpeg2video -bf 2 -slices 8 mpeg2.mpg
runs=0 wrong=0 hurts=0
for f in h264.mp4 mpeg2.mpg; do for part in 25 45 65 85; do
    hurt $f x.${f#*.} $part; first=
    for j in $(yes "1 0 2 4 4 4 4 8" | head -n "${TIMES:-1}"); do # threads; and as many files at once
        wan-decode -q --threads $j -j$j --fps source --damaged keep x.${f#*.} >x.wan 2>err; got="$? $(cat err) $(sha256sum <x.wan)"
        first=${first:-$got} runs=$((runs + 1)); [ "$got" = "$first" ] || wrong=$((wrong + 1))
    done
    grep -q damaged err && hurts=$((hurts + 1))
done; done
ok "$runs runs with 0 to 8 threads: $wrong come out differently" is $wrong 0
ok "$hurts of 8 clips are damaged indeed" test $hurts -ge 6
done_testing
