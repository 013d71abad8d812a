/* SPDX-License-Identifier: Apache-2.0
 *
 * heads.c - see heads.h.
 */
#include "lib/model/block/heads.h"

/* Parameter j begins where parameter i ends, and is of its type. */
static int follows(const wan_store *s, int i, int j)
{
    if (s->apart && s->params.v[i].gemm) {
        const wan_buf a = wan_store_w(s, i), b = wan_store_w(s, j);
        return a.t == b.t && (char *)a.p + wan_quant_span(a.t, s->item[i].count) == (char *)b.p;
    }
    return s->item[i].at + s->item[i].count == s->item[j].at;
}

void wan_heads_bind(wan_heads *w, const wan_store *s, int i, int step, int bias)
{
    int joined = 1;
    for (int k = 0; k < 3; k++)
        wan_dense_bind(&w->one[k], s, i + k * step, bias);
    for (int k = 0; k < 2; k++, i += step)
        joined = joined && follows(s, i, i + step) && (!bias || follows(s, i + 1, i + 1 + step));
    w->all = w->one[0];
    w->all.joined = 3;
    w->all.step = step;
    w->all.N = joined ? 3 * w->one[0].N : 0;
}

static int joined(const wan_heads *w, const wan_acts *a)
{
    return w->all.N && !a->wing.attend;
}

int64_t wan_heads_ld(const wan_heads *w, const wan_acts *a)
{
    return joined(w, a) ? w->all.N : w->one[0].N;
}

wan_buf wan_heads_of(const wan_heads *w, const wan_acts *a, wan_buf m, int which, int64_t S)
{
    return wan_buf_at(m, which * w->one[0].N * (joined(w, a) ? 1 : S));
}

int wan_heads_forward(const wan_heads *w, const wan_acts *a, wan_buf m, wan_buf x, int64_t S)
{
    if (joined(w, a))
        return wan_dense_forward(a->d, &w->all, m, x, S);
    for (int i = 0; i < 3; i++)
        WAN_TRY(wan_dense_forward(a->d, &w->one[i], wan_heads_of(w, a, m, i, S), x, S));
    return 0;
}

int wan_heads_backward(const wan_heads *w, const wan_acts *a, wan_buf dx, wan_buf dm, wan_buf x,
                       int64_t S)
{
    if (joined(w, a))
        return wan_dense_backward(a->d, &w->all, dx, dm, x, S, 0);
    for (int i = 0; i < 3; i++)
        WAN_TRY(wan_dense_backward(a->d, &w->one[i], dx, wan_heads_of(w, a, dm, i, S), x, S, i));
    return 0;
}

int wan_heads_attend(const wan_acts *a, const wan_attn *at, wan_buf o, wan_real *lse, wan_buf q,
                     wan_buf k, wan_buf v)
{
    const wan_wing *w = &a->wing;
    return w->attend ? w->attend(w->arg, a->d, at, o, lse, q, k, v)
                     : a->d->ops->attention_forward(a->d, at, o, lse, q, k, v);
}

int wan_heads_attend_back(const wan_acts *a, const wan_attn *at, wan_buf dq, wan_buf dk, wan_buf dv,
                          wan_buf dout, wan_buf o, const wan_real *lse, wan_buf q, wan_buf k,
                          wan_buf v)
{
    const wan_wing *w = &a->wing;
    return w->attend_back
               ? w->attend_back(w->arg, a->d, at, dq, dk, dv, dout, o, lse, q, k, v)
               : a->d->ops->attention_backward(a->d, at, dq, dk, dv, dout, o, lse, q, k, v);
}
