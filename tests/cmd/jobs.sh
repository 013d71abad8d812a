# SPDX-License-Identifier: Apache-2.0
# examples/jobs: the Slurm scripts with a stand-in for Slurm; what they make of a few clips (examples/dataset).
. "$TOP/tests/lib.sh"
is() { [ "$1" = "$2" ] || { echo "got: $1; wanted: $2" >&2; false; }; }
"${EXAMPLES:-$TOP/build/examples}/draw_clips" --copies 1 --frames 9 all >draw.log 2>&1
mkdir -p "my clips/a" "my clips/b" bin
set -- $(ls all/*.mp4 | head -n 3)
for part in a b; do for f in "$@"; do cp "$f" "${f%.mp4}.json" "my clips/$part/"; done; done
unset MAKEFLAGS MFLAGS MAKELEVEL
export DATASET_MK=$TOP/examples/dataset/Makefile
# as Slurm does: a task of an array, then one job without
task() { env SLURM_ARRAY_TASK_ID=$1 SLURM_ARRAY_TASK_MAX=3 bash "$TOP/examples/jobs/prepare.sbatch" "${common[@]}" "${@:2}"; }
common=(CLIPS="my clips" MODEL="$TOP/examples/tiny" OUT="my \$shards" DECODE="--height 64 --width 64" SPLIT=1,1,0)
ok "a task of an array" task 2
ok "makes its part alone" is "$(cd "my \$shards" && echo 0*)" 00002
task 1 >1.out 2>&1 & first=$!
ok "others at the same time" task 3
ok "both" wait $first
made() { (cd "my \$shards" && ls --full-time 0*/done); }
made >before
ok "the job behind them" bash "$TOP/examples/jobs/prepare.sbatch" "${common[@]}"
ok "indexes what they made, clips of one name in two folders included" sh -c 'wan-index --check "my \$shards" 2>&1 | grep -q "6 samples, all well"'
made >after; same "and makes nothing again" before after
fails 2 'N=4: there are only PARTS=3' "a task that there is not" task 4
fails 2 'PARTS=9: my \$shards was begun in 3' "another number of tasks" env SLURM_ARRAY_TASK_ID=4 SLURM_ARRAY_TASK_MAX=9 bash "$TOP/examples/jobs/prepare.sbatch" "${common[@]}"
rm "my \$shards/00002/done"
ok "one that failed, again" env SLURM_ARRAY_TASK_ID=2 SLURM_ARRAY_TASK_MAX=2 bash "$TOP/examples/jobs/prepare.sbatch" "${common[@]}" PARTS=3
ok "is made" test -e "my \$shards/00002/done"
echo broken >"my clips/a/$(basename "$1")"
fails 2 'not a video' "a bad clip stops it, if told so" bash "$TOP/examples/jobs/prepare.sbatch" "${common[@]}" MAX_BAD=0

printf '#!/bin/sh\nwhile case $1 in -*) ;; *) false ;; esac; do shift; done\necho "$@" >srun.args\nexit $STATUS\n' >bin/srun
printf '#!/bin/sh\necho "$@" >scontrol.args\n' >bin/scontrol
chmod +x bin/*
batch() { env PATH="$PWD/bin:$PATH" SLURM_JOB_ID=7 STATUS=$1 bash "$TOP/examples/jobs/train.sbatch" my.yaml a.b=1; }
ok "a run that is done" batch 0
ok "starts the trainer with the keys" grep -q '^wan-train .*--config-file my.yaml .*a.b=1$' srun.args
ok "and is not queued again" [ ! -e scontrol.args ]
ok "a run that was stopped" batch 75
ok "is" grep -q '^requeue 7$' scontrol.args
IMAGE=a.sif batch 0
ok "a run in a container" grep -q "^apptainer exec .*--bind $PWD a.sif wan-train .*a.b=1$" srun.args
batch 3
ok "a run that failed keeps its status" [ $? = 3 ]

# The image: instructions that there are, files and stages that there are, commands that a shell can read.
file=$TOP/examples/jobs/Containerfile
sed -e ':a' -e '/\\$/N; s/\\\n//; ta' "$file" | grep -vE '^(#|$)' >lines
ok "the Containerfile has known instructions" sh -c '[ -s lines ] && ! grep -vE "^(ARG|FROM|WORKDIR|COPY|RUN|CMD) " lines >&2'
ok "begins with an image" sh -c 'grep -v "^ARG" lines | head -n 1 | grep -q "^FROM "'
ok "copies from stages that it has" sh -c 'grep -oE "from=[a-z]+" lines | cut -d= -f2 | while read -r s; do grep -qE "^FROM .* AS $s$" lines || exit 1; done'
sed -n 's/^RUN //p' lines >run.sh
ok "runs what a shell can read" sh -n run.sh
ok "and the makefile has its targets" sh -c 'for t in dist deb cuda; do grep -qE "^$t:" "$1" || exit 1; done' sh "$TOP/Makefile"
done_testing
