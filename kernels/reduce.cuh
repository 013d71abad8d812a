/* SPDX-License-Identifier: Apache-2.0
 *
 * reduce.cuh - sums whose order depends on the shape only.
 */
#ifndef WAN_KERNELS_REDUCE_CUH
#define WAN_KERNELS_REDUCE_CUH

#include "kernels/space.h"
#include "kernels/vec.cuh"

template <typename T> static __device__ inline T warp_sum(T v)
{
    for (int w = 16; w; w /= 2)
        v += __shfl_xor_sync(0xffffffffu, v, w);
    return v;
}

static __device__ inline float warp_max(float v)
{
    for (int w = 16; w; w /= 2)
        v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, w));
    return v;
}

/* v[k] becomes the sum over the block, in every thread.  sm: 32*N elements of T.  Every thread of
 * the block must come here; blockDim is a multiple of 32. */
template <int N, typename T> static __device__ inline void block_sum(T *v, T *sm)
{
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    for (int k = 0; k < N; k++)
        v[k] = warp_sum(v[k]);
    __syncthreads(); /* the sums before may still be read */
    if (lane == 0)
        for (int k = 0; k < N; k++)
            sm[warp * N + k] = v[k];
    __syncthreads();
    for (int k = 0; k < N; k++) {
        v[k] = 0;
        for (int w = 0; w < warps; w++)
            v[k] += sm[w * N + k];
    }
}

/* ---- column sums over the tokens of each sample, in two stages
 *
 * Stage one: a block sums COL_CHUNK tokens of one sample for COL_TILE columns into part[k][chunk];
 * stage two adds a sample's chunks in order.  F is a functor with `enum { N }` sums and
 *     __device__ void add(float (*acc)[8], int64_t s, int64_t c, int64_t n) const
 * which adds token s, columns c .. c+n-1 (n <= 8). */
enum { COL_TILE = 256, COL_WARPS = 8, COL_CHUNK = WAN_SPACE_TOKENS };

/* A pack on the device, or one sample of S tokens when cu is NULL. */
struct segments {
    const int32_t *cu;
    int n;
    int64_t S;
    int64_t step; /* tokens of a chunk */
};

static inline int64_t column_chunks(const wan_pack *pack, int64_t S, int64_t step)
{
    if (!pack)
        return cuda_div(S, step);
    int64_t c = 0;
    for (int i = 0; i < pack->n; i++)
        c += cuda_div(pack->cu_host[i + 1] - pack->cu_host[i], step);
    return c;
}

static __device__ inline void segment_range(segments g, int i, int64_t *a, int64_t *b)
{
    *a = g.cu ? g.cu[i] : 0;
    *b = g.cu ? g.cu[i + 1] : g.S;
}

/* Tokens [*a, *b) of chunk c. */
static __device__ inline void chunk_range(segments g, int64_t c, int64_t *a, int64_t *b)
{
    for (int i = 0; i < g.n; i++) {
        segment_range(g, i, a, b);
        int64_t n = (*b - *a + g.step - 1) / g.step;
        if (c < n) {
            *a += c * g.step;
            *b = *b < *a + g.step ? *b : *a + g.step;
            return;
        }
        c -= n;
    }
    *a = *b = 0;
}

/* What F does when a thread has added its rows: nothing, unless there is one for F. */
template <class F> static __device__ inline void columns_end(const F &) {}

template <class F> static __global__ void columns_partial(F f, float *part, segments g, int64_t D)
{
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int64_t chunk = blockIdx.y, chunks = gridDim.y, s0, s1;
    int64_t tile = (int64_t)blockIdx.x * COL_TILE, c = tile + lane * 8;
    float acc[F::N][8];
    for (int k = 0; k < F::N; k++)
        for (int j = 0; j < 8; j++)
            acc[k][j] = 0;
    chunk_range(g, chunk, &s0, &s1);
    if (c < D)
        for (int64_t s = s0 + warp; s < s1; s += COL_WARPS)
            f.add(acc, s, c, D - c < 8 ? D - c : 8);
    columns_end(f);
    for (int k = 0; k < F::N; k++)
        for (int j = 0; j < 8; j++)
            cuda_shared[(warp * F::N + k) * COL_TILE + lane * 8 + j] = acc[k][j];
    __syncthreads();
    if (tile + threadIdx.x >= D)
        return;
    for (int k = 0; k < F::N; k++) {
        float v = 0;
        for (int w = 0; w < COL_WARPS; w++)
            v += cuda_shared[(w * F::N + k) * COL_TILE + threadIdx.x];
        part[(k * chunks + chunk) * D + tile + threadIdx.x] = v;
    }
}

/* out[i*stride + c] = (accumulate ? itself : 0) + the chunks of sample i = blockIdx.y */
static __global__ void columns_finish(float *out, int64_t stride, const float *part, segments g,
                                      int64_t D, int accumulate)
{
    int64_t c = (int64_t)blockIdx.x * blockDim.x + threadIdx.x, first = 0, count = 0, a, b;
    for (int i = 0; i <= (int)blockIdx.y; i++) {
        first += count;
        segment_range(g, i, &a, &b);
        count = (b - a + g.step - 1) / g.step;
    }
    if (c >= D)
        return;
    float v = 0, *o = out + blockIdx.y * stride + c;
    for (int64_t k = 0; k < count; k++)
        v += part[(first + k) * D + c];
    *o = (accumulate ? *o : 0) + v;
}

static inline int columns_add(wan_dev *d, const char *op, float *out, int64_t stride,
                              const float *part, segments g, int64_t D, int accumulate)
{
    return cuda_launch(d, op, columns_finish, dim3((unsigned)cuda_div(D, 128), (unsigned)g.n), 128,
                       0, out, stride, part, g, D, accumulate);
}

/* Both stages for F::N outputs, of which any may be NULL; pack NULL: one sample of S tokens.  Uses the scratch. */
template <class F>
static int columns_sum(wan_dev *d, const char *op, F f, float *const *out, int64_t stride,
                       const wan_pack *pack, int64_t S, int64_t D, int accumulate)
{
    int64_t chunks = column_chunks(pack, S, COL_CHUNK);
    segments g = { pack ? pack->cu : NULL, pack ? pack->n : 1, S, COL_CHUNK };
    float *part = (float *)cuda_scratch(d, (size_t)wan_space_columns(F::N, chunks, D));
    if (!part)
        return -1;
    if (chunks > 65535 || g.n > 65535)
        return wan_cuda_host->err("%s: %lld tokens in one call", op, (long long)S);
    dim3 grid((unsigned)cuda_div(D, COL_TILE), (unsigned)chunks, 1);
    WAN_TRY(cuda_launch(d, op, columns_partial<F>, grid, 32 * COL_WARPS,
                        sizeof(float) * F::N * COL_WARPS * COL_TILE, f, part, g, D));
    for (int k = 0; k < F::N; k++)
        if (out[k])
            WAN_TRY(columns_add(d, op, out[k], stride, part + k * chunks * D, g, D, accumulate));
    return 0;
}

#endif
