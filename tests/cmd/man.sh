# SPDX-License-Identifier: Apache-2.0
# Every literal block under EXAMPLES and PIPELINES of every page is run as it stands, in order, in a
# folder that holds clips/ (a few of the demo's) and model/ (examples/tiny).
. "$TOP/tests/lib.sh"

blocks() { # blocks PAGE: writes block.1.sh, block.2.sh ...
    awk '/^\.Sh /{on = /EXAMPLES|PIPELINES/} /^\.Bd -literal/ && on {n++; take = 1; next}
        /^\.Ed/{take = 0} take {gsub(/\\e/, "\\"); gsub(/\\-/, "-"); gsub(/\\&/, ""); print > ("block." n ".sh")}' "$1"
}
"${EXAMPLES:-$TOP/build/examples}/draw_clips" --copies 1 --frames 9 all >draw.log 2>&1
ok "the demo's clips can be drawn" test -d all
mkdir -p clips
for f in $(ls all | grep '\.mp4$' | awk 'NR % 30 == 1' | head -n 6); do cp "all/$f" "all/${f%.mp4}.json" clips/; done

for page in "$TOP"/man/*.[157]; do
    name=$(basename "$page")
    rm -rf run && mkdir run && cd run || exit 1
    cp -r ../clips clips && ln -s "$TOP/examples/tiny" model
    blocks "$page"
    for b in $(ls block.*.sh 2>/dev/null | sort -t. -k2n); do
        ok "$name: example $(echo "$b" | cut -d. -f2)" timeout 120 bash -e -o pipefail "./$b"
    done
    cd ..
done
done_testing
