# SPDX-License-Identifier: Apache-2.0
# The layering of CONTRIBUTING.md, "The shape": an include points to the same folder or a lower rank, vendor headers
# stay in their place, the library neither prints nor exits.
. "$TOP/tests/lib.sh"
cd "$TOP" || exit 1

# tens: the layer; units: the folders inside it.  What stands directly in lib/model is the table that
# all models are entries of, so it lies below them.
rank() {
    case $1 in
    lib/base) echo 0 ;;
    lib/rec/record) echo 11 ;; lib/rec/tensor) echo 12 ;; lib/rec/shard) echo 13 ;; kernels) echo 10 ;;
    lib/media | lib/dist) echo 20 ;;
    lib/model) echo 30 ;; lib/model/block | lib/model/vae | lib/model/text) echo 31 ;;
    lib/model/wan | lib/model/dit | lib/model/wing) echo 32 ;;
    lib/model/files) echo 33 ;; lib/model/sample | lib/model/crew) echo 34 ;;
    lib/train/config) echo 41 ;; lib/train/data | lib/train/parallel) echo 42 ;;
    lib/train/checkpoint) echo 43 ;; lib/train) echo 44 ;; lib/train/planner) echo 45 ;;
    cmd) echo 50 ;; *) echo 99 ;;
    esac
}
edges() { # "file included" for every include written from the root
    git ls-files 'lib/*' 'kernels/*' 'cmd/*' | grep -E '\.(c|h|cc|cu|cuh)$' |
        xargs grep -HoE '^#include "[^"]+"' | sed 's/:#include "/ /; s/"$//'
}
layers() {
    local bad=0 f inc a b
    while read -r f inc; do
        a=${f%/*} b=${inc%/*}
        [ "$a" = "$b" ] && continue
        [ "$(rank "$b")" -lt "$(rank "$a")" ] || { echo "$f includes $inc" >&2; bad=1; }
    done < <(edges)
    return $bad
}
only_in() { # only_in HEADER-REGEX ALLOWED-PATH-REGEX
    ! git grep -nE "^#include <($1)" -- '*.c' '*.h' '*.cu' '*.cuh' '*.cc' | grep -vE "^($2|tests/)" >&2
}
quiet() { # no printing or exiting below cmd/
    ! git grep -nwE '(printf|puts|putchar|exit|abort|perror)\(|fprintf\(stderr' -- 'lib/*.c' 'kernels/*.c' |
        grep -vE '^lib/base/(log|err|opt|opt_help|opt_complete)\.c' >&2
}
no_backend_ifdef() {
    ! git grep -nE '^#\s*if.*(CUDA|DNNL|MPI|FFMPEG|NCCL)' -- 'lib/model' 'lib/train' 'cmd' >&2
}
unique_headers() {
    local dup
    dup=$(git ls-files 'lib/*.h' 'kernels/*.h' | sed 's#.*/##' | sort | uniq -d)
    [ -z "$dup" ] || { echo "same header name twice: $dup" >&2; return 1; }
}

circles() { # circles FOLDER: no two of its files need each other
    local lib obj
    lib=$(ls -t ${OBJ:-build/obj/*}/libwan.a | head -n 1)
    obj=$(git ls-files "$1/*.c" | sed 's#.*/##; s/\.c$//' | tr '\n' ' ')
    ! nm -g "$lib" | awk -v names="$obj" '
        BEGIN { split(names, n, " "); for (i in n) mine[n[i]] = 1 }
        /^[A-Za-z0-9_]+\.o:/ { f = $1; sub(/\.o:/, "", f); next }
        NF == 3 { def[$3] = f }
        NF == 2 && $1 == "U" { use[f " " $2] = f }
        END { for (u in use) { split(u, p, " "); to = def[p[2]]
            if ((p[1] in mine) && (to in mine) && p[1] != to) print p[1], to } }' |
        sort -u | tsort 2>&1 >/dev/null | grep -v "^tsort: -: input" >&2
}
ok "no circle among the files of kernels" circles kernels
ok "includes point to the same or a lower rank" layers
ok "libav only in lib/media" only_in 'libav|libsw' 'lib/media/'
ok "MPI only in lib/dist/comm_mpi.c" only_in 'mpi\.h' 'lib/dist/comm_mpi'
ok "NCCL only in lib/dist/comm_nccl.c and .cu" only_in 'nccl\.h' 'lib/dist/comm_nccl|kernels/[a-z0-9_]*\.cu'
ok "oneDNN only in kernels/*_dnnl.*" only_in 'dnnl|oneapi' 'kernels/[a-z0-9_]*dnnl[a-z0-9_]*\.[ch]:'
ok "CUDA only in .cu and .cuh" only_in 'cuda|cublas|cudnn' 'kernels/[a-z0-9_]*\.(cu|cuh):|lib/dist/comm_nccl'
ok "libarchive only in lib/rec" only_in 'archive' 'lib/rec/'
ok "the library does not print or exit" quiet
ok "no backend #if in model, train or tools" no_backend_ifdef
ok "header names are unique" unique_headers
done_testing
