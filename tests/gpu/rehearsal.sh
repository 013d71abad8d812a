#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# first-run.sh on the emulated device (EMU, CORE: where the core build is) with planted faults: each is
# named, the rest goes on, and a second run goes on where the first ended.
. "$TOP/tests/lib.sh"
export OBJ BENCH=$CORE/gpu/bench_gpu CHECKS='residual pick mse' FIRST_SIZES='tiny tiny' GRAPH=
export PLUGIN=$EMU PLAIN=$EMU WAN_CHECK_SMALL=1 PYTHON=false NODRIVER=1
run() { timeout 300 "$TOP/tests/gpu/first-run.sh" "$@" >"$1.said" 2>&1; }
status() { awk -F'\t' -v p="$2" -v i="$3" '$1 == p && $2 == i && $3 != "row" && $3 != "note" { s = $3 } END { print s }' "$1/results.tsv"; }
is() { ok "$2: $3: $4" test "$(status "$1" "$2" "$3")" = "$4"; }
exits() { # exits STATUS name folder
    local want=$1 rc
    run "$3"; rc=$?
    ok "$2 (exit $rc)" test $rc -eq "$want"
}

# three faults in one run; the step of the second kind is what runs out of memory
export WAN_EMU_FAULT='wrong:check_residual hang:check_pick memory:step_tiny_0_selective' FIRST_LIMIT=60 FIRST_CHECK=12
exits 1 "a run with faults ends" f
is f ops residual wrong
is f ops pick hang
is f step 'tiny selective' memory
is f ops mse ok
for i in attention products rows; do is f tables $i ok; done
is f vae decode ok
is f sample tiny ok
is f sanitizer memcheck skipped
ok "failures stand at the end" grep -q '^FAILED ops/residual: wrong: .* results, first' f.said
ok "a hang says how long it was given" grep -q '^FAILED ops/pick: hang: ran past its 12 s' f.said
ok "memory says what was asked for" grep -q '^FAILED step/tiny selective: memory: .*memory' f.said
ok "measured rows stand in the table" grep -qP '^tables\trows\trow\t\d+\tGELU, backward\t' f/results.tsv
rows=$(wc -l <f/results.tsv)
exits 0 "the same programs again: nothing is left to do" f
ok "and nothing was run" test "$(wc -l <f/results.tsv)" -eq "$rows"

# mended, which the programs show: what failed is run again, first, and no more
sed "s/\t[0-9]*$/\t1/" f/done >done2 && cp done2 f/done
unset WAN_EMU_FAULT
exits 0 "a run after mending" f
is f ops residual ok
is f ops pick ok
is f step 'tiny selective' ok
ok "only what failed was run again" test "$(tail -n +$((rows + 1)) f/results.tsv | grep -c "$(printf '\tok\t')")" -eq 3
ok "what failed comes first" test "$(awk -F'\t' -v n="$rows" 'NR > n { print $2; exit }' f/results.tsv)" = residual

# the time ends in the middle: of a check that does not end by itself
mkdir c && grep -vP '^(ops|tables)\t' f/done >c/done
WAN_EMU_FAULT=hang:check_pick FIRST_SECONDS=14 exits 4 "a short run ends by itself" c
ok "and says what is left" grep -q '^LEFT tables/rows' c.said
exits 0 "the next goes on" c
ok "no item was run twice" test "$(awk -F'\t' '$3 == "ok" { print $1, $2 }' c/results.tsv | sort | uniq -d | wc -l)" -eq 0
is c tables rows ok

WAN_EMU_FAULT=driver: exits 1 "a driver that is too old" old
ok "is named" grep -q 'FAILED device: .*driver is for CUDA 12.4, this build needs 13' old.said
is old tables attention skipped
is old torch tiny skipped

echo 'int gone;' | gcc -shared -fPIC -xc -o libcudnn_of_a_test.so.9 -
echo 'int use(void) { return 0; }' | gcc -shared -fPIC -xc -o needs.so - -Wl,--no-as-needed -L. -l:libcudnn_of_a_test.so.9
rm libcudnn_of_a_test.so.9
export CHECKS=mse
mkdir n && grep -vP '^(ops|device)\t' f/done >n/done
PLUGIN=$PWD/needs.so exits 0 "no cuDNN" n
ok "is named" grep -q 'no cuDNN: .*libcudnn_of_a_test.so.9' n.said
is n ops mse ok
mkdir o && grep -vP '^tables\tattention\t' n/done >o/done
WAN_EMU_FAULT=cudnn: exits 0 "a cuDNN that does not start" o
is o tables attention ok
ok "is noted" grep -q 'does not start.*plain kernel is used' o/results.tsv
done_testing
