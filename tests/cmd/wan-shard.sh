# SPDX-License-Identifier: Apache-2.0
# wan-shard: records -> shards -> records, and everything that can go wrong on the way.
. "$TOP/tests/lib.sh"
is() { [ "$1" = "$2" ] || { echo "got: $1; wanted: $2" >&2; false; }; }
dfm=$TOP/tests/data/torch/dfm

ok "extracts a shard made by DFM" sh -c "wan-shard -x $dfm >a.rec"
ok "without the zero rows that pad its text" is "$(wan-record ls a.rec | jq -c '.tensors[1].shape' | tr '\n' ' ')" "[2,8] [3,8] [4,8] [5,8] [6,8] [7,8] "
ok "packs it again" sh -c "wan-shard --shard_maxcount 4 -o ds <a.rec"
ok "from a file the bytes are the same" wan-shard --shard_maxcount 4 --output_dir ds.file a.rec
same "shard 0" ds/shard-rank00-000000.tar ds.file/shard-rank00-000000.tar
same "shard 1" ds/shard-rank00-000001.tar ds.file/shard-rank00-000001.tar
ok "through a pipe too" sh -c "cat a.rec | wan-shard --shard_maxcount 4 -o one && cmp one/shard-rank00-000001.tar ds/shard-rank00-000001.tar"
ok "extracts its own" sh -c "wan-shard -x ds | wan-shard --latent-dtype f32 --text_dtype f32 --rank 7 -o wide"
ok "the rank is in the name" test -e wide/shard-rank07-000000.tar
ok "extract, pack, extract: the same tensors" sh -c '
    wan-shard -x ds >b.rec && wan-shard --shard-maxcount 4 -o ds2 <b.rec && mkdir t1 t2 &&
    for t in 0 1; do tar xf ds/*$t.tar -C t1; tar xf ds2/*$t.tar -C t2; done &&
    [ $(ls t1 | wc -l) = 18 ] && diff -r -x "*.json" t1 t2'
ok "python-free tar lists the members in order" sh -c "tar tf ds/shard-rank00-000001.tar | tr '\n' ' ' |
    grep -q '^000004.json 000004.pickle 000004.pth 000005.json'"

ok "standard output is not needed for that" sh -c "wan-shard -o closed a.rec >&-"
mkdir -p late/shard-rank00-000000.tar.idx/x
fails 1 'cannot remove' "a shard that cannot be finished" wan-shard --shard-maxcount 1 -o late a.rec
ok "is not told to be there" sh -c "! grep 'in front of the fault' fails.err && ! ls late/*.tar"
deep() { # deep N: a record whose metadata are N maps in one another
    local h o c pad; o=$(printf '{\\"a\\":%.0s' $(seq "$1")) c=$(printf '}%.0s' $(seq "$1"))
    h='{"__metadata__":{"wan_meta":"'$o'1'$c'"},"latent":{"dtype":"F32","shape":[1,1,2,2],"data_offsets":[0,16]},"text":{"dtype":"F32","shape":[1,4],"data_offsets":[16,32]}}'
    printf -v pad '%*s' $(((8 - ${#h} % 8) % 8)) ''; h=$h$pad
    printf "$(printf '\\x%02x\\x%02x\\0\\0\\0\\0\\0\\0' $((${#h} % 256)) $((${#h} / 256)))"; printf '%s' "$h"; head -c 32 /dev/zero
}
deep 2000 >deep.safetensors; deep 2001 >deeper.safetensors
ok "metadata 2000 deep" sh -c "wan-record from-safetensors deep.safetensors | wan-shard -q -o deep && wan-shard -x deep | wan-record check"
fails 1 'nested more than 2000 deep' "not deeper, as nothing would read it" sh -c "wan-record from-safetensors deeper.safetensors | wan-shard -o deeper"
fails 1 'exists; --force' "existing shards are not replaced" wan-shard -o ds a.rec
cp -r ds forced; wan-index -q forced
ok "--force replaces them all" sh -c "wan-shard --force -o forced <a.rec && [ ! -e forced/shard-rank00-000001.tar ]"
ok "and leaves no index of what was there" sh -c "! ls forced/*.idx"
fails 2 'exactly one of' "nothing to do" wan-shard
fails 2 'exactly one of' "both ways at once" wan-shard -o a -x b
fails 2 'no files' "-x with a file" wan-shard -x ds a.rec
fails 2 'shard-maxcount' "a count of zero" wan-shard --shard_maxcount 0 -o n a.rec
fails 2 'not a size' "a size that ends in a blank" wan-shard --shard_maxsize '1 ' -o n a.rec
fails 2 'latent-dtype' "an unknown type" wan-shard --latent-dtype f8 -o n a.rec
fails 1 'nothere' "a missing file" wan-shard -o n nothere
fails 1 'No such file' "a folder that is not there" wan-shard -x .nothing
mkdir -p empty; fails 1 'no shards' "an empty folder" wan-shard -x empty

# streams with different histories: every sample keeps its own, in the tar and out of it
history() { wan-record ls --header --no-digest | jq -r 'if .header then [.header.provenance[].program] | join("+") else .key end' | tr '\n' ' '; }
wan-record cat -k '00000[01]' a.rec | wan-record cat >h1.rec
wan-record cat -k 000002 a.rec >h2.rec
cat h1.rec h2.rec | wan-shard -o hist
ok "from two files the bytes are those of cat" sh -c "wan-shard -o hist.file h1.rec h2.rec && cmp hist/*.tar hist.file/*.tar"
ok "a shard holds nothing but samples" is "$(tar tf hist/shard-rank00-000000.tar | grep json | tr '\n' ' ')" \
    "000000.json 000001.json 000002.json "
ok "histories stand in the samples that begin them" is "$(tar xOf hist/shard-rank00-000000.tar 000000.json 000001.json 000002.json | jq -c '[.wan.history.provenance[]?.program] | length' | tr '\n' ' ')" "4 0 3 "
ok "and come out again as two streams" is "$(wan-shard -x hist | history)" \
    "wan-shard+wan-record+wan-record+wan-shard+wan-shard 000000 000001 wan-shard+wan-record+wan-shard+wan-shard 000002 "
ok "a json member names the end of its own" is "$(tar xOf hist/shard-rank00-000000.tar 000000.json 000002.json | jq -r .wan.provenance | tr '\n' ' ')" \
    "wan-shard.4 wan-shard.3 "
ok "a shard that rolls begins with its own" sh -c 'wan-shard --shard_maxcount 1 -o roll h1.rec h2.rec &&
    for i in 0 1 2; do tar xOf roll/*$i.tar 00000$i.json | jq -e .wan.history >/dev/null || exit 1; done'
ok "out of several shards too" is "$(wan-shard -x roll | history | sed 's/wan-//g')" \
    "shard+record+record+shard+shard 000000 000001 shard+record+shard+shard 000002 "
mkdir -p old/__provenance__ old.shards # as wan-shard wrote it before: a member in front of the samples
tar xf hist/shard-rank00-000000.tar -C old
for i in 0 2; do jq -c .wan.history old/00000$i.json >old/__provenance__/header-$i.json; done
for f in old/*.json; do jq -c 'del(.wan.history)' $f >x && mv x $f; done
(cd old && tar cf ../old.shards/o.tar --format=ustar __provenance__/header-0.json 000000.* 000001.* __provenance__/header-2.json 000002.*)
ok "histories of older shards are read" is "$(wan-shard -x old.shards | history)" "$(wan-shard -x hist | history)"
ok "wan-index passes over them" sh -c 'wan-index -q old.shards 2>err; [ ! -s err ] || grep -v "no shard for" err | wc -l | grep -qx 0'
ok "--check does not" sh -c 'wan-index -q --check old.shards && sed -i "s/wan-record/wan-recorD/" old.shards/o.tar && ! wan-index --check old.shards 2>err && grep -q "provenance" err'

# every truncation: exit 1, a sentence, no half shard; finished shards stay
size=$(wc -c <a.rec)
for cut in 0 1 63 64 100 1000 $((size / 2)) $((size - 65)) $((size - 64)) $((size - 1)); do
    head -c $cut a.rec >cut.rec
    fails 1 'cut.rec' "a stream cut at $cut of $size bytes" wan-shard --shard_maxcount 2 -o cut.$cut cut.rec
    ok "leaves only whole shards ($cut)" sh -c '! ls cut.'$cut'/*.tmp 2>/dev/null &&
        for t in cut.'$cut'/*.tar; do [ ! -e "$t" ] || tar tf $t >/dev/null || exit 1; done'
done
ok "finished shards stay" test -e cut.$((size - 1))/shard-rank00-000001.tar
fails 1 'stdin' "a closed pipe upstream" sh -c "head -c 3000 a.rec | wan-shard -o up"
fails 1 'twice|before' "the same key twice" wan-shard -o twice a.rec a.rec
fails 1 'wide.rec: record 1 \(000000\): is F32 and F32, the records before it F16' "other element types than before" sh -c "
    wan-shard -x wide >wide.rec && wan-shard -o mixed h2.rec wide.rec"
ok "the samples in front of a refused record are in a whole shard" is "$(wan-shard -x mixed | wan-record ls --no-digest | jq -r .key | tr '\n' ' ')" "000002 "
ok "those in front of a cut too" is "$(wan-shard -x cut.$((size - 1)) | wan-record check | cut -d' ' -f1-3)" "good: 6 records,"
echo hello >text; fails 1 'text' "no record stream" wan-shard -o n text

# an interrupted run goes on behind its shards
wan-record cat -k 000000 a.rec | wan-record to-safetensors -q -o - >n.safetensors; wan-record from-safetensors -k new n.safetensors >new.rec
head -c $((size * 2 / 3)) a.rec | wan-shard -q --shard_maxcount 2 -o res 2>/dev/null
had=$(ls res | wc -l); had_keys=$(wan-shard -q -x res | wan-record ls --no-digest | grep -c .)
cp -p res/shard-rank00-000000.tar first.tar
ok "--resume" sh -c "wan-shard --shard_maxcount 2 --resume -o res a.rec 2>res.err && grep -q '$had_keys records were in earlier shards' res.err"
ok "gives every record once" is "$(wan-shard -q -x res | wan-record ls --no-digest | jq -r .key | sort | tr '\n' ' ')" "000000 000001 000002 000003 000004 000005 "
ok "behind the shards that were there" sh -c "[ $had -ge 1 ] && cmp first.tar res/shard-rank00-000000.tar && [ \$(ls res | wc -l) -gt $had ]"
ok "again there is nothing to do" sh -c "ls -l res >l1; wan-shard --resume -o res a.rec && ls -l res | cmp - l1"
fails 1 'before it F16' "--resume: another element type" sh -c "wan-shard --resume --latent-dtype f32 -o res new.rec"
fails 2 'resume' "--resume with --force" wan-shard --resume --force -o res a.rec

# killed in mid-pipe
stopped() { # stopped SIGNAL DIR: kills wan-shard while its second shard is open
    mkfifo pipe.$1; wan-shard -q --shard_maxcount 2 -o $2 <pipe.$1 & local pid=$! i
    exec 3>pipe.$1; head -c $((size * 3 / 4)) a.rec >&3
    for i in $(seq 100); do [ -e $2/shard-rank00-000001.tar.tmp ] && break; sleep 0.1; done
    kill -$1 $pid; wait $pid; local rc=$?; exec 3>&-; [ $rc -gt 128 ]
}
ok "dies by SIGTERM" stopped TERM term
ok "and leaves whole shards only" sh -c "ls term/*.tar && ! ls term/*.tmp"
ok "dies by SIGKILL" stopped KILL kill
ok "and nothing half-written has a final name" sh -c 'for t in kill/*.tar; do tar tf $t >/dev/null || exit 1; done'
cp kill/shard-rank00-000000.tar kill/shard-rank00-000007.tar.tmp
ok "--force starts over" sh -c 'wan-shard --force --shard_maxcount 2 -o kill <a.rec && [ $(ls kill | grep -c "tar$") = 3 ] && ! ls kill/*.tmp && wan-index kill'

# --force over shards that are there: those or the new ones, never some of both
shards() { (cd "$1" && ls -A && cat *.tar) | sha256sum; }
killed_over() { # killed_over SIGNAL: when its first shard is whole
    mkfifo over.$1; wan-shard -q --force --shard_maxcount 1 -o over <over.$1 & local pid=$! i
    exec 3>over.$1; head -c $((size * 3 / 4)) a.rec >&3
    for i in $(seq 3000); do [ -e over/shard-rank00-000000.tar.new ] && break; sleep 0.02; done
    kill -$1 $pid; wait $pid; exec 3>&-
    [ -e over/shard-rank00-000000.tar.new ]
}
wan-shard -q --shard_maxcount 2 -o over a.rec; wan-index -q over; wan-shard -q --rank 1 -o over a.rec
cp -r over over.old; sum=$(cd over && cat *.tar | sha256sum)
ok "--force killed" killed_over KILL
ok "leaves the old shards" is "$(cd over && cat *.tar | sha256sum)" "$sum"
ok "and the next one nothing of it" sh -c 'wan-shard --force --shard_maxcount 4 -o over a.rec && [ "$(ls -A over | grep rank00 | tr "\n" " ")" = "shard-rank00-000000.tar shard-rank00-000001.tar " ]'
ok "nor of other ranks" cmp over/shard-rank01-000000.tar over.old/shard-rank01-000000.tar
wan-shard -q --shard_maxcount 4 -o fresh a.rec
ok "the shards are those of a fresh folder" sh -c 'for t in fresh/*.tar; do cmp $t over/${t#*/} || exit 1; done'
head -c $((size - 5000)) a.rec >short.rec; rm -rf over; cp -r over.old over
fails 1 'short.rec' "a fault in what comes" wan-shard --force --shard_maxcount 1 -o over short.rec
ok "leaves all as it was" diff -r over over.old
mkdir want; cp fresh/*.tar over.old/shard-rank01-000000.tar want/; wan-shard -q -x want | wan-record ls >want.ls
for mark in switch switched; do # stopped in the middle of the change
    rm -rf over stopped; cp -r over.old over
    for t in fresh/*.tar; do cp $t over/${t#*/}.new; done
    if [ $mark = switched ]; then rm over/shard-rank00-*.tar*; cp fresh/shard-rank00-000000.tar over/; cp fresh/shard-rank00-000001.tar over/shard-rank00-000001.tar.new; else rm over/shard-rank00-000001.tar over/shard-rank00-000001.tar.idx; fi
    : >over/.shard-rank00.$mark
    cp -r over stopped
    ok "stopped on the way ($mark): the new ones are read" sh -c 'wan-shard -q -x over | wan-record ls | cmp - want.ls'
    fails 1 'info.json does not know this shard' "and not by the old index" wan-index --check over
    ok "which changes nothing" diff -r over stopped
    rm stopped/shard-rank01*
    ok "wan-index ends it" sh -c 'wan-index -q --split-ratio 1,0,0 stopped && wan-index -q --check stopped && for t in fresh/*.tar; do cmp $t stopped/${t#*/} || exit 1; done
        [ "$(ls -A stopped | grep -cE "switch|new|tmp|rank00.*tar$")" = 2 ]'
    ok "the next writer ends it" sh -c 'wan-shard --resume -o over a.rec && for t in fresh/*.tar; do cmp $t over/${t#*/} || exit 1; done'
    ok "and no trace is left" sh -c '[ "$(ls -A over | grep rank00 | tr "\n" " ")" = "shard-rank00-000000.tar shard-rank00-000001.tar " ]'
done

# two writers of one rank
mkfifo pipe.two; wan-shard -q --shard_maxcount 2 -o two <pipe.two & pid=$!
exec 3>pipe.two; head -c $((size * 3 / 4)) a.rec >&3
for i in $(seq 100); do [ -e two/shard-rank00-000001.tar.tmp ] && break; sleep 0.1; done
fails 1 'another process is writing' "a second writer into the same folder" wan-shard --force -o two a.rec
ok "of another rank may" wan-shard --rank 1 -o two a.rec
tail -c +$((size * 3 / 4 + 1)) a.rec >&3; exec 3>&-
wait $pid
ok "the first one is not disturbed" sh -c "wan-shard --shard_maxcount 2 -o two.alone a.rec &&
    rm two/shard-rank01* && diff -r two two.alone"

: >file
fails 1 'file' "a folder that cannot be made" wan-shard -o file/x a.rec
fails 1 'cannot write|too large|Too large' "a full disk" bash -c "trap '' XFSZ; ulimit -f 8; exec wan-shard -o full a.rec"
ok "leaves nothing behind" sh -c "[ -z \"\$(ls full)\" ]"
fails 1 'stdout|space' "a full disk behind -x" sh -c "wan-shard -x ds >/dev/full"
if has_pty; then
    ok "no binary data to a terminal" sh -c "! script -qec 'wan-shard -x ds' /dev/null </dev/null >tty.out && grep -q terminal tty.out"
else
    skip "no binary data to a terminal" "no script(1), or no pseudo-terminal to be had"
fi

mkdir extra; tar xf ds/shard-rank00-000000.tar -C extra; echo more >extra/000000.more
(cd extra && tar cf x.tar 0*)
fails 1 'x.tar: sample 000000: 4 parts' "a part the json does not name" sh -c "wan-shard -x extra >/dev/null"

# damaged shards: exit 1 and no end record, so the next stage fails too
cut=5000
mkdir bad; head -c $cut ds/shard-rank00-000001.tar >bad/x.tar
fails 1 'bad/x.tar' "a cut shard" sh -c "wan-shard -x bad >bad.rec"
fails 1 'bad.rec' "and the stage behind it" wan-shard -o bad2 bad.rec
cp ds/shard-rank00-000001.tar bad/x.tar
at=$(tar tRf bad/x.tar | sed -n 's/^block \([0-9]*\): 000004.pth$/\1/p')
printf '\377' | dd of=bad/x.tar bs=1 seek=$((at * 512 + 1012)) conv=notrunc 2>/dev/null
fails 1 'bad/x.tar.*00000' "a flipped byte" sh -c "wan-shard -x bad >bad.rec"
ok "ustar, GNU and pax headers, links and folders" sh -c '
    mkdir -p gnu in/sub && tar xf ds/shard-rank00-000000.tar -C in &&
    for k in 000000 000001 000002 000003; do for p in json pickle pth; do mv in/$k.$p in/sub/$(printf "%0120d" $k).$p; done; done &&
    ln -s x in/sub/z.json && tar cf gnu/a.tar --format=gnu -C in --sort=name sub && wan-shard -x gnu 2>gnu.err | wan-shard -o gnu2 &&
    grep -q "2 members" gnu.err && tar tf gnu2/shard-rank00-000000.tar | grep -q "sub/0*2.pth"'
fails 1 'unsafe' "a name that leaves the folder" sh -c '
    mkdir -p evil && tar cf evil/a.tar -P --transform "s,^,../," -C in/sub . 2>/dev/null && wan-shard -x evil >/dev/null'

# shards of others: any key that WebDataset and Energon read, in any form of tar
mkdir w; tar xf ds/shard-rank00-000000.tar -C w
long=$(printf 'd%.0s' $(seq 90))/$(printf 'k%.0s' $(seq 90))
foreign() { # foreign NAME KEY RECORD-KEY TAR-OPTION...: one shard with the sample 000000 under KEY
    local name=$1 key=$2 want=$3; shift 3
    rm -rf f; mkdir f
    (cd w && tar cf ../f/s.tar "$@" --transform "s#^000000#$key#" 000000.*)
    ok "$name: wan-index, --check, -x" sh -c "LC_ALL=C wan-index -q f && LC_ALL=C.UTF-8 wan-index -q --reread f && wan-index --check f"
    ok "$name: the key" is "$(wan-shard -x f | wan-record ls --no-digest | jq -r .key)" "$want"
}
for form in ustar gnu pax v7; do
    foreign "$form" plain plain --format=$form
    foreign "$form, a blank" 'a b' a_-20-b --format=$form
    foreign "$form, ./" ./a _-2E-/a --format=$form
    foreign "$form, letters outside ASCII" "$(printf '\347\214\253')" _-E78CAB- --format=$form
done
for form in gnu pax ustar; do foreign "$form, a long name" "$long" "$long" --format=$form; done
foreign "pax with a global header" a a --format=pax --pax-option=comment=made-by-somebody
foreign "pax with a time in parts of a second" a a --format=pax --mtime=@1.5
done_testing
