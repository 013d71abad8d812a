# SPDX-License-Identifier: Apache-2.0
# Helpers for the test scripts:  . "$TOP/tests/lib.sh"  ... checks ...  done_testing
# Each script runs in an empty scratch folder, with the tools on PATH.
n=0 bad=0 ok_out=$PWD/ok.out ok_err=$PWD/ok.err # absolute: a script may change its folder
SAMPLES=${SAMPLES:-$TOP/../shared/samples}
ok() { # ok "name" command...: passes when the command succeeds
    local name=$1 rc; shift
    n=$((n + 1))
    "$@" >"$ok_out" 2>"$ok_err"; rc=$?
    if [ $rc -eq 0 ]; then echo "ok $n - $name"; else
        bad=$((bad + 1)); echo "not ok $n - $name (exit $rc)"; tail -n 5 "$ok_err" >&2; fi
}
fails() { # fails STATUS REGEX "name" command...: exit status and one sentence on stderr
    local want=$1 re=$2 name=$3 rc; shift 3
    n=$((n + 1))
    "$@" >fails.out 2>fails.err; rc=$?
    if [ $rc -eq "$want" ] && grep -Eq -- "$re" fails.err; then echo "ok $n - $name"; else
        bad=$((bad + 1)); echo "not ok $n - $name (exit $rc, wanted $want; stderr: $(head -c 300 fails.err | tr '\n' '|'))"; fi
}
same() { # same "name" file file
    ok "$1" cmp "$2" "$3"
}
skip() { n=$((n + 1)); echo "ok $n - $1 # SKIP $2"; }
has_pty() { script -qec true /dev/null </dev/null >/dev/null 2>&1; } # a terminal to try things on
done_testing() { echo "1..$n"; [ $bad -eq 0 ]; exit; }
