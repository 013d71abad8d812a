# SPDX-License-Identifier: Apache-2.0
# Colours, HDR, transparency, fields and rotation, against ffmpeg's own filters: at most 1 of 255 apart.
. "$TOP/tests/lib.sh"
command -v ffmpeg >/dev/null || { skip "colours" "no ffmpeg"; done_testing; }
is() { [ "$1" = "$2" ] || { echo "got: $1; wanted: $2" >&2; false; }; }
sws=flags=bilinear+accurate_rnd+bitexact+full_chroma_int
ff() { ffmpeg -nostdin -y -v error "$@"; }
ours() { # ours FILE OPTION...: its pixels to ours, what was said of it to said
    printf '{"caption": "x"}' >"${1%.*}.json"
    wan-decode -q --fps source "${@:2}" -o x.wan "$1" || return
    wan-record ls --no-digest x.wan | jq -c '.meta' >said
    wan-record to-safetensors -q -o x.safetensors x.wan
    tail -c "$(wan-record ls --no-digest x.wan | jq '.tensors[0].shape | .[0] * .[1] * .[2] * .[3]')" x.safetensors >ours
}
theirs() { ff -i "$1" -frames:v "${3:-1}" -vf "$2,format=gbrp,format=rgb24" -f rawvideo theirs; }
apart() { # the largest difference of two files of bytes
    cmp -l ours theirs | perl -ane '$d = abs(oct($F[1]) - oct($F[2])); $m = $d if $d > $m; END { print $m + 0 }'
    [ "$(stat -c %s ours)" = "$(stat -c %s theirs)" ] || echo " of other sizes"
}
near() { ok "$1" is "$(apart | sed 's/^1$/0/')" 0; }
facts() { jq -c ".colour | [.matrix, .range, .transfer, .assumed, .tone_mapped]" said; }

# ---- every pixel format that swscale reads and a file can give to a decoder of libav.  Raw video has some by its
# tag; others come from the codecs that have them.  What arrived is what the record says, or it does not count.
draw="testsrc2=s=64x48:r=24:d=0.04"
tried=0 wrong= left=
carry() { # carry FORMAT: files of it, one after the other, as codecs.*
    ff -f lavfi -i $draw -pix_fmt "$1" -c:v rawvideo codecs.nut
    case $1 in
    ya16be) ff -f lavfi -i $draw -pix_fmt "$1" -frames:v 1 -update 1 codecs.png ;;
    ya16le) ff -f lavfi -i $draw -pix_fmt "$1" -c:v tiff codecs.mov ;;
    *f32le) ff -f lavfi -i $draw -pix_fmt "$1" -c:v exr codecs.mov ;;
    yuv440p1*) ff -f lavfi -i $draw -pix_fmt "$1" -c:v libvpx-vp9 -lossless 1 -strict -1 codecs.mkv ;;
    # a JPEG has as many blocks in a unit of 4:2:0 as in one of 4:1:1: the same data, of another shape
    yuvj411p) ff -f lavfi -i testsrc2=s=64x64:d=0.04 -pix_fmt yuvj420p -frames:v 1 -update 1 j.jpg &&
        perl -0777 -pe 's/(\xff\xc0\0\x11\x08)\0\x40\0\x40\x03\x01\x22/$1\0\x20\0\x80\x03\x01\x41/' j.jpg >codecs.jpg ;;
    yuvj*) ff -f lavfi -i $draw -pix_fmt "$1" -frames:v 1 -update 1 codecs.jpg ;;
    *bayer*)
        case $1 in *16le) g=gray16le ;; *16be) g=gray16be ;; *) g=gray ;; esac
        ff -f lavfi -i $draw -pix_fmt $g -f rawvideo raw.bin # one value for each pixel of a camera
        ff -f rawvideo -pix_fmt "$1" -s 64x48 -r 24 -i raw.bin -c copy codecs.nut ;;
    esac
}
for p in $(ffmpeg -v quiet -pix_fmts | awk '/^I/ && $2 != "=" { print $2 }'); do
    rm -f codecs.*; carry "$p" 2>/dev/null
    came=
    for f in codecs.*; do
        [ -s "$f" ] || continue
        rm -f ours theirs said
        ours "$f" 2>err || { grep -q "($p, " err && wrong+="$p "; continue; }
        case $p in yuvj*) came_as="yuv${p#yuvj} full" ;; *) came_as="$p $(jq -r .colour.range said)" ;; esac
        [ "$(jq -r '.colour | .pixels + " " + .range' said)" = "$came_as" ] || continue
        s=$(jq -r '"\(.width):\(.height)"' said)
        case $p in grayf32*) s+=:in_range=full ;; esac # as all grey; swscale takes this one alone for limited
        theirs "$f" scale=$s:$sws
        came=1; [ -s ours ] && [ "$(apart)" -le 1 ] || wrong+="$p($f) "
    done
    if [ $came ]; then tried=$((tried + 1)); else left+="$p "; fi
done
echo "# in no file that is read: $left"
ok "$tried pixel formats" is "$wrong" ""
ok "most of libav's were tried" test $tried -gt 140

# ---- matrix and range, stated
for m in bt709 smpte170m fcc smpte240m bt2020nc; do for r in tv pc; do
    ff -f lavfi -i $draw -vf scale=out_color_matrix=$m:out_range=$r -pix_fmt yuv444p -c:v libx264 -qp 0 -color_range $r -colorspace $m m.mp4
    ours m.mp4; theirs m.mp4 scale=64:48:in_color_matrix=$m:in_range=$r:$sws
    near "$m, $r"
    ok "$m, $r: said" is "$(facts)" "[\"$m\",\"$([ $r = tv ] && echo limited || echo full)\",\"unknown\",\"\",false]"
done; done
for m in ycgco; do # not among swscale's
    ff -f lavfi -i $draw -vf "format=gbrp,zscale=matrix=$m:range=limited" -pix_fmt yuv444p -c:v libx264 -qp 0 -color_range tv -colorspace $m m.mp4
    ours m.mp4; theirs m.mp4 "zscale=matrixin=$m:rangein=limited:matrix=gbr:range=full"
    near "$m, by another way"
done

# ---- and where nothing is stated
for s in 64x48:smpte170m 1280x720:bt709; do
    ff -f lavfi -i testsrc2=s=${s%:*}:r=24:d=0.04 -pix_fmt yuv420p -c:v ffv1 u.nut
    ours u.nut; theirs u.nut scale=in_color_matrix=${s#*:}:$sws
    near "untagged, ${s%:*}: ${s#*:}"
    ok "and said" is "$(facts)" "[\"${s#*:}\",\"limited\",\"unknown\",\"matrix range\",false]"
done
ours u.nut --untagged bt601; theirs u.nut scale=in_color_matrix=smpte170m:$sws
near "--untagged bt601"

# ---- HDR and wide colours
for t in smpte2084 arib-std-b67; do
    ff -f lavfi -i $draw -vf "format=gbrp,zscale=matrix=2020_ncl:primaries=2020:primariesin=709:transferin=709:transfer=$t:range=limited,format=yuv420p10le" \
        -c:v libx265 -x265-params "log-level=none:lossless=1:colorprim=bt2020:transfer=$t:colormatrix=bt2020nc:range=limited" hdr.mp4
    ours hdr.mp4
    theirs hdr.mp4 "zscale=transfer=linear:npl=100,format=gbrpf32le,zscale=primaries=709,tonemap=hable:desat=0,zscale=transfer=709:matrix=gbr:range=full"
    near "$t is tone-mapped"
    ok "$t: said" is "$(facts)" "[\"bt2020nc\",\"limited\",\"$t\",\"\",true]"
    theirs hdr.mp4 scale=in_color_matrix=bt2020:$sws
    ok "$t: not taken for SDR" test "$(apart)" -gt 20
    fails 1 "hdr.mp4: HDR \($t\)" "$t: --hdr refuse" wan-decode -q --hdr refuse -o x.wan hdr.mp4
done
ff -f lavfi -i $draw -vf "format=gbrp,zscale=matrix=2020_ncl:primaries=2020:primariesin=709:transferin=709:transfer=2020_10:range=limited,format=yuv420p10le" \
    -c:v libx265 -x265-params "log-level=none:lossless=1:colorprim=bt2020:transfer=bt2020-10:colormatrix=bt2020nc:range=limited" wide.mp4
ours wide.mp4
theirs wide.mp4 "zscale=transfer=linear:npl=100,format=gbrpf32le,zscale=primaries=709,zscale=transfer=709:matrix=gbr:range=full"
near "wide primaries become the screen's"

# ---- transparency
for p in rgba yuva420p ya8 gbrap16le; do
    ff -f lavfi -i $draw -vf "format=rgba,geq=r=r(X\,Y):g=g(X\,Y):b=b(X\,Y):a=X*4,format=$p" -c:v rawvideo alpha.nut
    for b in 000000 ff8020; do
        ours alpha.nut --background $b
        ff -i alpha.nut -frames:v 1 -filter_complex "color=0x$b:s=64x48,format=gbrp[b];[0]scale=$sws,format=gbrap[v];[b][v]overlay=format=gbrp,format=gbrp,format=rgb24" -f rawvideo theirs
        near "$p over $b"
    done
done
ok "the background is said" is "$(jq -r .colour.background said)" ff8020
ours alpha.nut --background ff8020 --height 16 --width 32 --center-crop
ff -i alpha.nut -frames:v 1 -filter_complex "color=0xff8020:s=64x48,format=gbrp[b];[0]scale=$sws,format=gbrap[v];[b][v]overlay=format=gbrp,format=gbrp,scale=32:24:$sws,crop=32:16,format=rgb24" -f rawvideo theirs
near "laid over it before it is scaled"
if ff -f lavfi -i $draw -vf "format=rgba,geq=r=r(X\,Y):g=g(X\,Y):b=b(X\,Y):a=X*4,format=yuva420p" -c:v libvpx-vp9 -lossless 1 clear.webm; then
    ours clear.webm --background ffffff
    ff -c:v libvpx-vp9 -i clear.webm -frames:v 1 -filter_complex "color=white:s=64x48,format=gbrp[b];[0]scale=in_color_matrix=smpte170m:$sws,format=gbrap[v];[b][v]overlay=format=gbrp,format=gbrp,format=rgb24" -f rawvideo theirs
    near "WebM with transparency"
else skip "WebM with transparency" "no libvpx"; fi
fails 2 'background' "a background that is none" wan-decode --background white alpha.nut
fails 2 'background' "a background too long" wan-decode --background 0000000 alpha.nut

# ---- fields
ff -f lavfi -i testsrc2=s=64x48:r=50:d=0.5 -vf tinterlace=interleave_top,fieldorder=tff -c:v mpeg2video -flags +ildct+ilme -q:v 2 fields.mpg
ours fields.mpg; theirs fields.mpg bwdif=mode=send_frame:deint=interlaced,scale=$sws 9
near "interlaced frames are deinterlaced, as bwdif does"
ok "and counted" is "$(jq -c '[.frames_in, .frames_retimed, .frames_interlaced]' said)" "[12,12,12]"
ours fields.mpg --interlaced keep; theirs fields.mpg scale=$sws 9
near "--interlaced keep"
fails 1 'fields.mpg: interlaced' "--interlaced refuse" wan-decode -q --interlaced refuse -o x.wan fields.mpg
wan-decode -q -o a.wan fields.mpg; wan-decode -q --threads 1 -o b.wan fields.mpg
same "the same for any number of threads" a.wan b.wan

# ---- rotation stated in the picture
ff -f lavfi -i testsrc2=s=64x32:r=24:d=0.04 -pix_fmt yuvj444p -q:v 2 plain.jpg
perl -e 'local $/; open F, "plain.jpg"; binmode F; $b = <F>; # orientation 6: a quarter turn clockwise
    $t = "Exif\0\0II*\0" . pack("V v vvVvv V", 8, 1, 0x112, 3, 1, 6, 0, 0);
    substr($b, 2, 0) = "\xff\xe1" . pack("n", 2 + length $t) . $t; open F, ">turned.jpg"; binmode F; print F $b'
ours turned.jpg; ff -i plain.jpg -vf scale=$sws,format=gbrp,transpose=clock,format=rgb24 -f rawvideo theirs
near "the orientation of a photograph"

# ---- filters of fixed width (check_resample holds them against OpenCV's)
ff -f lavfi -i color=black:s=64x64:d=0.04 -vf "format=gbrp,geq=r=if(mod(X\,4)+mod(Y\,4)\,0\,255):g=X:b=Y" -frames:v 1 grid.png
ours grid.png --height 16 --width 16 --no-antialias --resize-mode nearest
ok "--no-antialias: every fourth pixel" is "$(od -An -tu1 -v -w3 ours | awk '$1 != 255 || $2 % 4 || $3 % 4 { n++ } END { print n + 0 }')" 0
done_testing
