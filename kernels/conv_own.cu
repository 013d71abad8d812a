/* SPDX-License-Identifier: Apache-2.0
 *
 * conv_own.cu - convolution as a product whose left operand is gathered from x as it lies: bf16 and fp16, where cuDNN
 * has no engine or is not there, on tensor cores of compute capability 8.0 and later; fp32 in fp32.
 *
 * A block gives 128 output positions and 96 channels (the VAE has 96, 192 and 384).  The sum runs over taps and their
 * channels, 128 bytes of them at a time, 16 in one copy: zeros where a tap lies on padding, one pixel for 2 x 2 where
 * x is to be enlarged.  Channels that are no whole groups of 16 bytes are put together from single ones.  Taps in time
 * that lie on padding for the whole block are left out.
 */
#include "kernels/conv_own.cuh"
#include "kernels/half.cuh"
#include "kernels/tensor.cuh"

enum { POSITIONS = 128, CHANNELS = 96, STAGES = 3, THREADS = 256 };
enum { MINE = POSITIONS / 32, THEIRS = CHANNELS / 32 /* rows that a thread copies */ };

struct conv_args {
    wan_conv c;
    const void *x, *w;
    const float *bias;
    hbuf y;
    int add;
    int64_t Ho, Wo, P, K; /* positions of the output; taps and channels of a sum */
};

struct conv_stage {
    char a[POSITIONS * 128], b[CHANNELS * 128];
};

/* Where the taps of a thread's positions begin; t is far off where there is no position. */
struct corners {
    int t[MINE], i[MINE], j[MINE];
};

static __device__ inline void corners_of(corners *r, const conv_args &a, int64_t p0)
{
    CUDA_UNROLL
    for (int k = 0; k < MINE; k++) {
        const int64_t p = p0 + threadIdx.x / 8 + 32 * k;
        r->t[k] = p < a.P ? (int)(p / (a.Wo * a.Ho) * a.c.st - a.c.past) : -(1 << 20);
        r->i[k] = (int)(p / a.Wo % a.Ho * a.c.sh - a.c.top);
        r->j[k] = (int)(p % a.Wo * a.c.sw - a.c.left);
    }
}

/* Element k of the sum as a tap and its channel. */
struct conv_tap {
    int x, y, z, ch;
};

static __device__ inline conv_tap tap_of(const wan_conv &c, int k)
{
    const int tap = k / (int)c.Ci;
    const conv_tap t = { tap % c.kw, tap / c.kw % c.kh, tap / (c.kw * c.kh), k % (int)c.Ci };
    return t;
}

/* Where it is in x for position m of this thread, -1: on padding. */
static __device__ inline int64_t place_of(const wan_conv &c, const corners &r, int m,
                                          const conv_tap &p)
{
    const int t = r.t[m] + p.z, i = r.i[m] + p.y, j = r.j[m] + p.x, up = (int)c.up;
    if (t < 0 || t >= c.T || i < 0 || i >= c.H || j < 0 || j >= c.W)
        return -1;
    return ((t * (c.H >> up) + (i >> up)) * (c.W >> up) + (j >> up)) * c.Ci + p.ch;
}

/* 16 bytes of elements of the sum from k on, one by one: from x at position m, or (m below 0) from row n of w. */
template <typename E>
static __device__ inline uint4 single(const conv_args &a, const corners &r, int k, int m, int64_t n)
{
    union {
        E e[16 / sizeof(E)];
        uint4 all;
    } u;
    u.all.x = u.all.y = u.all.z = u.all.w = 0;
    CUDA_UNROLL
    for (int i = 0; i < (int)(16 / sizeof(E)); i++) {
        if (k + i >= a.K)
            continue;
        const int64_t at = m < 0 ? n * a.K + k + i : place_of(a.c, r, m, tap_of(a.c, k + i));
        if (at >= 0)
            u.e[i] = ((const E *)(m < 0 ? a.w : a.x))[at];
    }
    return u.all;
}

/* 128 bytes of elements of the sum from k0 on, on their way into a stage. */
template <typename E, bool ODD>
static __device__ inline void fetch(conv_stage *s, const conv_args &a, const corners &r, int k0,
                                    int64_t n0)
{
    const int group = threadIdx.x % 8, line = threadIdx.x / 8;
    const int k = k0 + group * (int)(16 / sizeof(E));
    const conv_tap p = tap_of(a.c, k);
    CUDA_UNROLL
    for (int m = 0; m < MINE; m++) {
        char *to = s->a + tile_place<POSITIONS>(line + 32 * m, group);
        if (ODD) {
            *(uint4 *)to = single<E>(a, r, k, m, 0);
            continue;
        }
        const int64_t at = k < a.K ? place_of(a.c, r, m, p) : -1;
        cp_async16(to, (const E *)a.x + (at < 0 ? 0 : at), at >= 0);
    }
    CUDA_UNROLL
    for (int m = 0; m < THEIRS; m++) {
        char *to = s->b + tile_place<CHANNELS>(line + 32 * m, group);
        const int64_t n = n0 + line + 32 * m;
        const bool there = k < a.K && n < a.c.Co;
        if (ODD && there)
            *(uint4 *)to = single<E>(a, r, k, -1, n);
        else
            cp_async16(to, (const E *)a.w + (there ? n * a.K + k : 0), there);
    }
}

/* What a thread has of the block's sums. */
template <typename E> struct conv_sums;

struct conv_f16 { /* its bits; uint16_t: bf16 */
    uint16_t u;
};

/* [32 x 48] of a warp, as fragments */
template <bool F16> struct conv_fragments {
    float v[2][CHANNELS / 16][4];

    __device__ void add(const conv_stage *s)
    {
        const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
        const int row = warp % 4 * 32 + lane % 16,
                  column = warp / 4 * 48 + lane % 8 + lane / 16 * 8;
        CUDA_UNROLL
        for (int k = 0; k < 4; k++) {
            uint32_t a[2][4], b[4];
            CUDA_UNROLL
            for (int m = 0; m < 2; m++)
                ldmatrix4(a[m], s->a + tile_place<POSITIONS>(row + 16 * m, 2 * k + lane / 16));
            CUDA_UNROLL
            for (int n = 0; n < CHANNELS / 32; n++) {
                ldmatrix4(b, s->b + tile_place<CHANNELS>(column + 16 * n, 2 * k + lane / 8 % 2));
                CUDA_UNROLL
                for (int m = 0; m < 2; m++)
                    CUDA_UNROLL
                for (int i = 0; i < 2; i++) {
                    if (F16)
                        mma_16816_f16(v[m][2 * n + i], a[m], b[2 * i], b[2 * i + 1]);
                    else
                        mma_16816(v[m][2 * n + i], a[m], b[2 * i], b[2 * i + 1]);
                }
            }
        }
    }

    __device__ void share(void) const
    {
        const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
        CUDA_UNROLL
        for (int m = 0; m < 2; m++)
            CUDA_UNROLL
        for (int n = 0; n < CHANNELS / 16; n++)
            CUDA_UNROLL
        for (int i = 0; i < 4; i++)
            cuda_shared[(warp % 4 * 32 + 16 * m + lane / 4 + i / 2 * 8) * CHANNELS + warp / 4 * 48 +
                        8 * n + lane % 4 * 2 + i % 2] = v[m][n][i];
    }
};

template <> struct conv_sums<uint16_t> : conv_fragments<false> {
};
template <> struct conv_sums<conv_f16> : conv_fragments<true> {
};

/* Every 16th row and column: threads next to each other read the same row of a, and rows of b in all banks. */
template <> struct conv_sums<float> {
    float v[POSITIONS / 16][CHANNELS / 16];

    __device__ void add(const conv_stage *s)
    {
        const int row = threadIdx.x / 16, column = threadIdx.x % 16;
        CUDA_LOOP
        for (int k = 0; k < 8; k++) {
            float4 b[CHANNELS / 16];
            CUDA_UNROLL
            for (int n = 0; n < CHANNELS / 16; n++)
                b[n] = *(const float4 *)(s->b + tile_place<CHANNELS>(column + 16 * n, k));
            CUDA_UNROLL
            for (int m = 0; m < POSITIONS / 16; m++) {
                const float4 a = *(const float4 *)(s->a + tile_place<POSITIONS>(row + 16 * m, k));
                CUDA_UNROLL
                for (int n = 0; n < CHANNELS / 16; n++) {
                    v[m][n] += a.x * b[n].x;
                    v[m][n] += a.y * b[n].y;
                    v[m][n] += a.z * b[n].z;
                    v[m][n] += a.w * b[n].w;
                }
            }
        }
    }

    __device__ void share(void) const
    {
        const int row = threadIdx.x / 16, column = threadIdx.x % 16;
        CUDA_UNROLL
        for (int m = 0; m < POSITIONS / 16; m++)
            CUDA_UNROLL
        for (int n = 0; n < CHANNELS / 16; n++)
            cuda_shared[(row + 16 * m) * CHANNELS + column + 16 * n] = v[m][n];
    }
};

/* The block's sums from shared memory, with bias and residual, eight channels at a time. */
static __device__ inline void finish(const conv_args &a, int64_t p0, int64_t n0)
{
    for (int u = threadIdx.x; u < POSITIONS * CHANNELS / 8; u += THREADS) {
        const int64_t row = u / (CHANNELS / 8), c = u % (CHANNELS / 8) * 8, n = a.c.Co - n0 - c;
        const int64_t at = (p0 + row) * a.c.Co + n0 + c;
        float v[8], old[8];
        if (p0 + row >= a.P || n <= 0)
            continue;
        for (int j = 0; j < 8; j++)
            v[j] = cuda_shared[row * CHANNELS + c + j] + (a.bias && j < n ? a.bias[n0 + c + j] : 0);
        if (a.add) {
            ld8(old, a.y, at, n);
            for (int j = 0; j < 8; j++)
                v[j] += old[j];
        }
        st8(a.y, at, n, v);
    }
}

template <typename E, bool ODD>
static __global__ void __launch_bounds__(THREADS) conv_own(conv_args a)
{
    enum { DEPTH = 128 / sizeof(E) };
    conv_stage *s = (conv_stage *)cuda_shared;
    const int64_t p0 = (int64_t)blockIdx.x * POSITIONS, n0 = (int64_t)blockIdx.y * CHANNELS;
    const int64_t last = p0 + POSITIONS < a.P ? p0 + POSITIONS - 1 : a.P - 1;
    const int64_t blank = a.c.past - last / (a.Wo * a.Ho) * a.c.st; /* taps in time on padding */
    int k0 = blank > 0 ? (int)(blank * a.c.kh * a.c.kw * a.c.Ci / DEPTH * DEPTH) : 0;
    conv_sums<E> sum;
    corners r;
    corners_of(&r, a, p0);
    CUDA_UNROLL
    for (int i = 0; i < (int)(sizeof sum / sizeof(float)); i++)
        ((float *)&sum)[i] = 0;
    CUDA_UNROLL
    for (int i = 0; i < STAGES - 1; i++) {
        fetch<E, ODD>(s + i, a, r, k0 + i * DEPTH, n0);
        cp_async_commit();
    }
    for (int stage = 0; k0 < a.K; k0 += DEPTH) {
        const int free = stage == 0 ? STAGES - 1 : stage - 1;
        cp_async_wait<STAGES - 2>();
        __syncthreads(); /* this stage is there, and nobody reads the one before */
        if (k0 + (STAGES - 1) * DEPTH < a.K)
            fetch<E, ODD>(s + free, a, r, k0 + (STAGES - 1) * DEPTH, n0);
        cp_async_commit();
        sum.add(s + stage);
        stage = stage == STAGES - 1 ? 0 : stage + 1;
    }
    cp_async_wait<0>();
    __syncthreads();
    sum.share();
    __syncthreads();
    finish(a, p0, n0);
}

template <typename E, bool ODD> static int launch(wan_dev *d, const conv_args *a)
{
    void (*kernel)(conv_args) = conv_own<E, ODD>;
    const size_t bytes = STAGES * sizeof(conv_stage);
    CUDA_TRY(cudaFuncSetAttribute((const void *)kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  (int)bytes));
    const dim3 grid((unsigned)cuda_div(a->P, POSITIONS), (unsigned)cuda_div(a->c.Co, CHANNELS), 1);
    return cuda_launch(d, "conv_forward", kernel, grid, THREADS, bytes, *a);
}

int cuda_conv_own(wan_dev *d, const wan_conv *c, wan_buf y, wan_buf x, wan_buf w, const float *b,
                  int add)
{
    const int64_t K = (int64_t)c->kt * c->kh * c->kw * c->Ci;
    const int half = x.t != WAN_F32;
    const int odd = c->Ci % (half ? 8 : 4) || ((uintptr_t)x.p | (uintptr_t)w.p) % 16;
    conv_args a;
    if (x.t != w.t || c->T >= 1 << 20 || K >= 1 << 30)
        return 1;
    memset(&a, 0, sizeof a);
    a.c = *c;
    a.x = x.p, a.w = w.p, a.bias = b;
    a.y = hbuf_of(y, c->Co), a.add = add != 0;
    a.Ho = (c->H + c->top + c->bottom - c->kh) / c->sh + 1;
    a.Wo = (c->W + c->left + c->right - c->kw) / c->sw + 1;
    a.P = wan_conv_frames(c) * a.Ho * a.Wo;
    a.K = K;
    if (x.t == WAN_F16)
        return odd ? launch<conv_f16, true>(d, &a) : launch<conv_f16, false>(d, &a);
    if (half)
        return odd ? launch<uint16_t, true>(d, &a) : launch<uint16_t, false>(d, &a);
    return odd ? launch<float, true>(d, &a) : launch<float, false>(d, &a);
}
