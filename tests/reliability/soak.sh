# SPDX-License-Identifier: Apache-2.0
# Long runs: CLIPS tiny clips through the whole pipe, STEPS steps with a checkpoint every 10, memory and
# descriptors of every process flat; RESUMES runs that end at a random moment, and go on, end with the bytes
# of one that did not.  `make soak` has 100,000 samples, 20,000 steps and 200 ends; SEED=1.
. "$TOP/tests/lib.sh"
obj=${OBJ:-$(ls -dt "$TOP"/build/obj/*/ | head -1)}
samples=${CLIPS:-40} steps=${STEPS:-200} resumes=${RESUMES:-4} seed=${SEED:-1}
export OMP_NUM_THREADS=1 ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0
M=$TOP/examples/tiny
if [ -w /dev/shm ]; then # thousands of files are synced
    work=$(mktemp -d /dev/shm/wan-reliability.XXXXXX); trap 'rm -rf "$work"' EXIT; cd "$work" || exit 1
fi
is() { [ "$1" = "$2" ] || { echo "got: $1; wanted: $2" >&2; false; }; }

# ---- what a process holds, twice a second, until it ends
watch_tree() { # watch_tree PID FILE: "NAME KiB DESCRIPTORS" of it and of those below it
    local p
    while kill -0 "$1" 2>/dev/null; do
        for p in $1 $(pgrep -P "$1"); do
            { read -r name <"/proc/$p/comm" && rss=$(awk '/^VmRSS/ { print $2 }' "/proc/$p/status") &&
                echo "$name $rss $(ls "/proc/$p/fd" | wc -l)"; } 2>/dev/null
        done >>"$2"
        sleep 0.5
    done
}
# Of each tool: the medians of the second and of the last quarter must not differ by more than 5 % and 4 MiB, and
# the last quarter must not have more descriptors than any before had.
flat() { # flat FILE TOOL...
    local f=$1 t bad=0; shift
    for t in "$@"; do
        awk -v t="$t" '$1 == t && NF == 3' "$f" >one
        awk -v t="$t" '{ rss[NR] = $2; fd[NR] = $3 }
            function median(a, b, i, j, n, x, v) { n = 0; for (i = a; i <= b; i++) v[++n] = rss[i]
                for (i = 2; i <= n; i++) { x = v[i]; for (j = i - 1; j > 0 && v[j] > x; j--) v[j + 1] = v[j]; v[j + 1] = x } return v[int((n + 1) / 2)] }
            END { if (NR < 8) { printf "# %s: looked at %d times, too short to tell\n", t, NR; exit }
                q = int(NR / 4); a = median(q + 1, 2 * q); b = median(3 * q + 1, NR)
                for (i = 1; i <= NR; i++) { if (i <= 3 * q && fd[i] > before) before = fd[i]; if (i > 3 * q && fd[i] > last) last = fd[i] }
                printf "# %s: %.1f MiB in the second quarter, %.1f MiB in the last; %d descriptors, %d in the last quarter (looked at %d times)\n", t, a / 1024, b / 1024, before, last, NR
                exit b > a * 1.05 + 4096 || last > before }' one || bad=1
    done
    return $bad
}
show() { grep '^#' "$ok_out"; }

# ---- samples through the pipe
if ! command -v ffmpeg >/dev/null; then skip "the whole pipe" "no ffmpeg"; skip "memory" "no ffmpeg"; else
    for i in 0 1 2 3 4 5 6 7; do ffmpeg -nostdin -v error -f lavfi -i "testsrc2=s=32x32:r=16:d=0.5" -vf "hue=h=$((45 * i))" -c:v mpeg4 -bitexact c$i.mp4; done
    awk -v n="$samples" 'BEGIN { for (i = 0; i < n; i++) printf "{\"path\": \"c%d.mp4\", \"caption\": \"number %d of many\"}\n", i % 1000, i % 1000 }' >list.jsonl
    for ((i = 8; i < 1000 && i < samples; i++)); do ln -s c$((i % 8)).mp4 c$i.mp4; done
    pipe() {
        wan-decode -q --height 32 --width 32 --no-aspect-ratio --frames 5 -j 1 --manifest list.jsonl |
            wan-encode -q --model "$M" --device cpu | wan-shard -q --shard-maxcount 1000 -o ds && wan-index -q --split-ratio 1,0,0 ds
    }
    began=$SECONDS
    pipe 2> >(grep -v 'another clip has its key' >pipe.log) & job=$!
    watch_tree $job held; wait $job; rc=$?
    ok "$samples clips become a dataset" is "$rc $(jq '[.shard_counts[]] | add' ds/.nv-meta/.info.json) $(cat pipe.log)" "0 $samples "
    ok "memory and descriptors stay as they are" flat held wan-decode wan-encode wan-shard; show
    echo "# $samples samples in $((SECONDS - began)) s"
fi

# ---- steps with a checkpoint every ten
T="--mock --precision fp32 model.num_layers=1 model.hidden_size=32 model.num_attention_heads=2 model.ffn_hidden_size=32 model.text_dim=32
model.text_len=16 model.freq_dim=32 dataset.F_latents=1 dataset.H_latents=4 dataset.W_latents=4 dataset.context_seq_len=8 dataset.mock_samples=8
dataset.seq_length=64 train.global_batch_size=2 scheduler.lr_warmup_iters=0 checkpoint.keep=2 logger.log_interval=1000000"
began=$SECONDS
# shellcheck disable=SC2086
wan-train -q $T checkpoint.save=long checkpoint.save_interval=10 checkpoint.async_save=true train.train_iters="$steps" --metrics long.jsonl 2>long.log & job=$!
watch_tree $job steps; wait $job; rc=$?
ok "$steps steps with a checkpoint every 10" is "$rc $(ls long | tr '\n' ' ')$(cat long.log)" \
    "0 $(printf 'iter_%07d iter_%07d ' $((steps - 10)) "$steps")latest_checkpointed_iteration.txt "
ok "memory and descriptors stay as they are, too" flat steps wan-train; show
echo "# $steps steps, $((steps / 10)) checkpoints in $((SECONDS - began)) s"

# ---- ends at random moments: half at a call to the file system, half at any time
command="wan-train -q $T --metrics /dev/null checkpoint.save_interval=3 train.train_iters=20"
# shellcheck disable=SC2086
$command checkpoint.save=straight
"$obj/tests/reliability/at" -c count kill 0 -- $command checkpoint.save=counted # shellcheck disable=SC2086
all() {
    local i k n bad=0 ends=0 t job
    n=$(cat count) RANDOM=$seed
    for i in $(seq "$resumes"); do
        rm -rf run
        for t in 1 2; do # killed twice
            k=$((RANDOM % n + 1))
            if ((i % 2)); then
                "$obj/tests/reliability/at" kill $k $([ $((k % 3)) != 0 ] || echo half) -- $command checkpoint.save=run 2>/dev/null
            else
                $command checkpoint.save=run 2>/dev/null &
                job=$!
                sleep "0.$(printf %03d $((RANDOM % 400 + 50)))"
                kill -KILL $job
                wait $job # not timeout, which ends before what it has killed
            fi 2>/dev/null
            [ $? = 0 ] || ends=$((ends + 1))
        done
        $command checkpoint.save=run 2>err || { echo "# $i: does not go on: $(cat err)"; bad=1; continue; }
        diff -r straight run >err || { echo "# $i: other bytes (change $k): $(head -n 1 err)"; bad=1; }
    done
    echo "# $resumes runs, ended $ends times in all, then as one that was not"
    return $bad
}
ok "$resumes runs that ended at random moments have the bytes of one that did not" all; show
done_testing
