/* SPDX-License-Identifier: Apache-2.0
 *
 * conv_own.cu - convolution as a product whose left operand is gathered from x as it lies, on tensor cores of
 * compute capability 8.0 and later: for bf16 where cuDNN has no engine or is not there.
 *
 * A block gives 128 output positions and 96 channels (the VAE has 96, 192 and 384).  The sum runs over taps and their
 * channels, 64 at a time, eight of them in one copy of 16 bytes: zeros where a tap lies on padding, one pixel for
 * 2 x 2 where x is to be enlarged.  Taps in time that lie on padding for the whole block are left out.
 */
#include "kernels/conv_own.cuh"
#include "kernels/tensor.cuh"

enum { POSITIONS = 128, CHANNELS = 96, DEPTH = 64, STAGES = 3, THREADS = 256 };
enum { MINE = POSITIONS / 32, THEIRS = CHANNELS / 32 /* rows that a thread copies */ };

struct conv_args {
    wan_conv c;
    const uint16_t *x, *w;
    const float *bias;
    vbuf y;
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

/* DEPTH elements of the sum from k0 on, on their way into a stage. */
static __device__ inline void fetch(conv_stage *s, const conv_args &a, const corners &r, int64_t k0,
                                    int64_t n0)
{
    const wan_conv &c = a.c;
    const int group = threadIdx.x % 8, line = threadIdx.x / 8, up = (int)c.up;
    const int64_t k = k0 + group * 8;
    const int tap = (int)(k / c.Ci), ch = (int)(k % c.Ci);
    const int x = tap % c.kw, y = tap / c.kw % c.kh, z = tap / (c.kw * c.kh);
    CUDA_UNROLL
    for (int m = 0; m < MINE; m++) {
        const int t = r.t[m] + z, i = r.i[m] + y, j = r.j[m] + x;
        const bool there = k < a.K && t >= 0 && t < c.T && i >= 0 && i < c.H && j >= 0 && j < c.W;
        const int64_t at = ((t * (c.H >> up) + (i >> up)) * (c.W >> up) + (j >> up)) * c.Ci + ch;
        cp_async16(s->a + tile_place<POSITIONS>(line + 32 * m, group), a.x + (there ? at : 0),
                   there);
    }
    CUDA_UNROLL
    for (int m = 0; m < THEIRS; m++) {
        const int64_t n = n0 + line + 32 * m;
        const bool there = k < a.K && n < c.Co;
        cp_async16(s->b + tile_place<CHANNELS>(line + 32 * m, group),
                   a.w + (there ? n * a.K + k : 0), there);
    }
}

/* sum [32 x 48] of this warp += a stage's product */
static __device__ inline void multiply(float (*sum)[CHANNELS / 16][4], const conv_stage *s)
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int row = warp % 4 * 32 + lane % 16, column = warp / 4 * 48 + lane % 8 + lane / 16 * 8;
    CUDA_UNROLL
    for (int k = 0; k < DEPTH / 16; k++) {
        uint32_t a[2][4], b[4];
        CUDA_UNROLL
        for (int m = 0; m < 2; m++)
            ldmatrix4(a[m], s->a + tile_place<POSITIONS>(row + 16 * m, 2 * k + lane / 16));
        CUDA_UNROLL
        for (int n = 0; n < CHANNELS / 32; n++) {
            ldmatrix4(b, s->b + tile_place<CHANNELS>(column + 16 * n, 2 * k + lane / 8 % 2));
            CUDA_UNROLL
            for (int m = 0; m < 2; m++) {
                mma_16816(sum[m][2 * n], a[m], b[0], b[1]);
                mma_16816(sum[m][2 * n + 1], a[m], b[2], b[3]);
            }
        }
    }
}

/* The block's sums through shared memory, then bias and residual, eight channels at a time. */
static __device__ inline void finish(const float (*sum)[CHANNELS / 16][4], const conv_args &a,
                                     int64_t p0, int64_t n0)
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    CUDA_UNROLL
    for (int m = 0; m < 2; m++)
        CUDA_UNROLL
    for (int n = 0; n < CHANNELS / 16; n++)
        CUDA_UNROLL
    for (int i = 0; i < 4; i++)
        cuda_shared[(warp % 4 * 32 + 16 * m + lane / 4 + i / 2 * 8) * CHANNELS + warp / 4 * 48 +
                    8 * n + lane % 4 * 2 + i % 2] = sum[m][n][i];
    __syncthreads();
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

static __global__ void __launch_bounds__(THREADS) conv_own(conv_args a)
{
    conv_stage *s = (conv_stage *)cuda_shared;
    const int64_t p0 = (int64_t)blockIdx.x * POSITIONS, n0 = (int64_t)blockIdx.y * CHANNELS;
    const int64_t last = p0 + POSITIONS < a.P ? p0 + POSITIONS - 1 : a.P - 1;
    const int64_t blank = a.c.past - last / (a.Wo * a.Ho) * a.c.st; /* taps in time on padding */
    int64_t k0 = blank > 0 ? blank * a.c.kh * a.c.kw * a.c.Ci / DEPTH * DEPTH : 0;
    float sum[2][CHANNELS / 16][4];
    corners r;
    corners_of(&r, a, p0);
    CUDA_UNROLL
    for (int i = 0; i < 2 * (CHANNELS / 16) * 4; i++)
        (&sum[0][0][0])[i] = 0;
    CUDA_UNROLL
    for (int i = 0; i < STAGES - 1; i++) {
        fetch(s + i, a, r, k0 + i * DEPTH, n0);
        cp_async_commit();
    }
    for (int stage = 0; k0 < a.K; k0 += DEPTH) {
        const int free = stage == 0 ? STAGES - 1 : stage - 1;
        cp_async_wait<STAGES - 2>();
        __syncthreads(); /* this stage is there, and nobody reads the one before */
        if (k0 + (STAGES - 1) * DEPTH < a.K)
            fetch(s + free, a, r, k0 + (STAGES - 1) * DEPTH, n0);
        cp_async_commit();
        multiply(sum, s + stage);
        stage = stage == STAGES - 1 ? 0 : stage + 1;
    }
    cp_async_wait<0>();
    __syncthreads();
    finish(sum, a, p0, n0);
}

int cuda_conv_own(wan_dev *d, const wan_conv *c, wan_buf y, wan_buf x, wan_buf w, const float *b,
                  int add)
{
    const size_t bytes = STAGES * sizeof(conv_stage);
    conv_args a;
    if (x.t != WAN_BF16 || w.t != WAN_BF16 || c->Ci % 8 || ((uintptr_t)x.p | (uintptr_t)w.p) % 16 ||
        c->T >= 1 << 20)
        return 1;
    memset(&a, 0, sizeof a);
    a.c = *c;
    a.x = (const uint16_t *)x.p, a.w = (const uint16_t *)w.p, a.bias = b;
    a.y = vbuf_of(y, c->Co), a.add = add != 0;
    a.Ho = (c->H + c->top + c->bottom - c->kh) / c->sh + 1;
    a.Wo = (c->W + c->left + c->right - c->kw) / c->sw + 1;
    a.P = wan_conv_frames(c) * a.Ho * a.Wo;
    a.K = (int64_t)c->kt * c->kh * c->kw * c->Ci;
    CUDA_TRY(cudaFuncSetAttribute((const void *)conv_own,
                                  cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes));
    const dim3 grid((unsigned)cuda_div(a.P, POSITIONS), (unsigned)cuda_div(c->Co, CHANNELS), 1);
    return cuda_launch(d, "conv_forward", conv_own, grid, THREADS, bytes, a);
}
