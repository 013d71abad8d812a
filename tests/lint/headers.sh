# SPDX-License-Identifier: Apache-2.0
# Each header compiles alone; each source begins with its SPDX line; nothing unfinished, no tabs.
. "$TOP/tests/lib.sh"
cd "$TOP" || exit 1

alone() {
    local f bad=0
    for f in $(git ls-files 'lib/*.h' 'kernels/*.h'); do
        case $f in *dnnl*) ls /usr/include/dnnl.h /usr/include/*/dnnl.h >/dev/null 2>&1 || continue ;;
        *comm_mpi*) pkg-config --exists ompi-c || continue ;; esac
        printf '#include "%s"\n' "$f" | gcc -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -Wno-unused-function -I. \
            -fopenmp $(pkg-config --cflags libavformat libarchive 2>/dev/null) $(pkg-config --cflags ompi-c 2>/dev/null) -fsyntax-only -x c - || bad=1
    done
    return $bad
}
spdx() {
    local f bad=0
    for f in $(git ls-files '*.c' '*.h' '*.cu' '*.cuh' '*.cc' '*.sh' '*.py' Makefile); do
        head -3 "$f" | grep -q 'SPDX-License-Identifier: Apache-2.0' || { echo "$f" >&2; bad=1; }
    done
    return $bad
}
must_check() { # an op whose result is dropped draws a warning, through the table too
    local bad
    bad=$(perl -0ne 'while (/typedef int (wan_\w+_fn)\([^;]*\)( WAN_MUST_CHECK)?;/g) { print "$ARGV: $1\n" if !$2 }' \
        kernels/*.h)
    [ -z "$bad" ] || { echo "$bad" >&2; return 1; }
    ! printf '#include "kernels/ops.h"\nvoid f(wan_dev *d, wan_buf b) { d->ops->fill(d, b, 0, 1); }\n' |
        gcc -std=gnu11 -Werror=unused-result -I. -fopenmp -c -o /dev/null -x c - 2>/dev/null
}
unfinished() { ! git grep -nwE 'TODO|FIXME|XXX' -- '*.c' '*.h' '*.cu' '*.cuh' '*.cc' '*.sh' ':!tests/lint' >&2; }
tabs() { ! git grep -nP '\t| +$' -- '*.c' '*.h' '*.cu' '*.cuh' '*.cc' >&2; }
ok "every header compiles alone" alone
ok "every source has its SPDX line" spdx
ok "the result of an op must be looked at" must_check
ok "nothing is marked unfinished" unfinished
ok "no tabs, no trailing blanks" tabs
done_testing
