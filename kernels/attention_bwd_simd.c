/* SPDX-License-Identifier: Apache-2.0
 *
 * attention_bwd_simd.c - attention backward in blocks.
 *
 * Scores are made transposed, S^T = K Q^T, because P^T and dS^T are then rows as the products for
 * dV and dK want them, and dS^T packed is what dQ^T = K^T dS^T wants:
 *   for a block of 192 keys, or 96:  for a block of 96 queries:
 *     P^T = exp(scale K Q^T + kbias - lse),  dS^T = P^T (V dO^T - delta)
 *     dV += P^T dO,  dK += dS^T Q,  dQ^T += K^T dS^T    and scale times dK and dQ in the end
 *
 * A task is a block of keys of one (sample, head).  Tasks are taken in order, and each follows the one before it of
 * its head through the blocks of queries, one behind: so dQ is summed in the order of the keys whatever the
 * threads (a block of 192 keys in two parts, which may be tasks of their own), and what a task waits for has always
 * been begun.  Heads take turns, some at a time, so that few tasks have to follow closely.  The first of a head
 * packs the queries, the last stores dQ.
 */
#include <sched.h>

#include "kernels/attention.h"
#include "kernels/attention_simd.h"
#include "kernels/math_simd.h"
#include "kernels/rows.h"
#include "kernels/soft_simd.h"

enum { BQ = 96, BK = 2 * WAN_ATTN_KEYS_BACK };

/* The op's arguments and the sizes that follow from them. */
typedef struct bwd {
    wan_tile t;
    wan_soft soft;
    const wan_attn *a;
    wan_buf dq, dk, dv, dout, o, q, k, v;
    const float *lse;
    int64_t hk, hn; /* head size padded as k and as n (and m) of a product */
    int64_t unit;   /* of tokens: wan_attn_unit */
    int64_t nq;     /* queries of the longest sample, in whole blocks */
    int64_t join;   /* parts of the keys in a block (wan_attn_halves) */
    int64_t most;   /* blocks of keys of the longest sample */
    int64_t slots;  /* heads at work at a time, at most */
    char *heads;    /* their memory */
    size_t one;     /* of each */
    int64_t *left;  /* for each slot the number of the heads that have left it */
    int64_t
        *order; /* tasks as they are taken: `most` times the number of the head, and the block's */
} bwd;

/* What the tasks of one (sample, head) share. */
typedef struct head {
    int64_t q0, lq, k0, lk, h; /* tokens of the sample */
    int64_t turn;              /* what its first task waits for in `done` */
    char *Qr, *Gr, *Qc,
        *Gc;   /* q and dout packed, block by block: B = Q^T, dO^T [hk, BQ]; B = Q, dO [BQ, hn] */
    float *dQ; /* dQ^T of one block after the other [hn, BQ] */
    float *lse, *delta; /* [nq]; lse in powers of two */
    int64_t *done;      /* for each block of queries the `turn` of the next task */
} head;

/* Workspace of a thread. */
typedef struct task {
    const head *of;
    char *K, *V, *KT;    /* block of keys: rows [BK, hk] twice, transposed [hn, BK] */
    char *P, *D, *Dc;    /* P^T and dS^T as rows [BK, BQ]; dS^T packed [BK, BQ] */
    float *S, *dP;       /* K Q^T and V dO^T [BK, BQ] */
    float *dK, *dV, *dq; /* [BK, hn] twice; a block of dQ [BQ, hn] */
} task;

/* Hands out the pieces; with base NULL they only count. */
typedef struct room {
    char *base;
    size_t at;
} room;

static void *take(room *r, int64_t n, size_t size)
{
    void *p = r->base ? r->base + r->at : NULL;
    r->at += ((size_t)n * size + 63) / 64 * 64;
    return p;
}

static size_t pages(const room *r)
{
    return (r->at + 4095) / 4096 * 4096;
}

static size_t lay_out_head(const bwd *b, head *h, char *base)
{
    room r = { base, 0 };
    size_t e = (size_t)b->t.size;
    h->Qr = take(&r, b->nq * b->hk, e);
    h->Gr = take(&r, b->nq * b->hk, e);
    h->Qc = take(&r, b->nq * b->hn, e);
    h->Gc = take(&r, b->nq * b->hn, e);
    h->dQ = take(&r, b->nq * b->hn, sizeof(float));
    h->lse = take(&r, b->nq, sizeof(float));
    h->delta = take(&r, b->nq, sizeof(float));
    h->done = take(&r, b->nq / BQ, sizeof(int64_t));
    return pages(&r);
}

static size_t lay_out_task(const bwd *b, task *t, char *base)
{
    room r = { base, 0 };
    size_t e = (size_t)b->t.size;
    t->K = take(&r, BK * b->hk, e);
    t->V = take(&r, BK * b->hk, e);
    t->KT = take(&r, BK * b->hn, e);
    t->Dc = take(&r, BK * BQ, e);
    t->S = take(&r, BK * BQ, sizeof(float));
    t->dP = take(&r, BK * BQ, sizeof(float));
    t->P = b->t.t == WAN_F32 ? (char *)t->S : take(&r, BK * BQ, e);
    t->D = b->t.t == WAN_F32 ? (char *)t->dP : take(&r, BK * BQ, e);
    t->dK = take(&r, BK * b->hn, sizeof(float));
    t->dV = take(&r, BK * b->hn, sizeof(float));
    t->dq = take(&r, BQ * b->hn, sizeof(float));
    return pages(&r);
}

/* Everything of queries [i, i+BQ), of which there are m, n padded: packed operands, lse,
 * delta = rowsum(dout * o). */
static void load_queries(const bwd *b, const head *h, int64_t i, int64_t m, int64_t n)
{
    const wan_attn *a = b->a;
    float g[WAN_TILE_WIDTH], o[WAN_TILE_WIDTH];
    int64_t hd = a->hd, e = b->t.size, at = h->q0 + i;
    int64_t q = at * a->ldq + h->h * hd, r = at * a->ldo + h->h * hd, wide = n * WAN_TILE_N;
    wan_tile_pack_rows(&b->t, h->Qr + i * b->hk * e, b->q, q, a->ldq, m, hd, n, b->hk);
    wan_tile_pack_rows(&b->t, h->Gr + i * b->hk * e, b->dout, r, a->ldo, m, hd, n, b->hk);
    wan_tile_pack_cols(&b->t, h->Qc + i * b->hn * e, wide, b->q, q, a->ldq, m, hd, n, b->hn);
    wan_tile_pack_cols(&b->t, h->Gc + i * b->hn * e, wide, b->dout, r, a->ldo, m, hd, n, b->hn);
    for (int64_t j = 0; j < n; j++) {
        h->lse[i + j] = h->delta[i + j] = 0;
        if (j >= m)
            continue;
        h->lse[i + j] = b->lse[h->h * a->pq->S + at + j] * WAN_F_LOG2E;
        h->delta[i + j] = wan_row_dot(wan_row_load(b->dout, r + j * a->ldo, hd, g),
                                      wan_row_load(b->o, r + j * a->ldo, hd, o), hd);
    }
}

/* scale times a row of a head. */
static void store_row(const bwd *b, wan_buf to, int64_t at, float *row)
{
    for (int64_t j = 0; j < b->a->hd; j++)
        row[j] *= (float)b->a->scale;
    wan_row_store(to, at, b->a->hd, row);
}

/* m rows of dq from a block of dQ^T. */
static void store_queries(const bwd *b, const task *t, int64_t i, int64_t m)
{
    const wan_attn *a = b->a;
    const wan_tile f32 = { .t = WAN_F32, .size = sizeof(float) };
    const wan_buf dQ = wan_buf_of(t->of->dQ + i * b->hn, WAN_F32);
    wan_tile_transpose(&f32, t->dq, b->hn, dQ, 0, wan_tile_up(m, b->unit), b->hn, m, m);
    for (int64_t j = 0; j < m; j++)
        store_row(b, b->dq, (t->of->q0 + i + j) * a->ldq + t->of->h * a->hd, t->dq + j * b->hn);
}

/* Rows of zeros from k on, of P^T and dS^T, up to kp. */
static void no_keys(const bwd *b, const task *t, int64_t k, int64_t kp, int64_t n)
{
    int64_t e = b->t.size, row = BQ * e;
    memset(t->P + k * row, 0, (size_t)((kp - k) * row));
    memset(t->D + k * row, 0, (size_t)((kp - k) * row));
    for (int64_t j = 0; j < n; j += WAN_TILE_N)
        memset(t->Dc + (j * BK + k * WAN_TILE_N) * e, 0, (size_t)((kp - k) * WAN_TILE_N * e));
}

/* P^T and dS^T of one block, rows and packed, from S and dP; those of padding keys are zero. */
static void block_grad(const bwd *b, const task *t, const float *bias, wan_soft_rows r,
                       int64_t keys, int64_t n)
{
    int64_t e = b->t.size, row = BQ * e;
    for (int64_t k = 0; k < keys; k += 2) {
        r.keys = keys - k > 1 ? 2 : 1;
        for (int i = 0; bias && i < r.keys; i++)
            r.bias[i] = bias[k + i] * WAN_F_LOG2E;
        r.s = t->S + k * BQ;
        r.dp = t->dP + k * BQ;
        r.p = t->P + k * row;
        r.ds = t->D + k * row;
        r.packed = t->Dc + k * WAN_TILE_N * e;
        b->soft.grads(&r, n);
    }
}

/* The same from their operands: queries [from, from+n), keys [key, key+keys). */
static void block_scores(const bwd *b, const task *t, int64_t from, int64_t n, int64_t key,
                         int64_t keys, int64_t kp)
{
    const head *h = t->of;
    const float *bias = b->a->kbias ? b->a->kbias + h->k0 + key : NULL;
    int64_t e = b->t.size, ldb = b->hk * WAN_TILE_N;
    const char *Q = h->Qr + from * b->hk * e, *G = h->Gr + from * b->hk * e;
    const wan_soft_rows r = { .ld = BQ,
                              .ldb = BK * WAN_TILE_N,
                              .p = t->P,
                              .ds = t->D,
                              .packed = t->Dc,
                              .lse = h->lse + from,
                              .delta = h->delta + from,
                              .c = (float)b->a->scale * WAN_F_LOG2E };
    if (b->soft.block) {
        b->soft.block(&(wan_soft_block){ t->K, t->V, Q, G, b->hk, keys, bias }, &r, n);
    } else {
        b->t.mul(t->S, BQ, t->K, b->hk, Q, ldb, kp, n, b->hk, 0);
        b->t.mul(t->dP, BQ, t->V, b->hk, G, ldb, kp, n, b->hk, 0);
        block_grad(b, t, bias, r, keys, n);
    }
    no_keys(b, t, wan_tile_up(keys, 2), kp, n);
}

/* Until *p is `value`, which another thread is on its way to. */
static void await(const int64_t *p, int64_t value)
{
    enum { SPINS = 2000 };
    for (int n = 0; __atomic_load_n(p, __ATOMIC_ACQUIRE) != value; n++)
        if (n > SPINS) /* it may not even have a core */
            (void)sched_yield();
}

/* Queries [i, i+n) against keys [key, key+keys), the first of the sample or not, which are summed in two parts where
 * the first has `half` of them. */
static void block(const bwd *b, const task *t, int64_t i, int64_t n, int64_t key, int64_t keys,
                  int64_t half)
{
    const head *h = t->of;
    int64_t kp = wan_tile_up(keys, b->unit), e = b->t.size, wide = n * WAN_TILE_N;
    float *dQ = h->dQ + i * b->hn;
    wan_tile_mul_fn *mul = b->t.mul;
    for (int64_t j = 0; key > 0 && j < b->hn * n; j += 16)
        __builtin_prefetch(dQ + j, 1, 2);
    block_scores(b, t, i, n, key, keys, kp);
    mul(t->dV, b->hn, t->P, BQ, h->Gc + i * b->hn * e, wide, kp, b->hn, n, i > 0);
    mul(t->dK, b->hn, t->D, BQ, h->Qc + i * b->hn * e, wide, kp, b->hn, n, i > 0);
    mul(dQ, n, t->KT, BK, t->Dc, BK * WAN_TILE_N, b->hn, n, half ? half : kp, key > 0);
    if (half)
        mul(dQ, n, t->KT + half * e, BK, t->Dc + half * WAN_TILE_N * e, BK * WAN_TILE_N, b->hn, n,
            kp - half, 1);
}

/* First key of block i of a head. */
static int64_t first_key(const bwd *b, const head *h, int64_t i)
{
    const int64_t halves = wan_attn_halves(h->lk), part = i * b->join;
    return wan_attn_part(h->lk, part < halves ? part : halves, halves, b->unit);
}

/* All queries against block `now` of `all` of the keys. */
static void key_block(const bwd *b, const task *t, int64_t now, int64_t all)
{
    const wan_attn *a = b->a;
    const head *h = t->of;
    const int64_t key = first_key(b, h, now), keys = first_key(b, h, now + 1) - key;
    const int64_t halves = wan_attn_halves(h->lk);
    const int64_t half =
        b->join == 2 && halves > 1 ? wan_attn_part(h->lk, 2 * now + 1, halves, b->unit) - key : 0;
    int64_t hd = a->hd, kp = wan_tile_up(keys, b->unit), turn = h->turn + now;
    int64_t k = (h->k0 + key) * a->ldk + h->h * hd, v = (h->k0 + key) * a->ldv + h->h * hd;
    if (h->lq == 0) { /* keys that no query sees */
        memset(t->dK, 0, (size_t)(keys * b->hn) * sizeof *t->dK);
        memset(t->dV, 0, (size_t)(keys * b->hn) * sizeof *t->dV);
    }
    wan_tile_rows(&b->t, t->K, b->hk, b->k, k, a->ldk, keys, hd, kp);
    wan_tile_rows(&b->t, t->V, b->hk, b->v, v, a->ldv, keys, hd, kp);
    wan_tile_transpose(&b->t, t->KT, BK, b->k, k, a->ldk, keys, hd, b->hn);
    int64_t parts = wan_attn_parts(h->lq, BQ);
    for (int64_t part = 0, i = 0, m; part < parts; part++, i += m) {
        m = wan_attn_part(h->lq, part + 1, parts, b->unit) - i;
        int64_t n = wan_tile_up(m, b->unit);
        if (now == 0)
            load_queries(b, h, i, m, n);
        else
            await(&h->done[part], turn);
        if (keys)
            block(b, t, i, n, key, keys, half);
        else /* queries that see no key */
            memset(h->dQ + i * b->hn, 0, (size_t)(n * b->hn) * sizeof *h->dQ);
        if (now == all - 1)
            store_queries(b, t, i, m);
        __atomic_store_n(&h->done[part], turn + 1, __ATOMIC_RELEASE);
    }
    for (int64_t r = 0; r < keys; r++) {
        store_row(b, b->dk, k + r * a->ldk, t->dK + r * b->hn);
        wan_row_store(b->dv, v + r * a->ldv, hd, t->dV + r * b->hn);
    }
}

/* Blocks of keys of a sample; the smaller ones come first, so that none waits for a longer one. */
static int64_t blocks_of(const bwd *b, int64_t keys)
{
    return wan_attn_parts(wan_attn_halves(keys), b->join);
}

/* Block `at` of the keys of one (sample, head): of the heads in their order, in each of the samples in theirs. */
static void run_block(const bwd *b, int64_t number, int64_t at, char *work)
{
    const wan_attn *a = b->a;
    int64_t i = number % a->pq->n, slot = number % b->slots, before = number / b->slots;
    head h = { .q0 = a->pq->cu_host[i],
               .lq = a->pq->cu_host[i + 1] - a->pq->cu_host[i],
               .k0 = a->pk->cu_host[i],
               .lk = a->pk->cu_host[i + 1] - a->pk->cu_host[i],
               .h = number / a->pq->n,
               .turn = number * b->most };
    task t = { .of = &h };
    int64_t all = blocks_of(b, h.lk);
    lay_out_head(b, &h, b->heads + (size_t)slot * b->one);
    lay_out_task(b, &t, work);
    if (at == 0)
        await(&b->left[slot], before);
    key_block(b, &t, at, all);
    if (at == all - 1)
        __atomic_store_n(&b->left[slot], before + 1, __ATOMIC_RELEASE);
}

static int64_t blocks_at(const bwd *b, int64_t number)
{
    int64_t i = number % b->a->pq->n;
    return blocks_of(b, b->a->pk->cu_host[i + 1] - b->a->pk->cu_host[i]);
}

static void run_head(const bwd *b, int64_t number, char *work)
{
    for (int64_t at = 0; at < blocks_at(b, number); at++)
        run_block(b, number, at, work);
}

/* The first blocks of a group of heads, then their second ones, and so on. */
static void order_tasks(const bwd *b, int64_t heads, int64_t group)
{
    int64_t *o = b->order;
    for (int64_t from = 0, to; from < heads; from = to) {
        to = heads - from < group ? heads : from + group;
        for (int64_t at = 0; at < b->most; at++)
            for (int64_t number = from; number < to; number++)
                if (at < blocks_at(b, number))
                    *o++ = number * b->most + at;
    }
}

/* Memory for so many threads and tasks, for which `group` heads take turns (0: each is a task); NULL: there is none. */
static char *prepare(wan_dev *d, bwd *b, int64_t threads, int64_t tasks, int64_t heads,
                     int64_t group, size_t *mine)
{
    head h;
    task t;
    b->slots = (group ? group : 1) + threads * heads / tasks + 1;
    b->slots = b->slots < heads ? b->slots : heads;
    b->one = lay_out_head(b, &h, NULL);
    *mine = lay_out_task(b, &t, NULL);
    size_t left = (size_t)b->slots * sizeof *b->left, work = *mine * (size_t)threads;
    size_t order = (size_t)tasks * sizeof *b->order;
    char *p = (char *)wan_dev_scratch(d, work + b->one * (size_t)b->slots + left + order);
    if (!p)
        return NULL;
    b->heads = p + work;
    b->left = (int64_t *)(void *)(b->heads + b->one * (size_t)b->slots);
    b->order = b->left + b->slots;
    memset(b->left, 0, left);
    if (group)
        order_tasks(b, heads, group);
    for (int64_t i = 0; i < b->slots; i++) {
        lay_out_head(b, &h, b->heads + (size_t)i * b->one);
        memset(h.done, 0, (size_t)(b->nq / BQ) * sizeof *h.done);
    }
    return p;
}

/* Blocks of all heads; sets `most`. */
static int64_t count_tasks(bwd *b)
{
    int64_t tasks = 0;
    b->most = 0;
    for (int64_t i = 0; i < b->a->pq->n; i++) {
        int64_t n = blocks_at(b, i);
        tasks += n * b->a->H;
        b->most = n > b->most ? n : b->most;
    }
    return tasks;
}

/* Whole heads where these come out even for the threads: what blocks share goes from core to core. */
static int run(wan_dev *d, bwd *b)
{
    const wan_attn *a = b->a;
    int64_t threads = wan_rows_threads(), heads = (int64_t)a->pq->n * a->H, tasks;
    int whole = wan_attn_whole(heads, threads);
    b->join = 2;
    tasks = count_tasks(b);
    b->join = whole ? 2 : wan_attn_join(tasks, threads);
    tasks = count_tasks(b);
    int64_t group = whole ? 0 : wan_attn_group(heads, wan_attn_parts(tasks, heads), threads);
    size_t mine;
    tasks = whole ? heads : tasks;
    char *p = prepare(d, b, threads, tasks, heads, group, &mine);
    if (!p)
        return -1;
#pragma omp parallel for schedule(monotonic                                                        \
                                  : dynamic) if (a->pq->S * a->pk->max_len * a->H * a->hd >        \
                                                 1 << 17)
    for (int64_t n = 0; n < tasks; n++)
        if (whole)
            run_head(b, n, p + mine * (size_t)wan_rows_thread());
        else
            run_block(b, b->order[n] / b->most, b->order[n] % b->most,
                      p + mine * (size_t)wan_rows_thread());
    return 0;
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
    if (!wan_attn_fits(a, q, k, v, o) || !wan_attn_fits(a, dq, dk, dv, dout) || dq.t != q.t)
        return wan_attention_backward_c(d, a, dq, dk, dv, dout, o, lse, q, k, v);
    b.t = wan_tile_for(q.t);
    b.soft = wan_soft_for(q.t);
    b.unit = wan_attn_unit(&b.t);
    b.hk = wan_tile_up(a->hd, WAN_TILE_K);
    b.hn = wan_tile_up(a->hd, WAN_TILE_N);
    b.nq = wan_tile_up(a->pq->max_len, BQ);
    return run(d, &b);
}
