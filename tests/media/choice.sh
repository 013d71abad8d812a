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
for t in middle every slide; do fails 2 "take $t needs --frames" "--take $t alone" wan-decode --take $t clip.mp4; done
fails 2 'mode video' "--take of mode frames" wan-decode --mode frames --frames 5 --take middle clip.mp4

# ---- limits
for c in "--min-frames 40:1" "--min-frames 41:0" "--min-side 48:1" "--min-side 49:0" "--min-fps 16:1" "--min-fps 16.1:0"; do
    run ${c%:*} --allow-bad 0
    ok "${c%:*}: ${c#*:}" is "$rc $(keys | wc -w)" "0 ${c#*:}"
done

# ---- a dry run, and rejects
mkdir dir; cp clip.mp4 dir/a.mp4; echo x >dir/a.txt; cp clip.mp4 "dir/b	tab.mp4"; echo no >dir/c.mp4; echo x >dir/c.txt
wan-decode --height 32 --width 48 -c --frames 17 --take every --dry-run --rejects rej.tsv dir >table 2>log; rc=$?
ok "a row for each record" is "$(grep '^dir/a.mp4' table)" "$(printf 'dir/a.mp4\ta\t40\t16\t17\t32\t48\t30\t\ndir/a.mp4\ta_-p2\t40\t16\t17\t32\t48\t30\t')"
ok "its columns have names, and all rows as many" is "$(awk -F'\t' '{ print NF }' table | sort -u)" 9
ok "why not" grep -q "^dir/c.mp4		0	0	0	0	0	0	dir/c.mp4: not a video" table
ok "totals" grep -q '2 records of 60 tokens; nothing was written' log
ok "the same status" is $rc 1
ok "rejects: path and reason" is "$(cut -f1 rej.tsv | tr '\n' ' ')$(grep -c 'no caption' rej.tsv)" 'dir/b\x09tab.mp4 dir/c.mp4 1'
wan-decode -q --height 32 --width 48 -c --frames 17 --take every -o real.wan dir 2>/dev/null
ok "a real run gives what was told" is "$(wan-record ls --no-digest real.wan | jq -r .key | tr '\n' ' ')" "a a_-p2 "
done_testing
