# SPDX-License-Identifier: Apache-2.0
# The power goes while a tool works.  What it wrote, synced and renamed is written down once (at.c); then
# each state that a disk may be in afterwards is made (power.c): what was not synced is missing, torn,
# there in another order, or zeros.  In every one of them files under final names are whole, old or new,
# and the same command finishes; after its end nothing is missing, however soon the power goes.
#
# `make check` tries POINTS states of each tool, FULL=1 all, with RANDOMLY=4 more choices at each change; PART=I/N every
# N-th of them, from the I-th, and LONGEST=SECONDS as many as that takes.
. "$TOP/tests/lib.sh"
. "$TOP/tests/reliability/common"
POINTS=${POINTS:-5} tried=0 exchange=
POWER=$OBJ/tests/reliability/power

# After the end all is as it should be, with no second run; what was removed may be there again.
ended() { diff -r -x '*.tmp' -x '.*.latent' -x '.*.old' -x '.*.gone' now good >diff.out 2>&1 || echo "finished, and lost: $(head -n 3 diff.out | tr '\n' ' ')"; }
every() {
    local name=$1 all cut variant now=0 last began; shift
    [[ $name =~ ${ONLY:-.} ]] || return
    command=("$@")
    anew; rm -rf good; : >wrong
    into "$AT" $exchange -r "$root/now" log ../log -- "${command[@]}" || { ok "$name runs: $(head -c 300 err)" false; return; }
    mv now good
    "$POWER" log before list "${RANDOMLY:-4}" $([ -n "${FULL-}" ] || echo 24) >states || { ok "$name: what was written down" false; return; }
    all=$(wc -l <states) last=$(tail -n 1 states | cut -d' ' -f1)
    rm -rf now; "$POWER" log before make now "$last" 1
    diff -r now good >&2 || { ok "$name: all that was written down is what is there" false; return; }
    began=$SECONDS # writing down the states may take minutes
    while read -r cut variant && ! late; do
        rm -rf now; "$POWER" log before make now "$cut" "$variant"
        now=$((now + 1))
        { [ "$cut" != "$last" ] || ended; judge; } </dev/null | sed "s/^/cut before change $cut, choice $variant: /" >>wrong
    done < <(grep "^$last " states | head -n 3; grep -v "^$last " states | some | part)
    tried=$((tried + now))
    [ ! -s wrong ] || cat wrong >&2
    ok "$name: $all states of a disk, $now tried" [ ! -s wrong ]
}
. "$TOP/tests/reliability/scenarios"
echo "# $tried states"
done_testing
