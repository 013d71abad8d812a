# SPDX-License-Identifier: Apache-2.0
# Each fuzz target without a fuzzer: its seeds (what fuzzing has found is among them), changed ones, always
# the same, and seeds read while an allocation fails.  tests/fuzz/replay.c; `make fuzz-long` fuzzes.
. "$TOP/tests/lib.sh"
obj=${OBJ:-$(ls -dt "$TOP"/build/obj/*/ | head -1)}
m=40 k=10 # of FULL: all that can fail
[ -z "${FULL-}" ] || m=2000 k=100000
ok "the seeds are made" "$TOP/tests/fuzz/seeds.sh" "$PWD/seeds"
export WAN_FUZZ_GOOD=$PWD/seeds/video/h264.mp4
cd "$TOP" || exit 1
for t in "$TOP"/tests/fuzz/fuzz_*.c; do
    name=${t##*/fuzz_} name=${name%.c}
    if [ ! -d "${ok_out%/*}/seeds/$name" ] || [ ! -x "$obj/replay/$name" ]; then skip "$name" "no ffmpeg"; continue; fi
    some=$m; [ "$name" != video ] || some=$((m / 20))
    ok "$name" "$obj/replay/$name" -m $some -k $k "${ok_out%/*}/seeds/$name"/*
    sed "s/^/# /" "$ok_out"
done
done_testing
