# SPDX-License-Identifier: Apache-2.0
# examples/convergence at a size for a test: the whole path, and what its table must say.
. "$TOP/tests/lib.sh"
export PATH=$BIN/../examples:$PATH OMP_NUM_THREADS=1
ok "clips" draw_clips drawn
mkdir clips
for f in $(ls drawn/*.mp4 | head -n 24); do mv "$f" "${f%.mp4}.json" clips; done
ok "both stages, both ways, two seeds" env CLIPS=clips SHARD=2 SEEDS="1 2" STEPS=12 "$TOP/examples/convergence/run.sh" out
ok "a table of four rows" test "$(wc -l <out/table.tsv)" = 5
ok "whose losses are finite, with a spread over the seeds" awk -F'\t' 'NR > 1 { if (!($4 > 0.1 && $4 < 10 && $5 > 0)) bad = 1 } END { exit bad }' out/table.tsv
ok "a noise level for each pack makes the curve jump more" awk -F'\t' '{ j[$1 $2] = $6 }
    END { exit !(j["stage1pack"] > 1.3 * j["stage1sample"]) }' out/table.tsv
ok "the ways see the same samples" bash -c '[ "$(jq -c "[.step,.tokens,.consumed_samples]" out/stage2.sample.1.jsonl)" = "$(jq -c "[.step,.tokens,.consumed_samples]" out/stage2.pack.1.jsonl)" ]'
if [ -s out/loss.png ]; then ok "one picture" test -s out/loss.png; else skip "one picture" "this build has no Cairo"; fi
done_testing
