# SPDX-License-Identifier: Apache-2.0
# examples/dataset: one command from a folder to an indexed dataset and the page that shows it; made again
# only where something changed; the page looked at in a headless Chromium.
. "$TOP/tests/lib.sh"
command -v ffmpeg >/dev/null || { skip "dataset" "no ffmpeg"; done_testing; }
is() { [ "$1" = "$2" ] || { echo "got: $1; wanted: $2" >&2; false; }; }
"${EXAMPLES:-$TOP/build/examples}/draw_clips" --copies 1 --frames 9 all >draw.log 2>&1
mkdir -p "clips/a b" clips/c
i=0
for f in $(ls all | grep '\.mp4$' | head -n 6); do
    d="a b"; [ $((i % 2)) = 0 ] || d=c
    cp "all/$f" "clips/$d/clip$i.mp4"; echo "clip number $i" >"clips/$d/clip$i.txt"; i=$((i + 1))
done
echo no >'clips/c/bad <&>.mp4'; echo x >'clips/c/bad <&>.txt'
ffmpeg -nostdin -v error -f lavfi -i color=black:s=64x64:r=16:d=0.5 clips/c/dark.mp4; echo dark >clips/c/dark.txt
unset MAKEFLAGS MFLAGS MAKELEVEL
build() { make -s -j2 -f "$TOP/examples/dataset/Makefile" CLIPS=clips MODEL="$TOP/examples/tiny" OUT=ds \
    DECODE="--height 64 --width 64 --max-black 0.5" SPLIT=1,1,0 "$@" >build.log 2>&1; }
made() { (cd ds && ls -l --time-style=full-iso */done | awk '{ print $6 $7, $9 }' | sort); }
ok "a folder becomes a dataset" build PARTS=3 || cat build.log >&2
ok "that is whole, and has the six good clips" sh -c 'wan-index --check ds 2>&1 | grep -q "6 samples, all well"'
ok "in as many parts as were asked for" is "$(ls -d ds/0* | wc -l) $(cat ds/parts)" "3 3"
ok "the summary says what is there" grep -q 'ds/report.html: 6 samples .* of 6 clips, .* 2 files or pieces gave nothing' build.log
kept() { find ds/cache -name '*.wan' | wc -l; }
first=$(kept); made >before
ok "again: nothing is to be done" build; made >after
same "no part was made again" before after
ok "a caption is changed" sh -c 'echo "another text" >"clips/a b/clip0.txt"'
build; made >after; ok "its part alone is made again" is "$(comm -13 before after | wc -l)" 1
ok "of it only that caption is encoded" is "$(grep -ho '[0-9]* latents and captions found, [0-9]* made' ds/*/log | grep -v ' 0 found' | awk '$6 == 1' | wc -l) $(kept)" "1 $((first + 1))"
ok "with the new caption" sh -c 'wan-shard -x ds | wan-record ls --no-digest - | jq -r .meta.caption | grep -q "another text"'
made >before; cp "clips/c/clip1.mp4" clips/c/new.mp4; echo new >clips/c/new.txt
build CACHE=; made >after; ok "one more clip: its part alone" is "$(comm -13 before after | wc -l) $(wan-index --check ds 2>&1 | grep -o '[0-9]* samples')" "1 7 samples"
ok "without a cache nothing is kept" is "$(kept)" $((first + 1))
rm clips/c/new.mp4; build; ok "a clip that went is gone" is "$(wan-index --check ds 2>&1 | grep -o '[0-9]* samples')" "6 samples"
build DECODE="--height 32 --width 32 --max-black 0.5"; ok "another option: all of them" is "$(wan-shard -x ds | wan-record ls --no-digest - | jq -r .meta.height | sort -u)" 32
made >before; build PARTS=2 DECODE="--height 32 --width 32 --max-black 0.5"
ok "fewer parts: the old ones are gone" is "$(ls -d ds/0* | wc -l) $(wan-index --check ds 2>&1 | grep -o '[0-9]* samples')" "2 6 samples"
fails 2 '' "more bad clips than MAX_BAD are a failure" make -s -f "$TOP/examples/dataset/Makefile" CLIPS=clips MODEL="$TOP/examples/tiny" OUT=ds2 DECODE="--height 64 --width 64" MAX_BAD=0 PARTS=1
ok "of which the dataset does not come to be" test ! -e ds2/.nv-meta/.info.json
build
refused() { ! build "$@" && grep -q "$1" build.log && grep -q '^.*\*\*\*' build.log; }
ok "a folder that is not there is named, and nothing is made anew" refused CLIPS=nothing
ok "nor a model" refused MODEL=nothing
ok "nor with a number of parts that is none" refused PARTS=0
ok "the dataset is as it was" sh -c 'wan-index --check ds 2>&1 | grep -q "6 samples, all well"'

# names that a shell or make could take for something else, everywhere
wild="it's \$HOME \"a  b\" #%&;*\\"
mkdir "$wild"; cp -r clips "$wild/clips$wild"; ln -s "$TOP/examples/tiny" "$wild/model"; cp -r "$TOP/examples/dataset" "$wild/dataset"
cp "clips/a b/clip0.mp4" "$wild/clips$wild/a b/$wild.mp4"; echo "a clip with a name" >"$wild/clips$wild/a b/$wild.txt"
wildly() { (cd "$wild" && env TMPDIR="$PWD" make -s -j4 -f dataset/Makefile CLIPS="clips$wild" MODEL=model OUT="out $wild" DECODE="--height 32 --width 32" SPLIT=1,0,0 "$@" >../build.log 2>&1); }
captions() { wan-shard -q -x "$wild/out $wild" | wan-record ls --no-digest - | jq -r .meta.caption | sort | tr '\n' ','; }
ok "blanks, quotes, dollars in every name" wildly PARTS=2 || cat build.log >&2
ok "what it says" grep -qF "out $wild/report.html: 8 samples" build.log
ok "the page" grep -qF "<h1>out it's \$HOME &quot;a  b&quot; #%&amp;;*\\</h1>" "$wild/out $wild/report.html"
ok "nothing was made elsewhere" is "$(ls -A "$wild" | wc -l) $(ls -A . | grep -c HOME)" "4 1"
# all at once: a clip with another name, one that is broken now, another caption, another division, a folder of the user's own
(cd "$wild/clips$wild" && mv "a b/clip2.mp4" c/new.mp4 && mv "a b/clip2.txt" c/new.txt && head -c 700 c/clip5.mp4 >x && mv x c/clip5.mp4 && echo "a third text" >c/clip1.txt)
mkdir "$wild/out $wild/20240"; echo mine >"$wild/out $wild/20240/notes.tar.txt"
# stopped in the middle first
(set -m; wildly SPLIT=1,1,0 & pid=$!
    for i in $(seq 100); do ls "$wild/out $wild"/0*/sheet.fifo >/dev/null 2>&1 && break; sleep 0.05; done
    kill -INT -$pid; wait $pid) 2>/dev/null
ok "after an interruption and all kinds of changes" wildly SPLIT=1,1,0 || cat build.log >&2
ok "the dataset is what the folder is" is "$(captions)" "a clip with a name,a third text,another text,clip number 2,clip number 3,clip number 4,dark,"
ok "whole" sh -c 'wan-index --check "$1" 2>&1 | grep -q "7 samples, all well"' sh "$wild/out $wild"
ok "the broken one is named with its reason" grep -q '^clips.*/c/clip5.mp4	.*not a video' "$wild/out $wild"/0*/rejects.tsv
ok "divided anew" grep -q 'val: *\[\]' -v "$wild/out $wild/.nv-meta/split.yaml"
ok "with the folder of the user's own left alone" grep -q mine "$wild/out $wild/20240/notes.tar.txt"
rm -r "$wild/clips$wild"/*; wildly SPLIT=1,1,0
ok "no clips at all: a sentence that says so" grep -q 'no clip of clips.* gave a sample' build.log

# ---- the page
page=ds/report.html
ok "nothing from elsewhere, no scripts" is "$(sed 's/base64,[A-Za-z0-9+/=]*//g' $page | grep -ciE '<script|<link|@import|src="[^d]|href=|url\(|http')" 0
ok "a sheet for each part that has clips, and five histograms" is "$(grep -c '<img alt="frames of part' $page) $(grep -c '<svg' $page)" "$(ls ds/0*/sheet.png | wc -l) 5"
ok "both rejects, by name and reason, as text" is "$(grep -c 'bad &lt;&amp;&gt;.mp4</td><td>.*not a video' $page) $(grep -c 'dark.mp4</td><td>.*are black' $page)" "1 1"
if command -v python3 >/dev/null; then
    ok "every element is closed" python3 - $page <<-'END'
	import html.parser, sys
	open_tags = []
	class P(html.parser.HTMLParser):
	    def handle_starttag(self, tag, attrs):
	        if tag not in ("meta", "img", "br"): open_tags.append(tag)
	    def handle_endtag(self, tag): assert open_tags.pop() == tag, (tag, self.getpos())
	P().feed(open(sys.argv[1]).read()); assert not open_tags, open_tags
	END
else skip "every element is closed" "no python3"; fi
chrome=$(command -v chromium || command -v chromium-browser || command -v google-chrome || :)
if [ -n "$chrome" ]; then
    look() { timeout 120 "$chrome" --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$PWD/chrome" "$@" "file://$PWD/$page"; }
    look --dump-dom >dom.html 2>chrome.err
    ok "Chromium sees the sum and both rejects" is "$(grep -c 'id="sum">6 samples' dom.html) $(grep -c '</td></tr>' <(sed -n '/id="rejects"/,/<\/table>/p' dom.html))" "1 2"
    look --window-size=1200,2400 --screenshot="$PWD/shot.png" >/dev/null 2>&1
    # what is drawn: bars in their colour, and the sheets' pictures
    ffmpeg -nostdin -v error -i shot.png -f rawvideo -pix_fmt rgb24 - | od -An -v -w3 -tu1 >pixels
    ok "and draws bars and pictures" is "$(awk '$1 == 74 && $2 == 122 && $3 == 176 { b++ } $1 != $2 && !($1 == 74 && $2 == 122) { p++ } END { print (b > 2000), (p > 5000) }' pixels)" "1 1"
else
    skip "the page in Chromium" "no chromium here"
    skip "what it draws" "no chromium here"
fi
done_testing
