#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Breaks the model on purpose, one well-known mistake at a time, and demands that a test fails.
#
#     tests/reference/mutations.sh [NAME...]       (make check-mutations)
#
# Works on a copy of the committed tree.  A mutation whose pattern no longer matches is a failure.
set -u
top=$(cd "$(dirname "$0")/../.." && pwd)
copy=$(mktemp -d "${TMPDIR:-/tmp}/wan-mutations.XXXXXX")
trap 'rm -rf "$copy"' EXIT
git -C "$top" archive HEAD | tar -x -C "$copy"
cd "$copy" || exit 1
git init -q . && git add -A && git -c user.name=x -c user.email=x commit -qm base
make -s -j2 tests CUDA=0 >build.log 2>&1 || { tail -n 5 build.log; exit 1; }
n=0 bad=0

mutate() { # mutate NAME CHECKS FILE PERL-EXPRESSION [FILE EXPRESSION]...
    local name=$1 checks=$2 file
    shift 2
    [ -z "$only" ] || [[ " $only " == *" $name "* ]] || return 0
    n=$((n + 1))
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
    if ! make -s -j2 tests CUDA=0 >build.log 2>&1; then
        echo "not ok $n - $name: does not compile: $(grep -m1 error build.log)"; bad=$((bad + 1))
    elif make -s check-run CUDA=0 K="$checks" >run.log 2>&1; then
        echo "not ok $n - $name: no test noticed ($checks)"; bad=$((bad + 1))
    else
        echo "ok $n - $name: $(grep -c '^ *not ok' run.log) checks failed, first: $(grep -m1 '^ *not ok' run.log | sed 's/^ *not ok [0-9]* - //')"
    fi
    git checkout -q .
}

only="$*"
mutate norms-swapped "net" lib/model/wan/net_forward.c \
    's/WAN_TRY\(norm_affine\(r\)\);/WAN_TRY(norm_mod(r, C(U2), RL(M2), RL(R2), RL(X1), 3));/;
     s/WAN_TRY\(norm_mod\(r, C\(U3\), RL\(M3\), RL\(R3\), RL\(X2\), 3\)\);/WAN_TRY(r->op->ln_affine_forward(r->d, C(U3), RL(M3), RL(R3), RL(X2), r->b.lnw.p, r->b.lnb.p, tokens(r), r->a->z.D, r->a->c.eps));/;
     s/static int norm_affine/__attribute__((unused)) static int norm_affine/'
mutate qk-norm-per-head "net" kernels/rmsnorm.c \
    's/wan_row_dot\(v, v, D\);(.*?)\(wan_real\)a->width/wan_row_dot(v, v, D \/ 2);$1(wan_real)(D \/ 2)/s'
mutate sinusoid-sine-first "net" kernels/embed.c \
    's/(y\[i \* dim \+ j\] = \(wan_real\))cos/${1}sin/; s/(y\[i \* dim \+ h \+ j\] = \(wan_real\))sin/${1}cos/'
mutate gelu-erf-for-tanh "net" lib/model/wan/net_forward.c 's/(r->b.f1.*)WAN_ACT_GELU_TANH/${1}WAN_ACT_GELU_ERF/'
mutate gate-plus-one "net" kernels/residual.c 's/xs\[j\] \+ a\[j\] \* g\[j\]/xs[j] + a[j] * (1 + g[j])/'
mutate uint8-rounded "sampler vae" kernels/vaeop.c 's/\(v \+ 1\) \/ 2 \* 255\)/(v + 1) \/ 2 * 255 + WAN_C(0.5))/'
mutate vae-first-frame-in-time-conv "vae" lib/model/vae/vae_stream.c \
    's/    if \(first\)\n        WAN_TRY\(leave_up\(n, i, 0, 1\)\);/    if (first) {\n        WAN_TRY(n->d->ops->cast(n->d, wan_buf_at(tail, frame), WAN_RBUF(s->x), frame));\n        WAN_TRY(leave_up(n, i, 0, 1));\n    }/'
mutate vae-band-too-narrow "vae" lib/model/vae/vae_layout.c 's/int64_t rows = n->stages\[i - 1\]\.space\.c\.kh \/ 2;/int64_t rows = -1;/'
mutate text-padding-masked "net" lib/model/wan/net_prepare.c 's/\(wan_real\)log\(\(double\)zeros\)/(wan_real)-1e30/'
mutate corrector-of-next-order "sampler" lib/model/sample/sampler.c \
    's/if \(s->last_order == 1\)/if ((i + 1 < 2 || s->steps - i < 2 ? 1 : 2) == 1)/'
mutate timestep-bf16 "net" lib/model/wan/net_prepare.c \
    's/(memcpy\(a->host, in->t, \(size_t\)in->n \* sizeof \*a->host\);)/$1\n    for (int i = 0; i < in->n; i++)\n        a->host[i] = wan_bf16_to_f32(wan_f32_to_bf16((float)a->host[i]));/'
echo "1..$n"
echo "$((n - bad)) of $n mutations were caught"
[ $bad -eq 0 ]
