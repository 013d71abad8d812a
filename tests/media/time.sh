# SPDX-License-Identifier: Apache-2.0
# Edit lists, wild and repeated time stamps, and the pixel aspect that only a container states.
. "$TOP/tests/lib.sh"
command -v ffmpeg >/dev/null || { skip "edit lists, time stamps, pixel aspect" "no ffmpeg"; done_testing; }
is() { [ "$1" = "$2" ] || { echo "got: $1; wanted: $2" >&2; false; }; }
src="-f lavfi -i testsrc2=s=64x48:r=24:d=3"
ff() { ffmpeg -nostdin -y -v error "$@" && printf '{"caption": "x"}' >"$(basename "${*: -1:1}" | sed 's/\.[^.]*$//').json"; }
meta() { wan-record ls --no-digest "$1" | jq -c "$2"; }
facts() { wan-decode -q "${@:2}" "$1" 2>err | wan-record ls | jq -c '[.meta.frames_in, .meta.frames_retimed, .meta.stamps_repeated, .meta.frames_damaged]'; }

# ---- edit lists: what ffmpeg shows, bit for bit, and cuts of such files are still noticed
ff $src -pix_fmt yuv420p -c:v libx264 -g 12 -bf 2 -movflags +faststart whole.mp4
patch() { # patch OUT START SECONDS: the edit list of whole.mp4 made to show that part
    perl -e 'my ($out, $start, $len) = @ARGV; local $/; open F, "whole.mp4"; binmode F; my $b = <F>;
        my ($mv, $md, $e, $tk) = map { index $b, $_ } "mvhd", "mdhd", "elst", "tkhd";
        my $u = sub { unpack "N", substr $b, $_[0], 4 }; my $d = int($len * $u->($mv + 16) + .5);
        substr($b, $e + 12, 8) = pack "NN", $d, $u->($e + 16) + int($start * $u->($md + 16) + .5);
        substr($b, $mv + 20, 4) = substr($b, $tk + 24, 4) = pack "N", $d;
        open F, ">$out"; binmode F; print F $b' "$@"; printf '{"caption": "x"}' >"${1%.*}.json"
}
patch head.mp4 0 2; patch middle.mp4 1.25 1.25; patch late.mp4 2.5 0.5
for c in whole:72 head:48 middle:30 late:12; do
    f=${c%:*}
    ok "$f: ${c#*:} frames" is "$(facts $f.mp4 --fps source | jq -c '.[0, 3]' | tr '\n' ' ')" "${c#*:} 0 "
    len=$(((${c#*:} - 1) / 4 * 4 + 1))
    ffmpeg -nostdin -v error -i $f.mp4 -frames:v $len -vf scale=64:48:flags=bilinear+accurate_rnd+bitexact+full_chroma_int,format=gbrp,format=rgb24 -f rawvideo - | sha256sum | cut -d' ' -f1 >theirs
    wan-decode -q --fps source $f.mp4 | wan-record ls | jq -r '.tensors[0].sha256' >ours
    same "$f: ffmpeg's $len frames" ours theirs
done
head -c $(($(stat -c %s middle.mp4) * 7 / 10)) middle.mp4 >cut.mp4; cp whole.json cut.json
fails 1 'cut.mp4: ' "an edit list and a cut" wan-decode -q -o x.wan cut.mp4

perl -e 'local $/; open F, "head.mp4"; binmode F; my $b = <F>; substr($b, index($b, "elst") + 20, 4) = pack "n2", 0, 0x8000; open F, ">slow.mp4"; binmode F; print F $b'
cp whole.json slow.json; wan-decode --fps source -o x.wan slow.mp4 2>err
ok "an edit at half the speed is told, the others are not" is "$(grep -c 'slow.mp4: 1 edits of its list change the speed' err)$(wan-decode --fps source -o x.wan middle.mp4 2>&1 | grep -c speed)" 10

# ---- time stamps
ff $src -c:v mpeg4 -bf 0 plain.mp4
restamp() { ffmpeg -nostdin -y -v error -i plain.mp4 -c copy -bsf:v "setts=$2" "$1"; printf '{"caption": "x"}' >"${1%.*}.json"; }
restamp good.mkv 'ts=TS'
ok "as they come" is "$(facts good.mkv)" "[72,48,0,0]"
restamp wild.mp4 "pts='if(eq(N,20),PTS+300/TB,PTS)'"
ok "one far ahead is damage, by default left out" is "$(facts wild.mp4)" ""
ok "$(cat err)" grep -Eq 'wild.mp4: damaged or truncated: 1 of 72 frames \(frame 21 is out of order at 300\.' err
ok "kept, it stands where it should" is "$(facts wild.mp4 --damaged keep)" "[72,48,0,1]"
restamp same.mp4 "pts='if(eq(N,19),PTS+512,PTS)'"
wan-decode same.mp4 2>err | wan-record ls >same.ls
ok "one repeated does not move the others" is "$(jq -c '[.meta.frames_in, .meta.frames_retimed, .meta.stamps_repeated, .meta.frames_damaged]' same.ls)" "[72,48,1,0]"
ok "and is told" grep -q 'same.mp4: 1 time stamp repeated' err
ffmpeg -nostdin -v error -i same.mp4 -vf fps=16,scale=64:48:flags=bilinear+accurate_rnd+bitexact+full_chroma_int,format=gbrp,format=rgb24 -frames:v 45 -f rawvideo - 2>/dev/null | sha256sum | cut -d' ' -f1 >theirs
jq -r '.tensors[0].sha256' same.ls >ours
same "the frames that ffmpeg's fps filter shows" ours theirs
restamp gap.mp4 "ts='if(gte(N,40),TS+60/TB,TS)'"
ok "a gap of a minute" is "$(facts gap.mp4)" ""
ok "$(cat err)" grep -q 'frame 41 comes after a gap of 60' err
ok "is taken when it is allowed" is "$(facts gap.mp4 --max-gap 0)" "[72,1008,0,0]"

# ---- pixel aspect
size() { wan-decode -q --fps source "$1" | wan-record ls --no-digest | jq -c '.tensors[0].shape[1:3]'; }
ff $src -pix_fmt yuv420p -c:v libx264 -vf setsar=2 vui.mp4
ff -i whole.mp4 -c copy -aspect 8:3 pasp.mp4
ff -i whole.mp4 -c copy -aspect 8:3 display.mkv
ff $src -c:v libvpx-vp9 -cpu-used 8 -deadline realtime -aspect 8:3 vp9.webm
ff $src -c:v ffv1 -aspect 8:3 nut.nut
for f in vui.mp4 pasp.mp4 display.mkv vp9.webm nut.nut; do ok "$f: pixels twice as wide as high" is "$(size $f)" "[48,128]"; done
ff -i vui.mp4 -c copy -aspect 2:3 both.mp4
ok "the container's word goes before the bitstream's, as in ffmpeg" is "$(size both.mp4)" "[48,32]"
done_testing
