# SPDX-License-Identifier: Apache-2.0
# A tool is killed before, half-way and after each change that it makes to the file system.  Afterwards
# every file under a final name is the old one or the new one and loads, and the same command, called
# again without --force, finishes as if nothing had been.
#
# `make check` tries POINTS changes of each tool, spread evenly; FULL=1 all of them.  ONLY=REGEX names tools.
. "$TOP/tests/lib.sh"
. "$TOP/tests/reliability/common"
POINTS=${POINTS:-3} tried=0 exchange= killed=137
inputs 2

# every NAME COMMAND...: kills it in copies of before/.  The caller says with functions what `loads`
# afterwards, and what comes `again` when that is another command.
loads() { :; }
again() { "${command[@]}"; }
victim() { "$AT" $exchange -r "$PWD" "$@" -- "${command[@]}"; }
into() { (cd now && "$@") >out 2>err; } # runs it in now/
anew() { rm -rf now && cp -a before now; }
# What is neither old nor new under a final name; names that begin with a dot or end with .tmp wait, and
# runs have steps in between, which `steps` looks at.
mixed() {
    local f
    (cd now && find . -type f ! -name '*.tmp' ! -name '.*' ! -path '*/.*' ! -path './run/*') | while read -r f; do
        cmp -s "now/$f" "before/$f" || cmp -s "now/$f" "good/$f" || echo "$f is neither the old nor the new"
    done
}
judge() {
    mixed
    into loads || echo "does not load: $(head -c 300 err)"
    into again || echo "the second run fails: $(head -c 300 err)"
    diff -r now good >diff.out 2>&1 || echo "the second run leaves: $(head -n 3 diff.out | tr '\n' ' ')"
}
point() { # point K [half]: nothing, or what is wrong
    local rc
    anew
    into victim kill "$@"; rc=$?
    [ $rc -ne 98 ] || return 0 # no write: there is no half of it
    [ $rc -eq 137 ] || [ $rc -eq "$killed" ] || echo "not killed ($rc): $(head -c 200 err)"
    echo x >>tried
    judge
}
every() {
    local name=$1 k step=1 all; shift
    [[ $name =~ ${ONLY:-.} ]] || return
    command=("$@")
    anew; rm -rf good; : >tried; : >wrong
    into victim -c "$root/count" kill 0 || { ok "$name runs: $(head -c 300 err)" false; return; }
    mv now good
    all=$(cat count)
    [ -n "${FULL-}" ] || step=$(((all + POINTS - 1) / POINTS))
    for ((k = 1 + (step > 1) * (all % step); k <= all; k += step)); do
        for h in "" half; do point $k $h | sed "s/^/change $k of $all $h: /" >>wrong; done
    done
    tried=$((tried + $(wc -l <tried)))
    [ ! -s wrong ] || cat wrong >&2
    ok "$name: $all changes, killed at $(wc -l <tried) points" [ ! -s wrong ]
}

size="--height 16 --width 16 --center-crop"
whole() { [ ! -e "$1" ] || wan-record check "$1"; }

mkdir before
loads() { whole f.wan; }
every decode wan-decode -q $size -o f.wan ../clips
cp f.wan before/
every "decode, again" wan-decode -q $size --num_frames 5 -o f.wan ../clips
rm before/*
loads() { whole l.wan; }
every encode wan-encode -q --model "$MODEL" -o l.wan ../f.wan
loads() { whole c.wan; }
every record wan-record cat -q -o c.wan ../l.wan
loads() { [ ! -e t.safetensors ] || wan-record from-safetensors -q -o /dev/null t.safetensors; }
every "record to-safetensors" wan-record to-safetensors -q -k "$(wan-record ls l.wan | head -n 1 | jq -r .key)" -o t.safetensors ../l.wan

shards="wan-shard -q --shard-maxcount 1 -o s"
loads() { [ ! -e s ] || ! ls s/*.tar >/dev/null 2>&1 || wan-shard -q -x s | wan-record check; }
again() { $shards --resume ../l.wan; }
every shard $shards ../l.wan
again() { "${command[@]}"; }
(cd before && $shards ../l.wan)
every "shard -f" $shards -f --text-dtype f16 ../l.wan

rm -rf before/* && (cd before && $shards ../l.wan)
loads() { [ ! -e s/.nv-meta ] || wan-index -q --check s; }
every index wan-index -q --split-ratio 1,0,0 s
(cd before && wan-index -q --split-ratio 1,0,0 s)
loads() { # one generation: all of the old or all of the new
    local m=s/.nv-meta
    [ -e $m ] || m=s/.nv-meta.old # as the trainer takes it, where names cannot be exchanged
    diff -r $m ../before/s/.nv-meta >/dev/null || diff -r $m ../good/s/.nv-meta >&2
}
every "index, again" wan-index -q --split-ratio 1,1,0 s
exchange=-x
every "index, again, without exchange of names" wan-index -q --split-ratio 1,1,0 s
exchange=
wan-record to-safetensors -q -k "$(wan-record ls l.wan | head -n 1 | jq -r .key)" -o k.safetensors l.wan
wan-record from-safetensors -q -k grown k.safetensors | (cd before && wan-shard -q --rank 1 -o s)
loads() { :; } # the old index does not know the new shard
every "index, grown" wan-index -q --split-ratio 1,0,0 s

# every step that is there is whole; the pointer names one
steps() {
    local s
    for s in run/iter_*; do [ ! -e "$s" ] || wan-convert -q check "$s" || return; done
    [ ! -e run/latest_checkpointed_iteration.txt ] || wan-convert -q check run
}
# ... and the trainer goes on from one when there was one before
loads() { steps && { [ ! -e ../before/run ] || $train train.train_iters=1; }; }
train="wan-train -q --mock --precision fp32 $TRAIN --metrics /dev/null checkpoint.save=run"
rm -rf before/*
every "train, save" $train train.train_iters=2 checkpoint.save_interval=1
(cd before && $train train.train_iters=2 checkpoint.save_interval=1)
every "train, save again" $train checkpoint.ckpt_step=1 train.train_iters=2 checkpoint.keep=2 optimizer.lr=1e-2
exchange=-x
every "train, save again, without exchange of names" $train checkpoint.ckpt_step=1 train.train_iters=2 checkpoint.keep=2 optimizer.lr=1e-2
exchange=
every "train, prune" $train train.train_iters=4 checkpoint.save_interval=1 checkpoint.keep=2
every "train, asynchronous" $train train.train_iters=4 checkpoint.save_interval=1 checkpoint.async_save=true

# the same command once more does it, or finds it done
again() {
    "${command[@]}" 2>../again && return
    cat ../again >&2
    grep -q 'is there already' ../again && diff -r . ../good >&2
}
loads() { steps; }
R=$TOP/tests/data/ref
rm -rf before/*
every "convert import" wan-convert -q import "$R/net_c" run
loads() { [ ! -e hf ] || wan-convert -q import hf ../loaded && rm -rf ../loaded; }
every "convert export" wan-convert -q export --max-shard-size 100K "$R/net_c" hf
every "convert export -c" wan-convert -q export -c --hf-model "$R/pipe" "$R/net_c" hf
again() { "${command[@]}"; }
loads() { :; }
every sample wan-sample -q -C --model "$R/pipe" --device cpu --sample_steps 2 --frame_nums 1 --sizes 32*32 --prompts "a cat" "a dog" --base_seed 3 -o v.png
every "sample, video" wan-sample -q -C --model "$R/pipe" --device cpu --sample_steps 2 --frame_nums 5 --sizes 32*32 --prompts "a cat" --base_seed 3 -o v.mp4

# one of four ranks is killed, the others are ended by the launcher
ranks() { # ranks VICTIM ARG... : the first words of victim() come as ARG
    local victim=$1; shift
    timeout 100 mpirun --allow-run-as-root --oversubscribe --bind-to none -n 4 sh -c '
        victim=$1; shift
        if [ $OMPI_COMM_WORLD_RANK = $victim ]; then exec "$@"; fi
        while [ "$1" != -- ]; do shift; done; shift; exec "$@"' sh "$victim" "$@"
}
if [ "${MPI:-0}" != 1 ] || ! command -v mpirun >/dev/null; then
    skip "4 ranks" "a build without MPI"
else
    loads() { steps; }
    again() { ranks 9 -- "${command[@]}"; }
    wide="$train dist.use_megatron_fsdp=true"
    killed=1 # what the launcher gives, when another rank has noticed first
    for r in 0 ${FULL:+2}; do
        victim() { ranks $r "$AT" -r "$PWD" "$@" -- "${command[@]}"; }
        rm -rf before/*
        every "4 ranks, save, rank $r" $wide train.train_iters=1
    done
    (cd before && ranks 9 -- $wide train.train_iters=1)
    for r in ${FULL:+0} 3; do
        victim() { ranks $r "$AT" -r "$PWD" "$@" -- "${command[@]}"; }
        every "4 ranks, asynchronous, rank $r" $wide train.train_iters=3 checkpoint.save_interval=1 checkpoint.async_save=true checkpoint.keep=2
    done
fi
echo "# $tried points"
done_testing
