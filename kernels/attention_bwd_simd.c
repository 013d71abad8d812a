/* SPDX-License-Identifier: Apache-2.0
 *
 * attention_bwd_simd.c - attention backward in blocks; one (sample, head) is one task, so the order
 * of every sum is fixed.
 *
 * Scores are made transposed, S^T = K Q^T, because P^T and dS^T are then rows as the products for
 * dV and dK want them, and dS^T packed is what dQ^T = K^T dS^T wants:
 *   for a block of 192 keys:  for a block of 96 queries:
 *     P^T = exp(scale K Q^T + kbias - lse),  dS^T = scale P^T (V dO^T - delta)
 *     dV += P^T dO,  dK += dS^T Q,  dQ^T += K^T dS^T
 */
#include "kernels/attention.h"
#include "kernels/attention_simd.h"
#include "kernels/math_simd.h"
#include "kernels/rows.h"
#include "kernels/soft_simd.h"

enum { BQ = 96, BK = 192 };

/* The op's arguments and the sizes that follow from them. */
typedef struct bwd {
    wan_tile t;
    wan_soft soft;
    const wan_attn *a;
    wan_buf dq, dk, dv, dout, o, q, k, v;
    const float *lse;
    int64_t hk, hn; /* head size padded as k and as n (and m) of a product */
    int64_t nq;     /* queries of the longest sample, padded */
} bwd;

/* Workspace of one task: pointers into one piece of memory. */
typedef struct task {
    int64_t q0, lq, k0, lk, h; /* tokens of the sample */
    int64_t np;                /* lq padded */
    char *Qr, *Gr, *Qc, *Gc;   /* q and dout packed: B = Q^T, dO^T [hk, np]; B = Q, dO [np, hn] */
    char *K, *V, *KT;          /* block of keys: rows [BK, hk] twice, transposed [hn, BK] */
    char *P, *D, *Dc;          /* P^T and dS^T as rows [BK, BQ]; dS^T packed [BK, BQ] */
    float *S, *dP;             /* K Q^T and V dO^T [BK, BQ] */
    float *dK, *dV, *dQ;       /* [BK, hn] twice; dQ^T [hn, np] */
    float *lse, *delta;        /* [np]; lse in powers of two */
} task;

/* Hands out the pieces; with base NULL it only counts. */
static size_t lay_out(const bwd *b, task *t, char *base)
{
    size_t at = 0, e = (size_t)b->t.size;
#define TAKE(p, n) ((p) = (void *)((uintptr_t)base + at), at += ((size_t)(n) + 63) / 64 * 64)
    TAKE(t->Qr, b->nq * b->hk * e);
    TAKE(t->Gr, b->nq * b->hk * e);
    TAKE(t->Qc, b->nq * b->hn * e);
    TAKE(t->Gc, b->nq * b->hn * e);
    TAKE(t->K, BK * b->hk * e);
    TAKE(t->V, BK * b->hk * e);
    TAKE(t->KT, BK * b->hn * e);
    TAKE(t->Dc, BK * BQ * e);
    TAKE(t->S, BK * BQ * sizeof(float));
    TAKE(t->dP, BK * BQ * sizeof(float));
    t->P = (char *)t->S;
    t->D = (char *)t->dP;
    if (b->t.t == WAN_BF16) {
        TAKE(t->P, BK * BQ * e);
        TAKE(t->D, BK * BQ * e);
    }
    TAKE(t->dK, BK * b->hn * sizeof(float));
    TAKE(t->dV, BK * b->hn * sizeof(float));
    TAKE(t->dQ, b->nq * b->hn * sizeof(float));
    TAKE(t->lse, b->nq * sizeof(float));
    TAKE(t->delta, b->nq * sizeof(float));
#undef TAKE
    return (at + 4095) / 4096 * 4096;
}

/* Everything of the queries: packed operands, lse, delta = rowsum(dout * o). */
static void load_queries(const bwd *b, const task *t)
{
    const wan_attn *a = b->a;
    float g[WAN_TILE_WIDTH], o[WAN_TILE_WIDTH];
    int64_t hd = a->hd, q = t->q0 * a->ldq + t->h * hd, r = t->q0 * a->ldo + t->h * hd;
    wan_tile_pack_rows(&b->t, t->Qr, b->q, q, a->ldq, t->lq, hd, t->np, b->hk);
    wan_tile_pack_rows(&b->t, t->Gr, b->dout, r, a->ldo, t->lq, hd, t->np, b->hk);
    wan_tile_pack_cols(&b->t, t->Qc, t->np * WAN_TILE_N, b->q, q, a->ldq, t->lq, hd, t->np, b->hn);
    wan_tile_pack_cols(&b->t, t->Gc, t->np * WAN_TILE_N, b->dout, r, a->ldo, t->lq, hd, t->np,
                       b->hn);
    for (int64_t i = 0; i < t->np; i++) {
        t->lse[i] = t->delta[i] = 0;
        if (i >= t->lq)
            continue;
        t->lse[i] = b->lse[t->h * a->pq->S + t->q0 + i] * WAN_F_LOG2E;
        t->delta[i] = wan_row_dot(wan_row_load(b->dout, r + i * a->ldo, hd, g),
                                  wan_row_load(b->o, r + i * a->ldo, hd, o), hd);
    }
}

/* P^T and dS^T of one block, rows and packed; those of padding keys are zero. */
static void block_grad(const bwd *b, const task *t, int64_t key, int64_t keys, int64_t kp,
                       int64_t from, int64_t n)
{
    const wan_attn *a = b->a;
    const float *bias = a->kbias ? a->kbias + t->k0 + key : NULL;
    int64_t e = b->t.size, row = BQ * e;
    wan_soft_rows r = { .ld = BQ,
                        .ldb = BK * WAN_TILE_N,
                        .lse = t->lse + from,
                        .delta = t->delta + from,
                        .scale = (float)a->scale,
                        .c = (float)a->scale * WAN_F_LOG2E };
    for (int64_t k = 0; k < kp; k += 2) {
        r.keys = keys - k > 1 ? 2 : 1;
        for (int i = 0; bias && i < r.keys; i++)
            r.bias[i] = bias[k + i] * WAN_F_LOG2E;
        r.s = t->S + k * BQ;
        r.dp = t->dP + k * BQ;
        r.p = t->P + k * row;
        r.ds = t->D + k * row;
        r.packed = t->Dc + k * WAN_TILE_N * e;
        if (k < keys) {
            b->soft.grads(&r, n);
            continue;
        }
        memset(r.p, 0, (size_t)(2 * row));
        memset(r.ds, 0, (size_t)(2 * row));
        for (int64_t j = 0; j < n; j += WAN_TILE_N)
            memset((char *)r.packed + j * BK * e, 0, (size_t)(2 * WAN_TILE_N * e));
    }
}

/* All queries against keys [key, key+keys). */
static void key_block(const bwd *b, const task *t, int64_t key, int64_t keys)
{
    const wan_attn *a = b->a;
    int64_t hd = a->hd, kp = wan_tile_up(keys, WAN_TILE_K), e = b->t.size;
    int64_t k = (t->k0 + key) * a->ldk + t->h * hd, v = (t->k0 + key) * a->ldv + t->h * hd;
    if (t->np == 0) { /* keys that no query sees */
        memset(t->dK, 0, (size_t)(keys * b->hn) * sizeof *t->dK);
        memset(t->dV, 0, (size_t)(keys * b->hn) * sizeof *t->dV);
    }
    wan_tile_mul_fn *mul = b->t.mul;
    wan_tile_rows(&b->t, t->K, b->hk, b->k, k, a->ldk, keys, hd, kp);
    wan_tile_rows(&b->t, t->V, b->hk, b->v, v, a->ldv, keys, hd, kp);
    wan_tile_transpose(&b->t, t->KT, BK, b->k, k, a->ldk, keys, hd, b->hn);
    for (int64_t i = 0; i < t->np; i += BQ) {
        int64_t n = t->np - i < BQ ? t->np - i : BQ, panel = t->np * WAN_TILE_N;
        mul(t->S, BQ, t->K, b->hk, t->Qr + i * b->hk * e, b->hk * WAN_TILE_N, kp, n, b->hk, 0);
        mul(t->dP, BQ, t->V, b->hk, t->Gr + i * b->hk * e, b->hk * WAN_TILE_N, kp, n, b->hk, 0);
        block_grad(b, t, key, keys, kp, i, n);
        mul(t->dV, b->hn, t->P, BQ, t->Gc + i * WAN_TILE_N * e, panel, kp, b->hn, n, i > 0);
        mul(t->dK, b->hn, t->D, BQ, t->Qc + i * WAN_TILE_N * e, panel, kp, b->hn, n, i > 0);
        mul(t->dQ + i, t->np, t->KT, BK, t->Dc, BK * WAN_TILE_N, b->hn, n, kp, key > 0);
    }
    for (int64_t r = 0; r < keys; r++) {
        wan_row_store(b->dk, k + r * a->ldk, hd, t->dK + r * b->hn);
        wan_row_store(b->dv, v + r * a->ldv, hd, t->dV + r * b->hn);
    }
}

static void store_queries(const bwd *b, const task *t)
{
    const wan_attn *a = b->a;
    float row[WAN_TILE_WIDTH];
    for (int64_t i = 0; i < t->lq; i++) {
        for (int64_t j = 0; j < a->hd; j++)
            row[j] = t->dQ[j * t->np + i];
        wan_row_store(b->dq, (t->q0 + i) * a->ldq + t->h * a->hd, a->hd, row);
    }
}

static void head(const bwd *b, int64_t n, char *work)
{
    const wan_attn *a = b->a;
    int64_t i = n % a->pq->n;
    task t;
    lay_out(b, &t, work);
    t.h = n / a->pq->n;
    t.q0 = a->pq->cu_host[i];
    t.lq = a->pq->cu_host[i + 1] - t.q0;
    t.k0 = a->pk->cu_host[i];
    t.lk = a->pk->cu_host[i + 1] - t.k0;
    t.np = wan_tile_up(t.lq, WAN_TILE_K);
    load_queries(b, &t);
    if (t.lk == 0) /* queries that see no key */
        memset(t.dQ, 0, (size_t)(t.np * b->hn) * sizeof *t.dQ);
    for (int64_t key = 0; key < t.lk; key += BK)
        key_block(b, &t, key, t.lk - key < BK ? t.lk - key : BK);
    store_queries(b, &t);
}

int wan_attention_backward_simd(wan_dev *d, const wan_attn *a, wan_buf dq, wan_buf dk, wan_buf dv,
                                wan_buf dout, wan_buf o, const wan_real *lse, wan_buf q, wan_buf k,
                                wan_buf v)
{
    bwd b = { .a = a,
              .dq = dq,
              .dk = dk,
              .dv = dv,
              .dout = dout,
              .o = o,
              .q = q,
              .k = k,
              .v = v,
              .lse = lse };
    task probe;
    if (!wan_attn_fits(a, q, k, v, o) || !wan_attn_fits(a, dq, dk, dv, dout) || dq.t != q.t)
        return wan_attention_backward_c(d, a, dq, dk, dv, dout, o, lse, q, k, v);
    b.t = wan_tile_for(q.t);
    b.soft = wan_soft_for(q.t);
    b.hk = wan_tile_up(a->hd, WAN_TILE_K);
    b.hn = wan_tile_up(a->hd, WAN_TILE_N);
    b.nq = wan_tile_up(a->pq->max_len, WAN_TILE_K);
    size_t mine = lay_out(&b, &probe, NULL);
    char *work = (char *)wan_dev_scratch(d, mine * (size_t)wan_rows_threads());
    if (!work)
        return -1;
#pragma omp parallel for schedule(dynamic) if (a->pq->S * a->pk->max_len * a->H * a->hd > 1 << 17)
    for (int64_t n = 0; n < (int64_t)a->pq->n * a->H; n++)
        head(&b, n, work + mine * (size_t)wan_rows_thread());
    return 0;
}
