# SPDX-License-Identifier: Apache-2.0
# Which files of a folder are clips, what is said of the others, and the keys that names give.
. "$TOP/tests/lib.sh"
is() { [ "$1" = "$2" ] || { echo "got: $1; wanted: $2" >&2; false; }; }
"${EXAMPLES:-$TOP/build/examples}/draw_clips" --copies 1 --frames 5 all >draw.log 2>&1
cp "$(ls all/*.mp4 | head -1)" clip.mp4; rm -r all
put() { mkdir -p "$(dirname "$1")"; cp clip.mp4 "$1"; printf '{"caption": "x"}' >"${1%.*}.json"; }
keys() { wan-record ls --no-digest "$1" | jq -r .key; }
size="--height 16 --width 16 --no-aspect-ratio"

# ---- entries that are no clips: named, counted, and the others are done
put dir/good.mp4; put dir/sub/also.mkv
ln -s nowhere.mp4 dir/dead.mp4; ln -s /nowhere/clips dir/offline; ln -s . dir/self; ln -s nowhere.txt dir/notes.txt
mkfifo dir/pipe.mov; mkdir -p dir/none
wan-decode $size --report rep.jsonl -o out.wan dir nowhere.mp4 >log 2>&1; rc=$?
ok "the good ones are there" is "$(keys out.wan | tr '\n' ' ')" "good sub/also "
ok "and the others make a failure" is $rc 1
for re in 'dir/dead.mp4: No such file' 'dir/offline: No such file' 'dir/self: a loop of links' 'dir/pipe.mov: not a regular' \
    'wan-decode: nowhere.mp4: No such file' '7 clips, 2 records' '5 bad clips left out'; do
    ok "$re" grep -q -- "$re" log
done
mkdir still; put still/a.mp4; ln -s nowhere.png still/b.png; echo x >still/b.txt; ln -s nowhere.png still/c.png
wan-decode $size -o out.wan still >log 2>&1; rc=$?
ok "a dead link to a picture that has a caption, and that alone" is "$rc $(keys out.wan) $(grep -c 'clip is left out' log) $(grep -c 'still/b.png: No such' log)" "1 a 1 1"
ok "a dead link to a text is nobody's business" bash -c '! grep -q notes.txt log'
ok "each is in the report" is "$(jq -r .status rep.jsonl | sort | uniq -c | tr -s ' \n' ' ')" " 5 left out 2 ok "
ok "--allow-bad 5" wan-decode -q $size --allow-bad 5 -o out.wan dir nowhere.mp4
deep=deep; for i in $(seq 40); do deep=$deep/d; done; put "$deep/x.mp4"; put deep/y.mp4
wan-decode $size -o out.wan deep >log 2>&1
ok "too deep: named, the rest is done" is "$(keys out.wan) $(grep -c 'nested more than 32 deep' log)" "y 1"
if [ "$(id -u)" = 0 ] && setpriv --reuid=65534 --clear-groups true 2>/dev/null; then
    put locked/a/x.mp4; put locked/b.mp4; chmod 700 locked/a; chmod 777 .; top=$PWD
    while [ "$top" != / ]; do top=$(dirname "$top"); [ -x "$top" ] || break; done
    if setpriv --reuid=65534 --clear-groups sh -c "wan-decode $size locked" >out.wan 2>log || [ -s log ]; then
        ok "an unreadable folder" is "$(keys out.wan) $(grep -c 'locked/a: Permission denied' log)" "b 1"
    fi
else skip "an unreadable folder" "cannot become another user"; fi

# ---- other extensions
for e in mpg mpeg ts mts m2ts flv wmv gif ogv 3gp MOV avi webm dv apng; do put ext/$e.$e; done
put ext/what.foo; put ext/thumb.mp4; echo x >ext/thumb.jpg; echo x >ext/readme.txt; echo x >ext/plain
wan-decode $size --report rep.jsonl -o out.wan ext >log 2>&1; rc=$?
ok "videos by any usual name are taken" is "$(keys out.wan | wc -l) $rc" "16 0"
ok "a caption without a video's name is named" grep -q 'ext/what.foo: it has a caption, but .foo' log
ok "and counted" grep -q '^wan-decode: 1 files have a caption' log
ok "and reported" is "$(jq -r 'select(.status != "ok") | .status + " " + .file' rep.jsonl)" "passed over ext/thumb.jpg
passed over ext/what.foo"
mkdir by; put by/a.mp4; for f in b.heic c.mp3 bare; do echo x >by/$f; echo x >by/${f%.*}.txt; done; echo x >by/a.npz; cp by/a.json by/p.json; echo x >by/p.psd; echo x >by/p.png
wan-decode $size -o out.wan by >log 2>&1
ok "so is one with a .txt beside it, or without any; what stands beside a clip is not" is \
    "$(sed -n 's/^wan-decode: by.\(.*\): it has a caption, but .*/\1/p' log | tr '\n' ' ')$(grep -c '^wan-decode: 3 files have a caption' log)" "b.heic bare c.mp3 1"
ok "taken when it is named" wan-decode -q $size -o out.wan ext/what.foo

# ---- keys: one to one, and told back
path_of() { perl -pe 's/_-((?:[0-9A-F]{2})+)-/pack "H*", $1/ge'; }
video=$(printf '\xe8\xa7\x86\xe9\xa2\x91') i=0
for name in a_b "a b" a-b a.b a_-b a_-20-b a_-_b _-_ "$video/x" "$(printf 'bad\377utf8')" __meta__/x __/x ____/x x/__meta__/y \
    "tab	new" 'quote"s' 'a%20b' '-' '_-n2' '_-h0' "$(printf 'line\nfeed')"; do
    put "k/$name.mp4"; i=$((i + 1)); printf '%s\0' "$name" >>names
done
wan-decode -q $size --report rep.jsonl -o out.wan k 2>log
ok "$(cat log)$i names, $i keys" is "$(keys out.wan | sort -u | wc -l)" $i
ok "of legal characters, none below a folder that tar readers skip" bash -c \
    "! jq -r .key rep.jsonl | grep -E '[^A-Za-z0-9_/-]|^__[^/]*__/'"
ok "plain names stay" bash -c "jq -r .key rep.jsonl | grep -qx a_b && jq -r .key rep.jsonl | grep -qx x/__meta__/y"
ok "a space" bash -c "jq -r .key rep.jsonl | grep -qx 'a_-20-b'"
for key in $(keys out.wan); do printf '%s' "$key" | path_of; printf '\0'; done | sort -z >back; sort -z names >there
same "the names told back from the keys" there back
long=$(printf 'x%.0s' $(seq 245)); put "long/${long}a.mp4"; put "long/${long}b.mp4"
wan-decode -q $size -o out.wan long
ok "names too long for a key: 200 bytes, and still two" is \
    "$(keys out.wan | sort -u | awk '{print length($0)}' | tr '\n' ' ')" "200 200 "
name=$(printf 'y%.0s' $(seq 251)); mkdir full; cp clip.mp4 full/$name.mp4; echo x >full/$name.txt
ok "a name of 255 bytes, for which .json is too long" wan-decode -q $size -o out.wan full
put one/x.mp4; put two/x.mp4; put one/x.mkv
wan-decode $size -o out.wan one two >log 2>&1
ok "one key for several clips is told apart" is "$(keys out.wan | tr '\n' ' ')" "x x_-n2 x_-n3 "
ok "and told" grep -q 'two/x.mp4: another clip has its key; it becomes x_-n3' log
prefixes=("a b/" / a//b- __x__/ "$video/")
cp one/x.json clip.json; for p in "${prefixes[@]}"; do wan-decode -q $size --key-prefix "$p" clip.mp4; done >out.wan
ok "prefixes are written the same way" is "$(keys out.wan | path_of | tr '\n' ' ')" "$(printf '%sclip ' "${prefixes[@]}")"

# ---- captions that a later tool would refuse
cap() { put cap/$1.mp4; cat >cap/$1.json; }
printf '{"caption": "%s"}' "$(head -c 131072 /dev/zero | tr '\0' x)" | cap longest
printf '{"caption": "%s"}' "$(head -c 131073 /dev/zero | tr '\0' x)" | cap longer
printf '{"caption": "a\\u0000b"}' | cap nul
wan-decode $size -o out.wan cap >log 2>&1
ok "captions of 128 KiB are taken, longer ones and NUL are not" is "$(keys out.wan)" longest
ok "the first reason" grep -q 'longer.json: a caption of 131073 bytes, more than 131072' log
ok "the second reason" grep -q 'nul.json: .*u0000' log
ok "wan-encode takes what was taken" wan-encode -q --model "$TOP/examples/tiny" -o lat.wan out.wan
done_testing
