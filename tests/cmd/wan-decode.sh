# SPDX-License-Identifier: Apache-2.0
# wan-decode as a user runs it: good clips, every kind of bad input, broken outputs.
. "$TOP/tests/lib.sh"
"${EXAMPLES:-$TOP/build/examples}/draw_clips" --copies 1 --frames 9 all >draw.log 2>&1
ok "the demo's clips can be drawn" test -d all
mkdir -p clips/sub
for i in 1 2 3; do
    f=$(ls all/*.mp4 | sed -n "$((i * 20))p")
    cp "$f" "clips/c$i.mp4" && cp "${f%.mp4}.json" "clips/c$i.json"
done
mv clips/c3.mp4 "clips/sub/c 3.MP4"; mv clips/c3.json "clips/sub/c 3.json"
cp clips/c1.mp4 clips/.hidden.mp4; echo text >clips/notes.txt
size="--height 32 --width 32 --center-crop"
keys() { wan-record ls --no-digest "$1" | jq -r .key | tr '\n' ' '; }
is() { [ "$1" = "$2" ] || { echo "got: $1; wanted: $2" >&2; false; }; }

# ---- what comes out
ok "a folder" wan-decode -q $size -o a.wan --report rep.jsonl clips
ok "check likes it" wan-record check a.wan
ok "sorted, recursive, no hidden files, legal keys" is "$(keys a.wan)" "c1 c2 sub/c_-20-3 "
ok "the caption of the sidecar" is "$(wan-record ls a.wan | sed -n 2p | jq -r .meta.caption)" \
    "$(jq -r .caption clips/c2.json)"
ok "shape" is "$(wan-record ls a.wan | jq -c '.tensors[0].shape' | sort -u)" "[9,32,32,3]"
ok "a report line for each clip" is "$(jq -r .status rep.jsonl | tr '\n' ' ')" "ok ok ok "
wan-decode -q $size clips >b.wan
same "a pipe gives the same bytes as a file" a.wan b.wan
ok "no folder in the stream" bash -c "! grep -aq 'clips/' a.wan"
wan-decode -q $size clips/c1.mp4 clips/c1.mp4 >c.wan
ok "a key used twice gets a suffix" is "$(keys c.wan)" "c1 c1_-n2 "
wan-decode -q $size --key-prefix part/1- clips/c1.mp4 clips/c1.mp4 >c.wan
ok "a prefix tells runs apart" is "$(keys c.wan)" "part/1-c1 part/1-c1_-n2 "
wan-decode -q $size --mode frames --num_frames 3 clips/c1.mp4 >f.wan
ok "frames mode: a record per frame" is "$(keys f.wan)" "c1_01 c1_02 c1_03 "
wan-decode -q $size --mode frames --num-frames 2 --key-prefix p- --report rep.jsonl clips/c1.mp4 clips/c1.mp4 >g.wan
ok "frames mode: the report names the clip's first record" is "$(jq -r .key rep.jsonl | tr '\n' ' ')" \
    "p-c1_01 p-c1_01_-n2 "
ok "frames mode: DFM's fields" is "$(wan-record ls f.wan |
    jq -c '[.meta.frame_index, .meta.total_frames_in_video, .tensors[0].shape[0]]' | tail -1)" "[3,3,1]"
wan-decode -q $size --frames 7 --report rep.jsonl clips/c1.mp4 >d.wan
ok "--frames 7 keeps 5, and says why" is "$(jq -c '[.frames_kept, [.lost[] | .frames]]' rep.jsonl)" \
    "[5,[2,2]]"
ok "and so does the record" is "$(wan-record ls d.wan | jq .meta.frames_dropped)" 4
wan-decode -q --fps 32 $size clips/c1.mp4 >e.wan
ok "--fps 32 of 9 frames at 16: 18, trimmed to 17" is \
    "$(wan-record ls e.wan | jq -c '[.meta.frames_retimed, .meta.frames_out, .meta.fps]')" "[18,17,32]"
ok "sizes: inside, not cropped" is "$(wan-decode -q --height 48 --width 96 clips/c1.mp4 |
    wan-record ls | jq -c '.tensors[0].shape')" "[9,48,48,3]"
ok "sizes: source" is "$(wan-decode -q clips/c1.mp4 | wan-record ls | jq -c '.tensors[0].shape[1]')" \
    "$(wan-decode -q clips/c1.mp4 | wan-record ls | jq -c '.meta.source_height')"
pixels() { wan-decode -q "$@" clips/c1.mp4 | wan-record ls | jq -r '.tensors[0].sha256'; }
for m in bicubic nearest area lanczos; do
    ok "--no-antialias: $m changes no colours" is "$(pixels --no-antialias --resize-mode $m)" "$(pixels)"
done

# ---- usage
fails 2 'multiples of 16' "a height of 30" wan-decode --height 30 --width 32 clips
fails 2 'given together' "a height alone" wan-decode --height 32 clips
fails 2 'fps' "a rate that is none" wan-decode --fps fast clips
fails 2 'both' "records and report to standard output" wan-decode --report - clips
fails 2 'both go to x.wan' "records and report to one file" wan-decode -o x.wan --report x.wan clips
fails 1 'too much' "a size far from the clip's" wan-decode -c --height 16384 --width 16 clips/c1.mp4
fails 2 'no video' "no operand" wan-decode
fails 1 'nowhere' "a file that is not there" wan-decode nowhere
mkdir empty
fails 1 'empty: no video' "a folder without videos" wan-decode empty

# ---- bad clips: named, left out, counted; the rest is whole
mkdir bad
cp clips/c1.mp4 clips/c1.json bad/
echo "this is no video" >bad/d_text.mp4; echo '{"caption": "x"}' >bad/d_text.json
head -c "$(($(stat -c %s clips/c2.mp4) / 2))" clips/c2.mp4 >bad/e_cut.mp4
echo '{"caption": "x"}' >bad/e_cut.json
cp clips/c2.mp4 bad/f_nocaption.mp4
cp clips/c2.mp4 bad/g_json.mp4; echo '{"caption": "x"' >bad/g_json.json
cp clips/c2.mp4 bad/h_type.mp4; echo '{"caption": 7}' >bad/h_type.json
cp clips/c2.mp4 bad/i_double.mp4; echo '{"caption": "a", "caption": "b"}' >bad/i_double.json
: >bad/j_zero.mp4; echo '{"caption": "x"}' >bad/j_zero.json
fails 1 'd_text.mp4: not a video' "not a video" wan-decode $size -o bad.wan --report bad.jsonl bad
says() { ok "$1" grep -Eq "$2" fails.err; }
says "truncated mp4" 'e_cut.mp4: '
says "no caption" 'f_nocaption.mp4: no caption'
says "invalid JSON" 'g_json.json: invalid JSON'
says "a caption that is a number" 'h_type.json: "caption" is no string'
says "a duplicate key" 'i_double.json: .*duplicate'
says "an empty file" 'j_zero.mp4: '
says "the number of bad clips" '7 bad clips left out'
ok "the good one is there" is "$(keys bad.wan)" "c1 "
ok "the report names the bad ones" is "$(jq -r .status bad.jsonl | sort | uniq -c | tr -s ' \n' ' ')" \
    " 7 left out 1 ok "
ok "--allow-bad 7" wan-decode -q $size --allow-bad 7 -o x.wan bad
fails 1 'left out' "--allow-bad 6" wan-decode $size --allow-bad 6 -o x.wan bad
fails 1 'more than' "a clip larger than --max-clip" \
    wan-decode --max-clip 1M --height 512 --width 512 -o x.wan clips/c1.mp4
mkdir bytes; odd=$(printf 'bytes/b\377'); cp clips/c1.mp4 "$odd.mp4"; cp clips/c1.json "$odd.json"
echo text >"${odd}2.mp4"; echo '{"caption": "x"}' >"${odd}2.json"
ok "file names that are not UTF-8" wan-decode -q $size --allow-bad 1 -o x.wan --report x.jsonl bytes
ok "in the record" is "$(wan-record ls x.wan | jq -r '.meta.source')" 'b\xff.mp4'
ok "and in the report" is "$(jq -r .file x.jsonl | tr '\n' ' ')" 'bytes/b\xff.mp4 bytes/b\xff2.mp4 '

# every truncation of a file with its index in front is noticed
if command -v ffmpeg >/dev/null; then
    ffmpeg -y -v error -i clips/c1.mp4 -c copy -movflags +faststart fast.mp4
    total=$(stat -c %s fast.mp4) missed=0
    for i in 1 2 3 4 5 6 7 8 9; do
        mkdir -p cut$i; head -c $((total * (90 + i) / 100)) fast.mp4 >cut$i/a.mp4
        cp clips/c1.json cut$i/a.json
        wan-decode -q $size cut$i >/dev/null 2>&1 && missed=$((missed + 1))
    done
    ok "a tail of 1 to 9 % cut off is always noticed" is $missed 0
    ffmpeg -y -v error -i clips/c1.mp4 -c copy whole.mkv; cp clips/c1.json whole.json
    ok "Matroska" wan-decode -q $size whole.mkv
    head -c $(($(stat -c %s whole.mkv) * 3 / 4)) whole.mkv >cut.mkv; cp clips/c1.json cut.json
    fails 1 'cut.mkv: damaged or truncated' "a truncated one" wan-decode -q $size -o x.wan cut.mkv
    ffmpeg -y -v error -i clips/c1.mp4 -c copy -bsf:v h264_metadata=sample_aspect_ratio=2/1 sar.mp4
    cp clips/c1.json sar.json
    ok "pixels twice as wide as high" is "$(wan-decode -q sar.mp4 | wan-record ls |
        jq -c '.tensors[0].shape')" "[9,64,128,3]"
    ffmpeg -y -v error -ss 0.2 -i clips/c1.mp4 -c copy edited.mp4; cp clips/c1.json edited.json
    frames="--mode frames --num-frames 3" # Matroska states no number of frames: a second pass
    ok "frames mode where the number of frames is not stated" is \
        "$(wan-decode -q $size $frames whole.mkv | wan-record ls | jq -r '.tensors[0].sha256' | tr '\n' ' ')" \
        "$(wan-decode -q $size $frames clips/c1.mp4 | wan-record ls | jq -r '.tensors[0].sha256' | tr '\n' ' ')"
    ffmpeg -y -v error -i clips/c1.mp4 -c copy bare.h264; cp clips/c1.json bare.json
    ok "frames without time stamps" is "$(wan-decode -q $size bare.h264 |
        wan-record ls | jq -c '[.meta.frames_in, .meta.frames_retimed, .meta.frames_out]')" "[9,9,9]"
    printf "ffconcat version 1.0\nfile 'clips/c1.mp4'\n" >list.mp4; cp clips/c1.json list.json
    fails 1 'list.mp4: not a video' "a list of other files is not followed" wan-decode -q $size list.mp4
    for s in 64x64:0 128x96:0.5; do
        ffmpeg -y -v error -f lavfi -i smptebars=s=${s%:*}:r=16:d=0.5 -pix_fmt yuv420p -c:v mpeg2video \
            -q:v 2 -output_ts_offset ${s#*:} ${s%:*}.ts
    done
    cat 64x64.ts 128x96.ts >sizes.ts; cp clips/c1.json sizes.json
    wan-decode -q --fps source --no-aspect-ratio --height 32 --width 32 sizes.ts |
        wan-record to-safetensors -q -o sizes.safetensors
    tail -c $((13 * 3072)) sizes.safetensors | head -c 3072 >first.rgb; tail -c 3072 sizes.safetensors >last.rgb
    raw="-f rawvideo -pix_fmt rgb24 -s 32x32"
    psnr=$(ffmpeg $raw -i first.rgb $raw -i last.rgb -lavfi psnr -f null - 2>&1 |
        sed -n 's/.*average:\([0-9]*\).*/\1/p')
    ok "a change of frame size shows the same picture ($psnr dB)" test "${psnr:-0}" -ge 19
    ffmpeg -y -v error -i clips/c1.mp4 -frames:v 1 -pix_fmt yuvj420p still.jpg; cp clips/c1.json still.json
    ok "a picture, whatever its name looks like" is "$(wan-decode -q $size still.jpg |
        wan-record ls | jq -c '.tensors[0].shape')" "[1,32,32,3]"
    ok "an mp4 whose edit list leaves frames out is not taken for truncated" \
        wan-decode -q $size -o x.wan edited.mp4
else skip "a tail cut off is noticed" "no ffmpeg"; fi

# ---- broken outputs
fails 1 'stdout.*No space' "full disk" bash -c "wan-decode -q $size clips >/dev/full"
fails 1 'No such file|cannot create' "a folder that is not there" wan-decode -q $size -o no/x.wan clips
if [ "$(id -u)" != 0 ]; then
    mkdir ro; chmod 555 ro
    fails 1 'Permission' "unwritable folder" wan-decode -q $size -o ro/x.wan clips
else
    fails 1 'cannot' "unwritable folder (/proc)" wan-decode -q $size -o /proc/x.wan clips
fi
fails 1 'limited.wan.*File too large' "a limit of the size of files" bash -c "ulimit -f 8; exec wan-decode -q $size -o limited.wan clips"
ok "and nothing stays" test -z "$(ls | grep limited)"
ok "closed pipe: dies quietly by SIGPIPE" bash -c \
    "wan-decode -q $size clips clips clips 2>pipe.err | head -c 10 >/dev/null; [ \${PIPESTATUS[0]} -eq 141 ] && [ ! -s pipe.err ]"
if has_pty; then
    script -qec "wan-decode -q $size clips; echo status \$?" /dev/null >tty.out </dev/null
    ok "binary to a terminal is refused" grep -q 'status 1' tty.out
    ok "and nothing of it is written" bash -c "! grep -aq WAN.*HEAD tty.out"
else skip "binary to a terminal is refused" "no script(1), or no pseudo-terminal to be had"; fi
(wan-decode -q $size -o killed.wan all & pid=$!; for i in 1 2 3 4 5 6 7 8 9 10; do
    [ -s killed.wan.tmp ] && break; sleep 0.05; done; kill $pid; wait $pid) 2>/dev/null
ok "killed: no half-written file keeps a name" bash -c "[ ! -e killed.wan.tmp ] && { [ ! -e killed.wan ] || wan-record check killed.wan; }"
wan-decode -q $size clips | head -c 20000 >part.wan
fails 1 'record [0-9]+' "the next stage names where a stream was cut" wan-record check part.wan

# ---- real clips, against ffmpeg
if [ -d "$SAMPLES" ] && command -v ffmpeg >/dev/null; then
    ref="scale=416:240:flags=bilinear+accurate_rnd+bitexact+full_chroma_int"
    for c in wan_cat_24fps:21 press_clay:113 motorcycle_4k:61:in_color_matrix=bt709; do # it states none
        IFS=: read -r c len matrix <<<"$c"
        ffmpeg -y -v error -i "$SAMPLES/$c.mp4" -vf "fps=16,$ref${matrix:+:$matrix}" -frames:v "$len" -f rawvideo \
            -pix_fmt rgb24 ref.rgb
        wan-decode -q --height 240 --width 416 --no-aspect-ratio "$SAMPLES/$c.mp4" |
            wan-record ls | jq -r '.tensors[0].sha256' >ours
        sha256sum <ref.rgb | cut -d' ' -f1 >theirs
        same "$c: the same $len frames as ffmpeg's, bit for bit" ours theirs
    done
    # scaled up swscale rounds packed and planar RGB differently, by at most 1 of 255
    ffmpeg -y -v error -i "$SAMPLES/sync_test_63s.mp4" -vf "fps=16,$ref,format=gbrp" -frames:v 45 \
        -f rawvideo -pix_fmt rgb24 ref.rgb
    wan-decode -q --height 240 --width 416 --frames 45 --no-aspect-ratio "$SAMPLES/sync_test_63s.mp4" |
        wan-record ls | jq -r '.tensors[0].sha256' >ours
    sha256sum <ref.rgb | cut -d' ' -f1 >theirs
    same "sync_test_63s, scaled up: the same as ffmpeg's planar RGB, bit for bit" ours theirs
    # rotated by 90 degrees: the same as ffmpeg's own turning
    ffmpeg -y -v error -i "$SAMPLES/wan_cat_24fps.mp4" -c copy -metadata:s:v rotate=90 turned.mp4
    echo '{"caption": "turned"}' >turned.json
    ok "rotation is applied" is "$(wan-decode -q --fps source turned.mp4 | wan-record ls |
        jq -c '.tensors[0].shape')" "[33,832,480,3]"
    ffmpeg -y -v error -i turned.mp4 -vf "scale=480:832:flags=bilinear+accurate_rnd+bitexact+full_chroma_int" \
        -f rawvideo -pix_fmt rgb24 ref.rgb
    wan-decode -q --fps source turned.mp4 | wan-record to-safetensors -q -o turned.safetensors
    tail -c $((33 * 832 * 480 * 3)) turned.safetensors >ours.rgb # not bit for bit: it turns before scaling
    raw="-f rawvideo -pix_fmt rgb24 -s 480x832"
    psnr=$(ffmpeg $raw -i ours.rgb $raw -i ref.rgb -lavfi psnr -f null - 2>&1 |
        sed -n 's/.*average:\([0-9]*\).*/\1/p')
    ok "and turned the right way ($psnr dB)" test "${psnr:-0}" -ge 30
else skip "real clips against ffmpeg" "no samples in $SAMPLES, or no ffmpeg"; fi
ok "--help names the defaults" bash -c "wan-decode --help | grep -q '\[16\]'"
ok "--version" bash -c "wan-decode --version | grep -q '^wan-decode '"
ok "libav is opened late: nothing of it is needed to start" sh -c '! ldd "$(command -v wan-decode)" | grep -qE "libav|libsw"'
done_testing
