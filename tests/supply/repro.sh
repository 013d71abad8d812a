# SPDX-License-Identifier: Apache-2.0
# The tarball of `make dist` gives the same bytes twice: in folders of other names and depth, with other
# locale, time zone, umask and number of jobs, without git, without a compiler cache, on another day.
. "$TOP/tests/lib.sh"
export CCACHE_DISABLE=1
unset MAKEFLAGS MFLAGS MAKELEVEL
knobs=(CUDA="${CUDA:-0}")
mkdir -p nogit second/of/them
printf '#!/bin/sh\necho "git was called: $*" >>"%s"\nexit 1\n' "$PWD/git.called" >nogit/git
chmod +x nogit/git
make -s -C "$TOP" dist BUILD="$PWD/dist" >dist.log 2>&1
tarball=$(ls dist/wan-tools-*.tar.gz)
folder=$(basename "$tarball" .tar.gz)
ok "a tarball" test -s "$tarball"
make -s -C "$TOP" dist BUILD="$PWD/again" >dist.log 2>&1
same "the same bytes twice" "$tarball" "again/$folder.tar.gz"
commit=$(git -C "$TOP" rev-parse --short HEAD)
build() { # build FOLDER JOBS: as in another place
    tar -xzf "$tarball" -C "$1" && PATH="$PWD/nogit:$PATH" make -j"$2" -C "$1/$folder" "${knobs[@]}" all completions >"$1/log" 2>&1 ||
        { tail -n 20 "$1/log" >&2; return 1; }
}
inst() { PATH="$PWD/nogit:$PATH" make -s -C "$1/$folder" "${knobs[@]}" install DESTDIR="$PWD/$1/root" PREFIX=/opt/wan >"$1/log" 2>&1; }
mkdir first
ok "it builds without git" build first 2
(umask 077; LANG=C.UTF-8 LC_ALL=C.UTF-8 TZ=Asia/Tokyo build second/of/them 3)
ok "and in another folder" [ $? = 0 ]
ok "git was not asked" [ ! -e git.called ]
first=first/$folder second=second/of/them/$folder
ok "the tools name the commit" sh -c '"$1/build/bin/wan-train" --version | grep -qF "('"$commit"')"' sh "$first"
alike() { # every FILE under both
    local f=0 p
    for p in $(cd "$first" && ls $1); do
        f=$((f + 1))
        cmp "$first/$p" "$second/$p" || return
    done
    [ $f -ge "$2" ]
}
ok "every tool has the same bytes" alike "build/bin/*" 9
ok "the library too" alike "build/obj/*/libwan.a" 1
ok "and the completions" alike "build/completions/*" 18
if [ "${CUDA:-0}" = 1 ]; then ok "and the plugins" alike "build/lib/*.so" 1; else skip "and the plugins" "CUDA=0"; fi
ok "no name of a folder is left in them" sh -c '! grep -rlF "$PWD" "$1/build/bin"' sh "$first"
ok "make install" inst first
ok "in the other one" inst second/of/them
ok "the same tree" diff -r first/root second/of/them/root
for s in 1/wan-train.1 5/wan-record.5 7/wan.7; do ok "page $s is installed" test -s "first/root/opt/wan/share/man/man$s"; done
for f in bin/wan-train share/wan-tools/configs/mock.yaml share/bash-completion/completions/wan-train \
    share/zsh/site-functions/_wan-train; do
    ok "$f is installed" test -s "first/root/opt/wan/$f"
done
ok "an installed tool finds its configurations" sh -c 'first/root/opt/wan/bin/wan-train 2>&1 | grep -q mock.yaml'
done_testing
