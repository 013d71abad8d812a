# SPDX-License-Identifier: Apache-2.0
# wan-index: side files, division, --check, and what is refused.
. "$TOP/tests/lib.sh"
dfm=$TOP/tests/data/torch/dfm

wan-shard -q -x "$dfm" | wan-shard -q --shard_maxcount 1 -o ds || exit 1
cp -r ds plain
ok "indexes a folder" wan-index --split-ratio 4,1,1 ds
ok "divides without loss" sh -c 'printf "%s\n" "split_parts:" "  train:" \
    "  - shard-rank00-{000000..000003}.tar" "  val:" "  - shard-rank00-000004.tar" "  test:" \
    "  - shard-rank00-000005.tar" "exclude: []" | cmp - ds/.nv-meta/split.yaml'
ok "dataset.yaml is DFM's, 56 bytes" sh -c '[ $(wc -c <ds/.nv-meta/dataset.yaml) = 56 ] && grep -q "__class__: CrudeWebdataset" ds/.nv-meta/dataset.yaml'
ok "an index has samples + 1 entries" sh -c '[ $(wc -c <ds/shard-rank00-000003.tar.idx) = 16 ]'
ok "info counts the samples" sh -c 'grep -c ": 1" ds/.nv-meta/.info.json | grep -qx 6'
ok "the uuid looks like one" grep -Eqx '[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}' ds/.nv-meta/index.uuid
cp -r ds again; wan-index -q --split-ratio 4,1,1 again
ok "the same bytes every time" diff -r ds again
ok "--check agrees" wan-index --check ds
ok "--check of DFM's shard" sh -c "cp -r $dfm dfm && wan-index -q dfm && wan-index --check dfm"

cp -r plain p1
ok "--split-parts" wan-index --split-parts 'train:shard-rank00-{00000[0-3],000005}' 'val:.*4.tar' -- p1
ok "takes the patterns" sh -c 'grep -A1 "val:" p1/.nv-meta/split.yaml | grep -q 000004'
cp -r plain p4
ok "names that YAML takes for something else are quoted" sh -c "wan-index --split-parts 'no:.*0.tar' '12:.*1.tar' 'train:.*[2-5].tar' -- p4 &&
    grep -q \"^  'no':\" p4/.nv-meta/split.yaml && grep -q \"^  '12':\" p4/.nv-meta/split.yaml"
fails 1 'is in no part' "a shard in no part" wan-index --split-parts 'train:shard-rank00-00000[0-3]' -- plain
fails 1 'is in two parts' "a shard in two parts" wan-index --split-parts 'train:shard' 'val:shard' -- plain
ok "refusals wrote nothing" sh -c '[ ! -e plain/.nv-meta ] && ! ls plain/*.idx 2>/dev/null'
ok "--exclude" sh -c 'cp -r plain p2 && wan-index --exclude "000001|000002" p2 && [ $(grep -c tar p2/.nv-meta/.info.json) = 4 ] && wan-index --check p2'
ok "--shuffle-tars keeps them all" sh -c 'cp -r plain p3 && wan-index --shuffle-tars p3 && wan-index --check p3'

mkdir line; cp plain/*0.tar line/$'a\nb.tar'
fails 1 'line: unsafe member name' "a name of two lines, which readers of the index refuse" wan-index line
mkdir -p mine/.nv-meta; cp plain/*[01].tar mine; echo mine >mine/.nv-meta/0.idx
ok "a file of somebody's own in .nv-meta stays and is no index" sh -c "wan-index -q mine 2>/dev/null; [ \$(cat mine/.nv-meta/0.idx) = mine ] && wan-index --check mine"
cp -r plain energon; echo note >note; tar rf energon/shard-rank00-000000.tar note; wan-index -q energon 2>/dev/null
rm energon/.nv-meta/samples.bin energon/.nv-meta/wan-index.json; wan-index -q --stat energon >/dev/null
ok "sizes that are measured when Energon's index is opened are those of wan-index" sh -c "[ -e energon/.nv-meta/samples.bin ] && wan-index -q --check energon"
fails 2 'no folder' "no operand" wan-index
fails 2 'only one' "two operands" wan-index ds again
fails 2 'split-ratio' "a ratio of two" wan-index --split-ratio 8,1 ds
fails 2 'split-ratio' "a ratio of nothing" wan-index --split-ratio 0,0,0 ds
fails 2 '1e-9 is less than a millionth' "a share that would be none" wan-index --split-ratio 1e-9,1,0 ds
fails 1 'all 6 shards are left out by --exclude' "nothing but exclusions" wan-index --exclude . plain
fails 2 'split-ratio' "a ratio of words" wan-index --split-ratio a,b,c ds
fails 1 'nothere' "a missing folder" wan-index nothere
mkdir empty; fails 1 'no shards' "a folder without shards" wan-index empty
ok "which stays empty" sh -c '[ -z "$(ls -A empty)" ]'
cp -r plain braces; mv braces/shard-rank00-000001.tar 'braces/a{1}.tar'
fails 1 'braces' "a name that breaks Energon" wan-index braces
cp -r plain cut; truncate -s 5120 cut/shard-rank00-000002.tar
fails 1 'shard-rank00-000002.tar' "a cut shard" wan-index cut
truncate -s 3000 cut/shard-rank00-000002.tar
fails 1 'shard-rank00-000002.tar: offset [0-9]{1,6}: ' "one cut within a member, and where" wan-index cut
cp -r plain dup; cp dup/shard-rank00-000000.tar dup/shard-rank00-000009.tar
fails 1 'shard-rank00-000009.tar: sample 000000: this key occurs twice in the dataset, first in shard-rank00-000000.tar' "a key in two shards" wan-index dup
gzip -c plain/shard-rank00-000000.tar >cut/shard-rank00-000002.tar
fails 1 'shard-rank00-000002.tar' "a compressed shard" wan-index cut
gzip -c plain/shard-rank00-000000.tar >cut/more.tgz; rm cut/shard-rank00-000002.tar
fails 1 'more.tgz.*compressed' "a compressed shard under its own name is not passed over" wan-index cut
ok "unless it is left out" wan-index --exclude 'tgz$' cut
rm -rf names; mkdir names; cp plain/shard-rank00-000000.tar names/"$(printf 'a\377')".tar
fails 1 "must be UTF-8" "a name that is not UTF-8" env LC_ALL=C wan-index names
rm -rf names; mkdir names; i=0 # each shard twice would be keys twice: one folder for six
for name in 'a b' "q'uo\"te" "$(printf '\303\274')" -x a:b '#c' a,b '[x]' '*' '~' yes "$(printf 'n%.0s' $(seq 240))"; do
    d=names/$((i / 6))/$name; mkdir -p "$d"; cp "plain/shard-rank00-00000$((i++ % 6)).tar" "$d/$name.tar"
done
ok "names that YAML, a shell or getopt could take for something else" sh -c 'for d in names/*; do wan-index -q --split-ratio 1,1,1 $d && wan-index -q --check $d && wan-shard -q -x $d | wan-record check || exit; done'
cp -r plain gap; rm gap/shard-rank00-00000[23].tar; wan-shard -q -x plain | wan-record cat -k 000002 | wan-record to-safetensors -q -o - >two.safetensors
wan-record from-safetensors -k other two.safetensors | wan-shard -q --rank 2 -o gap
ok "shards missing between others are counted" sh -c 'wan-index gap 2>err && grep -q "2 shards are missing between others of one rank; the first: shard-rank00-000002.tar" err'
cp -r plain odd; touch odd/a-000000.tar.tmp odd/x.TAR odd/y.tar.zst odd/z.TGZ odd/tar.txt; mkdir odd/sub; touch odd/sub/m.tar.1; mkfifo odd/p.tar
ok "files named like shards are counted and named" sh -c 'wan-index odd 2>err && grep -q "^wan-index: odd: only files that end in .tar are shards; 6 others are passed over: a-000000.tar.tmp, p.tar, sub/m.tar.1, x.TAR, y.tar.zst, \.\.\.$" err'
ok "by --check and wan-shard -x too" sh -c 'wan-index -q --check odd 2>err && grep -q "6 others are passed" err && wan-shard -q -x odd 2>err >/dev/null && grep -q "6 others are passed" err'
cp -r ds old; printf 'energon_version: 6.0.1\nshard_counts:\n  gone.tar: 7\n' >old/.nv-meta/.info.yaml
ok "the .info.yaml of an older Energon is brought up to date" sh -c 'wan-index -q --split-ratio 4,1,1 old && rm old/.nv-meta/.info.json old/.nv-meta/wan-index.json && wan-index --check old'
ok "and is made always, for Energon 6" grep -qx "  shard-rank00-000003.tar: 1" ds/.nv-meta/.info.yaml
fails 1 'cannot write|too large|Too large|disk|full' "a full disk" bash -c "cp -r plain fd; trap '' XFSZ; ulimit -f 8; exec wan-index fd"
ok "left no half file" sh -c '! find fd | grep -q tmp && [ ! -e fd/.nv-meta ]'

# a dataset that has grown: shards that have not changed are not read, and the result is the same
wan-shard -q -x ds | wan-record cat -k 000000 | wan-record to-safetensors -q -o - >one.safetensors
wan-record from-safetensors -k new one.safetensors | wan-shard -q --rank 1 -o added
cp -r plain grown; touch -d 2001-01-01 grown/*; sleep 0.05; wan-index -q grown; cp added/*.tar grown/; sleep 0.05
ok "a dataset that has grown" sh -c 'wan-index --split-ratio 4,1,1 grown 2>grown.err'
ok "costs the new shard" grep -q '6 shards had not changed' grown.err
cp -r grown all; ok "and gives what reading all gives" sh -c 'wan-index -q --reread --split-ratio 4,1,1 all && diff -r grown all && wan-index --check grown'
cp -rp grown unread; sleep 0.05; wan-index -q unread; for t in unread/*.tar; do s=$(wc -c <$t); touch -r $t t; : >$t; truncate -s $s $t; touch -r t $t; done
cp -rp unread other; sleep 0.05; for t in unread/*.idx; do touch -r $t t; touch -r t $t; done # as if it had come after that
ok "those that have not changed are not looked into at all" sh -c 'rm -rf was && cp -r unread/.nv-meta was && wan-index -q unread && diff -r was unread/.nv-meta'
fails 1 'shard-rank00-000000.tar' "unless they must be" wan-index -q --reread unread
sleep 0.05; for t in other/*.tar; do touch -r $t t; touch -r t $t; done
fails 1 'shard-rank00-000000.tar' "one that was put there later is read, of the same size and as old as before" wan-index -q other
# how often it waits for the disk does not depend on how many shards there are
at=$OBJ/tests/reliability/at
export ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0
if "$at" kill 0 -- true 2>/dev/null; then
    syncs() { rm -rf y; mkdir y; cp $(ls plain/*.tar | head -n $1) y/; "$at" -r "$PWD/y" log y.log -- wan-index -q --split-ratio 1,0,0 y && grep -aEc '^(fsync|syncfs|sync)' y.log; }
    two=$(syncs 2) six=$(syncs 6)
    ok "as many syncs for six shards as for two ($two and $six)" [ "$two" = "$six" -a "$two" -gt 3 ]
else skip "as many syncs for six shards as for two" "no ptrace here"; fi
unset ASAN_OPTIONS
wan-shard -q -x ds | wan-record cat -k 000005 | wan-record to-safetensors -q -o - >five.safetensors
wan-record from-safetensors -k 000002 five.safetensors | wan-shard -q -o changed
cp changed/*.tar grown/shard-rank00-000002.tar
ok "a shard of another size is read" sh -c 'wan-index --split-ratio 4,1,1 grown 2>grown.err && wan-index --check grown'
ok "it alone" grep -q '^wan-index: 6 shards had not changed' grown.err
touch grown/shard-rank00-000004.tar
ok "a shard that is newer than its index is read" sh -c 'wan-index --split-ratio 4,1,1 grown'
mkdir grown/.nv-meta/sub; echo x >grown/.nv-meta/sub/f; echo y >grown/.nv-meta/sample_loader.py
ok "files of others are taken along" sh -c 'wan-index -q grown && grep -q x grown/.nv-meta/sub/f && grep -q y grown/.nv-meta/sample_loader.py && [ ! -e grown/.nv-meta.tmp ]'
mv grown/.nv-meta grown/.nv-meta.old
ok "an index left aside is put back" sh -c 'wan-index -q grown && [ -e grown/.nv-meta/sample_loader.py ] && [ ! -e grown/.nv-meta.old ]'
exec 8<grown; flock -n 8; fails 1 'another wan-index' "two at a time" wan-index grown; exec 8<&-

for few in 2 5; do # two to five shards in three parts
    rm -rf few; mkdir few; for i in $(seq 0 $((few - 1))); do cp plain/shard-rank00-00000$i.tar few/; done
    ok "an empty part is warned about ($few shards)" sh -c 'wan-index -q few 2>err && grep -q "no shard for val: there are '$few' in all" err'
done
ok "but not one without a share" sh -c 'wan-index -q --split-ratio 1,0,0 few 2>err && [ ! -s err ]'

# --check names every problem, exit 1
broken() { # broken REGEX NAME COMMAND: damages a copy of ds
    rm -rf b; cp -r ds b; (cd b && eval "$3")
    fails 1 "$1" "--check: $2" wan-index --check b
}
broken 'does not know this shard' "a shard that is new" 'cp ../dfm/*.tar new.tar'
broken 'in no part' "a shard in no part" 'sed -i "/000004/d" .nv-meta/split.yaml'
broken '2 times' "a shard in two parts" 'sed -i "s/000005/000004/" .nv-meta/split.yaml'
broken 'digest|checksum' "a flipped byte" 'printf "\377" | dd of=shard-rank00-000001.tar bs=1 seek=4596 conv=notrunc 2>/dev/null'
broken 'json is not what it was' "a changed caption" 'sed -i "s/clip 3/clip 7/" shard-rank00-000003.tar'
broken 'samples.bin: what it says of .* in bytes 64 to [0-9]* is damaged' "a flipped size" 'printf "\7" | dd of=.nv-meta/samples.bin bs=1 seek=100 conv=notrunc 2>/dev/null'
broken 'another shard of this name' "sizes of another index" 'wan-shard -q -x ../ds | wan-shard -q --shard_maxcount 1 --text-dtype f32 -o o; cp o/shard-rank00-000001.tar .; rm -r o'
rm -rf f; cp -r "$dfm" f; wan-index -q f
ok "DFM's shard brings no digests: ours show a flipped byte of its text" sh -c \
    'at=$(tar tRf f/*.tar | sed -n "s/^block \([0-9]*\): 000002.pickle/\1/p") &&
     cp -r f g && printf "\1" | dd of="$(echo g/*.tar)" bs=1 seek=$((at * 512 + 900)) conv=notrunc 2>/dev/null &&
     ! wan-index --check g 2>err && grep -q "parts are not what" err && wan-index --check f'
broken 'index.sqlite: is not what wan-index wrote in bytes 0 to [0-9]*, as wan-index.json' "a flip in index.sqlite" 'printf "\1" | dd of=.nv-meta/index.sqlite bs=1 seek=5000 conv=notrunc 2>/dev/null'
broken 'index.sqlite: .* it has 5000 bytes and not [0-9]*, as wan-index.json' "an index.sqlite cut off" 'truncate -s 5000 .nv-meta/index.sqlite'
broken 'index.uuid: is not what' "a flip in index.uuid" 'printf "g" | dd of=.nv-meta/index.uuid bs=1 conv=notrunc 2>/dev/null'
broken 'index.sqlite: is missing' "no index.sqlite" 'rm .nv-meta/index.sqlite'
broken 'index.sqlite: wan-index.json does not name it' "a name that changes in the list of files" 'sed -i "s/index.sqlite/index.sqlitf/" .nv-meta/wan-index.json'
broken 'wan-index.json: its format is not 1, or it lists no files' "a list of files that has another name" 'sed -i "s/\"files\"/\"fimes\"/" .nv-meta/wan-index.json'
broken 'wan-index.json: is of another generation' "another generation" 'sed -i "/generation/s/[0-9]/x/" .nv-meta/wan-index.json'
broken 'samples.bin is missing' "no sizes" 'rm .nv-meta/samples.bin'
broken 'info.json says 2' "a wrong count" 'sed -i "s/000003.tar\": 1/000003.tar\": 2/" .nv-meta/.info.json'
broken 'idx' "a wrong offset" 'printf "\2\2" | dd of=shard-rank00-000001.tar.idx bs=1 conv=notrunc 2>/dev/null'
broken 'samples end at' "an offset beyond all files" 'printf "\0\376\377\377\377\377\377\377" | dd of=shard-rank00-000001.tar.idx bs=1 seek=8 conv=notrunc 2>/dev/null'
broken 'entry 1 is damaged' "offsets that go back" 'printf "\0\0\0" | dd of=shard-rank00-000001.tar.idx bs=1 seek=8 conv=notrunc 2>/dev/null'
broken 'idx' "no index" 'rm shard-rank00-000001.tar.idx'

# a larger file has the digest of each 64 KiB
mkdir one wide; tar xf "$(echo "$dfm"/*.tar)" -C one --wildcards '000002.*'
long=$(printf %0200d 0); for i in $(seq 200); do for f in one/*; do ln "$f" "wide/$long$i.${f#*.}"; done; done
(cd wide && ls | tar cf ../wide.tar --hard-dereference -T - && rm -- * && mv ../wide.tar .)
ok "an index.sqlite of several ranges" sh -c 'wan-index -q wide && [ "$(jq -c ".files[\"index.sqlite\"].ranges | [.bytes, (.crc32c | length > 1)]" wide/.nv-meta/wan-index.json)" = "[65536,true]" ] && wan-index --check wide'
mv ds ds.few; mv wide ds
broken 'index.sqlite: is not what wan-index wrote in bytes 65536 to [0-9]*, as wan-index.json' "the range of a flip is named" 'printf "\1" | dd of=.nv-meta/index.sqlite bs=1 seek=65540 conv=notrunc 2>/dev/null'
broken 'index.sqlite: wan-index.json has another digest of what is in bytes 0 to 65535, and is damaged' "a flip in the digest of a range" 'j=$(jq ".files[\"index.sqlite\"].ranges.crc32c[0] = \"00000000\"" .nv-meta/wan-index.json) && echo "$j" >.nv-meta/wan-index.json'
broken 'index.sqlite: wan-index.json has another digest of all of it, and is damaged' "a flip in the digest of a file" 'j=$(jq ".files[\"index.sqlite\"].crc32c = \"00000000\"" .nv-meta/wan-index.json) && echo "$j" >.nv-meta/wan-index.json'
broken 'index.sqlite: what wan-index.json says of it is damaged: .* multiple' "ranges of another size" 'sed -i "s/65536/65537/" .nv-meta/wan-index.json'
mv ds wide; mv ds.few ds
ok "an index without digests of ranges, as it was, is checked by those it has" sh -c 'jq "del(.files[].ranges)" wide/.nv-meta/wan-index.json >j && mv j wide/.nv-meta/wan-index.json && wan-index --check wide'
broken 'No such file' "no shard" 'rm shard-rank00-000001.tar'
broken 'anchors' "an anchor in split.yaml" 'sed -i "s/  train:/  \&a train:/" .nv-meta/split.yaml'
broken 'is F32' "mixed element types" 'cd ..; rm -rf m; wan-shard -q -x ds | wan-shard -q --shard_maxcount 1 --latent-dtype f32 -o m; cp m/shard-rank00-000002.tar b/; wan-index -q b'
# --verify, the same by another name: every member parses, every number is finite, shapes and the json agree
mkst() { # mkst KEY META NAME:SHAPE:VALUE...: a safetensors file of F32, all numbers of a tensor the same
    perl -e 'my ($key, $meta, @t) = @ARGV; my ($end, $data, @h) = (0, "");
        for (@t) {
            my ($n, $s, $v) = split /:/; my $c = 1; $c *= $_ for split /,/, $s;
            my $at = $end; $end += 4 * $c; $data .= pack("f<", $v) x $c;
            push @h, "\"$n\":{\"dtype\":\"F32\",\"shape\":[$s],\"data_offsets\":[$at,$end]}";
        }
        $meta =~ s/(["\\])/\\$1/g;
        my $h = "{\"__metadata__\":{\"wan_key\":\"$key\",\"wan_meta\":\"$meta\"}," . join(",", @h) . "}";
        print pack("Q<", length $h) . $h . $data' -- "$@"
}
verified() { # verified REGEX NAME META TENSOR...: what is wrong with the second sample, where it is
    mkst a '{}' latent:16,1,2,4:1 text:3,8:1 >a.safetensors; mkst b "$3" "${@:4}" >b.safetensors
    rm -rf v; wan-record from-safetensors a.safetensors b.safetensors | wan-shard -q -o v && wan-index -q --split-ratio 1,0,0 v
    if [ -n "$1" ]; then fails 1 "shard-rank00-000000.tar: sample b: $1" "--verify: $2" wan-index --verify v; else ok "--verify: $2" wan-index --verify v; fi
}
well=latent:16,1,2,4:0 two='{"caption_list":[{"field":"","text":"x"},{"field":"","text":"y"}]}'
verified '' "a good one" "$two" $well text:3,8:0 text_2:512,8:0
verified 'mask: holds a value that is not finite' "NaN in another tensor" '{}' $well text:3,8:0 mask:4:nan
verified 'text_2: holds a value that is not finite' "infinity in another caption" "$two" $well text:3,8:0 text_2:3,8:inf
verified 'text_2: has 513 rows, more than 512' "a caption that is cut" "$two" $well text:3,8:0 text_2:513,8:0
verified 'text_2: has rows of 7, the first text of 8' "a caption of another width" "$two" $well text:3,8:0 text_2:3,7:0
verified 'text_2 is missing: the json has 2 captions' "a caption that was not encoded" "$two" $well text:3,8:0
verified "text: has rows of 4, the first sample's has of 8" "another width of text" '{}' $well text:3,4:0
verified "latent: has 8 channels, the first sample's has 16" "other channels" '{}' latent:8,1,2,4:0 text:3,8:0
verified 'json: processed_height does not fit a latent of 1x2x4' "a size that the json has otherwise" '{"processed_height":32}' $well text:3,8:0
verified 'json: processed_frames does not fit a latent of 1x2x4' "frames that the json has otherwise" '{"processed_frames":5}' $well text:3,8:0
verified '' "frames that the VAE did not take" '{"processed_frames":4}' $well text:3,8:0
# numbers in DFM's samples, without digests, are changed where they lie
cat >poke.pl <<'END'
    my ($file, $half) = @ARGV; local $/; open F, "<", $file or die; binmode F; $_ = <F>; close F;
    if ($file =~ /pth$/) { # checksums of the archive's directory to 0: none was made
        s/(PK\x01\x02.{12}).{4}/$1\0\0\0\0/gs; my $at;
        while (/PK\x03\x04.{22}(..)(..)/gs) { my ($n, $e) = (unpack("v", $1), unpack "v", $2); $at = pos() + $n + $e if substr($_, pos(), $n) =~ m{data/0$} }
        substr($_, $at, 2) = pack "v", hex $half;
    } else { s/\x00\xbc\x00\xb8/pack("v", hex $half) . "\x00\xb8"/se or die } # -1, -0.5: where its numbers begin
    open F, ">", $file or die; binmode F; print F $_; close F or die;
END
poked() { # poked REGEX NAME COMMAND: in a folder with the members of DFM's shard
    rm -rf x v; mkdir x v; tar xf "$dfm"/*.tar -C x; chmod u+w x/*
    (cd x && eval "$3" && tar cf ../v/s.tar --format=ustar --sort=name ./* --transform 's#^\./##') && wan-index -q --split-ratio 1,0,0 v
    fails 1 "s.tar: sample 00000[0-5]: $1" "--verify of DFM's shard: $2" wan-index --verify v
}
poked 'latent: holds a value that is not finite' "NaN in a latent" 'perl ../poke.pl 000002.pth 7e00'
poked 'latent: holds a value that is not finite' "infinity" 'perl ../poke.pl 000004.pth fc00'
poked 'latent: holds 2048, larger than 1000' "a large number" 'perl ../poke.pl 000003.pth 6800'
poked 'text: holds a value that is not finite' "NaN in a text" 'perl ../poke.pl 000002.pickle 7e00'
poked 'json: processed_width does not fit a latent of 2x2x4' "a shape that the json has otherwise" 'sed -i "s/_width\": 32/_width\": 48/" 000003.json'
poked 'json' "a json that does not parse" 'sed -i "s/caption/cap\"tion/" 000001.json'
poked 'pth' "a latent cut short" 'truncate -s -200 000001.pth'
poked '4 parts where json, pth and pickle' "a part that nobody reads" 'cp 000001.pth 000001.other'
rm -rf x v; mkdir x v; tar xf ds/shard-rank00-000003.tar -C x; chmod u+w x/*
sed -i 's/\[6,8\]/[7,8]/; s/\[5,8\]/[6,8]/' x/*.json; (cd x && tar cf ../v/s.tar --format=ustar --sort=name *); wan-index -q --split-ratio 1,0,0 v
fails 1 's.tar: sample 000003: pickle: type or shape differs from the json member' "--verify: more rows in the json than in the text" wan-index --verify v
# --stat against values worked out by hand: latents of DFM's shard are ((k/2 - 3) / 64 + i) of clip i, as F16
wan-index --stat ds >stat.tsv
of() { awk -F'\t' -v p="$1" -v w="$2" -v o="$3" '$1 == p && $2 == w && $3 == o { print $4 " " $5 }' stat.tsv; }
ok "--stat: samples" sh -c 'cut -f 1,2,5 stat.tsv | grep -c "samples" | grep -qx 3 && grep -q "^train	samples	-	-	4$" stat.tsv'
ok "sizes" sh -c 'grep -q "^train	latent	16x1x2x4	-	2$" stat.tsv && grep -q "^train	latent	16x2x2x4	-	2$" stat.tsv'
ok "lengths and rows" sh -c 'grep -q "^train	frames	5	-	2$" stat.tsv && grep -q "^train	text	4	-	1$" stat.tsv && ! grep -q "^train	text	12" stat.tsv'
# val is clip 4: channel 0 holds k = 0..7: mean (3.5/2 - 3) / 64 + 4 = 3.98047, deviation sqrt(5.25) / 128 = 0.0179009
near() { awk -v a="${1% *}" -v b="$2" -v n="${1#* }" -v m="$3" 'BEGIN { exit !(a - b < 2e-3 && b - a < 2e-3 && n == m) }'; }
ok "mean of a channel" near "$(of val mean 0)" 3.98047 8
ok "its deviation" near "$(of val std 0)" 0.0179 8
wan-index --stat --picture stat.svg ds >same.tsv
same "--picture: the table is the same" stat.tsv same.tsv
ok "--picture: a bar for each size, length and number of rows" [ "$(grep -c '<rect class="b"' stat.svg)" = "$(cut -f 2 stat.tsv | grep -cE '^(latent|frames|text)$')" ]
ok "--picture: a point for each channel" [ "$(grep -c '<circle' stat.svg)" = "$(cut -f 2 stat.tsv | grep -c mean)" ]
# the scale: 90 pixels are 6; the middle of the first part's row is at 70 + 50
ok "--picture: where its mean is" sh -c 'm=$(awk -F"\t" "\$2 == \"mean\" { print \$4; exit }" stat.tsv)
    sed -n "s/.*<circle.* cy=\"\([0-9.]*\)\".*/\1/p" stat.svg | head -n 1 | awk -v m="$m" "{ d = \$1 - (120 - m / 6 * 100); exit d * d > 0.001 }"'
cp -r plain amp; wan-index -q --split-parts 'a&b:.*' -- amp; wan-index --stat --picture amp.svg amp >/dev/null
ok "--picture: names of parts are XML" grep -q '>a&amp;b: 6 samples<' amp.svg
cp -r ds more; cp more/shard-rank00-000001.tar more/x1.tar; cp more/x1.tar more/x2.tar
ok "--stat says what it does not know" sh -c 'wan-index --stat more 2>err >table && cmp table stat.tsv && grep -q "^wan-index: more: 2 shards are not in the index, the first of them x1.tar; run wan-index again" err'
fails 2 'needs a file' "--picture to standard output" wan-index --stat --picture - ds
fails 2 'goes with --stat' "--picture alone" wan-index --picture x.svg ds
fails 1 'No space' "--stat to a full device" sh -c 'wan-index --stat ds >/dev/full'
fails 2 'not both' "--stat and --check" wan-index --stat --check ds
fails 1 'wan-index first' "--check without index" wan-index --check plain

# its memory: SQLite's, and one shard.  DFM's first sample under 60,000 and 100,000 keys, 1,000 a shard: SQLite's
# pages are full by then, and 200 bytes kept of each would be 8 MB more.  (A program is at least as large as python3 was, which is less than either.)
if ! command -v python3 >/dev/null; then skip "many samples" "no python3"; skip "memory does not grow with the samples" "no python3"
elif grep -q __asan_init "$(command -v wan-index)"; then for k in "many samples" "memory does not grow with the samples"; do skip "$k" "AddressSanitizer keeps what is freed"; done
else
    cat >many.pl <<'END'
    my ($from, $dir, $shards) = @ARGV; my ($tar, $at, $key, @m) = ("", 0);
    { local $/; open F, $from or die; binmode F; $tar = <F> }
    while (length(my $name = unpack "Z100", substr $tar, $at, 512)) {
        my $all = 512 + ((oct(unpack "x124 Z12", substr $tar, $at, 512) + 511) & ~511);
        if (substr($tar, $at + 156, 1) =~ /[xg]/) { $at += $all; next } # a pax header
        my ($k, $part) = $name =~ /^(.*?)\.(.*)/; $key //= $k; last if $k ne $key;
        push @m, [$part, substr($tar, $at, 512), substr $tar, $at + 512, $all - 512]; $at += $all;
    }
    mkdir $dir;
    for my $s (0 .. $shards - 1) {
        open O, ">", sprintf("%s/s%03d.tar", $dir, $s) or die; binmode O;
        for my $i (0 .. 999) { for (@m) {
            my $h = $_->[1]; substr $h, 0, 100, pack "a100", sprintf "%03d_%06d.%s", $s, $i, $_->[0];
            substr $h, 148, 8, " " x 8; substr $h, 148, 8, sprintf "%06o\0 ", unpack "%32C*", $h;
            print O $h, $_->[2];
        } }
        print O "\0" x 1024; close O or die;
    }
END
    held() { python3 -c 'import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)' wan-index -q "$1"; }
    for k in 60 100; do
        perl many.pl "$dfm"/*.tar many $k; held many >held$k; grep -c ': 1000' many/.nv-meta/.info.yaml >>counts; rm -r many
    done
    ok "60 and 100 shards of 1,000" test "$(tr '\n' ' ' <counts)" = "60 100 "
    echo "# $(cat held60) KB for 60,000, $(cat held100) for 100,000"
    ok "memory does not grow with the samples" test $(($(cat held100) - $(cat held60))) -lt 4000
fi
done_testing
