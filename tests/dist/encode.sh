#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# wan-encode on several ranks: the bytes of one rank, from files, pipes and several streams, whatever the
# sizes of the clips; an error names its record, and ends all.
. "$TOP/tests/lib.sh"
if [ "${MPI:-0}" != 1 ] || ! command -v mpirun >/dev/null; then
    skip "encoding on several ranks" "a build without MPI"
    done_testing
fi
. "$TOP/tests/ranks.sh"
M=$TOP/examples/tiny
E() { # E N args...
    local n=$1; shift
    timeout 200 mpirun --allow-run-as-root --oversubscribe --bind-to none -n "$n" wan-encode -f --model "$M" "$@"
}
"${EXAMPLES:-$TOP/build/examples}/draw_clips" --copies 1 --frames 9 all >draw.log 2>&1
mkdir -p few one
for f in $(ls all | grep '\.mp4$' | awk 'NR % 20 == 1' | head -n 7); do cp "all/$f" "all/${f%.mp4}.json" few/; done
for f in $(ls few | grep '\.mp4$' | head -n 2); do cp "few/$f" "few/${f%.mp4}.json" one/; done
ok "clips of two sizes" sh -c "wan-decode -q --height 32 --width 32 -o a.wan few &&
    wan-decode -q --height 48 --width 32 -o b.wan one && cat a.wan b.wan >in.wan"
ok "one rank" sh -c "wan-encode --model $M in.wan >1.wan"
for many in 2 3; do
    ok "$many ranks" E $many -o $many.wan in.wan
    same "the same bytes" $many.wan 1.wan
done
# a named pipe: mpirun 4.1 itself dies in its reading of standard input, about once in eight runs
mkfifo in.pipe
ok "from a pipe to a pipe, windows of 2 captions" bash -c "$(declare -f E); M='$M'; set -o pipefail
    (cat in.wan >in.pipe &); E 2 --text-window 2 in.pipe </dev/null | cat >p.wan"
same "the same bytes" p.wan 1.wan
ok "samples of the posterior, one rank" wan-encode --model "$M" --posterior sample -o s1.wan in.wan
ok "2 ranks" E 2 --posterior sample -o s2.wan in.wan
same "the same bytes" s2.wan s1.wan
ok "more ranks than records" E 4 -o 4.wan b.wan
ok "one rank" sh -c "wan-encode --model $M b.wan >b1.wan"
same "the same bytes" 4.wan b1.wan
ok "back, one rank" sh -c "wan-encode -d --model $M 1.wan >d1.wan"
ok "back, 3 ranks" E 3 -d -o d3.wan 1.wan
same "the same bytes" d3.wan d1.wan
ok "prompts, one rank" wan-encode --model "$M" -o t1.wan --prompt a b "a longer one" b c
ok "prompts, 2 ranks" E 2 --text-window 1 -o t2.wan --prompt a b "a longer one" b c
same "the same bytes" t2.wan t1.wan
ok "captions alone" E 2 -t -o c2.wan in.wan
ok "the same on one rank" wan-encode -t --model "$M" -o c1.wan in.wan
same "the same bytes" c2.wan c1.wan
mkdir single && for f in $(ls one | grep '\.mp4$' | head -n 1); do cp "one/$f" "one/${f%.mp4}.json" single/; done
ok "one larger clip" wan-decode -q --height 160 --width 64 -o l.wan single
ok "one rank" wan-encode --model "$M" -o l1.wan l.wan
ok "and back" wan-encode -d --model "$M" -o lf1.wan l1.wan
for many in 2 3; do
    ok "$many ranks" bash -c "$(declare -f E); M='$M'; E $many -v -o ln.wan l.wan 2>bands"
    ok "in bands" grep -q "a clip in bands of rows on $many ranks" bands
    same "the same bytes" ln.wan l1.wan
    ok "and back" E $many -d -o lfn.wan l1.wan
    same "the same bytes" lfn.wan lf1.wan
done
cat a.wan 1.wan >bad.wan
why=$(wan-encode --model "$M" -o x.wan bad.wan 2>&1)
fails 1 'record 8 .*: no tensor "frames"' "a record that cannot be, after good ones" E 2 -o x.wan bad.wan
ok "the sentence of one rank" bash -c "$(declare -f E); M='$M'; E 2 -o x.wan bad.wan 2>&1 | grep -qF '${why:-no sentence}'"
cp -rL "$M" broken && chmod -R u+w broken && rm broken/vae/*.safetensors
fails 1 'broken/vae' "an error of one rank ends all" timeout 60 mpirun --allow-run-as-root --oversubscribe --bind-to none \
    -n 1 wan-encode --model "$M" -o y.wan in.wan : -n 1 wan-encode --model broken -o y.wan in.wan
ok "nothing half done is left" test ! -e y.wan
done_testing
