# SPDX-License-Identifier: Apache-2.0
# Into a file frames go as they are decoded, and their record's front when it is known: the bytes are those of a
# pipe, whatever was foreseen of a clip and whatever becomes of it, and memory does not grow with its length.
. "$TOP/tests/lib.sh"
command -v ffmpeg >/dev/null || { skip "streamed clips" "no ffmpeg"; done_testing; }
is() { [ "$1" = "$2" ] || { echo "got: $1; wanted: $2" >&2; false; }; }
draw() { ffmpeg -nostdin -y -v error "${@:2}" "$1"; printf '{"caption": "x", "text": "y"}' >"${1%.*}.json"; }
hurt() { # 24 bytes at PERCENT of it written over
    printf 'ZZZZZZZZZZZZZZZZZZZZZZZZ' | dd of="$1" bs=1 seek=$(($(stat -c %s "$1") * $2 / 100)) conv=notrunc status=none
}
mkdir mix
src="-f lavfi -i testsrc2=s=128x96:r=24"
draw mix/a.mp4 $src -t 2 -c:v libx264 -pix_fmt yuv420p -g 24 -movflags +faststart
draw mix/b.mkv $src -t 3 -c:v libx264 -pix_fmt yuv420p -vf "setpts='PTS+floor(N/7)*0.03/TB'" # no number of frames, no even rate
draw mix/c.mp4 $src -t 6 -c:v libx264 -pix_fmt yuv420p -g 24; hurt mix/c.mp4 70
cp mix/a.json mix/d.json; head -c $(($(stat -c %s mix/a.mp4) * 3 / 4)) mix/a.mp4 >mix/d.mp4
draw mix/e.mp4 $src -t 1 -c:v libx264 -pix_fmt yuv420p -x264-params tff=1 -flags +ilme+ildct # needs libavfilter, once it is begun
draw mix/f.mp4 $src -frames:v 1 -c:v libx264 -pix_fmt yuv420p
draw mix/g.h264 $src -t 1 -c:v libx264 -pix_fmt yuv420p
draw mix/h.mp4 $src -t 2 -r 7 -c:v libx264 -pix_fmt yuv420p
mkdir mix/sub; cp mix/a.mp4 mix/sub/a.mp4; cp mix/a.json mix/sub/a.json
draw mix/zz.webm $src -t 2 -c:v libvpx -deadline realtime -b:v 200k
wide() { # what a pipe, a file, and one that cannot be read back get; of OPTIONS -jN is for the file alone
    local jobs=-j1
    case $1 in -j*) jobs=$1; shift ;; esac
    wan-decode -q -t 1 "$@" mix 2>pipe.log | cat >pipe.wan; echo "${PIPESTATUS[0]}" >pipe.rc
    wan-decode -q $jobs "$@" -o file.wan mix 2>file.log; echo $? >file.rc
    cmp pipe.wan file.wan && cmp pipe.rc file.rc && cmp pipe.log file.log
}
keys() { wan-record ls --no-digest pipe.wan | jq -r .key | tr '\n' ' '; }
small="--height 48 --width 64"
ok "a file has the bytes of a pipe, bad clips are left out" wide $small --no-aspect-ratio
ok "which they are" is "$(grep -o 'mix/[a-z]*\.[a-z0-9]*: damaged' pipe.log | tr '\n' ' ')" "mix/c.mp4: damaged mix/d.mp4: damaged "
wan-decode -q $small --no-aspect-ratio mix 2>file.log >file.wan
same "and so has a file that cannot be read back" pipe.wan file.wan
ok "so it is where damaged ones are kept, with 4 threads, 4 at once, at the source's rate" wide -j4 -t 4 --fps source $small --damaged keep
ok "which are 10 records" is "$(keys | wc -w) $(wan-record check pipe.wan 2>&1 | grep -c '10 records')" "10 1"
ok "with 2 threads" wide -t 2 $small --damaged keep
ok "where a run stops" wide -j2 --damaged stop
ok "at a damaged clip" is "$(cat pipe.rc) $(keys)" "1 a b "
ok "of the first frames of clips that are long enough" wide --frames 7 --min-frames 20 --min-fps 10 $small
ok "of those that are not still, every caption in one record, under a budget" wide --max-still 0.5 --fps 60 --captions all --max-tokens 500
ok "with a record for each caption, of a part" wide -j2 --captions each --start 0.5 --end 1.2 $small
ok "in pieces" wide --frames 9 --take every $small
ok "in scenes" wide --scene-cut 10 $small
ok "under keys of any length" wide $small --key-prefix "$(printf 'long/%.0s' $(seq 20))"
ok "too large ones are left out" wide -j2 --max-clip 1M
ok "which they are" grep -q 'more than 1048576 bytes' pipe.log

# ---- crashes in the middle
shim=${OBJ:-$(ls -dt "$TOP"/build/obj/*/ | head -1)}/tests/media/astray.so
asan=$(ldd "$(command -v wan-decode)" | awk '/libasan/ { print $3 }')
mkdir all; mv mix all; mkdir mix; cp all/mix/a.* mix
draw mix/bb.mp4 -f lavfi -i testsrc2=s=80x48:r=16 -t 1 -c:v mpeg4
astray() { ASTRAY=$1 LD_PRELOAD=${asan:+$asan:}$shim wide $small "${@:2}"; }
ok "a decoder that crashes" astray crash
ok "costs its file" is "$(keys)$(grep -c 'bb.mp4: .*signal 11.*this clip is left out' pipe.log)" "a 1"
ok "and so does one that hangs" astray hang --max-wait 4

# ---- memory
draw long.mp4 -f lavfi -i testsrc2=s=96x64:r=16 -t 40 -c:v libx264 -preset ultrafast -pix_fmt yuv420p
few() { (ulimit -d $1; wan-decode -q --sandbox off -j 1 -t 1 --height 240 --width 416 --no-aspect-ratio "${@:2}" long.mp4); }
if [ -n "$asan" ]; then skip "memory" "AddressSanitizer takes more"; else
    ok "192 MB of frames in 150 MB of memory" few 150000 -o long.wan
    piped() { few 150000 | cat >long2.wan; return ${PIPESTATUS[0]}; }
    fails 1 "out of memory" "which a pipe needs" piped
    few 1000000 | cat >long2.wan
    same "the same bytes" long.wan long2.wan
fi
done_testing
