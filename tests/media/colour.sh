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

# ---- many files at once: a folder of them, one process for ours, one for ffmpeg's, one for the difference
decode() { # decode DIR: its files, to DIR.ours/KEY.safetensors and DIR.said: key, pixel format, matrix, range, width, height
    for f in "$1"/*; do echo x >"${f%.*}.txt"; done
    wan-decode -q --fps source --allow-bad 999 -o "$1.wan" "$1" 2>"$1.err"
    wan-record ls --no-digest "$1.wan" |
        jq -r '[.key, .meta.colour.pixels, .meta.colour.matrix, .meta.colour.range, .meta.width, .meta.height] | @tsv' >"$1.said"
    wan-record to-safetensors -q -o "$1.ours" "$1.wan"
}
differ() { # differ DIR: lines of key, file, filters; those that ffmpeg has otherwise by more than 1 go to standard output
    local in=() out=() i=0
    mkdir -p "$1.theirs"
    while IFS=$'\t' read -r key file filters; do
        in+=(-threads 1 -i "$file"); out+=(-map $i:v -frames:v 1 -vf "$filters,format=gbrp,format=rgb24" -f rawvideo "$1.theirs/$key")
        i=$((i + 1)); echo "$key" >>"$1.keys"
    done
    ff -filter_threads 1 "${in[@]}" "${out[@]}"
    DIR=$1 perl -ne 'sub slurp { open my $f, "<:raw", $_[0]; local $/; <$f> // "" } chomp; my $t = slurp("$ENV{DIR}.theirs/$_");
        my $o = slurp("$ENV{DIR}.ours/$_.safetensors"); $o = substr $o, 8 + unpack "Q<", $o;
        my ($m, @t) = (0, unpack "C*", $t); my $i = 0;
        for my $v (unpack "C*", $o) { my $d = abs($v - $t[$i++]); $m = $d if $d > $m }
        print "$_($m) " if $m > 1 || !length $t || length $t != length $o' "$1.keys"
}

# ---- every pixel format that swscale reads and a file can give to a decoder of libav.  Raw video has some by its
# tag; others come from the codecs that have them.  What arrived is what the record says, or it does not count.
draw="testsrc2=s=64x48:r=24:d=0.04"
mkdir formats
out=(); for p in $(ffmpeg -v quiet -pix_fmts | awk '/^IO/ && $2 != "=" { print $2 }'); do out+=(-pix_fmt $p -c:v rawvideo formats/$p-raw.nut); done
ff -filter_threads 1 -f lavfi -i $draw "${out[@]}"
also() { ff -f lavfi -i $draw -pix_fmt "${1%-*}" -frames:v 1 "${@:2}" "formats/$1"; }
also ya16be-.png -update 1; also ya16le-.mov -c:v tiff
for p in grayf32le gbrpf32le gbrapf32le; do also $p-.mov -c:v exr; done
for p in yuv440p10le yuv440p12le; do also $p-.mkv -c:v libvpx-vp9 -lossless 1 -strict -1; done
for p in yuvj420p yuvj422p yuvj444p; do ff -f lavfi -i testsrc2=s=64x64:d=0.04 -pix_fmt $p -frames:v 1 -update 1 formats/$p-.jpg; done
# a JPEG has as many blocks in a unit of 4:2:0 as in one of 4:1:1, and of 4:2:2 as of 4:4:0: the same data, of another shape
perl -0777 -pe 's/(\xff\xc0\0\x11\x08)\0\x40\0\x40\x03\x01\x22/$1\0\x20\0\x80\x03\x01\x41/' formats/yuvj420p-.jpg >formats/yuvj411p-.jpg
perl -0777 -pe 's/(\xff\xc0\0\x11\x08....\x03\x01\x22.\x02)\x12(.\x03)\x12/$1\x21$2\x21/s' formats/yuvj422p-.jpg >formats/yuvj440p-.jpg
for g in gray:8 gray16le:16le gray16be:16be; do # one value for each pixel of a camera
    ff -f lavfi -i $draw -pix_fmt ${g%:*} -f rawvideo raw.bin
    for b in bggr rggb gbrg grbg; do ff -f rawvideo -pix_fmt bayer_$b${g#*:} -s 64x48 -r 24 -i raw.bin -c copy formats/bayer_$b${g#*:}-.nut; done
done
decode formats
while read -r key pixels _ range w h; do
    case $key in yuvj*) [ "yuv${key#yuvj} $range" = "$pixels- full" ] || continue ;; *) [ "${key%%-*}" = "$pixels" ] || continue ;; esac
    s=$w:$h; case $key in grayf32*) s+=:in_range=full ;; esac # as all grey; swscale takes this one alone for limited
    for f in formats/$key.*; do [[ $f == *.txt ]] || break; done; printf '%s\t%s\tscale=%s:%s\n' "$key" "$f" "$s" "$sws"
done <<<"$(sed 's/_-[0-9A-F]*-/_/g' formats.said)" >formats.list
tried=$(cut -f1 formats.list | sed 's/-.*//' | sort -u | wc -l)
wrong="$(differ formats <formats.list)$(grep 'cannot convert its pixels' formats.err)"
ok "$tried pixel formats" is "$wrong" ""
ok "most of libav's were tried" test $tried -gt 140

# ---- matrix and range, stated
mkdir matrices; : >matrices.list; : >matrices.want
for m in bt709 smpte170m fcc smpte240m bt2020nc; do for r in tv pc; do
    k=$m-$r; ff -f lavfi -i $draw -vf scale=out_color_matrix=$m:out_range=$r -pix_fmt yuv444p -c:v libx264 -qp 0 -color_range $r -colorspace $m matrices/$k.mp4
    printf '%s\t%s\t%s\n' $k matrices/$k.mp4 scale=64:48:in_color_matrix=$m:in_range=$r:$sws >>matrices.list
    printf '%s\t%s\t%s\n' $k $m "$([ $r = tv ] && echo limited || echo full)" >>matrices.want
done; done
ff -f lavfi -i $draw -vf "format=gbrp,zscale=matrix=ycgco:range=limited" -pix_fmt yuv444p -c:v libx264 -qp 0 -color_range tv -colorspace ycgco matrices/ycgco.mp4
printf 'ycgco\tmatrices/ycgco.mp4\tzscale=matrixin=ycgco:rangein=limited:matrix=gbr:range=full\n' >>matrices.list
# not among swscale's, and through linear light; of DPX, too
linear="transfer=linear:npl=100,format=gbrpf32le,zscale=primaries=709,TONEzscale=transfer=709:matrix=gbr:range=full"
for c in bt2020c:bt2020-10:bt2020 chroma-derived-nc:bt709:bt709 chroma-derived-c:bt2020-12:bt2020 ictcp:smpte2084:bt2020; do
    IFS=: read -r m t p <<<$c; tone=; [ $m = ictcp ] && tone=tonemap=hable:desat=0,
    ff -f lavfi -i $draw -pix_fmt yuv444p10le -c:v ffv1 -color_range tv -colorspace $m -color_trc $t -color_primaries $p matrices/$m.mkv
    printf '%s\t%s\t%s\n' $m matrices/$m.mkv "zscale=matrix=gbr:primaries=2020:${linear/TONE/$tone}" >>matrices.list
    [ $p = bt709 ] && sed -i '$s/primaries=2020/primaries=709/' matrices.list
done
ff -f lavfi -i $draw -pix_fmt rgb24 -c:v dpx -color_trc linear matrices/linear.mov
printf '%s\t%s\t%s\n' linear matrices/linear.mov "setparams=colorspace=gbr:color_trc=linear:color_primaries=bt709,format=gbrp,zscale=${linear/TONE/}" >>matrices.list
decode matrices
ok "$(wc -l <matrices.list) matrices and ranges" is "$(differ matrices <matrices.list)" ""
cut -f1,3,4 matrices.said | grep -- '-[tp][vc]	' | sort >matrices.is; sort matrices.want >want
same "matrices and ranges: said" want matrices.is
ff -f lavfi -i $draw -pix_fmt yuv444p -c:v ffv1 -colorspace smpte2085 -color_range tv odd.mkv; echo x >odd.txt
fails 1 'odd.mkv: its colours \(matrix smpte2085, .* need libav.s zscale: ' "what zscale cannot is named" wan-decode -q -o x.wan odd.mkv

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

# ---- rotation stated in the picture: an Exif block, in its own place in each kind
mkdir turned; ff -f lavfi -i testsrc2=s=64x32:r=24:d=0.04 -pix_fmt yuvj444p -q:v 2 plain.jpg
ff -f lavfi -i testsrc2=s=64x32:r=24:d=0.04 -frames:v 1 plain.png; ff -i plain.png -lossless 1 -pix_fmt bgra plain.webp
way=(null null hflip hflip,vflip vflip transpose=cclock_flip transpose=clock transpose=clock_flip transpose=cclock)
for o in 2 3 4 5 6 7 8; do for e in jpg png webp; do
    O=$o perl -MCompress::Zlib -0777 -ne 'BEGIN { binmode STDIN; binmode STDOUT } my $big = $ENV{O} & 1; my @n = $big ? qw(n N) : qw(v V);
        my $t = ($big ? "MM\0*" : "II*\0") . pack("$n[1] $n[0] $n[0]$n[0]$n[1]$n[0]$n[0] $n[1]", 8, 1, 0x112, 3, 1, $ENV{O}, 0, 0);
        if (/^\xff\xd8/) { $t = "Exif\0\0$t"; substr($_, 2, 0) = "\xff\xe1" . pack("n", 2 + length $t) . $t }
        elsif (/^RIFF/) { $_ = substr($_, 0, 12) . "VP8X" . pack("V V vCvC", 10, 8, 63, 0, 31, 0) . substr($_, 12) . "EXIF" . pack("V", length $t) . $t; substr($_, 4, 4) = pack("V", length() - 8) }
        else { substr($_, 33, 0) = pack("N", length $t) . "eXIf$t" . pack("N", crc32("eXIf$t")) }
        print' plain.$e >turned/$o-$e.$e
    printf '%s\t%s\t%s\n' $o-$e plain.$e scale=$sws,format=gbrp,${way[$o]}
done; done >turned.list
decode turned
ok "orientations 2 to 8 of JPEG, PNG and WebP" is "$(wc -l <turned.said) $(differ turned <turned.list)" "21 "

# ---- filters of fixed width (check_resample holds them against OpenCV's)
ff -f lavfi -i color=black:s=64x64:d=0.04 -vf "format=gbrp,geq=r=if(mod(X\,4)+mod(Y\,4)\,0\,255):g=X:b=Y" -frames:v 1 grid.png
ours grid.png --height 16 --width 16 --no-antialias --resize-mode nearest
ok "--no-antialias: every fourth pixel" is "$(od -An -tu1 -v -w3 ours | awk '$1 != 255 || $2 % 4 || $3 % 4 { n++ } END { print n + 0 }')" 0
done_testing
