/* SPDX-License-Identifier: Apache-2.0
 *
 * resnorm_simd.c - gated residual and LayerNorm, a row at a time while it is in the first cache.
 *
 * Gradients of gate, gain and shift are summed over chunks of tokens of one sample, whose size follows from
 * the pack alone, and the chunks in their order: the same bytes whatever the threads.
 */
#include "kernels/attention_simd.h"
#include "kernels/resnorm.h"
#include "kernels/rows.h"

enum { FEWEST = 32, MOST_CHUNKS = 256, COLS = 64 };

/* x, y, gate -> out; returns the mean */
static float add_row(float *restrict out, const float *x, const float *restrict y,
                     const float *restrict gate, int64_t D)
{
    float sum = 0;
    if (gate) {
#pragma omp simd reduction(+ : sum)
        for (int64_t j = 0; j < D; j++)
            sum += out[j] = x[j] + y[j] * gate[j];
    } else {
#pragma omp simd reduction(+ : sum)
        for (int64_t j = 0; j < D; j++)
            sum += out[j] = x[j] + y[j];
    }
    return sum / (float)D;
}

static float spread(const float *restrict x, float mean, int64_t D)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < D; j++)
        sum += (x[j] - mean) * (x[j] - mean);
    return sum / (float)D;
}

static void norm_row(float *restrict u, const float *restrict x, float mean, float rstd,
                     const float *restrict gain, float one, const float *restrict shift, int64_t D)
{
    for (int64_t j = 0; j < D; j++)
        u[j] = (x[j] - mean) * rstd * (one + gain[j]) + shift[j];
}

/* Row of a token's sample; of an affine norm there is one. */
static int64_t at_sample(const wan_resnorm *a, int64_t s)
{
    return a->affine ? 0 : a->pack->seg[s] * a->stride;
}

int wan_resnorm_forward_simd(wan_dev *d, const wan_resnorm *a, wan_real *out, wan_buf u,
                             wan_real *mean, wan_real *rstd, const wan_real *x, wan_buf y)
{
    int64_t D = a->D, S = a->pack->S;
    WAN_ROWS_CHECK("resnorm_forward", u, y);
    float *tmp = wan_rows_scratch(d, 2 * D);
    if (!tmp)
        return -1;
#pragma omp parallel for if (S * D > WAN_ROWS_PARALLEL)
    for (int64_t s = 0; s < S; s++) {
        float *t = wan_rows_mine(tmp, 2 * D), *o = out + s * D, *n = wan_row_open(u, s * D, t + D);
        const float *gate = wan_row_at(a->gate, a->pack->seg[s], a->stride);
        int64_t i = at_sample(a, s);
        mean[s] = add_row(o, x + s * D, wan_row_load(y, s * D, D, t), gate, D);
        rstd[s] = 1 / sqrtf(spread(o, mean[s], D) + (float)a->eps);
        norm_row(n, o, mean[s], rstd[s], a->gain + i, a->affine ? 0 : 1, a->shift + i, D);
        wan_row_close(u, s * D, D, n);
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

/* h = du (one + gain), its mean and that of h xhat; du xhat and du are added to the sums */
static void norm_sums(float *restrict h, const float *restrict du, const float *restrict x,
                      float mean, float rstd, const float *restrict gain, float one,
                      float *restrict dgain, float *restrict dshift, int64_t D, float means[2])
{
    float a = 0, b = 0;
#pragma omp simd reduction(+ : a, b)
    for (int64_t j = 0; j < D; j++) {
        float g = du[j], n = (x[j] - mean) * rstd, v = g * (one + gain[j]);
        dgain[j] += g * n;
        dshift[j] += g;
        h[j] = v;
        a += v;
        b += v * n;
    }
    means[0] = a / (float)D;
    means[1] = b / (float)D;
}

static void norm_dx(float *restrict dx, const float *restrict h, const float *restrict x,
                    float mean, float rstd, const float means[2], int64_t D)
{
    for (int64_t j = 0; j < D; j++)
        dx[j] += rstd * (h[j] - means[0] - (x[j] - mean) * rstd * means[1]);
}

static void gate_back(float *restrict dy, float *restrict dgate, const float *restrict dx,
                      const float *restrict y, const float *restrict gate, int64_t D)
{
    for (int64_t j = 0; j < D; j++) {
        dgate[j] += dx[j] * y[j];
        dy[j] = dx[j] * gate[j];
    }
}

static void row_backward(const back *b, int64_t s, float *sum, float *t)
{
    const wan_resnorm *a = b->a;
    int64_t D = a->D, i = at_sample(a, s);
    const float *x = b->out + s * D, *gate = wan_row_at(a->gate, a->pack->seg[s], a->stride);
    float *dx = b->dx + s * D, means[2];
    const float *du = wan_row_load(b->du, s * D, D, t);
    norm_sums(t + D, du, x, b->mean[s], b->rstd[s], a->gain + i, a->affine ? 0 : 1, sum, sum + D, D,
              means);
    norm_dx(dx, t + D, x, b->mean[s], b->rstd[s], means, D);
    if (!gate) {
        wan_row_store(b->dy, s * D, D, dx);
        return;
    }
    gate_back(t + D, sum + 2 * D, dx, wan_row_load(b->y, s * D, D, t), gate, D);
    wan_row_store(b->dy, s * D, D, t + D);
}

/* One chunk of the pack. */
static void chunk_backward(const back *b, int64_t k, float *t)
{
    const wan_pack *p = b->a->pack;
    int64_t from = k, D = b->a->D;
    float *sum = b->part + k * 3 * D;
    int i = wan_attn_find(p, b->size, &from);
    int64_t s = p->cu_host[i] + from, end = p->cu_host[i + 1];
    memset(sum, 0, 3 * (size_t)D * sizeof *sum);
    for (end = end - s < b->size ? end : s + b->size; s < end; s++)
        row_backward(b, s, sum, t);
}

/* Columns [c, c + n) of all chunks, in their order, to where they are added. */
static void fold(const back *b, const wan_resnorm_grad *g, int64_t chunks, int64_t c, int64_t n)
{
    const wan_resnorm *a = b->a;
    for (int64_t k = 0; k < chunks; k++) {
        const float *sum = b->part + k * 3 * a->D + c;
        int64_t from = k, i = wan_attn_find(a->pack, b->size, &from) * g->stride;
        int64_t j = a->affine ? 0 : i;
        wan_row_axpy(g->gain + j + c, 1, sum, n);
        wan_row_axpy(g->shift + j + c, 1, sum + a->D, n);
        if (a->gate)
            wan_row_axpy(g->gate + i + c, 1, sum + 2 * a->D, n);
    }
}

int wan_resnorm_backward_simd(wan_dev *d, const wan_resnorm *a, const wan_resnorm_grad *g,
                              wan_real *dx, wan_buf dy, wan_buf du, const wan_real *out,
                              const wan_real *mean, const wan_real *rstd, wan_buf y)
{
    int64_t D = a->D, S = a->pack->S, size = (S + MOST_CHUNKS - 1) / MOST_CHUNKS;
    WAN_ROWS_CHECK("resnorm_backward", dy, du, a->gate ? y : du);
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
