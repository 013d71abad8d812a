#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# report.sh DATASET - a page of what is in it, on standard output: one file, nothing from elsewhere, no
# scripts.  Read are the parts' report.jsonl, rejects.tsv and sheet.png, and stat.tsv (wan-index --stat).
set -euo pipefail
dir=$1 sheets=${SHEETS:-12}
shopt -s nullglob
reports=("$dir"/[0-9]*/report.jsonl) rejects=("$dir"/[0-9]*/rejects.tsv)
escape() { sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g; s/"/\&quot;/g'; }
ok() { jq -r "select(.status == \"ok\") | $1" "${reports[@]}"; }

# bars TITLE UNIT: a histogram of the numbers on standard input, in up to 12 steps of a round width
bars() {
    awk -v title="$1" -v unit="$2" '
        { v[NR] = $1; if (NR == 1 || $1 < lo) lo = $1; if (NR == 1 || $1 > hi) hi = $1; sum += $1 }
        END {
            if (!NR) exit
            step = 1
            if (hi > lo) {
                step = 10 ^ int(log((hi - lo) / 12) / log(10) - ((hi - lo) / 12 < 1))
                while ((hi - lo) / step > 12) step *= (step * 5 == int(step * 5) && k++ % 2) ? 2.5 : 2
            }
            first = int(lo / step)
            for (i = 1; i <= NR; i++) { b = int(v[i] / step) - first; n[b]++; if (n[b] > most) most = n[b]; if (b > last) last = b }
            printf "<figure><figcaption>%s<br><small>%d values, %g to %g %s, mean %.4g</small></figcaption>", title, NR, lo, hi, unit, sum / NR
            printf "<svg role=\"img\" width=\"360\" height=\"150\" viewBox=\"0 0 360 150\">"
            w = 340 / (last + 1)
            for (b = 0; b <= last; b++) {
                h = n[b] / most * 100
                printf "<rect class=\"bar\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"><title>%g to %g: %d</title></rect>", 10 + b * w, 115 - h, w * 0.9, h, (first + b) * step, (first + b + 1) * step, n[b]
                if (last < 14) printf "<text x=\"%.1f\" y=\"%.1f\">%d</text>", 10 + b * w, 112 - h, n[b]
                if (b % (1 + int(last / 6)) == 0) printf "<text x=\"%.1f\" y=\"130\">%g</text>", 10 + b * w, (first + b) * step
            }
            print "</svg></figure>"
        }'
}
# counts TITLE: how often each line of standard input is there
counts() {
    sort | uniq -c | sort -k1,1nr -k2 | awk -v title="$1" '
        { n = $1; sub(/^ *[0-9]+ /, ""); row[NR] = "<tr><td>" $0 "</td><td class=\"n\">" n "</td></tr>" }
        END { if (NR) { printf "<figure><figcaption>%s</figcaption><table>", title
              for (i = 1; i <= NR && i <= 40; i++) printf "%s", row[i]
              if (NR > 40) printf "<tr><td>%d more</td><td></td></tr>", NR - 40
              print "</table></figure>" } }'
}
clips=$(ok .key | wc -l) lost=$(cat "${rejects[@]}" </dev/null | wc -l)
read -r samples train val test < <(awk -F'\t' '$2 == "samples" { n[$1] = $5; s += $5 } END { print s + 0, n["train"] + 0, n["val"] + 0, n["test"] + 0 }' "$dir/stat.tsv")
seconds=$(ok '.frames_kept / .fps' | awk '{ s += $1 } END { printf "%.1f", s }')

cat <<END
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>$(basename "$dir" | escape)</title>
<style>
body { font: 15px/1.4 sans-serif; margin: 2em auto; max-width: 76em; padding: 0 1em; color: #222; background: #fff }
figure { display: inline-block; vertical-align: top; margin: 0 2em 1.5em 0 } figcaption { font-weight: bold; margin-bottom: .3em }
small { font-weight: normal; color: #555 } .bar { fill: #4a7ab0 } svg text { font-size: 10px; fill: #333 }
table { border-collapse: collapse } td, th { padding: .15em .8em .15em 0; text-align: left; vertical-align: top; border-bottom: 1px solid #ddd }
.n { text-align: right } img { max-width: 100%; display: block; margin-bottom: 1em } .bad { color: #a22 }
</style></head><body>
<h1>$(basename "$dir" | escape)</h1>
<p id="sum">$samples samples ($train train, $val val, $test test) of $clips clips, $seconds seconds; $lost files or pieces gave nothing</p>
END
[ "$samples" -gt 0 ] || echo '<p class="bad">There is no sample in this dataset.</p>'
echo '<h2>Contact sheets</h2>'
shown=0
for png in "$dir"/[0-9]*/sheet.png; do
    if [ $((shown += 1)) -gt "$sheets" ]; then echo "<p>Sheets of more parts are in their folders.</p>"; break; fi
    echo "<img alt=\"frames of part $(basename "$(dirname "$png")" | sed 's/^0*//')\" src=\"data:image/png;base64,$(base64 -w0 "$png")\">"
done
echo '<h2>Clips</h2>'
ok '.frames_in / .fps_in' | bars "Length of the files" s
ok .fps_in | bars "Frames a second of the files" ""
ok .frames_kept | bars "Frames kept of each clip" ""
ok .words | bars "Words of a caption" ""
ok '"\(.source_size[1]) x \(.source_size[0])"' | counts "Sizes of the files"
ok '"\(.size[1]) x \(.size[0])"' | counts "Sizes of the records"
ok '.lost[] | .why as $w | range(.frames) | $w' | escape | counts "Frames lost"
echo '<h2>Samples</h2>'
awk -F'\t' '$2 == "text" { for (i = 0; i < $5; i++) print $3 }' "$dir/stat.tsv" | bars "Rows of text" ""
awk -F'\t' '$2 == "latent" { for (i = 0; i < $5; i++) print $3 }' "$dir/stat.tsv" | counts "Latents (channels x frames x height x width)"
awk -F'\t' '$2 == "mean" && $1 == "train" { m[$3] = $4 } $2 == "std" && $1 == "train" { s[$3] = $4 }
    END { printf "<figure><figcaption>Latent channels, train</figcaption><table><tr><th>channel</th><th>mean</th><th>deviation</th></tr>"
          for (c = 0; c in m; c++) printf "<tr><td>%d</td><td class=\"n\">%.3f</td><td class=\"n\">%.3f</td></tr>", c, m[c], s[c]
          print "</table></figure>" }' "$dir/stat.tsv"
echo '<h2>Rejects</h2>'
if [ "$lost" -eq 0 ]; then echo '<p>None.</p>'; else
    # reasons of one kind: without the file and the numbers in them
    cat "${rejects[@]}" | awk -F'\t' '{ i = index($2, $1 ": "); r = i == 1 ? substr($2, length($1) + 3) : $2; gsub(/[0-9.]+/, "N", r); print r }' | escape | counts "By reason"
    echo '<table id="rejects"><tr><th>file</th><th>reason</th></tr>'
    cat "${rejects[@]}" | escape | awk -F'\t' '{ print "<tr><td>" $1 "</td><td>" $2 "</td></tr>" }'
    echo '</table>'
fi
echo '</body></html>'
