#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Memory of every rank (VmHWM) when it saves and when it resumes, beside training: the shards of 24 MB and the
# largest tensor of 4.7 MB that a careless rank would hold twice would show.  The copy of async_save is what
# the plan says.
. "$TOP/tests/lib.sh"
if [ "${MPI:-0}" != 1 ] || ! command -v mpirun >/dev/null; then
    skip "memory of ranks that save" "a build without MPI"
    done_testing
fi
. "$TOP/tests/ranks.sh"
! grep -q asan_ "$(command -v wan-train)" || { skip "memory of ranks that save" "AddressSanitizer"; done_testing; }
M="$T model.hidden_size=384 model.ffn_hidden_size=3072 train.global_batch_size=4 dataset.mock_samples=8 dist.use_megatron_fsdp=true"
E="checkpoint.save=ck checkpoint.save_interval=1"
ROOM=2048 # KiB: buffers of 768, names and places of tensors, and what two runs differ by
measure() { # measure NAME RANKS key=value...: NAME.0 ... in KiB
    local name=$1 ranks=$2; shift 2
    PEAK=$PWD/$name timeout 200 mpirun --allow-run-as-root --oversubscribe --bind-to none -n "$ranks" \
        sh -c 'export LD_PRELOAD=$0; exec wan-train -q --mock --precision fp32 "$@"' "$OBJ/tests/dist/peak.so" $M "$@"
}
above() { # above A B EXTRA: no rank of A has more than that of B and EXTRA KiB
    local r; for r in "$1".*; do [ "$(cat "$r")" -le $(($(cat "$2.${r##*.}") + $3)) ] || return 1; done
}
all() { cat "$1".* | tr '\n' ' '; }
for layout in "fsdp2 2" "hsdp-2x2 4 dist.dp_replicate_size=2"; do
    set -- $layout; name=$1 np=$2; shift 2
    rm -rf ck
    ok "$name trains" measure "$name-train" $np "$@" train.train_iters=2 checkpoint.save=
    ok "$name saves" measure "$name-save" $np "$@" train.train_iters=2 $E
    ok "... in the memory of training: $(all "$name-save")beside $(all "$name-train")KiB" above "$name-save" "$name-train" $ROOM
    ok "$name resumes" measure "$name-resume" $np "$@" train.train_iters=3 checkpoint.load=ck checkpoint.save=
    ok "... in the memory of training: $(all "$name-resume")KiB" above "$name-resume" "$name-train" $ROOM
    rm -rf ck
    ok "$name saves behind the steps" measure "$name-behind" $np "$@" train.train_iters=2 $E checkpoint.async_save=true
    wan-train --plan --mock --precision fp32 --ranks $np $M "$@" $E checkpoint.async_save=true >plan
    copy=$(awk '$1 == "snapshot" { printf "%.0f", $2 * 1024 }' plan)
    ok "... in what the plan adds, $copy KiB: $(all "$name-behind")" above "$name-behind" "$name-train" $((copy + ROOM))
    ok "... which is what is taken" [ "$(cat "$name-behind.0")" -ge $(($(cat "$name-train.0") + copy - ROOM)) ]
    ok "the plan counts saving" grep -q '^  checkpoint  *0.8 ' plan
done
done_testing
