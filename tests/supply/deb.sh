# SPDX-License-Identifier: Apache-2.0
# The package of `make deb` in a fresh Debian of this machine's release (debootstrap): it installs with what it
# says it needs, every tool starts, clips become a trained model and a video, and nothing of it is left when it goes.
. "$TOP/tests/lib.sh"
mirror=${MIRROR:-http://deb.debian.org/debian} cache=${CACHE:-$HOME/.cache/wan-tools/debs}
. /etc/os-release
unset MAKEFLAGS MFLAGS MAKELEVEL
ok "make deb" make -s -C "$TOP" deb BUILD="$PWD/build"
deb=$(ls build/wan-tools_*.deb 2>/dev/null)
depends=$(dpkg-deb -f "$deb" Depends)
ok "what it depends on is computed" grep -qE 'libc6 \(>= [0-9.]+\).*libjansson4' <<<"$depends"
sum=$(sha256sum <"$deb")
ok "a second time" make -s -C "$TOP" deb BUILD="$PWD/build"
ok "gives the same bytes" [ "$(sha256sum <"$deb")" = "$sum" ]

why=
root=$PWD/root
new_root() {
    mkdir -p "$cache" && debootstrap --variant=minbase --cache-dir="$cache" "$VERSION_CODENAME" "$root" "$mirror" &&
        cp /etc/resolv.conf /etc/hosts "$root/etc/" && cp "$cache"/*.deb "$root/var/cache/apt/archives/"
}
if [ "$(id -u)" != 0 ]; then why="needs root"
elif ! command -v debootstrap >/dev/null; then why="no debootstrap"
elif ! new_root >debootstrap.log 2>&1; then why="no Debian from $mirror: $(tail -n 1 debootstrap.log)"; fi
if [ -n "$why" ]; then skip "in a fresh Debian" "$why"; done_testing; fi
trap 'umount -l "$root/proc" "$root/dev" 2>/dev/null' EXIT
mount -t proc proc "$root/proc" && mount --bind /dev "$root/dev"
in_root() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive \
    OMP_NUM_THREADS=2 GOMP_SPINCOUNT=1000 "$@"; }

cp "$deb" "$root/wan-tools.deb"
in_root apt-get update -qq >apt.log 2>&1
ok "apt installs it" in_root apt-get install -y -qq --no-install-recommends /wan-tools.deb
cp -n "$root"/var/cache/apt/archives/*.deb "$cache/" 2>/dev/null
in_root ls /usr/bin >have
ok "without compiler, make, Python or git" sh -c '! grep -qxE "gcc|make|python3|git" have'
for f in "$TOP"/cmd/*.c; do
    t=$(basename "$f" .c)
    ok "$t --version" in_root "$t" --version
    ok "$t.1 is there" test -s "$root/usr/share/man/man1/$t.1.gz"
done
in_root dpkg --verify wan-tools >verify # minbase may leave out documentation
ok "every file is as it was packed" sh -c '! grep -v " /usr/share/\(doc\|man\)/" verify'
ok "bash completes" in_root bash -c '. /usr/share/bash-completion/completions/wan-sample &&
    COMP_WORDS=(wan-sample --precision "") COMP_CWORD=2 && _wan_sample && [ "$(printf "%s\n" "${COMPREPLY[@]}" | sort | xargs)" = "bf16 fp32 fp8" ]'

"${EXAMPLES:-$TOP/build/examples}/draw_clips" --copies 1 --frames 9 all >draw.log 2>&1
mkdir -p "$root/work/clips"
for f in $(ls all/*.mp4 | head -n 8); do cp "$f" "${f%.mp4}.json" "$root/work/clips/"; done
cp -r "$TOP/examples/tiny" "$root/work/model"
cat >"$root/work/run.sh" <<'EOF'
set -euo pipefail
cd /work
wan-decode --height 64 --width 64 --center-crop --frames 9 clips | wan-encode --model model | wan-shard -o ds
wan-index --split-ratio 1,0,0 ds
wan-train --config-file model/stage1.yaml dataset.path=ds checkpoint.save=ck train.train_iters=3 \
    train.global_batch_size=4 checkpoint.save_interval=3 model.num_layers=1 --metrics m.jsonl
wan-plot -q -o loss.svg m.jsonl
wan-sample --model model --checkpoint_dir ck --prompts "a red circle" --sizes 64*64 --frame_nums 9 \
    --sample_steps 2 --save_file out.mp4
EOF
ok "clips, records, shards, a trained model, a video" in_root bash /work/run.sh
mkdir out && cp "$root/work/out.mp4" out/ && echo '{"caption": "a red circle"}' >out/out.json
ok "which this machine's tools read" sh -c 'wan-decode --frames 9 out | wan-record ls | grep -q 9,64,64'
ok "it goes as it came" in_root apt-get purge -y -qq wan-tools
ok "with all its files" sh -c '! find "$1/usr" -name "wan-*" | grep . >&2' sh "$root"
done_testing
