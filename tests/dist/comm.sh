#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# check_comm under mpirun: the same checks with 2, 3 and 5 ranks, and ranks that differ.
. "$TOP/tests/lib.sh"
if [ "${MPI:-0}" != 1 ] || ! command -v mpirun >/dev/null; then
    skip "calls of several ranks" "a build without MPI"
    done_testing
fi
export OMP_NUM_THREADS=1 ASAN_OPTIONS=detect_leaks=0 # Open MPI leaks
run() { # run RANKS args...
    local ranks=$1; shift
    timeout 100 mpirun --allow-run-as-root --oversubscribe --bind-to none -n "$ranks" "$OBJ/tests/dist/check_comm" "$@"
}
for p in 1 2 3 5; do ok "the calls of $p ranks" run $p; done
ok "more than 2^31 elements" run 2 long
differ() { fails 1 "$3" "another $1 is named" run "$2" "differ-$1"; }
differ kind 3 'call 2 of group world: rank [01] makes it all_reduce of 100 F32, rank 2 all_gather of 300 F32'
differ size 2 'rank 0 makes it all_reduce of 3999 F32, rank 1 all_reduce of 100 F32'
differ type 2 'rank 0 makes it all_reduce of 100 F64, rank 1 all_reduce of 100 I64'
differ op 2 'rank 0 makes it all_reduce of 100 F32, rank 1 all_reduce of 100 F32 \(maximum\)'
differ root 3 'rank [01] makes it broadcast of 100 F32 from rank 0, rank 2 broadcast of 100 F32 from rank 1'
differ order 2 'rank 0 makes it broadcast of 0 F32 from rank 0, rank 1 barrier'
differ rows 2 'rank 0 makes it all_gather of 40 F32 in rows of digest .*, rank 1 all_gather of 40 F32 in rows'
differ pieces 3 'rank 0 makes it all_to_all of 20 F32, rank 2 all_to_all of 21 F32'
differ send 3 'rank 2 sends 100 F32 to rank 0 with tag 3 in group world, which wants 101 F32'
differ pace 3 'barrier of 0 bytes, call 2 of group world, waits for 2 seconds .* for rank 2 on .* \(process [0-9]+\): its last call was barrier of 0 bytes, number 1 in group world, [0-9]+ s ago'
done_testing
