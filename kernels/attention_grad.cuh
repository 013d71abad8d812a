/* SPDX-License-Identifier: Apache-2.0
 *
 * attention_grad.cuh - the backward of attention without a matrix of score gradients in memory, in sums of
 * fixed order: what its two forms share (attention_mma.cu for any chip, attention_hopper.cu).
 *
 * Two passes of one walk.  A block owns 128 rows of one head of one sample, and walks over the rows of the other
 * side 64 at a time; with `one` and `two` its own operands, and a tile of the other side's beside them,
 *   s = one tile1^T,  g = two tile2^T,  p = exp(scale s + bias - lse),  w = p (g - delta)
 *   pass of keys:     one k, two v, tiles q and dout:  dv += p tile2,  dk += scale w tile1
 *   pass of queries:  one q, two dout, tiles k and v:  dq += scale w tile1
 * so scores are made twice: 7 products where one pass with sums in any order takes 5.  s is own rows by walked
 * ones in both, so p and w, which leave one product in registers, enter the next from there.
 */
#ifndef WAN_KERNELS_ATTENTION_GRAD_CUH
#define WAN_KERNELS_ATTENTION_GRAD_CUH

#include "kernels/tensor.cuh"

enum { GRAD_OWN = 128, GRAD_TILE = 64 };

struct grad_args {
    const uint16_t *q, *k, *v, *dout;
    uint16_t *dq, *dk, *dv;
    const float *lse, *delta; /* [H, Sq] */
    const float *kbias;       /* [Sk] or NULL */
    const int32_t *cuq, *cuk;
    int64_t Sq, ldq, ldk, ldv, ldo;
    float scale;
    int H;
};

/* The walk of a block: rows first .. of the own side, `walked` rows of the other. */
struct grad_walk {
    const uint16_t *one, *two, *tile1, *tile2; /* row 0 of the sample, column 0 of the head */
    uint16_t *to1, *to2;
    int64_t ld1, ld2, ldt1, ldt2, first, own, walked;
    const float *lse, *delta, *bias; /* of the sample */
};

template <int HD, bool KEYS> static __device__ inline grad_walk grad_walk_of(const grad_args &a)
{
    const int h = blockIdx.y % a.H, b = blockIdx.y / a.H;
    const int64_t q0 = a.cuq[b], k0 = a.cuk[b], nq = a.cuq[b + 1] - q0, nk = a.cuk[b + 1] - k0;
    const int64_t q = q0 * a.ldq + h * HD, k = k0 * a.ldk + h * HD, v = k0 * a.ldv + h * HD;
    const int64_t o = q0 * a.ldo + h * HD;
    grad_walk w;
    w.one = KEYS ? a.k + k : a.q + q, w.two = KEYS ? a.v + v : a.dout + o;
    w.tile1 = KEYS ? a.q + q : a.k + k, w.tile2 = KEYS ? a.dout + o : a.v + v;
    w.to1 = KEYS ? a.dk + k : a.dq + q, w.to2 = KEYS ? a.dv + v : NULL;
    w.ld1 = KEYS ? a.ldk : a.ldq, w.ld2 = KEYS ? a.ldv : a.ldo;
    w.ldt1 = KEYS ? a.ldq : a.ldk, w.ldt2 = KEYS ? a.ldo : a.ldv;
    w.first = (int64_t)blockIdx.x * GRAD_OWN;
    w.own = KEYS ? nk : nq, w.walked = KEYS ? nq : nk;
    w.lse = a.lse + h * a.Sq + q0, w.delta = a.delta + h * a.Sq + q0;
    w.bias = a.kbias ? a.kbias + k0 : NULL;
    return w;
}

/* What is added to the exponent of two for query i; nothing is left of one that is not there. */
static __device__ inline float grad_of_query(const grad_walk &w, int64_t i, int64_t n)
{
    return i < n ? -1.44269504f * w.lse[i] : -INFINITY;
}

static __device__ inline float grad_of_key(const grad_walk &w, int64_t j, int64_t n)
{
    return j >= n ? -INFINITY : w.bias ? 1.44269504f * w.bias[j] : 0;
}

/* Rows r0 .. r0+ROWS of n rows at p, by THREADS threads, on their way into a tile; zeros behind the end. */
template <int HD, int ROWS, int THREADS>
static __device__ inline void grad_load(char *tile, const uint16_t *p, int64_t ld, int64_t r0,
                                        int64_t n, int thread)
{
    enum { LINE = HD / 8, STEP = THREADS / LINE };
    static_assert(STEP % 8 == 0, "places are STEP * 128 bytes apart");
    const int row = thread / LINE, c = thread % LINE;
    int left = (int)(n - r0 < ROWS ? n - r0 : ROWS) - row;
    char *to = tile + tile_place<ROWS>(row, c);
    const uint16_t *from = p + (r0 + row) * ld + c * 8;
    CUDA_UNROLL
    for (int r = 0; r < ROWS; r += STEP) {
        cp_async16(to + r * 128, left > 0 ? from : p, left > 0);
        from += STEP * ld, left -= STEP;
    }
}

/* Of 64 walked rows: what is added to exponents, and delta. */
struct grad_sides {
    float add[GRAD_TILE], delta[GRAD_TILE];
};

template <bool KEYS>
static __device__ inline void grad_load_sides(grad_sides *s, const grad_walk &w, int64_t r0, int i)
{
    s->add[i] = KEYS ? grad_of_query(w, r0 + i, w.walked) : grad_of_key(w, r0 + i, w.walked);
    if (KEYS)
        s->delta[i] = r0 + i < w.walked ? w.delta[r0 + i] : 0;
}

/* What a thread keeps: columns of rows g and g + 8 of its 16 (tensor.cuh). */
template <int HD, bool KEYS> struct grad_sums {
    float one[HD / 8][4], two[KEYS ? HD / 8 : 1][4];
    float add[2], delta[2];
    float scale; /* of scores, for powers of two */
};

/* row: the first of the 16. */
template <int HD, bool KEYS>
static __device__ inline void grad_begin(grad_sums<HD, KEYS> &r, const grad_walk &w, float scale,
                                         int row)
{
    CUDA_UNROLL
    for (int c = 0; c < HD / 8; c++)
        CUDA_UNROLL
    for (int i = 0; i < 4; i++) {
        r.one[c][i] = 0;
        if (KEYS)
            r.two[c][i] = 0;
    }
    CUDA_UNROLL
    for (int half = 0; half < 2; half++) {
        const int64_t i = w.first + row + threadIdx.x % 32 / 4 + 8 * half;
        r.add[half] = KEYS ? grad_of_key(w, i, w.own) : grad_of_query(w, i, w.own);
        r.delta[half] = !KEYS && i < w.own ? w.delta[i] : 0;
    }
    r.scale = 1.44269504f * scale;
}

/* 16 rows of a warp, HD columns as fragments d, through their place in the tile of own rows and out. */
template <int HD>
static __device__ inline void grad_store(uint16_t *to, int64_t ld, int64_t first, int64_t n,
                                         char *tile, int row, float scale, const float (*d)[4])
{
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    CUDA_UNROLL
    for (int c = 0; c < HD / 8; c++)
        CUDA_UNROLL
    for (int half = 0; half < 2; half++)
        *(uint32_t *)(tile + tile_place<GRAD_OWN>(row + g + 8 * half, c) + 4 * t) =
            bf16_pair(scale * d[c][2 * half], scale * d[c][2 * half + 1]);
    __syncwarp();
    CUDA_UNROLL
    for (int i = lane; i < 16 * HD / 8; i += 32) {
        const int r = row + i / (HD / 8), c = i % (HD / 8);
        if (first + r < n)
            st16(to + (first + r) * ld + c * 8,
                 *(const uint4 *)(tile + tile_place<GRAD_OWN>(r, c)));
    }
}

/* One pass in the form of attention_hopper.cu; whether this device and this build have it. */
int cuda_grad_hopper(wan_dev *d, const grad_args *g, int hd, int keys, int64_t longest,
                     int64_t heads);
int cuda_grad_has_hopper(wan_dev *d);

/* The operands of attention_backward. */
struct grad_call {
    const wan_attn *a;
    wan_buf dq, dk, dv, dout, o;
    const float *lse;
    wan_buf q, k, v;
};

/* Both passes; 1: not for these operands.  attention_mma.cu chooses the form. */
int cuda_grad_backward(wan_dev *d, const grad_call *c);
/* The same by cuDNN (sdpa.cuh). */
int cuda_grad_by_cudnn(wan_dev *d, const grad_call *c);
/* attention_ways.cu: 1 where the two passes come before cuDNN; may measure both, which write the gradients. */
int cuda_grad_first(wan_dev *d, const grad_call *c);

#endif
