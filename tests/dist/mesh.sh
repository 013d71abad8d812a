#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# check_mesh under mpirun: the groups of several meshes.
. "$TOP/tests/lib.sh"
if [ "${MPI:-0}" != 1 ] || ! command -v mpirun >/dev/null; then
    skip "groups of a mesh" "a build without MPI"
    done_testing
fi
export OMP_NUM_THREADS=1 ASAN_OPTIONS=detect_leaks=0 # Open MPI leaks
mesh() { # mesh RANKS PP REPLICAS SHARDS CP TP
    local ranks=$1; shift
    ok "mesh $* on $ranks ranks" timeout 100 mpirun --allow-run-as-root --oversubscribe --bind-to none -n "$ranks" \
        "$OBJ/tests/dist/check_mesh" "$@"
}
mesh 8 2 0 1 2 2
mesh 8 1 2 2 2 1
mesh 6 1 0 3 1 2
mesh 6 3 1 1 2 1
mesh 5 1 0 1 1 1
done_testing
