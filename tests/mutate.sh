#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Do the tests notice?  Breaks one thing at a time in a copy of the tree, the ways others have
# broken it before (spec: the model's traps), and demands that the named check fails.
#   tests/mutate.sh [NAME...]     after `make check`; about ten seconds each
set -u
top=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/wan-mutate.XXXXXX")
trap 'rm -rf "$work"' EXIT
cp -a "$top/." "$work" && cd "$work" || exit 1
export TOP=$work PATH=$work/build/bin:$PATH
caught=0 missed=0

# build CHECK: makes the check (pipe: the tool it runs, too); its path in $prog
build() {
    local old
    old=$(ls -t build/obj/*/tests/model/check_"$1" 2>/dev/null | head -n 1)
    [ -n "$old" ] || { echo "run make check first: no check_$1" >&2; exit 1; }
    prog=$old
    make -s CUDA="${CUDA:-0}" "$prog" $([ "$1" = pipe ] && echo build/bin/wan-sample) >make.log 2>&1 ||
        { tail -n 5 make.log >&2; exit 1; }
}

# mutate NAME CHECK FILE PERL [FILE PERL]: the substitution must change the file
mutate() {
    local name=$1 check=$2 files=() f
    shift 2
    case " $wanted " in "  " | *" $name "*) ;; *) return ;; esac
    while [ $# -gt 0 ]; do
        cp -p "$1" "$1.whole" && perl -0pi -e "$2" "$1" && files+=("$1")
        cmp -s "$1" "$1.whole" && { echo "not ok - $name: $1 no longer has what is to be broken"; missed=$((missed + 1)); }
        touch "$1"
        shift 2
    done
    build "$check"
    if timeout 300 "$prog" >out 2>&1; then
        echo "not ok - $name: check_$check does not notice"; missed=$((missed + 1))
    else
        echo "ok - $name: check_$check: $(grep -m1 -E '^not ok|Bail out' out | cut -c1-110)"
        caught=$((caught + 1))
    fi
    for f in "${files[@]}"; do mv "$f.whole" "$f" && touch "$f"; done
}

wanted=$*
for c in dit sampler vae pipe; do
    build $c
    "$prog" >out 2>&1 || { echo "check_$c fails as it is"; exit 1; }
done

mutate norm2-norm3 dit lib/model/dit_config.c 's/"norm3\./"norm2./g'
mutate qk-norm-per-head dit kernels/rmsnorm.c \
    's/(o\[j\] = a\[j\] \* r \* w\[j\];)/{ if (j % head_dim == 0) r = 1 \/ wan_r_sqrt(wan_row_dot(a + j, a + j, head_dim) \/ (wan_real)head_dim + WAN_C(eps)); $1 }/'
mutate sin-before-cos dit kernels/embed.c 's/\(wan_real\)cos\(a\)(.*?)\(wan_real\)sin\(a\)/(wan_real)sin(a)$1(wan_real)cos(a)/s'
mutate gelu-erf dit lib/model/dit_forward.c 's/GELU_TANH/GELU_ERF/g'
mutate gate-plus-one dit kernels/residual.c 's/xs\[j\] \+ a\[j\] \* g\[j\]/xs[j] + a[j] * (1 + g[j])/'
mutate round-pixels pipe kernels/vaeop.c 's/\/ 2 \* 255\)/\/ 2 * 255 + WAN_C(0.5))/'
mutate round-timesteps sampler lib/model/sampler_schedule.c 's/\(int64_t\)\(s \* 1000\)/(int64_t)(s * 1000 + 0.5)/'
mutate frame-0-upsampled vae lib/model/vae_stream.c \
    's/(WAN_TRY\(leave_up\(n, i, 0, 1\)\);)/{ $1 WAN_TRY(n->d->ops->cast(n->d, wan_buf_at(tail, frame), WAN_RBUF(s->x), frame)); }/'
mutate text-padding-masked dit lib/model/dit_prepare.c 's/\(wan_real\)log\(\(double\)zeros\)/WAN_C(-1e30)/'
mutate corrector-order sampler lib/model/sampler.c 's/s->last_order == 1/s->steps - i < 2/'
mutate timestep-bf16 dit lib/model/dit_prepare.c \
    's/memcpy\(p->host, in->t, [^;]*;/for (int i = 0; i < in->n; i++) p->host[i] = (wan_real)wan_bf16_to_f32(wan_f32_to_bf16((float)in->t[i]));/'
mutate head-from-e0 dit lib/model/dit_forward.c 's/p->ends\.mod\.p, p->e\.p/p->ends.mod.p, p->es.p/'
mutate patch-order dit kernels/embed.c 's/order == WAN_PATCH_CHW/order != WAN_PATCH_CHW/'
mutate velocity-sign sampler lib/model/sampler.c 's/add\(&m, -s->sigma\[i\], v\)/add(&m, s->sigma[i], v)/'
echo "$caught caught, $missed missed"
[ $missed -eq 0 ] && [ $caught -gt 0 ]
