# SPDX-License-Identifier: Apache-2.0
# tests/run itself: a check that ends or returns early is a failure, whatever its exit status.
. "$TOP/tests/lib.sh"

script() { { echo '. "$TOP/tests/lib.sh"'; cat; } >"$1.sh"; } # script NAME: a test of that body, from stdin
run() { PLAN_WRITE=${WRITE-} PLAN=$PWD/plan "$TOP/tests/run" "$@"; }
plan() { for l; do echo "$PWD/$l"; done >plan; }
refused() { ! run "$2" >said 2>&1 && grep -Eq -- "^ +not ok .*$1" said; }
caught() { ok "$2" refused "$1" "$PWD/$3"; } # caught REGEX "name" PROGRAM: the runner fails and says why
body='ok one true
first() { ok two true; [ -z "$LEAVE" ] || return 0; ok three true; }
first
done_testing'
script three <<<"$body"
plan 'three.sh 3 0'
ok "what the plan says passes" run "$PWD/three.sh"
export LEAVE=1
caught '2 results.*planned 3' "a function that returns early is noticed" three.sh
unset LEAVE
script early <<<'ok one true
exit 0
done_testing'
plan 'early.sh 1 0'
caught 'without its last line' "exit 0 before the end is noticed" early.sh
script more <<<'ok one true; ok two true; done_testing'
plan 'more.sh 1 0'
caught '2 results.*planned 1' "a new check wants a new plan" more.sh
plan 'other.sh 1 0'
caught 'make plan' "so does a new program" more.sh
WRITE=1 run "$PWD/more.sh" >/dev/null
ok "which writes it" grep -qx "$PWD/more.sh 2 0" plan
ok "and drops what is gone" bash -c '! grep -q other plan'
ok "then it passes" run "$PWD/more.sh"
script skips <<<'ok one true
[ -z "$LACK" ] && { ok two true; ok three true; } || skip "two and three" "something is missing"
done_testing'
plan 'skips.sh 3 0'
LACK=1 ok "where something is missing fewer may come" run "$PWD/skips.sh"
ok "where nothing is, all must" run "$PWD/skips.sh"
plan 'skips.sh 2 1'
ok "a machine that skips less may give more" run "$PWD/skips.sh"
script bad <<<'ok one false; done_testing'
plan 'bad.sh 1 0'
caught 'one' "a failed check is a failure" bad.sh
script status <<<'ok one true; echo 1..1; exit 3'
plan 'status.sh 1 0'
caught 'exit 3' "so is a status that no result explains" status.sh
for s in short long; do script $s <<<'ok one true; basename "$0" >>"$ORDER"; done_testing'; done
plan 'short.sh 1 0' 'long.sh 1 0 30'
ok "two of them" env JOBS=1 ORDER=$PWD/order bash -c "$(declare -f run); run $PWD/short.sh $PWD/long.sh >said"
ok "the longest begins first" [ "$(tr '\n' ' ' <order)" = "long.sh short.sh " ]
ok "and is told in its place" [ "$(grep -oE '(short|long)\.sh  ' said | tr '\n' ' ')" = "short.sh   long.sh   " ]
cat >tap.c <<'C'
#include "tests/tap.h"
static void part(int leave)
{
    ok(1, "one");
    if (leave > 1)
        exit(0);
    if (leave)
        return;
    ok(1, "two");
}
int main(void)
{
    part(getenv("LEAVE") ? atoi(getenv("LEAVE")) : 0);
    return tap_done();
}
C
ok "a C check compiles" gcc -I"$TOP" -o tap tap.c -lm
echo "$PWD/tap 2 0" >plan
ok "a C check as planned" run "$PWD/tap"
export LEAVE=1
caught '1 results.*planned 2' "one that returns early is noticed" tap
LEAVE=2
caught 'without its last line' "one that exits is noticed" tap
there() {
    local t
    while read -r t _; do
        [ -e "$TOP/tests/$t" ] || [ -e "$TOP/tests/$t.c" ] || { echo "$t" >&2; return 1; }
    done <"$TOP/tests/plan.txt"
}
ok "what tests/plan.txt names exists" there
done_testing
