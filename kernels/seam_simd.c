/* SPDX-License-Identifier: Apache-2.0
 *
 * seam_simd.c - gated residual and LayerNorm, a row at a time while it is in the first cache; the two alone are the
 * same with one of them left out.
 *
 * Gradients of gate, gain and shift are summed over chunks of tokens of one sample, whose size follows from
 * the pack alone, and the chunks in their order: the same bytes whatever the threads.
 */
#include "kernels/attention_simd.h"
#include "kernels/rows.h"
#include "kernels/seam_simd.h"
#include "kernels/seamrow_simd.h"

enum { FEWEST = 32, MOST_CHUNKS = 256, COLS = 64 };

/* What the rows of token s take from its sample; seg NULL: there is one. */
static void at_token(wan_seamrow *r, const wan_resnorm *a, int64_t s)
{
    int64_t i = a->pack->seg ? a->pack->seg[s] : 0, j = a->affine ? 0 : i * a->stride;
    r->at = s * a->D;
    r->gate = wan_row_at(a->gate, i, a->stride);
    r->gain = wan_row_at(a->gain, 1, j);
    r->shift = wan_row_at(a->shift, 1, j);
}

int wan_seam_forward(wan_dev *d, const wan_resnorm *a, float *out, wan_buf u, float *mean,
                     float *rstd, const float *x, wan_buf y)
{
    float *tmp = wan_rows_scratch(d, 2 * a->D);
    if (!tmp)
        return -1;
#pragma omp parallel for if (a->pack->S * a->D > WAN_ROWS_PARALLEL)
    for (int64_t s = 0; s < a->pack->S; s++) {
        wan_seamrow r = { .D = a->D,
                          .one = a->affine ? 0 : 1,
                          .out = out,
                          .x = x,
                          .y = y,
                          .u = u,
                          .mean = u.p ? mean + s : NULL,
                          .rstd = u.p ? rstd + s : NULL,
                          .eps = (float)a->eps,
                          .tmp = wan_rows_mine(tmp, 2 * a->D) };
        at_token(&r, a, s);
        wan_seamrow_forward(&r);
    }
    return 0;
}

/* ---- backward */

typedef struct back {
    const wan_resnorm *a;
    float *dx;
    wan_buf dy, du, y;
    const float *out, *mean, *rstd;
    int64_t size; /* tokens of a chunk */
    float *part;  /* sums of each chunk: gain, shift, gate [3, D] */
} back;

/* One chunk of the pack. */
static void chunk_backward(const back *b, int64_t k, float *t)
{
    const wan_pack *p = b->a->pack;
    int64_t from = k, D = b->a->D;
    wan_seamrow r = { .D = D,
                      .one = b->a->affine ? 0 : 1,
                      .dx = b->dx,
                      .x = b->out,
                      .y = b->y,
                      .dy = b->dy,
                      .du = b->du,
                      .sum = b->part + k * 3 * D,
                      .tmp = t };
    int i = wan_attn_find(p, b->size, &from);
    int64_t s = p->cu_host[i] + from, left = p->cu_host[i + 1] - s;
    memset(r.sum, 0, 3 * (size_t)D * sizeof *r.sum);
    r.mean = (float *)(uintptr_t)wan_row_at(b->mean, s, 1);
    r.rstd = (float *)(uintptr_t)wan_row_at(b->rstd, s, 1);
    at_token(&r, b->a, s);
    wan_seamrow_backward(&r, left < b->size ? left : b->size);
}

/* Columns [c, c + n) of all chunks, in their order, to where they are added. */
static void fold(const back *b, const wan_resnorm_grad *g, int64_t chunks, int64_t c, int64_t n)
{
    const wan_resnorm *a = b->a;
    for (int64_t k = 0; k < chunks; k++) {
        const float *sum = b->part + k * 3 * a->D + c;
        int64_t from = k, i = wan_attn_find(a->pack, b->size, &from) * g->stride;
        int64_t j = a->affine ? 0 : i;
        if (b->du.p) {
            wan_row_axpy(g->gain + j + c, 1, sum, n);
            wan_row_axpy(g->shift + j + c, 1, sum + a->D, n);
        }
        if (b->dy.p && a->gate)
            wan_row_axpy(g->gate + i + c, 1, sum + 2 * a->D, n);
    }
}

int wan_seam_backward(wan_dev *d, const wan_resnorm *a, const wan_resnorm_grad *g, float *dx,
                      wan_buf dy, wan_buf du, const float *out, const float *mean,
                      const float *rstd, wan_buf y)
{
    int64_t D = a->D, S = a->pack->S, size = (S + MOST_CHUNKS - 1) / MOST_CHUNKS;
    size = size < FEWEST ? FEWEST : size;
    int64_t chunks = wan_attn_blocks(a->pack, size);
    int64_t mine = wan_rows_stride(2 * D) * wan_rows_threads();
    float *tmp = wan_dev_scratch(d, (size_t)(mine + chunks * 3 * D) * sizeof *tmp);
    if (!tmp)
        return -1;
    const back b = { a, dx, dy, du, y, out, mean, rstd, size, tmp + mine };
#pragma omp parallel if (S * D > WAN_ROWS_PARALLEL)
    {
#pragma omp for schedule(dynamic)
        for (int64_t k = 0; k < chunks; k++)
            chunk_backward(&b, k, wan_rows_mine(tmp, 2 * D));
#pragma omp for
        for (int64_t c = 0; c < D; c += COLS)
            fold(&b, g, chunks, c, D - c < COLS ? D - c : COLS);
    }
    return 0;
}
