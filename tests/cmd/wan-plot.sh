# SPDX-License-Identifier: Apache-2.0
# wan-plot: curves of several runs; where the points lie is read back from the SVG.
. "$TOP/tests/lib.sh"
no() { ! "$@"; }
line() { for s in $(seq 1 "$2"); do echo "{\"step\":$s,\"loss\":$(awk "BEGIN { s = $s; print $3 }"),\"epoch\":$((s * 2)),\"sigma_bins\":[[1,$s],[0,null]]}"; done >"$1"; }
line a.jsonl 11 's * s' # bent: what lies on a line Cairo joins
if ! wan-plot -o probe.svg a.jsonl 2>err && grep -q 'no Cairo' err; then
    skip "plots" "this build has no Cairo"
    done_testing
fi
ok "a picture" wan-plot a.jsonl
ok "is a PNG of its size" bash -c 'head -c 24 loss.png | od -An -tu1 -j16 -N8 | grep -q "0 *0 *3 *132 *0 *0 *2 *8"'
ok "again" wan-plot -o again.png a.jsonl
same "the same picture" again.png loss.png

# points FILE: the coordinates of the last path of many points: the curve itself
points() { grep -o ' d="M [^"]*"' "$1" | awk '{ n = gsub(/[ML] /, "&"); if (n >= 5) last = $0 } END { print last }' |
    sed 's/ d="//; s/"//' | tr 'ML' '\n\n' | awk 'NF == 2'; }
ok "as SVG" wan-plot --smooth 1 -o a.svg a.jsonl
# the plot is 80 to 880 across; 0.04 of the range of values lies below and above, between 44 and 464
ok "the curve is where the numbers are" bash -c '
    points() { '"$(declare -f points | sed '1,2d;$d')"'; }
    points a.svg | awk "{ x = 80 + 800 * (NR - 1) / 10; y = 464 - 420 * (0.04 + (NR * NR - 1) / 120) / 1.08
        if (\$1 - x > 0.01 || x - \$1 > 0.01 || \$2 - y > 0.01 || y - \$2 > 0.01) { print NR, \$0, x, y; bad = 1 } }
        END { exit bad || NR != 11 }" >&2'
ok "smoothed by 3" wan-plot --smooth 3 -o s.svg a.jsonl
ok "the mean of three, fewer at the start" bash -c '
    points() { '"$(declare -f points | sed '1,2d;$d')"'; }
    points s.svg | awk "{ v = NR == 1 ? 1 : NR == 2 ? 2.5 : NR * NR - 2 * NR + 5 / 3; y = 464 - 420 * (0.04 + (v - 1) / 120) / 1.08
        if (\$2 - y > 0.01 || y - \$2 > 0.01) { print NR, \$0, y; bad = 1 } } END { exit bad || NR != 11 }" >&2'
line b.jsonl 11 'exp(s * s / 10)'
ok "on a logarithmic scale" wan-plot --log --smooth 1 -o l.svg b.jsonl
ok "is drawn by its logarithm" bash -c '
    points() { '"$(declare -f points | sed '1,2d;$d')"'; }
    points l.svg | awk "{ y = 464 - 420 * (0.04 + (NR * NR - 1) / 120) / 1.08; if (\$2 - y > 0.02 || y - \$2 > 0.02) bad = 1 } END { exit bad || NR != 11 }"'
ok "two runs with names" wan-plot -o two.svg --name "shift 3" "shift 5" -- a.jsonl b.jsonl
ok "have two colours" bash -c 'grep -q "rgb(0%, *45[.0-9]*%, *70[.0-9]*%)" two.svg && grep -q "rgb(84[.0-9]*%, *37[.0-9]*%, *0%)" two.svg'
ok "over another number" wan-plot --by epoch --key sigma_bins.0 -o e.png a.jsonl
sed 's/"epoch"/"val_loss":7,"epoch"/' a.jsonl >v.jsonl
ok "with the validation" wan-plot --val -o v.svg v.jsonl
ok "is another picture" no cmp -s v.svg a.svg
sed '5s/"loss":25/"loss":null/' a.jsonl >gap.jsonl
ok "a loss that is none leaves a gap" wan-plot --smooth 1 -o gap.svg gap.jsonl
printf '{"step":12,"lo' >>a.jsonl
ok "a line that is being written is left out" wan-plot -o cut.png a.jsonl

fails 2 'no file of metrics' "nothing to draw" wan-plot
fails 2 '1 names for 2 runs' "a name too few" wan-plot --name x -- a.jsonl b.jsonl
fails 1 'nosuch.jsonl' "no such file" wan-plot nosuch.jsonl
fails 1 'a.jsonl: no line has a number "los"' "a key that is none" wan-plot --key los -o x.png a.jsonl
fails 1 'a.jsonl: no line has a number "sigma_bins.one"' "a member that is none" wan-plot --key sigma_bins.one -o x.png a.jsonl
fails 1 'a.jsonl: line 1: no number "stp"' "an axis that is none" wan-plot --by stp -o x.png a.jsonl
echo nonsense >bad.jsonl
fails 1 'bad.jsonl: line 1: ' "a file of something else" wan-plot -o x.png bad.jsonl
fails 1 'x.jpg: a plot is a .png or an .svg' "another kind of picture" wan-plot -o x.jpg a.jsonl
fails 1 'no/such' "no folder" wan-plot -o no/such/x.png a.jsonl
echo '{"step":1,"loss":null}' >nan.jsonl
fails 1 'no value that can be drawn' "nothing but gaps" wan-plot -o x.png nan.jsonl
ok "leave nothing" no ls x.png x.jpg
done_testing
