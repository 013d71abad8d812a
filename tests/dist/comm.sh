#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# check_comm under mpirun: the same checks with 2, 3 and 5 ranks.
. "$TOP/tests/lib.sh"
if [ "${MPI:-0}" != 1 ] || ! command -v mpirun >/dev/null; then
    skip "collectives of several ranks" "a build without MPI"
    done_testing
fi
export OMP_NUM_THREADS=1 ASAN_OPTIONS=detect_leaks=0 # Open MPI leaks
for p in 2 3 5; do
    ok "collectives of $p ranks" timeout 100 mpirun --allow-run-as-root --oversubscribe --bind-to none \
        -n $p "$OBJ/tests/dist/check_comm"
done
done_testing
