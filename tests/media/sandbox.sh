# SPDX-License-Identifier: Apache-2.0
# Decoders that crash, hang, grow, or try what decoding does not need: each is stopped, costs its own
# file only, and is named with what it tried.  astray.c stands in for such a decoder.
. "$TOP/tests/lib.sh"
command -v ffmpeg >/dev/null || { skip "decoders led astray" "no ffmpeg"; done_testing; }
is() { [ "$1" = "$2" ] || { echo "got: $1; wanted: $2" >&2; false; }; }
shim=${OBJ:-$(ls -dt "$TOP"/build/obj/*/ | head -1)}/tests/media/astray.so
# a program that brings a sanitizer along wants its library first
asan=$(ldd "$(command -v wan-decode)" | awk '/libasan/ { print $3 }')
mkdir dir; touch victim
for f in a:64 b:80 c:64; do
    ffmpeg -nostdin -y -v error -f lavfi -i "testsrc2=s=${f#*:}x48:r=16:d=1" -c:v mpeg4 dir/${f%:*}.mp4; echo x >dir/${f%:*}.txt
done
run() { # run DEED [options]: rc, keys, log, out.wan
    ASTRAY=$1 LD_PRELOAD=${asan:+$asan:}$shim wan-decode --height 16 --width 16 --no-aspect-ratio -o out.wan "${@:2}" dir >stdout 2>log; rc=$?
    keys=$(wan-record ls --no-digest out.wan | jq -r .key | tr '\n' ' ')
}
run none -q --sandbox require
if grep -q 'no filter of system calls' log; then
    skip "forbidden system calls" "$(head -1 log)"
else
    ok "nothing astray: all are there" is "$rc $keys$(cat log)" "0 a b c "
    while IFS=: read -r deed words; do
        run $deed -j 2
        ok "$deed: stopped, costs its file, and the next goes on" is "$rc $keys" "1 a c "
        ok "$deed: named" grep -q "dir/b.mp4: its decoder tried to $words" log
        ok "$deed: did not get through" test -z "$(cat stdout; grep 'GOT THROUGH' log; ls astray.out 2>/dev/null; ls victim | grep -v victim)"
    done <<-END
	open:open a file
	write:open a file
	remove:remove a file
	net:open a socket
	fork:start another process
	exec:run a program
	kill:send a signal
	trace:look into another process
	share:map shared or executable memory
	code:make memory executable
	memfd:make a file in memory
	pipe:make a pipe
	ring:make a system call that decoding does not need
	peek:look into another process
	thread:open a file
	quiet:make a forbidden system call
	END
    run fork -q --sandbox off; ok "off: it does" grep -q 'GOT THROUGH' log
fi

# ---- limits, and what needs no filter
run print; ok "what it prints comes into no record" is "$rc $keys$(wan-record check out.wan 2>&1 | grep -c THROUGH)$(cat stdout)" "0 a b c 0"
run crash; ok "a crash costs its file, and is named" is "$rc $keys$(grep -c 'b.mp4: its decoder ended by signal 11' log)" "1 a c 1"
run cpu --max-cpu 1; ok "CPU time: the same" is "$rc $keys$(grep -c 'b.mp4: it took more than 1 seconds of CPU time' log)" "1 a c 1"
run hang --max-wait 1; ok "a hang: the same" is "$rc $keys$(grep -c 'b.mp4: nothing came of it for 1 seconds' log)" "1 a c 1"
if [ -n "$asan" ]; then skip "memory" "AddressSanitizer takes more than any limit"; else
    run memory --max-memory 256M --max-clip 64M; ok "memory: the same" is "$rc $keys$(grep -c 'b.mp4: out of memory' log)" "1 a c 1"
fi
run crash --damaged stop; ok "--damaged stop is for damage: the others are there" is "$keys" "a c "

# ---- a kernel without filters
export NOFILTER=1
run none; ok "no filter: said once, and done" is "$rc $keys$(grep -c 'held by limits alone' log)" "0 a b c 1"
run open; ok "no filter: files cannot be opened all the same" is "$keys$(grep -c 'GOT THROUGH' log)" "a b c 0"
run net; ok "no filter: nor sockets" is "$keys$(grep -c 'GOT THROUGH' log)" "a b c 0"
run none --sandbox require; ok "require: none is decoded" is "$rc $keys$(grep -c 'no filter of system calls.*left out' log)" "1 3"
unset NOFILTER

# ---- files that name others
mkdir lists; cp dir/a.mp4 lists/a.mp4
printf '#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n%s/lists/a.mp4\n#EXT-X-ENDLIST\n' "$PWD" >lists/hls.mp4
printf 'ffconcat version 1.0\nfile %s/lists/a.mp4\n' "$PWD" >lists/concat.mp4
printf '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S"><Period><AdaptationSet><Representation id="1"><BaseURL>file://%s/lists/a.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>' "$PWD" >lists/dash.mp4
printf 'v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n' >lists/sdp.mp4
for f in lists/*.mp4; do echo x >${f%.mp4}.txt; done
wan-decode -q --allow-bad 4 -o out.wan lists 2>log
# by chance of what the path is, libav takes one for a format that it may open, and finds no pictures in it
ok "playlists: each is named, the video is there" is "$(wan-record ls --no-digest out.wan | jq -r .key)$(grep -cE 'lists/(hls|concat|dash|sdp).mp4: (not a video|no usable streams).*left out' log)" a4

# ---- the same bytes for any number of files at once, and threads in them; and with no filter
mkdir many; for i in 1 2 3 4 5 6 7; do ffmpeg -nostdin -y -v error -f lavfi -i "testsrc2=s=$((64 + 16 * i))x48:r=16:d=$((1 + i % 3))" \
    -c:v libx264 -pix_fmt yuv420p many/$i.mp4; [ $i = 4 ] || echo x >many/$i.txt; done
wan-decode -q -j1 --threads 1 --height 32 --width 32 -c --allow-bad 1 --report one.jsonl -o one.wan many 2>one.err
wrong=
for how in "-j2" "-j3 --threads 2" "-j8" "-j0" "-j4 --threads 4" "-j2 --sandbox off"; do
    wan-decode -q $how --height 32 --width 32 -c --allow-bad 1 --report x.jsonl -o x.wan many 2>x.err
    cmp -s one.wan x.wan && cmp -s one.jsonl x.jsonl && cmp -s one.err x.err || wrong="$wrong $how;"
done
ok "records, report and messages do not depend on -j, --threads or --sandbox" is "$wrong" ""
(ulimit -n 40; wan-decode -q -j 8 --height 32 --width 32 -c --allow-bad 1 -o few.wan many 2>few.err)
same "with few descriptors too" one.wan few.wan
ok "all six are there, in order" is "$(wan-record ls --no-digest one.wan | jq -r .key | tr '\n' ' ')" "1 2 3 5 6 7 "
done_testing
