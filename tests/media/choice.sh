# SPDX-License-Identifier: Apache-2.0
# Which frames of a clip, and which clips: pieces, the middle, limits; a dry run; the list of rejects.
. "$TOP/tests/lib.sh"
command -v ffmpeg >/dev/null || { skip "choice of frames" "no ffmpeg"; done_testing; }
is() { [ "$1" = "$2" ] || { echo "got: $1; wanted: $2" >&2; false; }; }
ff() { ffmpeg -nostdin -y -v error "$@"; }
ff -f lavfi -i testsrc2=s=64x48:r=16:d=2.5 -pix_fmt yuv420p -c:v libx264 clip.mp4; echo x >clip.txt # 40 frames
run() { wan-decode --height 16 --width 16 --no-aspect-ratio --report rep.jsonl -o out.wan "$@" clip.mp4 >log 2>&1; rc=$?; }
shas() { wan-record ls out.wan | jq -r '.tensors[0].sha256'; }
keys() { wan-record ls --no-digest out.wan | jq -r '.key + ":" + (.tensors[0].shape[0] | tostring)' | tr '\n' ' '; }
part() { # part FIRST COUNT: ffmpeg's frames
    ff -i clip.mp4 -vf "trim=start_frame=$1:end_frame=$(($1 + $2)),scale=16:16:flags=bilinear+accurate_rnd+bitexact+full_chroma_int,format=gbrp,format=rgb24" -f rawvideo - | sha256sum | cut -d' ' -f1
}

# ---- pieces
run --frames 9; ok "first" is "$(keys)$(shas)" "clip:9 $(part 0 9)"
run --frames 9 --take middle; ok "middle: as much before as behind" is "$(keys)$(shas)" "clip:9 $(part 15 9)"
run --frames 50 --take middle; ok "middle of fewer: all" is "$(keys)" "clip:37 "
run --frames 13 --take every; ok "every: three of 13" is "$(keys)" "clip:13 clip_-p2:13 clip_-p3:13 "
(part 0 13; part 13 13; part 26 13) >theirs; shas >ours
same "every: one behind the other" ours theirs
ok "every: what is left over is counted" is "$(jq -c '[.frames_kept, .lost]' rep.jsonl)" '[39,[{"frames":1,"why":"outside --frames"}]]'
run --frames 17 --take slide --stride 10; ok "slide" is "$(keys)" "clip:17 clip_-p2:17 clip_-p3:17 "
(part 0 17; part 10 17; part 20 17) >theirs; shas >ours
same "slide: a stride apart" ours theirs
ok "where a piece begins is in the record" is "$(wan-record ls out.wan | jq -r '.meta.piece_first // 0' | tr '\n' ' ')" "0 10 20 "
run --frames 16 --take every; ok "pieces are trimmed to 4n+1, and this is counted" is "$(keys)$(jq -c '.lost' rep.jsonl)" \
    'clip:13 clip_-p2:13 [{"frames":8,"why":"outside --frames"},{"frames":6,"why":"trimmed to 4n+1"}]'
run --frames 41 --take every
ok "no whole piece: passed over, counted, no failure" is "$rc $(keys)$(grep -c '1 clips passed over' log) $(jq -r .status rep.jsonl)" "0 1 passed over"
for t in middle every slide even; do fails 2 "take $t needs --frames or" "--take $t alone" wan-decode --take $t clip.mp4; done
fails 2 'mode video' "--take of mode frames" wan-decode --mode frames --frames 5 --take middle clip.mp4

# ---- limits
for c in "--min-frames 40:1" "--min-frames 41:0" "--min-side 48:1" "--min-side 49:0" "--min-fps 16:1" "--min-fps 16.1:0"; do
    run ${c%:*} --allow-bad 0
    ok "${c%:*}: ${c#*:}" is "$rc $(keys | wc -w)" "0 ${c#*:}"
done

# ---- a dry run, and rejects
mkdir dir; cp clip.mp4 dir/a.mp4; echo x >dir/a.txt; cp clip.mp4 "dir/b	tab.mp4"; echo no >dir/c.mp4; echo x >dir/c.txt
wan-decode --height 32 --width 48 -c --frames 17 --take every --dry-run --rejects rej.tsv dir >table 2>log; rc=$?
ok "a row for each record" is "$(grep '^dir/a.mp4' table)" "$(printf 'dir/a.mp4\ta\t40\t16\t17\t32\t48\t\t30\t\ndir/a.mp4\ta_-p2\t40\t16\t17\t32\t48\t\t30\t')"
ok "its columns have names, and all rows as many" is "$(awk -F'\t' '{ print NF }' table | sort -u)" 10
ok "why not" grep -q "^dir/c.mp4		0	0	0	0	0		0	dir/c.mp4: not a video" table
ok "totals" grep -q '2 records of 60 tokens; nothing was written' log
ok "the same status" is $rc 1
ok "rejects: path and reason" is "$(cut -f1 rej.tsv | tr '\n' ' ')$(grep -c 'no caption' rej.tsv)" 'dir/b\x09tab.mp4 dir/c.mp4 1'
wan-decode -q --height 32 --width 48 -c --frames 17 --take every -o real.wan dir 2>/dev/null
ok "a real run gives what was told" is "$(wan-record ls --no-digest real.wan | jq -r .key | tr '\n' ' ')" "a a_-p2 "

for c in "--report -:--report and the records" "--rejects -:--rejects and the records" "--report x --rejects x:--rejects and --report" "--dry-run --rejects -:--rejects and the table"; do
    fails 2 "${c#*:} cannot both go to" "${c%%:*}: two outputs in one" wan-decode ${c%%:*} clip.mp4
done

# ---- evenly, and lengths
run --frames 17 --take even; ok "even: as many as cover it, numpy.linspace(0, 23, 3)" is "$(keys)" "clip:17 clip_-p2:17 clip_-p3:17 "
(part 0 17; part 11 17; part 23 17) >theirs; shas >ours
same "even: there" ours theirs
run --frames 9 --take even --pieces 5; ok "even: five of 9 frames" is "$(wan-record ls out.wan | jq -r '.meta.piece_first // 0' | tr '\n' ' ')" "0 7 15 23 31 "
run --frames 9 --take every --pieces 2; ok "every: at most two" is "$(keys)" "clip:9 clip_-p2:9 "
for c in 5,17,33:33 5,17,41:17 5,45,81:5; do
    run --lengths ${c%:*}; ok "--lengths ${c%:*} of 40 frames: ${c#*:}" is "$(keys)" "clip:${c#*:} "
done
run --lengths 17,33 --take middle; ok "lengths, in the middle" is "$(keys)$(shas)" "clip:33 $(part 3 33)"
run --lengths 41,81; ok "fewer frames than any length: passed over, no failure" is "$rc $(keys)$(grep -c 'passed over by choice' log)" "0 1"
for bad in 17,16 17,13 x 17, 0; do fails 2 "lengths" "--lengths $bad" wan-decode --lengths $bad clip.mp4; done
fails 2 'without --frames' "--lengths and --frames" wan-decode --lengths 17 --frames 17 clip.mp4

# ---- scenes: red to a test card to green, cut behind frames 15 and 30 of 46; by ffmpeg's own detector
ff -f lavfi -i color=red:s=64x48:r=16:d=0.9375 -f lavfi -i testsrc2=s=64x48:r=16:d=0.9375 -f lavfi -i color=green:s=64x48:r=16:d=1 \
    -filter_complex '[0][1][2]concat=n=3' -c:v libx264 -qp 10 -pix_fmt yuv420p scenes.mp4; echo x >scenes.txt
cuts=$(ffmpeg -nostdin -v error -i scenes.mp4 -vf scdet=threshold=10,metadata=print:key=lavfi.scd.time:file=- -f null - | sed -n 's/^frame:\([0-9]*\).*/\1/p' | tr '\n' ' ')
wan-decode -q --scene-cut 10 --height 16 --width 16 -c -o s.wan scenes.mp4
ok "scenes: cut where ffmpeg cuts ($cuts)" is "0 $cuts" "$(wan-record ls s.wan | jq -r '.meta.piece_first // 0' | tr '\n' ' ')"
ok "scenes: a record for each, of 4n+1 frames, with its number" is "$(wan-record ls s.wan | jq -r '.key + ":" + (.tensors[0].shape[0] | tostring) + ":" + (.meta.scene | tostring)' | tr '\n' ' ')" \
    "scenes:13:1 scenes_-p2:13:2 scenes_-p3:13:3 "
wan-decode -q --scene-cut 10 --frames 9 --take every --report s.jsonl --height 16 --width 16 -c -o s.wan scenes.mp4
ok "scenes: no piece crosses a cut" is "$(wan-record ls s.wan | jq -r '.meta.piece_first // 0' | tr '\n' ' ')" "0 15 30 "
wan-decode -q --scene-cut 10 --fps 8 --height 16 --width 16 -c -o s.wan scenes.mp4
ok "scenes: at another rate, the first frame shown behind a cut" is "$(wan-record ls s.wan | jq -r '.meta.piece_first // 0' | tr '\n' ' ')" "0 8 15 "
wan-decode -v --scene-cut 10 --min-frames 16 --frames 16 --report s.jsonl --height 16 --width 16 -c -o s.wan scenes.mp4 2>log
ok "scenes: too short ones are counted" is "$(wan-record ls s.wan | jq -r '.meta.piece_first // 0' | tr '\n' ' ')$(jq -c .lost s.jsonl)" \
    '30 [{"frames":30,"why":"in scenes that are too short"},{"frames":3,"why":"trimmed to 4n+1"}]'
ok "no cut in a clip without one" is "$(wan-decode -q --scene-cut 10 --height 16 --width 16 -c clip.mp4 | wan-record ls --no-digest - | jq -s length)" 1
fails 2 'mode video' "--scene-cut in mode frames" wan-decode --scene-cut 10 --mode frames clip.mp4

# ---- buckets: sizes of Automodel's table for 256 x 256 pixels, and tokens
for c in 64x48:288x224 48x64:224x288 64x64:256x256 96x54:336x192 128x48:368x160 40x96:192x336; do
    s=${c%:*}; ff -f lavfi -i testsrc2=s=$s:r=16:d=1 -c:v mpeg4 b.mp4; echo x >b.txt
    ok "$s under 65536 pixels: ${c#*:}" is "$(wan-decode -q --max-pixels 64K b.mp4 | wan-record ls --no-digest - | jq -r '"\(.meta.width)x\(.meta.height)"')" "${c#*:}"
done
rm -r dir/*; for d in 1:16 2:34 3:60; do ff -f lavfi -i testsrc2=s=64x48:r=16:d=4 -frames:v ${d#*:} -c:v mpeg4 dir/${d%:*}.mp4; echo x >dir/${d%:*}.txt; done
wan-decode --lengths 5,17,33 --max-tokens 500 --dry-run dir >table 2>log
ok "longer clips become smaller ones, each under the budget" is "$(awk -F'\t' 'NR > 1 { print $8 ":" $9 }' table | tr '\n' ' ')" "272x224x5:476 128x96x33:432 128x96x33:432 " || cat table >&2
ok "each bucket's total" grep -q '128x96x33: 2 records, 864 tokens' log
ok "mode frames: the size too" is "$(wan-decode -q --max-pixels 64K --mode frames --num-frames 2 b.mp4 | wan-record ls --no-digest - | jq -r '"\(.meta.width)x\(.meta.height)"' | tr '\n' ' ')" "192x336 192x336 "
wan-decode -q --max-pixels 64K -o b.wan b.mp4
ok "the record says its bucket, and DFM's settings the size" is "$(wan-record ls --no-digest b.wan | jq -c '.meta | [.bucket, .resize_settings.target_size, .resize_settings.center_crop]')" '["192x336x13",[336,192],true]'
fails 2 'choose the size' "--max-pixels and --height" wan-decode --max-pixels 64K --height 32 --width 32 b.mp4
fails 1 'too few for a picture' "a budget for nothing" wan-decode -q --max-pixels 100 b.mp4

# ---- filters
echo 'three words here' >clip.txt
for c in "--min-words 3:1" "--min-words 4:0" "--max-words 3:1" "--max-words 2:0" "--max-fps 16:1" "--max-fps 15:0" \
    "--min-seconds 2.5:1" "--min-seconds 2.6:0" "--max-seconds 2.5:1" "--max-seconds 2.4:0"; do
    run ${c%:*} --allow-bad 0
    ok "${c%:*}: ${c#*:}" is "$rc $(keys | wc -w) $(grep -c 'passed over by choice' log)" "0 ${c#*:} $((1 - ${c#*:}))"
done
ff -f lavfi -i testsrc2=s=64x48:r=30:d=1 -c:v mpeg4 30.mkv; ff -f lavfi -i testsrc2=s=64x48:r=30000/1001:d=1 -c:v mpeg4 29.mkv; echo x >30.txt; echo x >29.txt
for c in "30 --min-fps 30 --max-seconds 1:1" "30 --max-fps 29.8:0" "29 --max-fps 29.97 --min-seconds 1.001:1" "29 --min-fps 30.2:0" "30 --max-seconds 0.98:0"; do
    f=${c%% *} c=${c#* }; wan-decode --height 16 --width 16 --no-aspect-ratio -o out.wan ${c%:*} $f.mkv >log 2>&1
    ok "$f.mkv ${c%:*}: ${c#*:}, whose stamps are rounded" is "$(keys | wc -w)" "${c#*:}" || cat log >&2
done
printf '{"caption": ["one", "two of them", "three words here"]}' >clip.json
run --captions each --min-words 3; ok "of several captions those that fit" is "$(wan-record ls --no-digest out.wan | jq -r .meta.caption | tr '\n' ',')$(grep -c '1 captions passed over' log)" "two of them,three words here,1"
rm clip.json
# 16 frames of noise, 16 black, 16 noise, 16 of one picture: told by ffmpeg's own filters from what is kept
ff -f lavfi -i "testsrc2=s=64x48:r=16:d=2,noise=alls=40:allf=t,split[a][b];[a]trim=end_frame=16[c];[b]trim=start_frame=16,setpts=PTS-STARTPTS[d];
    color=black:s=64x48:r=16:d=1[e];smptebars=s=64x48:r=16:d=1[f];[c][e][d][f]concat=n=4" -c:v ffv1 -pix_fmt bgr0 mix.mkv; echo x >mix.txt
theirs() { ffmpeg -nostdin -v info -i mix.mkv -vf "scale=64:48,$1" -f null - 2>&1; }
black=$(theirs blackframe=amount=98:threshold=32 | grep -c 'blackframe.*pblack')
frozen=$(theirs freezedetect=n=0.001:d=0.5 | sed -n 's/.*freeze_start: //p' | tr '\n' ' ')
ok "ffmpeg: 16 black frames, still from 1 and from 3 s on ($black; $frozen)" is "$black $frozen" "16 1 3 "
wan-decode -v --frames 16 --take every --dry-run --max-black 0.5 --rejects rej.tsv mix.mkv >table 2>log
ok "--max-black: that piece is passed over, by its frames" is "$(awk -F'\t' 'NR > 1 { print $2 }' table | tr '\n' ' ')$(cut -f2 rej.tsv)" \
    "mix  mix_-p3 mix_-p4 mix.mkv: frames 16 to 28: 100 % are black, and --max-black 0.5"
wan-decode -q --frames 16 --take every --dry-run --max-still 0.5 --rejects rej.tsv mix.mkv >table 2>log
ok "--max-still: the black and the still one" is "$(awk -F'\t' 'NR > 1 { print $2 }' table | tr '\n' ' ')$(grep -c '100 % are still' rej.tsv)" "mix  mix_-p3  2"
wan-decode -q --dry-run --max-black 0.26 mix.mkv >table 2>log; ok "16 of the clip's 61 frames are black, not less" grep -q '26 % are black' table
wan-decode -q --dry-run --max-black 0.27 mix.mkv >table 2>log; ok "and not more" is "$(cut -f2 table | tail -1)" mix
wan-decode --height 16 --width 16 --max-black 0 --rejects rej.tsv --report rep.jsonl -o out.wan mix.mkv 2>log; rc=$?
ok "all its pieces: the clip is passed over, once in each list, no failure" is "$rc $(wc -l <rej.tsv) $(jq -r .status rep.jsonl)" "0 1 passed over"
done_testing
