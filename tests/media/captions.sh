# SPDX-License-Identifier: Apache-2.0
# Captions beside clips under all their names, lists of clips, pictures as clips.
. "$TOP/tests/lib.sh"
is() { [ "$1" = "$2" ] || { echo "got: $1; wanted: $2" >&2; false; }; }
command -v ffmpeg >/dev/null || { skip "captions" "no ffmpeg"; done_testing; }
ffmpeg -nostdin -v error -f lavfi -i testsrc2=s=64x48:r=16:d=2.0625 -pix_fmt yuv420p -c:v libx264 clip.mp4
run() { wan-decode --height 16 --width 16 --no-aspect-ratio --report rep.jsonl -o out.wan "$@" >log 2>&1; rc=$?; }
got() { wan-record ls --no-digest out.wan | jq -r "$1" | tr '\n' "${2:- }"; }
clip() { mkdir -p "$(dirname "$1")"; cp clip.mp4 "$1"; }

# ---- beside the clip
for f in caption text prompt vila_caption gemini_v2_caption internvl usr; do
    clip side/$f.mp4; printf '{"width": 7, "%s": "of %s"}' $f $f >side/$f.json
done
clip side/lines.mp4; printf '\n{"text": "first line"}\n{"text": "second"}\n' >side/lines.jsonl
clip side/plain.mp4; printf 'a plain text,\nin two lines \n\n' >side/plain.txt
clip side/both.mp4; echo '{"score": 0.5}' >side/both.json; echo "the text" >side/both.txt
run side
ok "every known field, .jsonl, .txt" is "$(got '.key + "=" + .meta.caption' '|')" \
    "both=the text|caption=of caption|gemini_v2_caption=of gemini_v2_caption|internvl=of internvl|lines=first line|plain=a plain text,|in two lines|prompt=of prompt|text=of text|usr=of usr|vila_caption=of vila_caption|"
ok "the field is in the record" is "$(got '.meta.caption_field // "-"')" \
    "- caption gemini_v2_caption internvl text - prompt text usr vila_caption "
ok "a caption that was left is counted" grep -q '^wan-decode: 1 more captions were left' log
clip pick/a.mp4; echo '{"caption": "short", "dense": "a long one", "many": ["one", "two", "three"]}' >pick/a.json
run --caption-field dense pick; ok "--caption-field" is "$(got .meta.caption)" "a long one "
run --caption-field absent pick
ok "a field that is not there" is "$rc $(grep -c 'pick/a.mp4: no "absent"' log)" "1 1"
run --caption-field many pick; ok "the first of several" is "$(got '.key + " " + .meta.caption' '|')" "a one|"
run --caption-field many --captions each pick
ok "a record for each" is "$(got '.key + " " + .meta.caption + " " + (.meta.caption_index | tostring)' '|')" \
    "a one 1|a_-c2 two 2|a_-c3 three 3|"
ok "of the same frames" is "$(wan-record ls out.wan | jq -r '.tensors[0].sha256' | sort -u | wc -l)" 1
run --captions each --caption-field many --mode frames --num-frames 2 pick
ok "and of each frame" is "$(got .key)" "a_01 a_-c2_01 a_-c3_01 a_02 a_-c2_02 a_-c3_02 "
mark='\xef\xbb\xbf' # as editors of Windows write it
clip mark/a.mp4; printf "$mark"'a text\r\n' >mark/a.txt
clip mark/b.mp4; printf "$mark"'{"caption": "of json"}\r\n' >mark/b.json
clip mark/c.mp4; printf "$mark"'{"caption": "of lines"}\r\n' >mark/c.jsonl
clip mark/d.mp4; printf "$mark"'[{"file_name": "d.mp4", "caption": "of a list"}]' >mark/meta.json
run mark; ok "a byte order mark is no part of any caption" is "$(got .meta.caption '|')" "of a list|a text|of json|of lines|"
clip bad/a.mp4; echo '{"caption": ["x", 7]}' >bad/a.json
clip bad/b.mp4; printf 'text \377' >bad/b.txt
clip bad/c.mp4; printf '{"text": "x"}\n{"text": }\n' >bad/c.jsonl
clip bad/d.mp4; echo '{"caption": []}' >bad/d.json
run bad
for re in 'a.json: "caption" is no string' 'b.txt: not UTF-8' 'c.jsonl: line 2: ' 'd.mp4: no "caption"'; do
    ok "$re" grep -q "$re" log
done

# ---- a list for all clips of a folder
clip meta/x.mp4; clip meta/y.mp4; clip meta/sub/z.mp4; clip meta/w.mp4; echo '{"caption": "own"}' >meta/w.json
echo '[{"file_name": "y.mp4", "vila_caption": "why"}, {"file_name": "x.mp4", "vila_caption": "ex", "start_frame": 5, "end_frame": 13},
  {"file_name": "sub/z.mp4", "caption": "zed"}, {"file_name": "gone.mp4", "caption": "x"}, {"caption": "x"}, 7]' >meta/meta.json
run --fps source meta
ok "meta.json, with frames of it" is "$(got '.key + "=" + .meta.caption + "," + (.meta.frames_in | tostring)' '|')" \
    "y=why,33|x_-f5=ex,9|sub/z=zed,33|w=own,33|"
ok "a file that is not there" grep -q 'meta/gone.mp4: .*No such file' log
ok "a row without a path" grep -q 'meta/meta.json: line 5: no path in it' log
ok "a row that is none" grep -q 'meta/meta.json: line 6: not an object' log
wan-decode -q --fps source --height 16 --width 16 --no-aspect-ratio -o all.wan clip.mp4 2>/dev/null
clip jsonl/x.mp4; clip jsonl/meta.mp4; echo '{"caption": "of meta"}' >jsonl/meta.json
printf '{"file_name": "x.mp4", "text": "from the lines"}\n' >jsonl/metadata.jsonl
run jsonl
ok "metadata.jsonl, and a clip that is named meta" is "$(got '.key + "=" + .meta.caption' '|')" "x=from the lines|meta=of meta|"
clip dpipe/x.mp4; clip dpipe/y.mp4; clip dpipe/z.mp4; echo "of its own" >dpipe/z.txt
echo '{"x.mp4": ["one", "two"], "y.mp4": "why"}' >dpipe/captions.json
run --captions each dpipe
ok "captions.json of diffusion-pipe, by the names of files" is "$(got '.key + "=" + .meta.caption' '|')" \
    "x=one|x_-c2=two|y=why|z=of its own|"
clip broken/x.mp4; echo '[{"file_name": "x.mp4", "caption": "x"},]' >broken/meta.json
run broken; ok "a list that cannot be read is named" grep -q 'broken/meta.json: invalid JSON at line 1' log
clip single/captions.mp4; echo '{"caption": "a.b"}' >single/captions.json
run single
ok "that of a clip with this name is none" is "$(got '.key + "=" + .meta.caption' '|')" "captions=a.b|"

# ---- manifests
cat >m.csv <<'CSV'
path,caption,start,end,score
meta/x.mp4,"a ""quoted"" one, with a comma",,,1
meta/x.mp4,second half,1,2,2
"meta/y.mp4","two
lines",0,0.5,3
meta/z.mp4,too few
meta/y.mp4,ends first,2,1,4

pick/a.mp4,,,,5
CSV
run --fps source --manifest m.csv
ok "an empty caption is one, and counted" grep -q '^wan-decode: 1 records have an empty caption' log
ok "CSV" is "$(got '.key + "=" + .meta.caption + "," + (.meta.frames_in | tostring)' '|')" \
    'meta/x=a "quoted" one, with a comma,33|meta/x_-s1000=second half,16|meta/y=two|lines,8|pick/a=,33|'
ok "a row with too few fields" grep -q 'm.csv: line 6: not as many fields' log
ok "a row that ends before it starts" grep -q 'm.csv: line 7: it ends before it starts' log
printf 'path,start_frame,end_frame,caption\nmeta/x.mp4,2,,a\nmeta/x.mp4,,4,b\nmeta/x.mp4,1.5,4,c\n' >f.csv; run --fps source --manifest f.csv
ok "an empty field is none; half a frame is none either" is \
    "$(got '.key + "," + (.meta.frames_in | tostring)' '|')$(grep -c 'f.csv: line 4: start_frame is 1.5, no number' log)" "meta/x_-f2,31|meta/x,5|1"
printf 'path,start,start_frame,caption\nmeta/x.mp4,1,,a\nmeta/x.mp4,,1,a\n' >g.csv
ok "--inputs: a second is no frame" is "$(wan-decode --inputs --manifest g.csv | cut -f4 | tr '\n' ' ')" "start 1 0+1f "
printf '\xef\xbb\xbffile_name\ttext\r\nmeta/x.mp4\ta "tab" here\r\n' >m.tsv
run --manifest m.tsv; ok "TSV, with a mark and DOS line ends" is "$(got '.key + "=" + .meta.caption' '|')" 'meta/x=a "tab" here|'
printf '{"video": "meta/x.mp4", "caption": "one", "start": 0.5}\n\n{"video": "%s", "caption": "two"}\n[1]\n' "$PWD/meta/y.mp4" >m.jsonl
run --fps source --manifest "$PWD/m.jsonl" clip.mp4
ok "JSON Lines, paths from anywhere" is "$(got '(.key | sub(".*/meta/"; "meta/")) + "=" + .meta.caption' '|')" "meta/x_-s500=one|meta/y=two|"
ok "a line that is no object" grep -q 'm.jsonl: line 4: not an object' log
echo x >m.xml
fails 1 'm.xml: a list is named' "another kind of list" wan-decode --manifest m.xml
fails 1 'gone.csv: .*No such file' "a list that is not there" wan-decode --manifest gone.csv
printf 'path,caption\nmeta/x.mp4,caf\xe9\nmeta/x.mp4,a\0b\nmeta/y.mp4,z\n' >q.csv; run --manifest q.csv
ok "a field that is not UTF-8, or has a NUL, costs its own row" is \
    "$(grep -c 'q.csv: line 2: not UTF-8' log) $(grep -c 'q.csv: line 3: a NUL' log) $(got .meta.caption)" "1 1 z "
printf 'path,caption,caption\nmeta/x.mp4,a,b\n' >q.csv
fails 1 'q.csv: line 1: two columns have the same name' "a column twice" wan-decode --manifest q.csv
for e in csv tsv jsonl json; do
    printf '%s' "$([ $e = json ] && echo '[]' || [ $e = jsonl ] || printf 'meta/x.mp4,no line of names')" >none.$e
    fails 1 "none.$e: no rows in it" "a list without rows: $e" wan-decode -o x.wan --manifest none.$e
done
printf 'path,caption\n"meta/x.mp4,never ends\n' >q.csv; run --manifest q.csv
ok "a quote that does not end" grep -q 'q.csv: line 2: a quote that does not end' log
printf 'path,caption\n"meta/x.mp4"x,y\nmeta/y.mp4,z\n' >q.csv; run --manifest q.csv
ok "text behind a quote; the next row is read" is "$(grep -c 'q.csv: line 2: text behind' log) $(got .meta.caption)" "1 z "

# ---- the part of the clip
echo '{"caption": "x"}' >clip.json
part() { run --fps source "$@" clip.mp4; got '[.meta.frames_in, .tensors[0].shape[0]] | @csv'; }
ok "--start, --end: by time of frames (33 at 16 a second)" is "$(part --start 0.5 --end 1)" "8,5 "
ok "a start between two frames" is "$(part --start 0.51)" "24,21 "
ok "a part without frames" is "$(part --start 2.06; cat log)" "$(cat log)"
ok "is told" grep -q 'none of its 33 frames is in the part' log
fails 2 'not behind' "an end before the start" wan-decode --start 2 --end 1 clip.mp4
run --start 0.5 --end 1.5 clip.mp4; ok "re-timed from its start" is "$(got .meta.frames_retimed)" "16 "
run --mode frames --num-frames 2 --start 0.5 --end 1 clip.mp4
ok "frames of the part" is "$(got .meta.frames_in)" "8 8 "

# ---- pictures
mkdir pics
for e in png jpg jpeg webp; do
    ffmpeg -nostdin -v error -i clip.mp4 -frames:v 1 "pics/$e.$e" && echo "a $e" >pics/$e.txt
done
cp pics/png.png pics/bare.png; clip pics/film.mp4; cp pics/png.png pics/film.png; echo film >pics/film.txt
run pics
ok "pictures with a caption are clips of one frame" is "$(got '.key + "=" + .meta.caption + (.tensors[0].shape[0] | tostring)' '|')" \
    "film=film33|jpeg=a jpeg1|jpg=a jpg1|png=a png1|webp=a webp1|"
ok "others are counted" is "$rc $(grep -c '^wan-decode: 2 pictures without a caption' log)" "0 1"
ok "and reported" is "$(jq -r 'select(.status == "passed over") | .file' rep.jsonl | tr '\n' ' ')" "pics/bare.png pics/film.png "

mkdir more; for f in two film; do cp pics/jpg.jpg more/$f.jpg; echo x >more/$f.txt; done
cat pics/jpg.jpg >>more/two.jpg; cat clip.mp4 >>more/film.jpg # as cameras do
ffmpeg -nostdin -v error -i clip.mp4 -frames:v 9 -f apng more/anim.png; echo x >more/anim.txt; cp more/anim.png more/other.apng; echo x >more/other.txt
wan-decode -q --fps 400 --height 16 --width 16 --no-aspect-ratio -o out.wan more
ok "pictures that hold others are the first of these, of one frame at any rate; animations are videos" is \
    "$(got '.key + (.meta.frames_in | tostring) + "," + (.meta.frames_retimed | tostring)' '|')" "anim9,225|film1,1|other9,225|two1,1|"
ffmpeg -nostdin -v error -i clip.mp4 -i clip.mp4 -map 0 -map 1 -c copy both.mkv; echo x >both.txt
ok "of several videos in a file one is taken, and that is told" sh -c "wan-decode -o x.wan both.mkv 2>&1 | grep -q 'both.mkv: of its 2 video streams that of '"
printf 'YUV4MPEG2 W9000 H9000 F1:1 Ip A1:1 C420\nFRAME\n' >huge.y4m; echo x >huge.txt
fails 1 'huge.y4m: pictures of 9000 x 9000 pixels, more than 67108864' "pictures that are too large" wan-decode -q -o x.wan huge.y4m
printf 'RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0\x0f\0\0\x0f\0\0' >anim.webp; echo x >anim.txt
fails 1 'anim.webp: no frame could be decoded \(libav: .+\); this' "an animation that libav cannot read" wan-decode -q -o x.wan anim.webp
ffmpeg -nostdin -v error -i clip.mp4 -frames:v 1 -update 1 tiff.tiff; mv tiff.tiff tiff.mp4; echo x >tiff.txt
fails 1 'tiff.mp4: not a video this program can read: it is taken for piped tiff' "what it is taken for" wan-decode -q -o x.wan tiff.mp4

# a long film is entered by its index, and what comes is what comes without
ffmpeg -nostdin -v error -f lavfi -i testsrc2=s=64x48:r=24:d=30 -pix_fmt yuv420p -c:v libx264 -g 48 -bf 2 film.mp4
ffmpeg -nostdin -v error -i film.mp4 -c copy film.mkv; ffmpeg -nostdin -v error -i film.mp4 -c copy film.ts
echo film >film.txt
for f in mp4 mkv ts; do
    run --start 20.5 --end 21 film.$f; wan-record ls out.wan | jq -r '.tensors[0].sha256' >ours
    ffmpeg -nostdin -v error -i film.mp4 -vf "trim=start=20.4999:end=20.9999,setpts=PTS-STARTPTS,fps=16,scale=16:16:flags=bilinear+accurate_rnd+bitexact+full_chroma_int,format=gbrp,format=rgb24" \
        -frames:v 5 -f rawvideo - | sha256sum | cut -d' ' -f1 >theirs
    same "$f: half a second of a film, as ffmpeg trims it" ours theirs
done

# ---- a list in memory: what a row takes, from two lists of other lengths
peak() { # of ROWS in KIND, KiB
    awk -v n="$1" -v kind="$2" 'BEGIN { if (kind == "csv") print "path,caption,start,end,score"
        form = kind == "csv" ? "clips/%08d.mp4,%s,%d,%d,%d.25\n" : "{\"path\": \"clips/%08d.mp4\", \"caption\": \"%s\", \"start\": %d, \"end\": %d, \"score\": %d.25}\n"
        for (i = 0; i < n; i++) printf form, i, "somebody walks along a street and waves", 1, 2, i }' >"rows.$2"
    OMPI_COMM_WORLD_RANK=0 PEAK=peak LD_PRELOAD=${OBJ:-$(ls -dt "$TOP"/build/obj/*/ | head -1)}/tests/dist/peak.so wan-decode -q --inputs --manifest "rows.$2" -o rows.tsv >&2
    cat peak.0
}
if ldd "$(command -v wan-decode)" | grep -q libasan; then skip "rows" "AddressSanitizer keeps what was freed"; else
    for kind in csv jsonl; do
        few=$(peak 20000 $kind) many=$(peak 60000 $kind)
        row=$(((many - few) * 1024 / 40000))
        ok "a row of a list ($kind) is $row bytes of memory, less than 800" [ $row -gt 100 -a $row -lt 800 ]
    done
fi
done_testing
