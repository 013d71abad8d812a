# SPDX-License-Identifier: Apache-2.0
# Helpers of the scripts that compare ranks with one rank; read after tests/lib.sh.  Ranks are
# oversubscribed processes of this machine; the model is small, its packs mix images and videos.
export OMP_NUM_THREADS=1 OMPI_MCA_btl_vader_single_copy_mechanism=none
export ASAN_OPTIONS=detect_leaks=0 # Open MPI leaks
T="model.num_layers=3 model.hidden_size=96 model.num_attention_heads=3 model.ffn_hidden_size=80
model.text_dim=32 model.text_len=16 model.freq_dim=32 dataset.F_latents=2 dataset.H_latents=8
dataset.W_latents=8 dataset.context_seq_len=8 dataset.mock_vary=true dataset.mock_samples=20
dataset.seq_length=64 train.global_batch_size=7 optimizer.lr=1e-3 scheduler.lr_decay_style=constant
scheduler.lr_warmup_iters=0 dist.bucket_bytes=65536 flow.cfg_dropout_prob=0.2 optimizer.clip_grad=0.5"
STEPS=${STEPS:-8} # all.sh makes 20; the more, the longer ranks that share a core wait for each other
one() { wan-train -q --mock --precision fp32 $T train.train_iters=$STEPS "$@"; }
run() { # run RANKS args...
    local ranks=$1; shift
    timeout 200 mpirun --allow-run-as-root --oversubscribe --bind-to none -n "$ranks" \
        wan-train -q --mock --precision fp32 $T train.train_iters=$STEPS "$@"
}
# A few steps make what begins at zero (the head, gates) something else, so that every gradient says something:
# trained NAME: T goes on from the weights of such a run.
trained() {
    wan-train -q --mock --precision fp32 $T train.train_iters=4 optimizer.lr=0.003 checkpoint.save="$1" &&
        T="$T checkpoint.pretrained_checkpoint=$PWD/$1/iter_0000004/transformer"
}
error() { "$OBJ/tests/train/check_debug" "$1" "$2"; }
within() { awk -v e="$1" -v b="$2" 'BEGIN {exit !(e ~ /^[0-9]/ && e + 0 <= b)}'; }
losses() { # largest relative difference of two metrics files
    paste <(jq .loss "$1") <(jq .loss "$2") | awk -v n="$STEPS" '{d = ($1 - $2) / $2; if (d < 0) d = -d
        if (d > m) m = d} END {printf "%.3g", NR == n ? m : 9}'
}
norms() { # the same of the gradient norms
    paste <(jq .grad_norm "$1") <(jq .grad_norm "$2") | awk -v n="$STEPS" '{d = ($1 - $2) / $2; if (d < 0) d = -d
        if (d > m) m = d} END {printf "%.3g", NR == n ? m : 9}'
}
like_one() { # like_one NAME RANKS args...: gradients, losses, norms as in 1.st and 1.json
    local name=$1 ranks=$2 e; shift 2
    ok "$name" run "$ranks" --metrics "$name.json" debug.dump="$name.st" "$@"
    e=$(error "$name.st" 1.st)
    ok "$name: gradients of the first step within 1e-5 of one rank's ($e)" within "$e" 1e-5
    e=$(losses "$name.json" 1.json)
    ok "$name: loss of $STEPS steps within 1e-5 ($e)" within "$e" 1e-5
    e=$(norms "$name.json" 1.json)
    ok "$name: norm of the gradient within 1e-4 ($e)" within "$e" 1e-4
}
