#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every layout of layouts.txt against one rank: losses, gradients, norms and the final weights; the same
# bytes twice; its checkpoint goes on under the next layout of the table.  Packs mix images and videos,
# gradients accumulate, are clipped, captions are dropped; means over samples and over tokens in turn, of the
# other one the first gradients.
#
#     all.sh                 the rows marked with *
#     LAYOUTS=all            all of them (make check-dist); LAYOUTS="tp2 cp3": these
. "$TOP/tests/lib.sh"
if [ "${MPI:-0}" != 1 ] || ! command -v mpirun >/dev/null; then
    skip "layouts against one rank" "a build without MPI"
    done_testing
fi
STEPS=20
. "$TOP/tests/ranks.sh"
[ "${LAYOUTS:-}" != all ] || T="$T dist.bucket_bytes=16384" # most tensors are larger
T="$T model.num_layers=4 model.num_attention_heads=4 checkpoint.save_interval=10"
table() { grep -v '^#' "$TOP/tests/dist/layouts.txt"; }
case ${LAYOUTS:-} in
'') names=$(table | awk '$2 == "*" { print $1 }') ;;
all) names=$(table | awk '{ print $1 }') ;;
*) names=$LAYOUTS ;;
esac
keys() { # keys NAME: ranks and keys
    table | awk -v n="$1" '$1 == n { $1 = ""; if ($2 == "*") $2 = ""; print; found = 1 } END { exit !found }'
}
weights() { # weights A B STEP: the largest relative difference of a tensor
    local f=iter_00000$3/transformer/diffusion_pytorch_model.safetensors
    "$OBJ/tests/train/check_debug" "$1/$f" "$2/$f" ""
}
layout() { # layout NAME REDUCTION NEXT
    local name=$1 mean=$2 next=$3 e at other; at=$(keys "$1") || { ok "$name is in the table" false; return; }
    like_one "$name" $at train.loss_reduction=$mean checkpoint.save="$name"
    e=$(weights "$name" 1.$mean 20)
    ok "$name: weights after $STEPS steps within 1e-5 ($e)" within "$e" 1e-5
    other=token; [ $mean = token ] && other=sample
    ok "$name, mean over ${other}s" run $at train.loss_reduction=$other train.train_iters=1 checkpoint.save= debug.dump=other.st
    e=$(error other.st 1.$other.st)
    ok "... gradients within 1e-5 of one rank's ($e)" within "$e" 1e-5
    again() { run $at train.loss_reduction=$mean train.train_iters=10 checkpoint.save=again &&
        diff -r -x run_config.yaml -x manifest.json {again,"$1"}/iter_0000010; } # those tell of train_iters
    ok "$name: the same bytes again" again "$name"
    rm -rf again
    mkdir next && cp -r "$name/iter_0000010" next && at=$(keys "$next")
    ok "$name goes on as $next" run $at train.loss_reduction=$mean checkpoint.save=next --metrics next.json
    e=$( (head -n 10 "$name.json"; cat next.json) >j.json; losses j.json 1.json)
    ok "... with the losses of one rank ($e)" within "$e" 1e-5
    rm -rf next "$name" next.json
}
set -- $names
for mean in sample token; do
    ok "one rank, mean over ${mean}s" one --metrics 1.$mean.json debug.dump=1.$mean.st train.loss_reduction=$mean checkpoint.save=1.$mean
done
first=$1 mean=sample
while [ $# -gt 0 ]; do
    ln -sf 1.$mean.json 1.json && ln -sf 1.$mean.st 1.st
    layout "$1" $mean "${2:-$first}"
    [ $mean = sample ] && mean=token || mean=sample
    shift
done
if [ "${LAYOUTS:-}" = all ]; then # one bucket of 737 MiB
    T="${T% checkpoint.pretrained_checkpoint=*} model.num_layers=1 model.hidden_size=96 model.num_attention_heads=2
        model.ffn_hidden_size=1000000 train.global_batch_size=2 dist.bucket_bytes=1073741824 checkpoint.save="
    STEPS=2
    ok "one rank of 193 million parameters" one --metrics 1.json
    ok "their gradients in one bucket" run 2 --metrics big.json
    ok "... above 512 MiB" test "$(jq -s '.[-1].comm.dp_cp.all_reduce | .[0] == 1 and .[1] > 536870912' big.json)" = true
    e=$(losses big.json 1.json)
    ok "... loss of $STEPS steps within 1e-5 ($e)" within "$e" 1e-5
fi
done_testing
