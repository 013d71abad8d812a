/* SPDX-License-Identifier: Apache-2.0
 *
 * attention_simd.c - attention forward in blocks: up to 96 queries against 416 keys at a time, with the
 * running maximum and sum of the online softmax, so that scores never leave the cache.
 *
 * Keys and values of every (sample, head) are packed first, in blocks, by all threads; then every block of
 * queries of every head is a task.  Who computes a task does not change its result.
 */
#include "kernels/attention.h"
#include "kernels/attention_simd.h"
#include "kernels/math_simd.h"
#include "kernels/rows.h"
#include "kernels/soft_simd.h"

enum {
    BQ = 96,
    BK = 416,
    PIECES = 4 /* of a block of keys, when all threads pack */,
    GROUP = 8 /* rows of scores that the first cache holds */
};

typedef struct fwd {
    wan_tile t;
    wan_soft soft;
    const wan_attn *a;
    wan_buf o, q, k, v;
    float *lse;
    const float *rel; /* T5: [H, max_q + max_k] bias by key - query + max_q - 1; or NULL */
    int64_t nrel;
    int64_t hk, hn; /* head size padded as k and as n of a product */
    int64_t unit;   /* of keys: wan_attn_unit */
    int64_t rows;   /* padded keys of all samples */
    char *kp,
        *vp; /* packed keys and values: head h at h*rows*hk (hn) elements; of whole heads per thread */
    int whole;
    char *work;
    size_t mine; /* workspace of one thread */
} fwd;

/* Workspace of one block of queries. */
typedef struct block {
    float *S, *O, *top, *sum;
    char *Q, *P;
    const char *kp, *vp; /* packed keys and values of the sample */
} block;

static block block_at(const fwd *f, char *w)
{
    block b;
    b.S = (float *)w;
    b.O = b.S + BQ * BK;
    b.top = b.O + BQ * f->hn;
    b.sum = b.top + BQ;
    b.Q = (char *)(b.sum + BQ);
    b.P = f->t.t == WAN_F32 ? (char *)b.S : b.Q + BQ * f->hk * f->t.size;
    return b;
}

static size_t block_bytes(const fwd *f)
{
    return (size_t)(BQ * (BK + f->hn + 2)) * sizeof(float) +
           (size_t)(BQ * (f->hk + BK)) * (size_t)f->t.size;
}

/* Where the packed keys of sample i, head h begin, in rows. */
static int64_t rows_before(const fwd *f, int i, int64_t h)
{
    return f->whole ? wan_rows_thread() * f->rows : h * f->rows + wan_attn_start(f->a->pk, i);
}

/* Piece `piece` of `of` of part `part` of the keys and values of sample i, head h. */
static void pack_keys(const fwd *f, int i, int64_t part, int64_t h, int64_t piece, int64_t of)
{
    const wan_attn *a = f->a;
    int64_t k0 = a->pk->cu_host[i], all = a->pk->cu_host[i + 1] - k0, e = f->t.size;
    int64_t parts = wan_attn_parts(all, BK), from = wan_attn_part(all, part, parts, f->unit);
    int64_t n = wan_attn_part(all, part + 1, parts, f->unit) - from;
    int64_t p0 = wan_attn_part(n, piece, of, f->unit);
    int64_t m = wan_attn_part(n, piece + 1, of, f->unit) - p0, mp = wan_tile_up(m, f->unit);
    int64_t at = rows_before(f, i, h) + from, wide = wan_tile_up(n, f->unit) * WAN_TILE_N;
    k0 += from + p0;
    wan_tile_pack_rows(&f->t, f->kp + (at + p0) * f->hk * e, f->k, k0 * a->ldk + h * a->hd, a->ldk,
                       m, a->hd, mp, f->hk);
    wan_tile_pack_cols(&f->t, f->vp + (at * f->hn + p0 * WAN_TILE_N) * e, wide, f->v,
                       k0 * a->ldv + h * a->hd, a->ldv, m, a->hd, mp, f->hn);
}

/* -infinity behind n scores, up to `end`, and the largest of all; with a bias s becomes scale*s + bias
 * first. */
static float highest(const fwd *f, float *restrict s, const float *restrict bias, int64_t n,
                     int64_t end)
{
    float scale = (float)f->a->scale;
    for (int64_t j = n; j < end; j++)
        s[j] = -INFINITY;
    for (int64_t j = 0; bias && j < n; j++)
        s[j] = s[j] * scale + bias[j];
    return f->soft.top(s, end);
}

/* Scores of one query become probabilities in b.P; its running top (in powers of two) and sum move on, and
 * O is brought to the new maximum. */
static void softmax_row(const fwd *f, const block *b, int64_t i, float c, float top, int64_t end,
                        int first)
{
    float *o = b->O + i * f->hn;
    if (!first && top < b->top[i])
        top = b->top[i];
    float sum = f->soft.exponents(b->P + i * BK * f->t.size, b->S + i * BK, c, top, end);
    if (!first) {
        float shrink = wan_f_exp2_soft(b->top[i] - top);
        sum += b->sum[i] * shrink;
        for (int64_t j = 0; shrink != 1 && j < f->hn; j++)
            o[j] *= shrink;
    }
    b->top[i] = top;
    b->sum[i] = sum;
}

/* One block of keys; step: from a query's bias to that of the one before. */
static void softmax_block(const fwd *f, const block *b, const float *bias, int64_t step, int64_t nq,
                          int64_t n, int first)
{
    int64_t end = wan_tile_up(n, f->unit);
    float c = (bias ? 1 : (float)f->a->scale) * WAN_F_LOG2E, top[GROUP];
    for (int64_t g = 0; g < nq; g += GROUP) {
        int64_t rows = nq - g < GROUP ? nq - g : GROUP;
        for (int64_t i = 0; i < rows; i++)
            top[i] = highest(f, b->S + (g + i) * BK, bias ? bias - (g + i) * step : NULL, n, end);
        for (int64_t i = 0; i < rows; i++)
            softmax_row(f, b, g + i, c, top[i] * c, end, first);
    }
}

/* Queries that see no key. */
static void nothing_store(const fwd *f, int64_t q0, int64_t nq, int64_t h, float *zero)
{
    const wan_attn *a = f->a;
    memset(zero, 0, (size_t)a->hd * sizeof *zero);
    for (int64_t i = q0; i < q0 + nq; i++) {
        wan_row_store(f->o, i * a->ldo + h * a->hd, a->hd, zero);
        if (f->lse)
            f->lse[h * a->pq->S + i] = -INFINITY;
    }
}

static void block_store(const fwd *f, const block *b, int64_t q0, int64_t nq, int64_t h)
{
    const wan_attn *a = f->a;
    for (int64_t i = 0; i < nq; i++) {
        float *o = b->O + i * f->hn, r = 1 / b->sum[i];
        for (int64_t j = 0; j < a->hd; j++)
            o[j] *= r;
        wan_row_store(f->o, (q0 + i) * a->ldo + h * a->hd, a->hd, o);
        if (f->lse)
            f->lse[h * a->pq->S + q0 + i] = b->top[i] / WAN_F_LOG2E + logf(b->sum[i]);
    }
}

/* The queries in b.Q, of which the first is `from` in its sample, against n keys from j on. */
static void key_part(const fwd *f, const block *b, int i, int64_t h, int64_t from, int64_t nq,
                     int64_t j, int64_t n)
{
    const wan_attn *a = f->a;
    int64_t e = f->t.size;
    int64_t w = wan_tile_up(n, f->unit), mq = wan_tile_up(nq, WAN_TILE_N);
    const float *bias = f->rel     ? f->rel + h * f->nrel + a->pq->max_len - 1 - from + j
                        : a->kbias ? a->kbias + a->pk->cu_host[i] + j
                                   : NULL;
    f->t.mul(b->S, BK, b->Q, f->hk, b->kp + j * f->hk * e, f->hk * WAN_TILE_N, mq, w, f->hk, 0);
    softmax_block(f, b, bias, f->rel ? 1 : 0, nq, n, j == 0);
    f->t.mul(b->O, f->hn, b->P, BK, b->vp + j * f->hn * e, w * WAN_TILE_N, mq, f->hn, w, j > 0);
}

/* Part `part` of the queries of sample i, head h. */
static void query_block(const fwd *f, int i, int64_t part, int64_t h, char *work)
{
    const wan_attn *a = f->a;
    int64_t q0 = a->pq->cu_host[i], all = a->pq->cu_host[i + 1] - q0;
    int64_t parts = wan_attn_parts(all, BQ), from = wan_attn_part(all, part, parts, WAN_TILE_N);
    int64_t nq = wan_attn_part(all, part + 1, parts, WAN_TILE_N) - from;
    int64_t nk = a->pk->cu_host[i + 1] - a->pk->cu_host[i];
    int64_t at = rows_before(f, i, h) * f->t.size;
    block b = block_at(f, work);
    b.kp = f->kp + at * f->hk;
    b.vp = f->vp + at * f->hn;
    q0 += from;
    if (nk == 0) {
        nothing_store(f, q0, nq, h, b.O);
        return;
    }
    int64_t mq = wan_tile_up(nq, WAN_TILE_N);
    wan_tile_rows(&f->t, b.Q, f->hk, f->q, q0 * a->ldq + h * a->hd, a->ldq, nq, a->hd, mq);
    memset(b.P + nq * BK * f->t.size, 0, (size_t)((mq - nq) * BK * f->t.size));
    parts = wan_attn_parts(nk, BK);
    for (int64_t p = 0, j = 0, end; p < parts; p++, j = end) {
        end = wan_attn_part(nk, p + 1, parts, f->unit);
        key_part(f, &b, i, h, from, nq, j, end - j);
    }
    block_store(f, &b, q0, nq, h);
}

/* A thread that takes a whole head packs its keys for itself: else packed lines go from core to core.  As long as
 * heads come out even for the threads. */
static int prepare(wan_dev *d, fwd *f, size_t extra, char **more)
{
    const wan_attn *a = f->a;
    int64_t threads = wan_rows_threads();
    f->whole = wan_attn_whole((int64_t)a->pq->n * a->H, threads);
    f->t = wan_tile_for(f->q.t);
    f->soft = wan_soft_for(f->q.t);
    f->unit = wan_attn_unit(&f->t);
    f->hk = wan_tile_up(a->hd, WAN_TILE_K);
    f->hn = wan_tile_up(a->hd, WAN_TILE_N);
    f->rows = f->whole ? wan_tile_up(a->pk->max_len, WAN_TILE_K) : wan_attn_start(a->pk, a->pk->n);
    f->mine = (block_bytes(f) + 4095) / 4096 * 4096;
    size_t all = (size_t)((f->whole ? threads : a->H) * f->rows * f->t.size);
    size_t kb = all * (size_t)f->hk, vb = all * (size_t)f->hn;
    char *p = (char *)wan_dev_scratch(d, kb + vb + f->mine * (size_t)threads + extra);
    if (!p)
        return -1;
    f->kp = p;
    f->vp = p + kb;
    f->work = f->vp + vb;
    *more = f->work + f->mine * (size_t)threads;
    return 0;
}

/* One (sample, head). */
static void run_head(const fwd *f, int i, int64_t h)
{
    const wan_attn *a = f->a;
    int64_t keys = a->pk->cu_host[i + 1] - a->pk->cu_host[i];
    int64_t queries = a->pq->cu_host[i + 1] - a->pq->cu_host[i];
    for (int64_t p = 0; p < wan_attn_parts(keys, BK); p++)
        pack_keys(f, i, p, h, 0, 1);
    for (int64_t p = 0; p < wan_attn_parts(queries, BQ); p++)
        query_block(f, i, p, h, f->work + f->mine * (size_t)wan_rows_thread());
}

static void run(const fwd *f)
{
    const wan_attn *a = f->a;
    int64_t blocks = wan_attn_all_parts(a->pq, BQ), packs = wan_attn_all_parts(a->pk, BK);
    int64_t heads = f->whole ? (int64_t)a->pq->n * a->H : 0;
#pragma omp parallel if (a->pq->S * a->pk->max_len * a->H * a->hd > 1 << 18)
    {
#pragma omp for schedule(dynamic) nowait
        for (int64_t t = 0; t < heads; t++)
            run_head(f, (int)(t % a->pq->n), t / a->pq->n);
#pragma omp for schedule(dynamic)
        for (int64_t t = 0; t < (f->whole ? 0 : packs * a->H * PIECES); t++) {
            int64_t part = t / PIECES % packs;
            int i = wan_attn_sample(a->pk, BK, &part);
            pack_keys(f, i, part, t / PIECES / packs, t % PIECES, PIECES);
        }
#pragma omp for schedule(dynamic)
        for (int64_t t = 0; t < (f->whole ? 0 : blocks * a->H); t++) {
            int64_t part = t % blocks;
            int i = wan_attn_sample(a->pq, BQ, &part);
            query_block(f, i, part, t / blocks, f->work + f->mine * (size_t)wan_rows_thread());
        }
    }
}

int wan_attention_forward_simd(wan_dev *d, const wan_attn *a, wan_buf o, wan_real *lse, wan_buf q,
                               wan_buf k, wan_buf v)
{
    char *more;
    fwd f = { .a = a, .o = o, .q = q, .k = k, .v = v, .lse = lse };
    if (!wan_attn_fits(a, q, k, v, o))
        return wan_attention_forward_c(d, a, o, lse, q, k, v);
    WAN_TRY(prepare(d, &f, 0, &more));
    run(&f);
    return 0;
}

int wan_attention_t5_simd(wan_dev *d, const wan_attn *a, wan_buf o, wan_buf q, wan_buf k, wan_buf v,
                          const wan_real *table)
{
    char *more;
    fwd f = { .a = a, .o = o, .q = q, .k = k, .v = v };
    if (!wan_attn_fits(a, q, k, v, o))
        return wan_attention_t5_c(d, a, o, q, k, v, table);
    f.nrel = a->pq->max_len + a->pk->max_len;
    WAN_TRY(prepare(d, &f, (size_t)(f.nrel * a->H) * sizeof(float), &more));
    float *rel = (float *)more;
    for (int64_t r = 0; r < f.nrel; r++)
        for (int h = 0; h < a->H; h++)
            rel[h * f.nrel + r] = table[wan_attention_bucket(r - a->pq->max_len + 1) * a->H + h];
    f.rel = rel;
    run(&f);
    return 0;
}
