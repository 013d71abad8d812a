/* SPDX-License-Identifier: Apache-2.0
 *
 * attention.c - reference attention: one (sample, head) is one task, one query at a time.
 */
#include "kernels/attention.h"

#include "kernels/rows.h"

int wan_attention_bucket(int64_t rel)
{
    static const uint8_t from[8] = { 8, 12, 16, 23, 32, 46, 64, 91 }; /* wan-model(7), Buckets */
    int64_t a = rel < 0 ? -rel : rel;
    int b = rel > 0 ? 16 : 0;
    if (a < 8)
        return b + (int)a;
    for (int i = 7;; i--)
        if (a >= from[i])
            return b + 8 + i;
}

/* One sample's share of one head. */
typedef struct task {
    int64_t q0, nq, k0, nk; /* tokens */
    int64_t h;
} task;

static task task_of(const wan_attn *a, int64_t t)
{
    int64_t i = t / a->H;
    return (task){ a->pq->cu_host[i], a->pq->cu_host[i + 1] - a->pq->cu_host[i], a->pk->cu_host[i],
                   a->pk->cu_host[i + 1] - a->pk->cu_host[i], t % a->H };
}

/* dst [n, hd] <- rows [s0, s0+n) of head h, widened */
static void head_load(wan_real *dst, wan_buf b, int64_t ld, int64_t s0, int64_t n, int64_t h,
                      int64_t hd)
{
    for (int64_t s = 0; s < n; s++) {
        const wan_real *r = wan_row_load(b, (s0 + s) * ld + h * hd, hd, dst + s * hd);
        if (r != dst + s * hd)
            memcpy(dst + s * hd, r, (size_t)hd * sizeof *dst);
    }
}

static void head_store(wan_buf b, int64_t ld, int64_t s0, int64_t n, int64_t h, int64_t hd,
                       const wan_real *src)
{
    for (int64_t s = 0; s < n; s++)
        wan_row_store(b, (s0 + s) * ld + h * hd, hd, src + s * hd);
}

/* p = exp(s - max), returns log sum exp(s); *sum = sum p */
static wan_real softmax_row(wan_real *s, int64_t n, wan_real *sum)
{
    wan_real top = -INFINITY, z = 0;
    for (int64_t j = 0; j < n; j++)
        top = s[j] > top ? s[j] : top;
    for (int64_t j = 0; j < n; j++)
        z += s[j] = wan_r_exp(s[j] - top);
    *sum = z;
    return top + wan_r_log(z);
}

static int check(const char *op, const wan_attn *a)
{
    if (a->pq->n != a->pk->n)
        return wan_err("%s: %d query samples, %d key samples", op, a->pq->n, a->pk->n);
    return 0;
}

/* Forward of one task: kbias or table (T5) or neither; lse may be NULL.  w: workspace. */
static void head_forward(const wan_attn *a, task t, wan_buf o, wan_real *lse, wan_buf q, wan_buf k,
                         wan_buf v, const wan_real *table, wan_real *w)
{
    int64_t hd = a->hd;
    wan_real *K = w, *V = K + t.nk * hd, *p = V + t.nk * hd, *qs = p + t.nk, *out = qs + hd;
    head_load(K, k, a->ldk, t.k0, t.nk, t.h, hd);
    head_load(V, v, a->ldv, t.k0, t.nk, t.h, hd);
    for (int64_t i = 0; i < t.nq; i++) {
        wan_real sum, l;
        head_load(qs, q, a->ldq, t.q0 + i, 1, t.h, hd);
        for (int64_t j = 0; j < t.nk; j++) {
            p[j] = WAN_C(a->scale) * wan_row_dot(qs, K + j * hd, hd);
            if (table)
                p[j] += table[wan_attention_bucket(j - i) * a->H + t.h];
            else if (a->kbias)
                p[j] += a->kbias[t.k0 + j];
        }
        l = softmax_row(p, t.nk, &sum);
        if (lse)
            lse[t.h * a->pq->S + t.q0 + i] = l;
        memset(out, 0, (size_t)hd * sizeof *out);
        for (int64_t j = 0; j < t.nk; j++)
            wan_row_axpy(out, p[j] / sum, V + j * hd, hd);
        head_store(o, a->ldo, t.q0 + i, 1, t.h, hd, out);
    }
}

static int forward(wan_dev *d, const wan_attn *a, wan_buf o, wan_real *lse, wan_buf q, wan_buf k,
                   wan_buf v, const wan_real *table)
{
    int64_t mine = a->pk->max_len * (2 * a->hd + 1) + 2 * a->hd;
    wan_real *tmp = wan_rows_scratch(d, mine);
    if (!tmp)
        return -1;
#pragma omp parallel for schedule(dynamic)
    for (int64_t t = 0; t < (int64_t)a->pq->n * a->H; t++)
        head_forward(a, task_of(a, t), o, lse, q, k, v, table, wan_rows_mine(tmp, mine));
    return 0;
}

int wan_attention_forward_c(wan_dev *d, const wan_attn *a, wan_buf o, wan_real *lse, wan_buf q,
                            wan_buf k, wan_buf v)
{
    WAN_ROWS_CHECK("attention_forward", o, q, k, v);
    WAN_TRY(check("attention_forward", a));
    return forward(d, a, o, lse, q, k, v, NULL);
}

int wan_attention_t5_c(wan_dev *d, const wan_attn *a, wan_buf o, wan_buf q, wan_buf k, wan_buf v,
                       const wan_real *table)
{
    WAN_ROWS_CHECK("attention_t5", o, q, k, v);
    WAN_TRY(check("attention_t5", a));
    return forward(d, a, o, NULL, q, k, v, table);
}

/* The operands of attention_backward. */
typedef struct grads {
    wan_buf dq, dk, dv, dout, o, q, k, v;
    const wan_real *lse;
} grads;

/* Gradients of one task.  w: workspace. */
static void head_backward(const wan_attn *a, task t, const grads *g, wan_real *w)
{
    int64_t hd = a->hd, n = t.nk * hd;
    wan_real scale = WAN_C(a->scale), *K = w, *V = K + n, *dK = V + n, *dV = dK + n;
    wan_real *q = dV + n, *dq = q + hd, *dout = dq + hd, *o = dout + hd;
    head_load(K, g->k, a->ldk, t.k0, t.nk, t.h, hd);
    head_load(V, g->v, a->ldv, t.k0, t.nk, t.h, hd);
    memset(dK, 0, 2 * (size_t)n * sizeof *dK);
    for (int64_t i = 0; i < t.nq; i++) {
        wan_real l = g->lse[t.h * a->pq->S + t.q0 + i];
        head_load(q, g->q, a->ldq, t.q0 + i, 1, t.h, hd);
        head_load(dout, g->dout, a->ldo, t.q0 + i, 1, t.h, hd);
        head_load(o, g->o, a->ldo, t.q0 + i, 1, t.h, hd);
        wan_real delta = wan_row_dot(dout, o, hd);
        memset(dq, 0, (size_t)hd * sizeof *dq);
        for (int64_t j = 0; j < t.nk; j++) {
            wan_real s = scale * wan_row_dot(q, K + j * hd, hd);
            wan_real p = wan_r_exp(s + (a->kbias ? a->kbias[t.k0 + j] : 0) - l);
            wan_real ds = scale * p * (wan_row_dot(dout, V + j * hd, hd) - delta);
            wan_row_axpy(dV + j * hd, p, dout, hd);
            wan_row_axpy(dK + j * hd, ds, q, hd);
            wan_row_axpy(dq, ds, K + j * hd, hd);
        }
        head_store(g->dq, a->ldq, t.q0 + i, 1, t.h, hd, dq);
    }
    head_store(g->dk, a->ldk, t.k0, t.nk, t.h, hd, dK);
    head_store(g->dv, a->ldv, t.k0, t.nk, t.h, hd, dV);
}

int wan_attention_backward_c(wan_dev *d, const wan_attn *a, wan_buf dq, wan_buf dk, wan_buf dv,
                             wan_buf dout, wan_buf o, const wan_real *lse, wan_buf q, wan_buf k,
                             wan_buf v)
{
    WAN_ROWS_CHECK("attention_backward", dq, dk, dv, dout, o, q, k, v);
    WAN_TRY(check("attention_backward", a));
    grads g = { dq, dk, dv, dout, o, q, k, v, lse };
    int64_t mine = (4 * a->pk->max_len + 4) * a->hd;
    wan_real *tmp = wan_rows_scratch(d, mine);
    if (!tmp)
        return -1;
#pragma omp parallel for schedule(dynamic)
    for (int64_t t = 0; t < (int64_t)a->pq->n * a->H; t++)
        head_backward(a, task_of(a, t), &g, wan_rows_mine(tmp, mine));
    return 0;
}

/* Weights of both parts in their union; returns its lse. */
static wan_real merged(wan_real l, wan_real l2, wan_real *w, wan_real *w2)
{
    wan_real top = l > l2 ? l : l2;
    *w = *w2 = 0;
    if (top == -INFINITY)
        return top;
    wan_real lse = top + wan_r_log(wan_r_exp(l - top) + wan_r_exp(l2 - top));
    *w = wan_r_exp(l - lse);
    *w2 = wan_r_exp(l2 - lse);
    return lse;
}

int wan_attention_merge_c(wan_dev *d, const wan_attn *a, wan_buf o, wan_real *lse, wan_buf o2,
                          const wan_real *lse2)
{
    WAN_ROWS_CHECK("attention_merge", o, o2);
    int64_t hd = a->hd, S = a->pq->S;
    wan_real *tmp = wan_rows_scratch(d, 2 * hd);
    if (!tmp)
        return -1;
#pragma omp parallel for if (S * a->H * hd > WAN_ROWS_PARALLEL)
    for (int64_t s = 0; s < S; s++)
        for (int64_t h = 0; h < a->H; h++) {
            int64_t at = s * a->ldo + h * hd;
            wan_real *t = wan_rows_mine(tmp, 2 * hd), *y = wan_row_open(o, at, t), w, w2;
            const wan_real *x = wan_row_load(o, at, hd, t), *x2 = wan_row_load(o2, at, hd, t + hd);
            lse[h * S + s] = merged(lse[h * S + s], lse2[h * S + s], &w, &w2);
            for (int64_t j = 0; j < hd; j++)
                y[j] = w * x[j] + w2 * x2[j];
            wan_row_close(o, at, hd, y);
        }
    return 0;
}
