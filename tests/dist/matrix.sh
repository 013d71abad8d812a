#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A checkpoint of any layout goes on under any other: with a learning rate of 0 a step leaves the weights that
# were loaded, bit for bit, and its loss says which samples came next.  Every pair of one rank and some layouts
# of two ranks; LAYOUTS=all (make check-dist): of all of two ranks, and the larger ones to and from one rank.
. "$TOP/tests/lib.sh"
if [ "${MPI:-0}" != 1 ] || ! command -v mpirun >/dev/null; then
    skip "checkpoints of layouts under all others" "a build without MPI"
    done_testing
fi
STEPS=2
. "$TOP/tests/ranks.sh"
T="$T model.num_layers=4 model.num_attention_heads=4"
STILL="train.train_iters=3 optimizer.lr=0 optimizer.min_lr=0 optimizer.weight_decay=0"
rows=$(echo one 1; grep -v '^#' "$TOP/tests/dist/layouts.txt" | sed 's/ \* / /')
small=$(echo "$rows" | awk '$2 <= 2 { print $1 }') large=$(echo "$rows" | awk '$2 > 2 { print $1 }')
[ "${LAYOUTS:-}" = all ] || small="one fsdp2 tp2" large=
keys() { echo "$rows" | awk -v n="$1" '$1 == n { $1 = ""; print }'; }
same() { awk -v a="$1" -v b="$2" 'BEGIN { d = (a - b) / b; exit !(d <= 1e-5 && -d <= 1e-5) }'; }
goes_on() { # goes_on FROM TO: FROM's weights, and what one rank says of the next samples, in FROM.next
    rm -rf out next.json
    run $(keys "$2") $STILL checkpoint.load="$1/iter_0000002" checkpoint.save=out --metrics next.json &&
        diff -r "$1/iter_0000002/transformer" out/iter_0000003/transformer &&
        [ "$(jq .consumed_samples next.json)" = 21 ] || return 1
    [ "$2" != one ] || jq .loss next.json >"$1.next"
    same "$(jq .loss next.json)" "$(cat "$1.next")"
}
for from in $small $large; do
    ok "$from writes" run $(keys $from) checkpoint.save=$from
    ok "$from goes on as one" goes_on $from one
    for to in $small; do
        [ $to = one ] || [[ " $(echo $large) " = *" $from "* ]] || ok "$from goes on as $to" goes_on $from $to
    done
    [ $from = one ] || rm -rf $from
done
for to in $large; do ok "one goes on as $to" goes_on one $to; done
done_testing
