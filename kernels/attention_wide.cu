/* SPDX-License-Identifier: Apache-2.0
 *
 * attention_wide.cu - attention of heads too wide for one kernel (the VAE's single head has 384
 * columns): two matrix products with a softmax of rows between them, some queries at a time.
 */
#include "kernels/attention_wide.cuh"
#include "kernels/gemm.cuh"
#include "kernels/reduce.cuh"

enum : int64_t { SCORE_BYTES = (int64_t)96 << 20 }; /* most memory for scores and probabilities */

/* p = softmax(scale s + bias) of row blockIdx.x, lse its logarithm of the sum. */
static __global__ void softmax_row(vbuf p, vbuf s, float *lse, const float *bias, float scale,
                                   int64_t n)
{
    int64_t row = blockIdx.x * n, step = blockDim.x * 8;
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
    float v[8], top = -INFINITY, sum = 0;
    for (int64_t c = threadIdx.x * 8; c < n; c += step) {
        ld8(v, s, row + c, n - c);
        for (int j = 0; j < 8; j++)
            if (j < n - c)
                top = fmaxf(top, scale * v[j] + (bias ? bias[c + j] : 0));
    }
    top = warp_max(top);
    if (lane == 0)
        cuda_shared[warp] = top;
    __syncthreads();
    for (int w = 0; w < warps; w++)
        top = fmaxf(top, cuda_shared[w]);
    for (int64_t c = threadIdx.x * 8; c < n; c += step) {
        ld8(v, s, row + c, n - c);
        for (int j = 0; j < 8; j++)
            sum += j < n - c ? expf(scale * v[j] + (bias ? bias[c + j] : 0) - top) : 0;
    }
    block_sum<1>(&sum, cuda_shared);
    for (int64_t c = threadIdx.x * 8; c < n; c += step) {
        ld8(v, s, row + c, n - c);
        for (int j = 0; j < 8; j++)
            v[j] = j < n - c ? expf(scale * v[j] + (bias ? bias[c + j] : 0) - top) / sum : 0;
        st8(p, row + c, n - c, v);
    }
    if (lse && threadIdx.x == 0)
        lse[blockIdx.x] = top + logf(sum);
}

/* Memory of one call, and what does not change from sample to sample. */
struct wide {
    const wan_attn *a;
    wan_buf q, k, v, o, s,
        p;        /* dense: [rows, hd], [keys, hd] twice, [rows, hd], [rows, keys] twice */
    int64_t rows; /* most at once */
    void *tmp;    /* of the products */
};

static int64_t size_of(wan_dtype t)
{
    return t == WAN_BF16 ? 2 : 4;
}

/* Rows s0.. of head h of an operand. */
static wan_view part(wan_buf b, int64_t ld, int64_t s0, int h, int64_t hd)
{
    wan_view v = { wan_buf_of((char *)b.p + (s0 * ld + h * hd) * size_of(b.t), b.t), ld, 1 };
    return v;
}

static wan_view dense(wan_buf b, int64_t w)
{
    wan_view v = { b, w, 1 };
    return v;
}

static cuda_gemm scores(const wide *w, int64_t n, int64_t nk)
{
    cuda_gemm g = { w->s, w->q, w->k, NULL, n, nk, w->a->hd, 0, 1, 0 };
    return g;
}

static cuda_gemm values(const wide *w, int64_t n, int64_t nk)
{
    cuda_gemm g = { w->o, w->p, w->v, NULL, n, w->a->hd, nk, 0, 0, 0 };
    return g;
}

/* Queries i .. i+n of sample b, head h, whose keys and values lie in w. */
static int some(wan_dev *d, const wide *w, wan_buf o, float *lse, wan_buf q, int b, int h,
                int64_t i, int64_t n)
{
    const wan_attn *a = w->a;
    const int64_t hd = a->hd, k0 = a->pk->cu_host[b], nk = a->pk->cu_host[b + 1] - k0;
    const cuda_gemm s = scores(w, n, nk), v = values(w, n, nk);
    WAN_TRY(wan_pick_cuda(d, dense(w->q, hd), part(q, a->ldq, i, h, hd), NULL, n, hd));
    WAN_TRY(cuda_gemm_run(d, "attention_forward", &s, w->tmp));
    WAN_TRY(cuda_launch(d, "attention_forward", softmax_row, dim3((unsigned)n), row_threads(nk),
                        32 * sizeof(float), vbuf_of(w->p, nk), vbuf_of(w->s, nk),
                        lse ? lse + h * a->pq->S + i : NULL, a->kbias ? a->kbias + k0 : NULL,
                        (float)a->scale, nk));
    WAN_TRY(cuda_gemm_run(d, "attention_forward", &v, w->tmp));
    return wan_pick_cuda(d, part(o, a->ldo, i, h, hd), dense(w->o, hd), NULL, n, hd);
}

/* Queries that see no key: o 0, lse -infinity. */
static int nothing_seen(wan_dev *d, const wan_attn *a, wan_buf o, float *lse, int h, int64_t i,
                        int64_t n)
{
    for (int64_t r = i; r < i + n; r++)
        WAN_TRY(wan_fill_cuda(d, part(o, a->ldo, r, h, a->hd).b, 0, a->hd));
    return lse ? wan_fill_cuda(d, wan_buf_of(lse + h * a->pq->S + i, WAN_F32), -INFINITY, n) : 0;
}

static int one(wan_dev *d, const wide *w, wan_buf o, float *lse, wan_buf q, wan_buf k, wan_buf v,
               int b, int h)
{
    const wan_attn *a = w->a;
    int64_t q0 = a->pq->cu_host[b], end = a->pq->cu_host[b + 1], hd = a->hd;
    int64_t k0 = a->pk->cu_host[b], nk = a->pk->cu_host[b + 1] - k0;
    if (nk == 0)
        return nothing_seen(d, a, o, lse, h, q0, end - q0);
    WAN_TRY(wan_pick_cuda(d, dense(w->k, hd), part(k, a->ldk, k0, h, hd), NULL, nk, hd));
    WAN_TRY(wan_pick_cuda(d, dense(w->v, hd), part(v, a->ldv, k0, h, hd), NULL, nk, hd));
    for (int64_t i = q0, n; i < end; i += n) {
        n = end - i < w->rows ? end - i : w->rows;
        WAN_TRY(some(d, w, o, lse, q, b, h, i, n));
    }
    return 0;
}

static wan_buf cut(char **at, wan_dtype t, int64_t n)
{
    wan_buf b = wan_buf_of(*at, t);
    *at += ((size_t)(n * size_of(t)) + 255) / 256 * 256;
    return b;
}

/* Lays w out from `at` on; the end of it. */
static char *lay(wide *w, char *at, wan_buf q, wan_buf k, wan_buf v, wan_buf o)
{
    const int64_t hd = w->a->hd, nk = w->a->pk->max_len;
    w->q = cut(&at, q.t, w->rows * hd), w->o = cut(&at, o.t, w->rows * hd);
    w->k = cut(&at, k.t, nk * hd), w->v = cut(&at, v.t, nk * hd);
    w->s = cut(&at, WAN_F32, w->rows * nk), w->p = cut(&at, v.t, w->rows * nk);
    return at;
}

int cuda_wide_forward(wan_dev *d, const wan_attn *a, wan_buf o, float *lse, wan_buf q, wan_buf k,
                      wan_buf v)
{
    wide w = { a };
    int64_t nk = a->pk->max_len > 0 ? a->pk->max_len : 1, most = SCORE_BYTES / (6 * nk);
    w.rows = most < 1 ? 1 : most < a->pq->max_len ? most : a->pq->max_len;
    size_t bytes = (size_t)(lay(&w, NULL, q, k, v, o) - (char *)NULL);
    cuda_gemm s = scores(&w, w.rows, nk), p = values(&w, w.rows, nk);
    size_t need[2] = { cuda_gemm_need(&s), cuda_gemm_need(&p) };
    char *at = (char *)cuda_scratch(d, bytes + (need[0] > need[1] ? need[0] : need[1]));
    if (!at)
        return -1;
    w.tmp = lay(&w, at, q, k, v, o);
    for (int b = 0; b < a->pq->n; b++)
        for (int h = 0; h < a->H; h++)
            WAN_TRY(one(d, &w, o, lse, q, k, v, b, h));
    return 0;
}
