# SPDX-License-Identifier: Apache-2.0
# examples/jobs: the dataset Makefile on a few clips, the Slurm script with a stand-in for Slurm.
. "$TOP/tests/lib.sh"
"${EXAMPLES:-$TOP/build/examples}/draw_clips" --copies 1 --frames 9 all >draw.log 2>&1
mkdir -p clips/a clips/b bin
set -- $(ls all/*.mp4 | head -n 3)
for part in a b; do for f in "$@"; do cp "$f" "${f%.mp4}.json" clips/$part/; done; done
unset MAKEFLAGS MFLAGS MAKELEVEL
build() { make -s -j2 -f "$TOP/examples/jobs/dataset.mk" MODEL="$TOP/examples/tiny" OUT=ds \
    DECODE="--height 64 --width 64" SPLIT=1,1,0 "$@"; }
ok "folders of clips become one dataset" build
ok "that is whole, clips of the same name in two folders included" sh -c 'wan-index --check ds 2>&1 | grep -q "6 samples"'
touch -d '1 hour ago' ds/*/report.json ds/.nv-meta/.info.json
find clips -type f -exec touch -d '2 hours ago' {} +
touch clips/b/*.json
ok "only what changed is made again" build
ok "that is b" [ ds/b/report.json -nt ds/a/report.json ]
ok "and then nothing" build -q
rm ds/a/report.json ds/b/report.json
ok "one folder alone, by its number" build part N=2
ok "is b" [ -f ds/b/report.json -a ! -e ds/a/report.json ]
fails 2 'clips has no folder number 3' "a number without a folder" build part N=3
ok "the other one too" build
echo broken >"clips/a/$(basename "$1")"
ok "a bad clip stops the build" sh -c '! "$@"' sh env make -s -f "$TOP/examples/jobs/dataset.mk" MODEL="$TOP/examples/tiny" \
    OUT=ds DECODE="--height 64 --width 64"
ok "before the report has its name" [ ! ds/a/report.json -nt "clips/a/$(basename "$1")" ]

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
