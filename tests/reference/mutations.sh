#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Breaks the code on purpose, one well-known mistake at a time, and demands that a test fails.
#
#     tests/reference/mutations.sh [NAME...]       (make check-mutations; FAST=1: not the slow ones, as in CI)
#
# Works on copies of the committed tree, JOBS of them (one for each core, at most 8) side by side.  A
# mutation whose pattern no longer matches is a failure.  Only what the named checks need is built, and only
# they run: each must notice by itself.
set -u
jobs=${JOBS:-$(($(nproc) < 8 ? $(nproc) : 8))}
if [ -z "${SHARE-}" ]; then # SHARE=I: every JOBS-th, from the I-th
    said=$(mktemp -d "${TMPDIR:-/tmp}/wan-mutations.XXXXXX")
    trap 'rm -rf "$said"' EXIT
    trap 'kill $(jobs -p) 2>/dev/null; wait; exit 130' INT TERM
    for ((i = 0; i < jobs; i++)); do
        JOBS=$jobs SHARE=$i "$0" "$@" > >(tee "$said/$i") &
    done
    rc=0
    for j in $(jobs -p); do wait "$j" || rc=1; done
    sleep 1 # for what tee has yet to write
    ok=$(cat "$said"/* | grep -c '^ok '); bad=$(cat "$said"/* | grep -c '^not ok ')
    echo "$ok of $((ok + bad)) were noticed, in $SECONDS s"
    exit $((rc || ok == 0))
fi
top=$(cd "$(dirname "$0")/../.." && pwd)
copy=$(mktemp -d "${TMPDIR:-/tmp}/wan-mutations.XXXXXX")
trap 'rm -rf "$copy"' EXIT
git -C "$top" archive HEAD | tar -x -C "$copy"
cd "$copy" || exit 1
git init -q . && git add -A && git -c user.name=x -c user.email=x commit -qm base
if [ -z "${CC-}" ] && command -v ccache >/dev/null; then
    export CC='ccache gcc' CXX='ccache g++' CCACHE_BASEDIR=$copy CCACHE_NOHASHDIR=1
fi
only="$*" n=0 bad=0
declare -A used
export PATIENCE=200 # tenths of a second that lost.sh waits for ranks to end; the slowest took 9 s

# make for a list of checks: their programs, and the tools where one of them runs these
build() {
    local what=tests k f
    for k in $1; do
        f=$(ls tests/*/"$k".sh tests/*/check_"$k".c tests/*/check_"$k"_f64.c 2>/dev/null)
        [ -n "$f" ] || { echo "error: there is no test $k" >build.log; return 1; }
        grep -qlE 'getenv\("BIN"\)|lib\.sh' $f && what="tools tests examples"
    done
    make -s -j$((jobs > 1 ? 1 : 2)) $what CUDA=0 K="$1" >build.log 2>&1
}
mutate() { # mutate NAME CHECKS FILE PERL-EXPRESSION [FILE EXPRESSION]...
    local name=$1 checks=$2 file began=$SECONDS
    shift 2
    [ -z "$only" ] || [[ " $only " == *" $name "* ]] || return 0
    n=$((n + 1))
    for file in $checks; do used[$file]=1; done
    ((n % jobs == SHARE)) || return 0
    while [ $# -ge 2 ]; do
        file=$1
        cp "$file" before
        perl -0pi -e "$2" "$file"
        if cmp -s before "$file"; then
            echo "not ok $n - $name: the pattern no longer matches $file"
            bad=$((bad + 1))
            git checkout -q .
            return
        fi
        shift 2
    done
    if ! build "$checks"; then
        echo "not ok $n - $name: does not compile: $(grep -m1 error build.log)"; bad=$((bad + 1))
    elif JOBS=1 make -s check-run CUDA=0 K="$checks" >run.log 2>&1; then
        echo "not ok $n - $name: no test noticed ($checks)"; bad=$((bad + 1))
    else
        echo "ok $n - $name ($((SECONDS - began)) s): $(grep -c '^ *not ok' run.log) checks failed, first: $(grep -m1 '^ *not ok' run.log | sed 's/^ *not ok [0-9]* - //')"
    fi
    git checkout -q .
}

slow() { [ -n "${FAST-}" ] || mutate "$@"; } # FAST=1, in CI: not those that take 20 s and more

# ---- the networks
mutate norms-swapped "net" lib/model/wan/net_forward.c \
    's/(v\.gain = r->b\.lnw\.p;.*?v\.affine = 1;)(\s*\} else \{\s*)(v\.gain = mod.*?v\.shift = mod.*?;)/$3$2$1/s'
mutate qk-norm-per-head "net" kernels/rmsnorm.c \
    's/wan_row_dot\(v, v, D\);(.*?)\(wan_real\)a->width/wan_row_dot(v, v, D \/ 2);$1(wan_real)(D \/ 2)/s' kernels/rmsnorm_simd.c \
    's/(sum_squares\(x, s \* a->ldx, D\);.*?)\(float\)a->width/$1(float)(D \/ 2)/s'
mutate sinusoid-sine-first "net" kernels/embed.c \
    's/(y\[i \* dim \+ j\] = \(wan_real\))cos/${1}sin/; s/(y\[i \* dim \+ h \+ j\] = \(wan_real\))sin/${1}cos/'
mutate gelu-erf-for-tanh "net" lib/model/wan/net_forward.c 's/(r->b.f1.*)WAN_ACT_GELU_TANH/${1}WAN_ACT_GELU_ERF/'
mutate gate-plus-one "net" kernels/residual.c 's/xs\[j\] \+ a\[j\] \* g\[j\]/xs[j] + a[j] * (1 + g[j])/' kernels/seamrow_simd.c \
    's/x\[j\] \+ y\[j\] \* gate\[j\]/x[j] + y[j] * (1 + gate[j])/; s/(fmadd_ps\(y, )(_mm512_loadu_ps\(g \+ i\))/$1_mm512_add_ps(wan_wide_all(1), $2)/'
mutate uint8-rounded "sampler vae" kernels/vaeop.c 's/\(v \+ 1\) \/ 2 \* 255\)/(v + 1) \/ 2 * 255 + WAN_C(0.5))/'
mutate vae-first-frame-in-time-conv "vae" lib/model/vae/vae_stream.c \
    's/    if \(first\)\n        WAN_TRY\(leave_up\(n, i, 0, 1\)\);/    if (first) {\n        WAN_TRY(n->d->ops->cast(n->d, wan_buf_at(tail, frame), WAN_RBUF(s->x), frame));\n        past = 2 - (s->n_tail = 1);\n        WAN_TRY(leave_up(n, i, 0, 1));\n    }/'
mutate vae-band-too-narrow "vae" lib/model/vae/vae_layout.c 's/int64_t rows = n->stages\[i - 1\]\.space\.c\.kh \/ 2;/int64_t rows = -1;/'
mutate text-padding-masked "net" lib/model/block/textrows.c 's/\(wan_real\)log\(\(double\)zeros\)/(wan_real)-1e30/'
mutate corrector-of-next-order "sampler" lib/model/sample/sampler_flow.c \
    's/if \(s->last_order == 1\)/if ((i + 1 < 2 || s->base.steps - i < 2 ? 1 : 2) == 1)/'
mutate timestep-bf16 "net" lib/model/wan/net_prepare.c \
    's/(memcpy\(a->host, in->t, \(size_t\)in->n \* sizeof \*a->host\);)/$1\n    for (int i = 0; i < in->n; i++)\n        a->host[i] = wan_bf16_to_f32(wan_f32_to_bf16((float)a->host[i]));/'

# ---- the optimizer
mutate adamw-first-moment-biased "optim" kernels/adamw.c 's/1 - pow\(a->beta1, \(double\)step\)/1/'
mutate adamw-second-moment-biased "optim" kernels/adamw.c 's/1 - pow\(a->beta2, \(double\)step\)/1/'
mutate adamw-step-from-zero "optim" lib/train/optim.c 's/o->step \+ 1\)/o->step + 2)/'
mutate adamw-decay-in-the-gradient "optim" kernels/adamw.c \
    's/wan_real gj = s->coef \* g\[j\];/wan_real gj = s->coef * g[j] + (1 - s->decay) \/ s->lr * p[j];/; s/p\[j\] \* s->decay/p[j]/'
mutate adamw-eps-in-the-root "optim" kernels/adamw.c \
    's/wan_r_sqrt\(v\[j\] \* s->unbias\) \+ s->eps/wan_r_sqrt(v[j] * s->unbias + s->eps)/'
mutate adamw-unclipped-second-moment "optim" kernels/adamw.c 's/s->c2 \* gj \* gj/s->c2 * g[j] * g[j]/'
mutate clip-enlarges "optim" kernels/adamw.c 's/c < 1 \? c : 1/c/'
mutate clip-by-squared-norm "optim" kernels/adamw.c 's/max_norm \/ \(sqrt\(sumsq\[0\]\)/max_norm \/ ((sumsq[0])/'
mutate decay-on-norms "optim" lib/train/optim.c 's/o->no_decay_1d && !q->decays/0/'
mutate bf16-copy-stale "optim" lib/train/optim.c 's/o->s->shadow \? o->s->shadow \+ p->at_gemm : NULL/NULL/'
mutate warm-up-one-ahead "optim" lib/train/schedule.c 's/\(double\)n \/ \(double\)s->warmup/(double)(n + 1) \/ (double)s->warmup/'
mutate cosine-counts-warm-up "optim" lib/train/schedule.c \
    's/\(double\)\(n - s->warmup\) \/ \(double\)\(s->decay - s->warmup\)/(double)n \/ (double)s->decay/'

# ---- a training step
mutate packs-not-summed "train" lib/model/block/dense.c 's/(linear_wgrad\(.*, w->K, )adds\(w\)\)/${1}0)/'
mutate target-turned-round "train" lib/model/flow.c 's/\.target = \{ -1, 1 \}/.target = { 1, -1 }/'
mutate timestep-is-sigma "flow" lib/model/flow.c 's/out\.t = \(float\)\(1000 \* sigma\)/out.t = (float)sigma/'
mutate sigma-clamped-not-cut "flow" lib/model/flow.c 's/q\[0\] \+ p \* \(q\[1\] - q\[0\]\)/p/'
mutate sigma-of-the-batch "flow" lib/model/flow.c 's/(WAN_RNG_SIGMA, at->step, )at->position/${1}0/'
mutate dropout-of-the-batch "flow" lib/model/flow.c 's/(WAN_RNG_DROPOUT, at->step, )at->position/${1}0/'
mutate loss-weighted-twice "debug" lib/train/loop.c 's/\.coef = d->weight \* factor/.coef = d->weight * d->weight * factor/'
mutate mean-over-tokens "debug" lib/train/loop.c 's/WAN_MEAN_TOKEN \?/WAN_MEAN_SAMPLE ?/'
mutate noise-shared "wan-train" lib/train/loop.c 's/(WAN_RNG_NOISE, step, )\(uint64_t\)\(b->position \+ i\)/${1}0/'
mutate losses-in-order-of-packs "debug" lib/train/loop.c 's/t->losses\[index\[k\]\]/t->losses[k]/'

# ---- data and resuming
mutate order-ignores-seed "data" lib/train/data/mix.c 's/wan_rng_stream\(m->o\.seed, WAN_RNG_SHUFFLE, \(uint64_t\)epoch/wan_rng_stream(0, WAN_RNG_SHUFFLE, (uint64_t)epoch/'
mutate order-ignores-epoch "data" lib/train/data/mix.c 's/(WAN_RNG_SHUFFLE, )\(uint64_t\)epoch/${1}0/'
mutate resume-one-sample-late "data" lib/train/data/data.c 's/(d->position = position);/$1 + (position > 0);/'
mutate validation-drops-captions "train-data" lib/model/flow.c 's/f\.mix_uniform = f\.dropout = 0/f.mix_uniform = 0/'
mutate moments-not-restored "wan-train" lib/train/checkpoint/checkpoint.c 's/for \(; rc == 0 && v && v->name; v\+\+\)/for (; 0; v++)/'

mutate captions-not-drawn "draw-captions" lib/train/data/feed.c 's/!s->draw/1/'
mutate decoder-may-open-sockets "sandbox" lib/base/seccomp.c 's/SYS_lseek,/SYS_lseek, SYS_socket,/'
mutate piece-crosses-a-cut "choice" cmd/wan-decode.c 's/v->mark\[i\] & WAN_MARK_CUT/v->mark[i] > WAN_MARK_CUT + 6/'

# ---- what wan-reliability(7) promises
mutate manifest-of-what-is-on-the-disk "limits" lib/train/checkpoint/checkpoint_save.c 's/wan_manifest_save\(j->tmp, known, n\)/wan_manifest_save(j->tmp, known, 0)/'
mutate front-checksum-not-compared "corrupt" lib/rec/record/record_read.c 's/wan_crc32c\(0, front, n\) != h->front_crc/0/'
mutate digest-of-a-file-not-compared "corrupt" lib/model/files/manifest.c 's/same = !strcmp\(d->hex, \*crc \? crc : sha\);/same = 1;/'
slow watchdog-off "lost" lib/dist/watch.c 's/if \(p->silent <= w->dead\)/if (1)/'
mutate decoder-may-make-files "sandbox" lib/base/seccomp.c 's/SYS_lseek,/SYS_lseek, SYS_memfd_create,/'
# ---- nothing lost, nothing silent
slow fsync-removed "power" lib/base/out.c 's/while \(!bad && sync && fsync/while (0 \&\& !bad \&\& sync \&\& fsync/'
slow name-before-the-data "power" lib/base/out.c \
    's/(int rc = close_checked\(o->f, wan_out_name\(o\), )o->tmp != NULL\)/${1}0)/; s/(rc = wan_fsync_parent\(o->path\);)/{ rc = wan_fsync_parent(o->path); fsync(o->lock); }/'
FULL=1 ONLY='train, save$' KINDS='^write' WHOSE=run_config PLAN=none slow write-unchecked "faults" lib/base/out.c 's/int bad = ferror\(f\) \|\| fflush\(f\) != 0;/int bad = 0;\n    fflush(f);/'
FULL=1 ONLY='train, save$' KINDS=pwrite MOST=1 PLAN=none slow eintr-missed "faults" lib/train/checkpoint/spread.c 's/errno == EINTR/errno == EBADMSG/g'
FULL=1 ONLY='^index$' KINDS=alloc WHOSE=own PLAN=none slow enomem-swallowed "faults" lib/rec/shard/names.c \
    's/return wan_err\("out of memory[^;]*;/return 0;/g'
mutate sweep-takes-the-only-copy "rundir" lib/model/files/rundir.c 's/step == whole/step >= 0/'

# ---- ranks
mutate sum-is-an-average "combine" lib/dist/combine.c 's/out\[at \+ i\] = PUT\(acc\[i\]\);/out[at + i] = PUT(op == WAN_SUM ? acc[i] \/ (A)copies : acc[i]);/'
mutate sum-without-the-last-rank "combine" lib/dist/combine.c 's/r < copies; r\+\+/r < copies - (copies > 1); r++/'
mutate largest-forgets-nan "combine" lib/dist/combine.c 's/v > acc\[i\] \|\| v != v \? v/v > acc[i] ? v/'
mutate own-rows-not-summed "tp debug" lib/model/wan/net_backward.c 's/WAN_TRY\(wan_shared_sum\(&a->base, a->dmod.*?\)\);//s'
mutate own-heads-not-summed "tp debug" lib/model/dit/dit_backward.c 's/: wan_shared_sum\(&a->base, v, NORMS \* hd\)/: 0/'
mutate average-without-a-start "ema debug" lib/train/ema.c 's/start < e->decay \? start : e->decay/e->decay/'
mutate bucket-skipped "dp debug" lib/train/parallel/dp.c 's/lo < d->hi; lo \+= d->bucket/lo < d->hi; lo += 2 * d->bucket/'

n=$((n + 1))
if ((n % jobs != SHARE)); then :
elif build "${!used[*]}" && make -s check-run CUDA=0 K="${!used[*]}" >run.log 2>&1; then
    echo "ok $n - all of these checks pass where nothing is broken"
else
    bad=$((bad + 1))
    echo "not ok $n - without a mutation: $(grep -hm1 -E 'error|^ *not ok' build.log run.log)"
fi
mutate heun-weight "sampler dit_sample" lib/model/sample/sampler_edm.c 's/e->slope, h \/ 2,/e->slope, h,/'
mutate heun-at-the-old-point "sampler dit_sample" lib/model/sample/sampler_edm.c 's/call \? e->ahead : x;/x;/; s/h \/ 2, e->ahead, next, F/h \/ 2, x, next, F/'
mutate c-noise-without-quarter "edm dit" lib/model/edm.c 's/log\(sigma\) \/ 4/log(sigma)/'
mutate positions-not-added "dit" lib/model/dit/dit_forward.c 's/WAN_TRY\(d->ops->gather_add\(.*?\)\);//s'
mutate norm-of-the-layer-for-heads "dit" lib/model/dit/dit_forward.c \
    's/wan_rms_of\(rows \* heads, c->head_dim, c->eps\)/wan_rms_of(rows, heads * c->head_dim, c->eps)/'
mutate edm-target-of-epsilon "edm dit" lib/model/edm.c 's/-c\.in \* WAN_EDM_DATA/c.in * WAN_EDM_DATA/'
mutate text-of-a-dropped-caption "dit" lib/model/dit/dit.c 's/\.text_dropped = 1,//'
[ $bad -eq 0 ]
