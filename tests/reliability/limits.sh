# SPDX-License-Identifier: Apache-2.0
# A full disk, a quota, a disk that becomes read-only, a network folder that goes away, at every kind of call
# of a checkpoint: the old checkpoints stay, and the run says so and ends, or goes on where told so
# (checkpoint.on_error).  FULL=1 tries every call.  limits.c does it to the trainer; with root on file systems of their own.
. "$TOP/tests/lib.sh"
obj=${OBJ:-$(ls -dt "$TOP"/build/obj/*/ | head -1)}
export OMP_NUM_THREADS=1 ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0
asan=$(ldd "$(command -v wan-train)" | awk '/libasan/ { print $3 }')
train() { # with LIMIT_* set, in the hands of the disk
    LD_PRELOAD=${LIMIT_STEP:+${asan:+$asan:}$obj/tests/reliability/limits.so} wan-train --mock --precision fp32 model.num_layers=1 \
        model.hidden_size=32 model.num_attention_heads=2 model.ffn_hidden_size=32 model.text_dim=32 model.text_len=16 \
        model.freq_dim=32 dataset.F_latents=1 dataset.H_latents=4 dataset.W_latents=4 dataset.context_seq_len=8 \
        dataset.mock_samples=8 dataset.seq_length=64 train.global_batch_size=2 scheduler.lr_warmup_iters=0 \
        checkpoint.save_interval=2 train.train_iters=8 --metrics /dev/null "$@" 2>log
}
steps() { ls -A "$1" 2>/dev/null | grep iter_ | tr '\n' ' '; }
whole() { local s; for s in "$1"/iter_*; do wan-convert -q check "$s" || return 1; done; }
is() { [ "$1" = "$2" ] || { echo "got: $1; wanted: $2" >&2; false; }; }
digest() { cat "$1"/iter_0000008/{transformer,optimizer}/*.safetensors | sha256sum | cut -c1-16; }
ok "a run that nothing happens to" train checkpoint.save=good
want=$(digest good)

# one CALL UNDO...: the run stops, or goes on; disk is where it writes
both() { # both NAME CALL DO UNDO SENTENCE
    local a2='iter_0000002 ' why
    export LIMIT_STEP=.iter_0000004.tmp LIMIT_CALL=$2 LIMIT_DO=$3 LIMIT_UNDO=$4 LIMIT_END=none
    fresh; train checkpoint.save=disk/run; rc=$?
    unset LIMIT_STEP; why=
    [ $rc = 1 ] || why="exit $rc;"
    [ -z "$4" ] || sh -c "$4"
    grep -qE "^wan-train: .*$5" log || why="$why says $(tail -n 1 log);"
    [ "$(grep -c '^wan-train: .*disk/run' log)" -le 2 ] || why="$why says it twice;"
    case $(steps disk/run) in "$a2" | "$a2"iter_0000004\ | .iter_0000004.tmp\ "$a2") ;; *) why="$why left $(steps disk/run);" ;; esac
    whole disk/run || why="$why the old one is damaged;"
    train -q checkpoint.save=disk/run && [ "$(digest disk/run)" = "$want" ] || why="$why does not go on: $(tail -n 1 log);"
    ok "$1 at $2: the run ends, the old steps stay, the next run ends as if nothing had been" is "$why" ""

    export LIMIT_STEP=.iter_0000004.tmp LIMIT_END=.iter_0000006.tmp
    fresh; train checkpoint.save=disk/run checkpoint.on_error=continue; rc=$?
    unset LIMIT_STEP; why=
    [ $rc = 0 ] || why="exit $rc: $(tail -n 1 log);"
    [ "$(grep -c 'no checkpoint of step 4, and the run goes on (checkpoint.on_error): ' log)" = 1 ] || why="$why does not say so;"
    whole disk/run || why="$why one is damaged;"
    case $(steps disk/run) in "$a2"iter_0000006\ iter_0000008\ | "$a2"iter_0000004\ iter_0000006\ iter_0000008\ ) ;; *) why="$why left $(steps disk/run);" ;; esac
    [ "$(digest disk/run)" = "$want" ] || why="$why another result;"
    ok "$1 at $2: told to go on, it does, and says so" is "$why" ""
}
fresh() { rm -rf disk; mkdir disk; }
calls="fallocate rename"; [ -z "${FULL-}" ] || calls="mkdir fallocate pwrite fsync rename"
for call in $calls; do
    both "quota (EDQUOT)" $call errno:122 "" "Disk quota exceeded"
done
[ -z "${FULL-}" ] || both "a vanished server (ESTALE)" pwrite errno:116 "" "Stale file handle"

# a byte that changes on the disk before the manifest is made: it holds what was in memory
f=disk/run/.iter_0000004.tmp/transformer/diffusion_pytorch_model.safetensors
fresh; LIMIT_STEP=.iter_0000004.tmp LIMIT_CALL=rename LIMIT_END=none LIMIT_DO="tail -c +2001 $f | head -c 1 | tr '\\000-\\377' '\\001-\\377\\000' | dd of=$f bs=1 seek=2000 conv=notrunc status=none" \
    train checkpoint.save=disk/run train.train_iters=4
fails 1 "diffusion_pytorch_model.safetensors: differs from manifest.json" "a byte that changes before the manifest is made is noticed" wan-convert check disk/run

mkdir -p disk
if ! mount -t tmpfs -o size=1M none disk 2>/dev/null; then
    skip "real file systems" "needs root, to mount a tmpfs"
else
    umount disk
    fresh() { umount -l disk 2>/dev/null; rm -rf disk; mkdir disk; mount -t tmpfs -o size=2M none disk; }
    trap 'umount -l disk 2>/dev/null' EXIT
    for call in ${calls/ rename/}; do
        both "a full disk" $call "cat /dev/zero >disk/filler 2>/dev/null; true" "rm -f disk/filler" "No space left on device|disk/run"
        [ -z "${FULL-}" ] || both "a disk that becomes read-only (EROFS)" $call errno:30 "" "Read-only file system"
    done
    both "a disk remounted read-only" mkdir "mount -o remount,ro disk" "mount -o remount,rw disk" "Read-only file system"

    # the file system is gone, and an empty folder is at its place, which must not be filled instead
    mkdir away
    fresh; LIMIT_STEP=.iter_0000004.tmp LIMIT_CALL=rename LIMIT_DO="mount --bind disk away; umount -l disk; mkdir disk/run" \
        train checkpoint.save=disk/run checkpoint.on_error=continue; rc=$?
    ok "a folder that goes away: said at every checkpoint, the last one ends the run" \
        is "$rc $(grep -c 'no checkpoint of step [46], and the run goes on.*: disk/run' log) $(grep -c '^wan-train: disk/run: is another folder than when the run began' log)" "1 2 1"
    ok "nothing is written into what is there now" is "$(ls -A disk/run)" ""
    ok "what was there is as it was" whole away/run
    umount -l away
fi
done_testing
