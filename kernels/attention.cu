/* SPDX-License-Identifier: Apache-2.0
 *
 * attention.cu - which attention runs, and the plain kernels: any head size up to 256, any strides,
 * key bias, the T5 form, fp32 arithmetic, gradients without atomics.
 *
 * A block holds 16 queries (or keys) of one head and walks over the sample's keys (or queries) 32
 * at a time: lane j of a warp stands for row j of the walked tile when scores are computed, and for
 * columns j, j+32, ... of the head when they are applied; the scores change hands in shared memory.
 */
#include "kernels/reduce.cuh"
#include "kernels/attention_grad.cuh"
#include "kernels/attention_wide.cuh"
#include "kernels/sdpa.cuh"

enum { MINE = 4, WARPS = 4, OWN = MINE * WARPS, TILE = 32 };

/* ---- kernels */

/* The sample of a grid row (blockIdx.y / H) and its head. */
struct attn_args {
    vbuf q, k, v, o, dout; /* dout has the strides of o */
    vbuf dq, dk, dv;
    float *lse, *delta;         /* [H, Sq] */
    const float *kbias, *table; /* at most one is set */
    const int32_t *cuq, *cuk;
    int64_t Sq, ldq, ldk, ldv, ldo;
    float scale;
    int H, hd;
};

static __device__ inline int t5_bucket(int64_t rel)
{
    int64_t a = rel < 0 ? -rel : rel;
    int b = rel > 0 ? 16 : 0;
    if (a < 8)
        return b + (int)a;
    return b + (a >= 91   ? 15
                : a >= 64 ? 14
                : a >= 46 ? 13
                : a >= 32 ? 12
                : a >= 23 ? 11
                : a >= 16 ? 10
                : a >= 12 ? 9
                          : 8);
}

/* tile [rows, hd+1] <- rows s0 .. s0+n of head h, zeros below; all threads of the block */
static __device__ inline void tile_load(float *tile, int rows, vbuf b, int64_t ld, int64_t s0,
                                        int64_t n, int h, int hd)
{
    for (int i = threadIdx.x; i < rows * hd; i += blockDim.x) {
        int r = i / hd, c = i % hd;
        tile[r * (hd + 1) + c] = r < n ? ld1(b, (s0 + r) * ld + (int64_t)h * hd + c) : 0;
    }
}

/* out[m] = row m of mine . row of theirs, for the MINE rows of a warp; rows are hd+1 apart */
static __device__ inline void dots(float out[MINE], const float *mine, const float *theirs, int hd)
{
    for (int m = 0; m < MINE; m++)
        out[m] = 0;
    for (int c = 0; c < hd; c++) {
        float t = theirs[c];
        for (int m = 0; m < MINE; m++)
            out[m] += mine[m * (hd + 1) + c] * t;
    }
}

/* acc[m][c] += sum_j w[m][j] rows[j][lane + 32 c]; w [MINE][TILE] of this warp */
template <int DPL>
static __device__ inline void apply(float (*acc)[DPL], const float *w, const float *rows, int hd)
{
    int lane = threadIdx.x % 32;
    for (int j = 0; j < TILE; j++)
        for (int c = 0; c < DPL; c++) {
            if (lane + 32 * c >= hd)
                continue;
            float v = rows[j * (hd + 1) + lane + 32 * c];
            for (int m = 0; m < MINE; m++)
                acc[m][c] += w[m * TILE + j] * v;
        }
}

/* Rows i0 .. of this warp, of a sample of n rows that starts at row s0 of b, <- acc */
template <int DPL>
static __device__ inline void store(vbuf b, int64_t ld, int64_t s0, int64_t i0, int64_t n, int h,
                                    int hd, const float (*acc)[DPL])
{
    int lane = threadIdx.x % 32;
    for (int m = 0; m < MINE; m++)
        for (int c = 0; c < DPL; c++)
            if (i0 + m < n && lane + 32 * c < hd)
                st1(b, (s0 + i0 + m) * ld + (int64_t)h * hd + lane + 32 * c, acc[m][c]);
}

/* Score of key j for query i (positions in their sample; k0: the sample's first key). */
static __device__ inline float score(const attn_args &a, float qk, int64_t i, int64_t j, int64_t k0,
                                     int h)
{
    float s = a.scale * qk;
    if (a.table)
        s += a.table[t5_bucket(j - i) * a.H + h];
    else if (a.kbias)
        s += a.kbias[k0 + j];
    return s;
}

/* o and lse of OWN queries.  DPL: columns per lane, 32*DPL >= hd. */
template <int DPL> static __global__ void attn_forward(attn_args a)
{
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, hd = a.hd, pad = hd + 1;
    int h = blockIdx.y % a.H, b = blockIdx.y / a.H;
    int64_t q0 = a.cuq[b], nq = a.cuq[b + 1] - q0, k0 = a.cuk[b], nk = a.cuk[b + 1] - k0;
    int64_t first = (int64_t)blockIdx.x * OWN;
    if (first >= nq)
        return;
    float *Q = cuda_shared, *K = Q + OWN * pad, *V = K + TILE * pad;
    float *P = V + TILE * pad + warp * MINE * TILE;
    float top[MINE], sum[MINE], acc[MINE][DPL], s[MINE];
    for (int m = 0; m < MINE; m++) {
        top[m] = -INFINITY;
        sum[m] = 0;
        for (int c = 0; c < DPL; c++)
            acc[m][c] = 0;
    }
    tile_load(Q, OWN, a.q, a.ldq, q0 + first, nq - first, h, hd);
    for (int64_t j0 = 0; j0 < nk; j0 += TILE) {
        __syncthreads();
        tile_load(K, TILE, a.k, a.ldk, k0 + j0, nk - j0, h, hd);
        tile_load(V, TILE, a.v, a.ldv, k0 + j0, nk - j0, h, hd);
        __syncthreads();
        dots(s, Q + warp * MINE * pad, K + lane * pad, hd);
        for (int m = 0; m < MINE; m++) {
            int64_t i = first + warp * MINE + m;
            float v = j0 + lane < nk ? score(a, s[m], i, j0 + lane, k0, h) : -INFINITY;
            float t = fmaxf(top[m], warp_max(v)), old = expf(top[m] - t), p = expf(v - t);
            top[m] = t;
            sum[m] = sum[m] * old + warp_sum(p);
            P[m * TILE + lane] = p;
            for (int c = 0; c < DPL; c++)
                acc[m][c] *= old;
        }
        __syncwarp();
        apply<DPL>(acc, P, V, hd);
    }
    for (int m = 0; m < MINE; m++) {
        int64_t i = first + warp * MINE + m;
        for (int c = 0; c < DPL; c++)
            acc[m][c] /= nk ? sum[m] : 1;
        if (i < nq && lane == 0 && a.lse)
            a.lse[h * a.Sq + q0 + i] = top[m] + logf(sum[m]);
    }
    store<DPL>(a.o, a.ldo, q0, first + warp * MINE, nq, h, hd, acc);
}

/* delta[h, s] = sum_c dout o; one warp each */
static __global__ void attn_delta(attn_args a)
{
    int lane = threadIdx.x % 32;
    int64_t k = (int64_t)blockIdx.x * 8 + threadIdx.x / 32, s = k / a.H, h = k % a.H;
    if (s >= a.Sq)
        return;
    float sum = 0;
    for (int c = lane; c < a.hd; c += 32)
        sum += ld1(a.dout, s * a.ldo + h * a.hd + c) * ld1(a.o, s * a.ldo + h * a.hd + c);
    sum = warp_sum(sum);
    if (lane == 0)
        a.delta[h * a.Sq + s] = sum;
}

/* dq of OWN queries. */
template <int DPL> static __global__ void attn_dq(attn_args a)
{
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, hd = a.hd, pad = hd + 1;
    int h = blockIdx.y % a.H, b = blockIdx.y / a.H;
    int64_t q0 = a.cuq[b], nq = a.cuq[b + 1] - q0, k0 = a.cuk[b], nk = a.cuk[b + 1] - k0;
    int64_t first = (int64_t)blockIdx.x * OWN;
    if (first >= nq)
        return;
    float *Q = cuda_shared, *G = Q + OWN * pad, *K = G + OWN * pad, *V = K + TILE * pad;
    float *W = V + TILE * pad + warp * MINE * TILE;
    float acc[MINE][DPL], lse[MINE], delta[MINE], qk[MINE], gv[MINE];
    for (int m = 0; m < MINE; m++) {
        int64_t i = first + warp * MINE + m;
        lse[m] = i < nq ? a.lse[h * a.Sq + q0 + i] : 0;
        delta[m] = i < nq ? a.delta[h * a.Sq + q0 + i] : 0;
        for (int c = 0; c < DPL; c++)
            acc[m][c] = 0;
    }
    tile_load(Q, OWN, a.q, a.ldq, q0 + first, nq - first, h, hd);
    tile_load(G, OWN, a.dout, a.ldo, q0 + first, nq - first, h, hd);
    for (int64_t j0 = 0; j0 < nk; j0 += TILE) {
        __syncthreads();
        tile_load(K, TILE, a.k, a.ldk, k0 + j0, nk - j0, h, hd);
        tile_load(V, TILE, a.v, a.ldv, k0 + j0, nk - j0, h, hd);
        __syncthreads();
        dots(qk, Q + warp * MINE * pad, K + lane * pad, hd);
        dots(gv, G + warp * MINE * pad, V + lane * pad, hd);
        for (int m = 0; m < MINE; m++) {
            int64_t i = first + warp * MINE + m;
            float ds = 0;
            if (j0 + lane < nk && i < nq)
                ds = a.scale * expf(score(a, qk[m], i, j0 + lane, k0, h) - lse[m]) *
                     (gv[m] - delta[m]);
            W[m * TILE + lane] = ds;
        }
        __syncwarp();
        apply<DPL>(acc, W, K, hd);
    }
    store<DPL>(a.dq, a.ldq, q0, first + warp * MINE, nq, h, hd, acc);
}

/* dk and dv of OWN keys: the same walk with queries and keys exchanged. */
template <int DPL> static __global__ void attn_dkv(attn_args a)
{
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, hd = a.hd, pad = hd + 1;
    int h = blockIdx.y % a.H, b = blockIdx.y / a.H;
    int64_t q0 = a.cuq[b], nq = a.cuq[b + 1] - q0, k0 = a.cuk[b], nk = a.cuk[b + 1] - k0;
    int64_t first = (int64_t)blockIdx.x * OWN;
    if (first >= nk)
        return;
    float *K = cuda_shared, *V = K + OWN * pad, *Q = V + OWN * pad, *G = Q + TILE * pad;
    float *P = G + TILE * pad + warp * MINE * TILE; /* first p, then what dk is made with */
    float dk[MINE][DPL], dv[MINE][DPL], qk[MINE], gv[MINE];
    for (int m = 0; m < MINE; m++)
        for (int c = 0; c < DPL; c++)
            dk[m][c] = dv[m][c] = 0;
    tile_load(K, OWN, a.k, a.ldk, k0 + first, nk - first, h, hd);
    tile_load(V, OWN, a.v, a.ldv, k0 + first, nk - first, h, hd);
    for (int64_t i0 = 0; i0 < nq; i0 += TILE) {
        __syncthreads();
        tile_load(Q, TILE, a.q, a.ldq, q0 + i0, nq - i0, h, hd);
        tile_load(G, TILE, a.dout, a.ldo, q0 + i0, nq - i0, h, hd);
        __syncthreads();
        float lse = 0, delta = 0;
        if (i0 + lane < nq) {
            lse = a.lse[h * a.Sq + q0 + i0 + lane];
            delta = a.delta[h * a.Sq + q0 + i0 + lane];
        }
        dots(qk, K + warp * MINE * pad, Q + lane * pad, hd);
        dots(gv, V + warp * MINE * pad, G + lane * pad, hd);
        for (int m = 0; m < MINE; m++) {
            int64_t j = first + warp * MINE + m;
            float p = 0;
            if (i0 + lane < nq && j < nk)
                p = expf(score(a, qk[m], i0 + lane, j, k0, h) - lse);
            P[m * TILE + lane] = p;
            gv[m] = a.scale * p * (gv[m] - delta);
        }
        __syncwarp();
        apply<DPL>(dv, P, G, hd);
        __syncwarp();
        for (int m = 0; m < MINE; m++)
            P[m * TILE + lane] = gv[m];
        __syncwarp();
        apply<DPL>(dk, P, Q, hd);
    }
    store<DPL>(a.dk, a.ldk, k0, first + warp * MINE, nk, h, hd, dk);
    store<DPL>(a.dv, a.ldv, k0, first + warp * MINE, nk, h, hd, dv);
}

/* One query: weights of both parts for every head [2 H] in shared memory, then its columns. */
static __global__ void attn_merge(attn_args a, vbuf o2, const float *lse2)
{
    int64_t s = blockIdx.x, W = (int64_t)a.H * a.hd;
    float *weight = cuda_shared, v[8], u[8];
    for (int h = threadIdx.x; h < a.H; h += blockDim.x) {
        float *l = a.lse + h * a.Sq + s, l2 = lse2[h * a.Sq + s], top = fmaxf(*l, l2);
        float sum = top == -INFINITY ? top : top + logf(expf(*l - top) + expf(l2 - top));
        weight[2 * h] = top == -INFINITY ? 0 : expf(*l - sum);
        weight[2 * h + 1] = top == -INFINITY ? 0 : expf(l2 - sum);
        *l = sum;
    }
    __syncthreads();
    for (int64_t c = threadIdx.x * 8; c < W; c += blockDim.x * 8) {
        ld8(v, a.o, s * a.ldo + c, W - c);
        ld8(u, o2, s * a.ldo + c, W - c);
        for (int j = 0; j < 8; j++) {
            int h = (int)((c + j) / a.hd);
            if (c + j < W)
                v[j] = weight[2 * h] * v[j] + weight[2 * h + 1] * u[j];
        }
        st8(a.o, s * a.ldo + c, W - c, v);
    }
}

/* ---- launchers */

typedef void attn_kernel(attn_args);

/* The kernel for a head size: up to 64, 128 or 256 columns. */
#define PICK(name, hd) ((hd) <= 64 ? name<2> : (hd) <= 128 ? name<4> : name<8>)

static int attn_launch(wan_dev *d, const char *op, attn_kernel *k, const attn_args *a,
                       int64_t longest, int n)
{
    size_t rows = (size_t)(2 * TILE + 2 * OWN) * (size_t)(a->hd + 1);
    size_t shared = (rows + OWN * TILE) * sizeof(float); /* of 256 columns less than 99 KiB */
    if (n * (int64_t)a->H > 65535)
        return wan_cuda_host->err("%s: %d samples of %d heads in one call", op, n, a->H);
    CUDA_TRY(cudaFuncSetAttribute((const void *)k, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  (int)shared));
    dim3 grid((unsigned)cuda_div(longest, OWN), (unsigned)(n * a->H), 1);
    return cuda_launch(d, op, k, grid, 32 * WARPS, shared, *a);
}

enum { WIDEST = 256 }; /* columns of a head that these kernels take */

static int check(const char *op, const wan_attn *a)
{
    if (a->pq->n != a->pk->n)
        return wan_cuda_host->err("%s: %d query samples, %d key samples", op, a->pq->n, a->pk->n);
    if (a->hd < 1 || a->hd > WIDEST)
        return wan_cuda_host->err("%s: head size %lld on CUDA; 1 to %d", op, (long long)a->hd,
                                  WIDEST);
    return 0;
}

static attn_args args_of(const wan_attn *a, wan_buf o, wan_buf q, wan_buf k, wan_buf v)
{
    attn_args r;
    memset(&r, 0, sizeof r);
    r.q = vbuf_of(q, 0), r.k = vbuf_of(k, 0), r.v = vbuf_of(v, 0), r.o = vbuf_of(o, 0);
    r.kbias = a->kbias;
    r.cuq = a->pq->cu, r.cuk = a->pk->cu;
    r.Sq = a->pq->S;
    r.ldq = a->ldq, r.ldk = a->ldk, r.ldv = a->ldv, r.ldo = a->ldo;
    r.scale = (float)a->scale;
    r.H = a->H, r.hd = (int)a->hd;
    return r;
}

/* The one place where the provider is chosen: cuDNN takes bf16 heads of up to 128 columns (sdpa.cuh
 * says when it declines); everything else is ours. */
static int for_cudnn(const wan_attn *a, wan_buf q)
{
    return q.t == WAN_BF16 && a->hd % 8 == 0 && a->hd <= 128;
}

extern "C" int wan_attention_forward_cuda(wan_dev *d, const wan_attn *a, wan_buf o, float *lse,
                                          wan_buf q, wan_buf k, wan_buf v)
{
    CUDA_TYPES("attention_forward", o, q, k, v);
    if (a->hd > WIDEST && a->pq->n == a->pk->n)
        return cuda_wide_forward(d, a, o, lse, q, k, v);
    WAN_TRY(check("attention_forward", a));
    int r = for_cudnn(a, q) ? cuda_sdpa_forward(d, a, o, lse, q, k, v) : 1;
    if (r <= 0)
        return r;
    attn_args g = args_of(a, o, q, k, v);
    g.lse = lse;
    return attn_launch(d, "attention_forward", PICK(attn_forward, a->hd), &g, a->pq->max_len,
                       a->pq->n);
}

extern "C" int wan_attention_t5_cuda(wan_dev *d, const wan_attn *a, wan_buf o, wan_buf q, wan_buf k,
                                     wan_buf v, const float *table)
{
    CUDA_TYPES("attention_t5", o, q, k, v);
    WAN_TRY(check("attention_t5", a));
    attn_args g = args_of(a, o, q, k, v);
    g.table = table;
    return attn_launch(d, "attention_t5", PICK(attn_forward, a->hd), &g, a->pq->max_len, a->pq->n);
}

extern "C" int wan_attention_merge_cuda(wan_dev *d, const wan_attn *a, wan_buf o, float *lse,
                                        wan_buf o2, const float *lse2)
{
    CUDA_TYPES("attention_merge", o, o2);
    attn_args g;
    memset(&g, 0, sizeof g);
    g.o = vbuf_of(o, a->ldo);
    g.lse = lse;
    g.Sq = a->pq->S, g.ldo = a->ldo;
    g.H = a->H, g.hd = (int)a->hd;
    return cuda_launch(d, "attention_merge", attn_merge, dim3((unsigned)g.Sq),
                       row_threads(a->H * a->hd), 2 * sizeof(float) * (size_t)a->H, g,
                       vbuf_of(o2, a->ldo), lse2);
}

/* cuDNN or the two passes, the other where the first declines; 1: neither. */
static int on_tensor_cores(wan_dev *d, const grad_call *c)
{
    int own, r;
    WAN_TRY(own = cuda_grad_first(d, c));
    r = own ? cuda_grad_backward(d, c) : cuda_grad_by_cudnn(d, c);
    if (r > 0)
        r = own ? cuda_grad_by_cudnn(d, c) : cuda_grad_backward(d, c);
    return r;
}

extern "C" int wan_attention_backward_cuda(wan_dev *d, const wan_attn *a, wan_buf dq, wan_buf dk,
                                           wan_buf dv, wan_buf dout, wan_buf o, const float *lse,
                                           wan_buf q, wan_buf k, wan_buf v)
{
    CUDA_TYPES("attention_backward", dq, dk, dv, dout, o, q, k, v);
    WAN_TRY(check("attention_backward", a));
    const grad_call c = { a, dq, dk, dv, dout, o, lse, q, k, v };
    const int r = for_cudnn(a, q) ? on_tensor_cores(d, &c) : 1;
    if (r <= 0)
        return r;
    attn_args g = args_of(a, o, q, k, v);
    g.dout = vbuf_of(dout, 0);
    g.dq = vbuf_of(dq, 0), g.dk = vbuf_of(dk, 0), g.dv = vbuf_of(dv, 0);
    g.lse = (float *)lse;
    g.delta = (float *)cuda_scratch(d, (size_t)(a->H * g.Sq) * sizeof(float));
    if (!g.delta)
        return -1;
    WAN_TRY(cuda_launch(d, "attention_backward", attn_delta,
                        dim3((unsigned)cuda_div(a->H * g.Sq, 8)), 256, 0, g));
    WAN_TRY(
        attn_launch(d, "attention_backward", PICK(attn_dq, a->hd), &g, a->pq->max_len, a->pq->n));
    return attn_launch(d, "attention_backward", PICK(attn_dkv, a->hd), &g, a->pk->max_len,
                       a->pk->n);
}
