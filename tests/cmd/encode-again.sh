# SPDX-License-Identifier: Apache-2.0
# wan-encode --cache: what has been made is not made again, and nothing that is damaged, of another model or
# half-written is taken for it.  --rank: parts of a file that are together all of it.
. "$TOP/tests/lib.sh"
export LC_ALL=C
cp -r "$TOP/examples/tiny" m && chmod -R u+w m
no() { ! "$@"; }
E() { wan-encode --model m "$@"; }
# C DIR FOUND MADE DAMAGED INPUT [option...]: encodes INPUT to c.wan; what it says of the cache
C() {
    local dir=$1 want="$2 latents and captions found, $3 made, of them $4 in place of damaged ones and 0 not kept" in=$5
    shift 5
    E --cache "$dir" -o c.wan "$in" "$@" 2>said && { grep -qF "$dir: $want" said || { cat said >&2; return 1; }; }
}
"${EXAMPLES:-$TOP/build/examples}/draw_clips" --copies 1 --frames 9 all >draw.log 2>&1
mkdir clips more
for f in $(ls all | grep '\.mp4$' | awk 'NR % 40 == 1' | head -n 5); do cp "all/$f" "all/${f%.mp4}.json" clips/; cp "all/$f" "all/${f%.mp4}.json" more/; done
f=$(ls all | grep '\.mp4$' | sed -n 20p); cp "all/$f" "all/${f%.mp4}.json" more/
wan-decode -q --height 32 --width 32 -o f.wan clips
wan-decode -q --height 32 --width 32 -o g.wan more
E -q -o plain.wan f.wan; E -q -o plain_g.wan g.wan

# ---- found again
ok "all is made" C c 0 10 0 f.wan
same "the bytes are those without a cache" plain.wan c.wan
ok "all is found" C c 10 0 0 f.wan
same "the same bytes" plain.wan c.wan
ok "of a folder that has grown, the new clip is made" C c 10 2 0 g.wan
same "in its place" plain_g.wan c.wan
ok "captions alone are found, too" C c 5 0 0 f.wan --text-only
ok "a prompt that was a caption" sh -c "wan-record ls f.wan | jq -r 'select(.meta.caption).meta.caption' | head -n 1 >cap &&
    wan-encode --model m --cache c -o p.wan --prompt \"\$(cat cap)\" 2>&1 | grep -q ': 1 latents and captions found, 0 made'"
fails 2 'cache goes with' "with --decode" E --cache c -d plain.wan

# ---- what another thing is made with is another
ok "another precision" C c 0 10 0 f.wan --precision bf16
ok "another type of latents" C c 5 5 0 f.wan --latent-dtype bf16
ok "of text rows" C c 5 5 0 f.wan --text-dtype bf16
ok "a sample in place of the mean" C c 5 5 0 f.wan --posterior sample
ok "the plain kernels" C c 0 10 0 f.wan --device ref
V=m/vae/diffusion_pytorch_model.safetensors
ok "one weight of the VAE that changes: its latents" sh -c \
    "n=\$(stat -c %s $V) && printf '\\1' | dd of=$V bs=1 seek=\$((n - 3)) conv=notrunc 2>/dev/null"
ok "are made again, captions are not" C c 5 5 0 f.wan
ok "another caption of a clip: that alone" sh -c "mkdir -p words && cp clips/* words && cd words &&
    echo '{\"caption\": \"something else\"}' >\"\$(ls | grep json | head -n 1)\" && wan-decode -q --height 32 --width 32 -o ../w.wan ."
ok "is made" C c 9 1 0 w.wan
ok "a model that is moved: contents count" sh -c "mkdir x && cp -r m x/m && cd x && wan-encode --model m --cache ../c -o c.wan ../w.wan 2>&1 |
    grep -q ': 10 latents and captions found, 0 made'"

# ---- damage: noticed, named, made again
rm -rf d; ok "a cache" C d 0 10 0 f.wan
cp c.wan good.wan
made() { grep -rlae latent -e token_ids --include='*.wan' "$1" 2>/dev/null | sort; } # not the digests of the model
made d >entries
ok "of ten entries" test "$(wc -l <entries)" -eq 10
truncate -s -100 "$(sed -n 1p entries)"
printf '\377\376' | dd of="$(sed -n 2p entries)" bs=1 seek=3000 conv=notrunc 2>/dev/null
cp "$(sed -n 4p entries)" "$(sed -n 3p entries)"
: >"$(sed -n 5p entries)"
cat "$(sed -n 6p entries)" "$(sed -n 6p entries)" >twice && cp twice "$(sed -n 6p entries)"
ok "five are damaged" C d 5 5 5 f.wan
same "the same bytes" good.wan c.wan
ok "each is named" test "$(grep -c 'd/../.*\.wan: .*made again' said)" -eq 5
ok "and all are there again" C d 10 0 0 f.wan
same "as they were" good.wan c.wan
e=$(sed -n 1p entries); mv "$e" "$e.tmp"
ok "what has no final name is not taken" C d 9 1 0 f.wan
ok "and does not stay" no test -e "$e.tmp"

# ---- a program that is killed, and two at once
E -q --cache k -o k.wan f.wan 2>/dev/null & pid=$!
for _ in $(seq 2000); do [ -n "$(made k)" ] && break; sleep 0.01; done
kill -9 $pid 2>/dev/null; wait $pid 2>/dev/null
ok "after a kill" E --cache k -o k2.wan f.wan
same "the same bytes" good.wan k2.wan
ok "what was finished is not lost" test "$(made k | wc -l)" -eq 10
E -q --cache t -o t1.wan f.wan 2>t1.err & a=$!
E -q --cache t -o t2.wan f.wan 2>t2.err & b=$!
wait $a; r1=$?; wait $b; r2=$?
ok "two at once" test "$r1$r2" = 00
ok "without a word" sh -c "cat t1.err t2.err >both; [ ! -s both ]"
same "the first has the same bytes" good.wan t1.wan
same "and the second" good.wan t2.wan
ok "and all is kept" C t 10 0 0 f.wan
: >file
fails 1 'file/x' "a folder that cannot be made" E --cache file/x -o never.wan f.wan
C u 0 10 0 f.wan && made u | xargs rm -f && rmdir u/?? 2>/dev/null
for i in $(seq 0 255); do x=u/$(printf %02x "$i"); [ -e "$x" ] || : >"$x"; done
ok "what cannot be kept is said" sh -c "wan-encode --model m --cache u -o u.wan f.wan 2>err && [ \$(grep -c 'cannot be kept: ' err) -eq 1 ]"
ok "and counted" grep -Eq ' 10 made, .* and [1-9][0-9]* not kept' err
same "and the output is whole" good.wan u.wan
if [ "${MPI:-0}" = 1 ] && command -v mpirun >/dev/null; then
    ok "several ranks find the same" sh -c "ASAN_OPTIONS=detect_leaks=0:\$ASAN_OPTIONS mpirun --allow-run-as-root --oversubscribe --bind-to none -n 2 wan-encode --model m --cache d -o r.wan f.wan 2>err &&
        grep -q ': 10 latents and captions found, 0 made' err && cmp r.wan good.wan"
else skip "several ranks find the same" "built without MPI, or no mpirun"; fi

# ---- parts
wan-decode -q --height 64 --width 32 -o f64.wan clips
cat f.wan f64.wan f.wan >three.wan
E -q -o all.wan three.wan; wan-record ls all.wan >all.ls
for parts in 1 2 3 20; do
    : >parts.wan
    for i in $(seq 0 $((parts - 1))); do E -q --rank $i/$parts -o part.wan three.wan && cat part.wan >>parts.wan; done
    ok "$parts parts of three streams together are what one makes" sh -c "wan-record ls parts.wan | cmp - all.ls"
done
ok "a part is not the whole" sh -c "wan-encode -q --model m --rank 1/2 three.wan | wan-record ls | wc -l | awk '{ exit !(\$1 > 3 && \$1 < 12) }'"
head -c $(($(stat -c %s f.wan) - 2000)) f.wan >cut.wan
fails 1 'cut.wan: .*truncated' "a part of a file that is cut elsewhere" E --rank 0/2 -o never.wan cut.wan
fails 1 'rank 0/2: <stdin>: not a file that can be sought in' "of a pipe" sh -c "cat f.wan | wan-encode --model m --rank 0/2 -o never.wan"
fails 1 'not I/N with 0 <= I < N' "a rank that is not there" E --rank 2/2 -o never.wan f.wan
fails 1 'not I/N' "no numbers" E --rank x -o never.wan f.wan
fails 2 'rank divides an input file' "with --prompt" E --rank 0/2 --prompt x
ok "none of them left a file" no test -e never.wan
done_testing
