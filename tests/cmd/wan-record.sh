# SPDX-License-Identifier: Apache-2.0
# wan-record as a user runs it; the reader and the hex dump of wan-record(5).
. "$TOP/tests/lib.sh"
two=$TOP/tests/data/record/two.wan page=$TOP/man/wan-record.5
is() { [ "$1" = "$2" ] || { echo "got: $1; wanted: $2" >&2; false; }; }
block() { # the literal block of a section of the page
    awk -v s=".Sh $1" '$0 == s {on = 1} /^\.Sh / && $0 != s {on = 0} /^\.Ed/ {take = 0}
        take {gsub(/\\e/, "\\"); print} on && /^\.Bd/ {take = 1}' "$page"
}

# ---- the man page tells the truth
block "HEX DUMP" >page.dump; od -A x -t x1z "$two" >od.dump
same "the hex dump is that of the file" page.dump od.dump
block READER >reader.c
ok "the reader compiles without a warning" ${CC:-cc} -std=c11 -Wall -Wextra -Werror -O2 -o reader reader.c
cat >want.txt <<'END'
HEAD  {"provenance":[]}
DATA clip_1 {"caption":"a cat"}
  frames U8 [1, 2, 2, 3] at 256
  text F32 [1, 2] at 320
DATA clip_2 {"caption":"a dog"}
  token_ids I32 [3] at 192
END
./reader <"$two" >got.txt
ok "the reader reads it" bash -c "head -n 6 got.txt | cmp - want.txt"
"${EXAMPLES:-$TOP/build/examples}/draw_clips" --copies 1 --frames 9 all >draw.log 2>&1
mkdir clips; for f in $(ls all | grep mp4 | head -n 3); do cp "all/$f" "all/${f%.mp4}.json" clips/; done
wan-decode -q --height 48 --width 32 --center-crop clips >real.wan
ok "and a real stream, with the same records as wan-record" bash -c \
    "./reader <real.wan | sed -n 's/^DATA \([^ ]*\).*/\1/p' | cmp - <(wan-record ls real.wan | jq -r .key)"
fails 1 'truncated' "and notices a cut" bash -c "head -c 1000 real.wan | ./reader"
cat real.wan "$two" | ./reader >cat.txt
ok "and reads cat a b" is "$(grep -c ^DATA cat.txt)" 5

# ---- ls, cat, check
ok "ls: JSON lines" is "$(wan-record ls "$two" | jq -c '[.key, .meta.caption, [.tensors[] | .name, .dtype, .shape]]' | head -1)" \
    '["clip_1","a cat",["frames","U8",[1,2,2,3],"text","F32",[1,2]]]'
ok "ls: digests" is "$(wan-record ls "$two" | jq -r '.tensors[0].sha256' | head -1)" \
    "$(tail -c +385 "$two" | head -c 12 | sha256sum | cut -d' ' -f1)"
ok "ls --header" is "$(wan-record ls --header --no-digest real.wan | jq -r '.header.provenance[0].program' | head -1)" wan-decode
ok "ls reads standard input" is "$(wan-record ls <"$two" | wc -l)" 2
wan-record cat --key 'clip_2' "$two" >one.wan
ok "cat --key" is "$(wan-record ls one.wan | jq -r .key)" clip_2
ok "cat adds provenance" is "$(wan-record ls --header one.wan | head -1 | jq -r '.header.provenance[0].id')" wan-record.1
ok "ls --header shows each of two files" is "$(wan-record ls --header one.wan real.wan | jq -r '.header.provenance[0].program // empty' | tr '\n' ' ')" "wan-record wan-decode "
ok "and each stream of one" is "$(cat one.wan one.wan real.wan | wan-record ls --header | jq -r '.header.provenance[0].program // .key' | tr '\n' ' ')" \
    "wan-record clip_2 clip_2 wan-decode $(wan-record ls real.wan | jq -r .key | tr '\n' ' ')"
wan-record cat "$two" real.wan >both.wan
ok "cat of two streams keeps both headers" is "$(./reader <both.wan | grep -c ^HEAD)" 2
ok "check" is "$(wan-record check both.wan)" "good: 5 records, $((32 + 3 * 9 * 48 * 32 * 3)) bytes of tensors"
head -c 800 "$two" >cut.wan
fails 1 'cut.wan: record 3: truncated' "check: truncated in the end record" wan-record check cut.wan
fails 1 'record 3' "cat: does not copy a truncated stream on" bash -c "wan-record cat cut.wan | cat >copy.wan; exit \${PIPESTATUS[0]}"
fails 1 'record 3' "the copy is not whole either" wan-record check copy.wan
fails 1 'cut.wan: record 3' "cat -o leaves no file" wan-record cat -o none.wan cut.wan
ok "none there" test ! -e none.wan
{ head -c 453 "$two"; printf '\177'; tail -c +455 "$two"; } >flip.wan
fails 1 'record 1 \(clip_1\): bad checksum' "check: a damaged tensor" wan-record check flip.wan
fails 1 'used before' "check: a key twice" bash -c "cat $two $two | wan-record check"
fails 1 'not a record' "check: a text file" wan-record check "$page"
fails 1 'empty input' "check: nothing" wan-record check /dev/null
head -c $(($(stat -c %s "$two") - 192)) "$two" >noend.wan; at=$(stat -c %s noend.wan)
fails 1 "record 3: .*truncated .behind byte $at" "check: where a stream without its end ends" wan-record check noend.wan
fails 1 'empty input, not even a stream header .behind byte 0' "check: bytes that are not there are not named" wan-record check /dev/null
fails 1 'nowhere' "check: no such file" wan-record check nowhere

# ---- safetensors
ok "to-safetensors" wan-record to-safetensors -q -o st real.wan
wan-record from-safetensors st/*.safetensors >back.wan
wan-record ls real.wan | sort >a; wan-record ls back.wan | sort >b
same "and back: the same records" a b
wan-record to-safetensors -q -o h.safetensors one.wan
ok "files of two histories: two streams" is "$(wan-record from-safetensors h.safetensors st/*.safetensors | wan-record ls --header |
    jq -r '.header.provenance[0].program // .key' | tr '\n' ' ')" "wan-record clip_2 wan-decode $(wan-record ls real.wan | jq -r .key | tr '\n' ' ')"
ok "one file" wan-record to-safetensors -q --key clip_1 -o one.safetensors "$two"
fails 1 'second record' "two records into one file" wan-record to-safetensors -o two.safetensors "$two"
fails 1 'record 3 \(clip_1\): a key used before' "a key twice into one folder" bash -c \
    "cat $two $two | wan-record to-safetensors -o twice"
ok "nothing was replaced" is "$(ls twice)" "$(printf 'clip_1.safetensors\nclip_2.safetensors')"
fails 2 'one record, but there are 2 files' "from-safetensors: one --key for two files" \
    wan-record from-safetensors --key a one.safetensors one.safetensors
fails 2 'needs -o' "without -o" wan-record to-safetensors "$two"
ok "a foreign file" bash -c "wan-record from-safetensors --key ref/net $TOP/tests/data/ref/net_a/in.safetensors | wan-record check"
for name in 'a b' a_b v1.5 x_-y; do cp "$TOP/tests/data/ref/net_a/in.safetensors" "$name.safetensors"; done
ok "names of foreign files are keys one to one, or as paths are" is "$(wan-record from-safetensors 'a b.safetensors' a_b.safetensors v1.5.safetensors x_-y.safetensors | wan-record ls --no-digest | jq -r .key | tr '\n' ' ')" "a_-20-b a_b v1_-2E-5 x_-y "
fails 1 'not a safetensors|header' "a file that is none" wan-record from-safetensors "$two"
if [ -x "${WAN_PYTHON:-}" ]; then
    ok "Python reads them" "$WAN_PYTHON" -c "
from safetensors import safe_open
import json
f = safe_open('one.safetensors', 'np')
assert f.get_tensor('frames').ravel().tolist() == list(range(1, 13))
assert f.get_tensor('text').tolist() == [[1.0, -0.5]]
assert json.loads(f.metadata()['wan_meta']) == {'caption': 'a cat'}"
else skip "Python reads them" "WAN_PYTHON is not set to a Python with safetensors"; fi

# values that are not finite
printf '\x40\0\0\0\0\0\0\0{"latent":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}    \x80\x3f\xc0\x7f' >nan.safetensors
fails 1 'latent has not the type and shape' "check: shape of a latent" bash -c \
    "wan-record from-safetensors nan.safetensors | wan-record check"
sed 's/latent/tensor/' nan.safetensors >nan2.safetensors
fails 1 'not finite' "check: NaN" bash -c "wan-record from-safetensors nan2.safetensors | wan-record check"
sed 's/latent/text__/' nan.safetensors | sed 's/text__/text/; s/}}    /}}      /' >rank.safetensors
fails 1 'text has not the type and shape' "check: shape of text rows" bash -c \
    "wan-record from-safetensors rank.safetensors | wan-record check"
printf '\x68\0\0\0\0\0\0\0%-104s\1' '{"__metadata__":{"format":"pt","who":"me"},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}' >who.safetensors
ok "foreign metadata is kept" is "$(wan-record from-safetensors who.safetensors | wan-record ls |
    jq -c '[.key, .meta]')" '["who",{"who":"me"}]'
# 1e300 is finite, though not as F32
printf '\x40\0\0\0\0\0\0\0{"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}          \x9c\x75\0\x88\x3c\xe4\x37\x7e' >big.safetensors
ok "check: a large F64" bash -c "wan-record from-safetensors big.safetensors | wan-record check"

printf '\x40\0\0\0\0\0\0\0%-64s\1\0\2\0' '{"text":{"dtype":"I16","shape":[2,1],"data_offsets":[0,4]}}' >int.safetensors
fails 1 'text has not the type and shape' "check: text rows of integers" bash -c "wan-record from-safetensors int.safetensors | wan-record check"
printf '\x40\0\0\0\0\0\0\0%-64s\1\0\2\0' '{"token_ids":{"dtype":"I16","shape":[2],"data_offsets":[0,4]}}' >ids.safetensors
fails 1 'token_ids has not the type and shape' "check: tokens of 16 bits" bash -c "wan-record from-safetensors ids.safetensors | wan-record check"
sed 's/"who"/"!wh"/' who.safetensors >bang.safetensors
fails 1 'record 1: metadata key "!wh"' "no record is written that no reader takes" wan-record from-safetensors -o bang.wan bang.safetensors

# ---- .meta files
am=$TOP/tests/data/torch/automodel
wan-record from-meta "$am" >meta.wan
ok "from-meta: keys are paths" is "$(wan-record ls --no-digest meta.wan | jq -r .key | tr '\n' ' ')" "48x32/clip_-20-2 clip_1 "
ok "captions and what else is told" is "$(wan-record ls --no-digest meta.wan | jq -c '[.meta.caption, .meta.num_frames, .meta.source, .meta.deterministic_latents, .meta.bucket_resolution]' | tr '\n' ' ')" \
    '["two",null,null,null,[48,32]] ["a 猫",5,"a b.mp4",true,null] '
ok "tensors without the batch of one" is "$(wan-record ls meta.wan | jq -c '[.tensors[].shape]' | uniq)" '[[3,1,2,2],[3,4]]'
# the fixture's storage is that of p4.pickle, 12 half floats -3, -2.5, ...
ok "with their values" is "$(wan-record to-safetensors -k clip_1 -o - meta.wan | tail -c 24 | od -A n -t x2 | tr -d ' \n')" \
    c200c100c000be00bc00b800000038003c003e0040004100
ok "a shard of them" sh -c "wan-shard -q -o metas meta.wan && wan-index -q --split-ratio 1,0,0 metas && wan-index -q --check metas"
fails 1 'no tensor video_latents' "a pickle of something else" wan-record from-meta -o x.wan "$TOP/tests/data/torch/p4.pickle"
fails 1 'no .meta or .pt files' "a folder without" wan-record from-meta -o x.wan metas
fails 2 'needs files' "no operand" wan-record from-meta
printf '\200\002}(X\001\0\0\0aX\002\0\0\0b\0u.' >zero.meta
fails 1 'zero.meta: a text with a zero byte' "a text that JSON cannot hold" wan-record from-meta -o x.wan zero.meta
for at in 1 100 600; do head -c $at "$am/clip_1.meta" >cut.meta; fails 1 'cut.meta' "cut at $at" wan-record from-meta -o x.wan cut.meta; done
fails 1 'holds .meta or .pt files.*from-meta' "wan-index says how to convert them" wan-index "$am"

# ---- sheet
ok "sheet" wan-record sheet --columns 3 --tile 32 -o sheet.png real.wan
ok "its size: 3 rows of 3 frames" is "$(od -A n -t u1 -j 16 -N 8 sheet.png | tr -s ' ')" " 0 0 0 69 0 0 0 100"
fails 1 'no record with frames' "sheet of a stream without frames" wan-record sheet -o x.png one.wan
ln -s /proc/self/fd/1 out
wan-record cat -q -o out one.wan >plain; wan-record cat -q one.wan >want
same "-o names the file that standard output is" plain want
wan-record cat -q -o out one.wan >>plain; cat want want >want2
same "and what is in it stays" plain want2
fails 1 'No space' "full disk" bash -c "wan-record sheet real.wan >/dev/full"
fails 1 'No space' "full disk, ls" bash -c "wan-record ls real.wan >/dev/full"
fails 1 'No space' "full disk, cat" bash -c "wan-record cat real.wan >/dev/full"

# ---- signals
after() { # after SIGNAL NAME: the exit status of a wan-record that gets it while it waits for more
    mkfifo $2.in; wan-record cat -q -o $2.out <$2.in & local pid=$! i
    exec 3>$2.in; head -c 100 real.wan >&3
    for i in $(seq 3000); do [ -e $2.out.tmp ] && break; sleep 0.02; done
    kill -$1 $pid; sleep 0.2; tail -c +101 real.wan >&3 2>/dev/null; exec 3>&-
    wait $pid
    echo $? >$2.rc
}
trap '' HUP PIPE; after HUP hup; after INT int; trap - HUP PIPE
ok "HUP that was ignored stays ignored" sh -c '[ "$(cat hup.rc)" = 0 ] && cmp hup.out int.out'
ok "INT in a script's background too" [ "$(cat int.rc)" = 0 ]
(trap '' PIPE; set -m; after INT job; after HUP gone) 2>/dev/null
ok "else they end it" [ "$(cat job.rc gone.rc | tr '\n' ' ')" = "130 129 " ]
ok "and nothing stays" sh -c '! ls job.out* gone.out*'

# ---- usage
fails 2 'did you mean cat' "unknown command" wan-record catt
fails 2 'no command' "no command" wan-record
if has_pty; then
    for c in cat sheet from-safetensors; do
        in=real.wan; [ $c = from-safetensors ] && in=one.safetensors
        script -qec "wan-record $c $in; echo status \$?" /dev/null >tty.out </dev/null
        ok "$c: binary to a terminal is refused" grep -q 'status 1' tty.out
    done
else skip "binary to a terminal is refused" "no script(1), or no pseudo-terminal to be had"; fi
done_testing
