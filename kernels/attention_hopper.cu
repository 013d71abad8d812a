/* SPDX-License-Identifier: Apache-2.0
 *
 * attention_hopper.cu - the backward of attention for compute capability 9.0 (attention_grad.cuh has the walk).
 *
 * Three groups of four warps.  The first fetches: own rows once, then tiles of walked rows into one of three places
 * in turn.  The other two own 64 rows each; scores come from two operands in shared memory, sums from weights
 * in registers.  Products run beside the threads: while one is waited for, the next is at work, and what one
 * group computes between them is hidden behind the other's.
 */
#include "kernels/attention_grad.cuh"
#include "kernels/hopper.cuh"

enum {
    GROUP = 128,
    OWNERS = 2,
    STAGES = 3,
    GROUP_ROWS = 64,
    HOPPER_THREADS = (1 + OWNERS) * GROUP
};
enum { SWIZZLE = 1024 /* tiles start on it */, FEW = 32, MANY = 240 /* registers of a thread */ };

/* Shared memory of a block. */
template <int HD> struct hall {
    char own[2][GRAD_OWN * HD * 2];
    char tile[STAGES][2][GRAD_TILE * HD * 2];
    grad_sides sides[STAGES];
    uint64_t full[STAGES], empty[STAGES];
};

/* ---- fetching */

template <int HD, bool KEYS> static __device__ inline void produce(hall<HD> *m, const grad_walk &w)
{
    const int thread = threadIdx.x, tiles = (int)((w.walked + GRAD_TILE - 1) / GRAD_TILE);
    int stage = 0, before = 0, parity = 1;
    for (int i = 0; i < tiles; i++) {
        const int64_t r0 = (int64_t)i * GRAD_TILE;
        mbarrier_wait(&m->empty[stage], parity);
        grad_load<HD, GRAD_TILE, GROUP>(m->tile[stage][0], w.tile1, w.ldt1, r0, w.walked, thread);
        grad_load<HD, GRAD_TILE, GROUP>(m->tile[stage][1], w.tile2, w.ldt2, r0, w.walked, thread);
        cp_async_commit();
        if (thread < GRAD_TILE)
            grad_load_sides<KEYS>(&m->sides[stage], w, r0, thread);
        if (i > 0) { /* the tile before this one has had its time */
            cp_async_wait<1>();
            wgmma_publish();
            mbarrier_arrive(&m->full[before]);
        }
        before = stage;
        stage = stage == STAGES - 1 ? 0 : stage + 1;
        parity ^= stage == 0;
    }
    cp_async_wait<0>();
    wgmma_publish();
    if (tiles > 0)
        mbarrier_arrive(&m->full[before]);
}

/* ---- multiplying */

/* s [64 x 64] of this group = own rows . walked rows, as one group of products on its way */
template <int HD>
static __device__ inline void scores(float (*s)[4], const char *own, const char *tile)
{
    wgmma_fence();
    wgmma_nt64(s, wgmma_tile(own, 16), wgmma_tile(tile, 16));
    CUDA_UNROLL
    for (int c = 1; c < HD / 16; c++)
        wgmma_nt64_add(s, wgmma_tile(own + c / 4 * (GRAD_OWN * 128) + c % 4 * 32, 16),
                       wgmma_tile(tile + c / 4 * (GRAD_TILE * 128) + c % 4 * 32, 16));
    wgmma_commit();
}

/* sum [64 x HD] += x [64 x 64] . walked rows, on its way */
template <int HD>
static __device__ inline void apply(float (*sum)[4], const uint32_t (*x)[4], const char *tile)
{
    wgmma_touch<HD>(sum);
    wgmma_fence();
    CUDA_UNROLL
    for (int j = 0; j < GRAD_TILE / 16; j++)
        wgmma_nn<HD>(sum, x[j], wgmma_tile(tile + j * 16 * 128, GRAD_TILE * 128));
    wgmma_commit();
}

/* s becomes p; x: p as operands */
template <int HD, bool KEYS>
static __device__ inline void powers(uint32_t (*x)[4], float (*s)[4], const grad_sums<HD, KEYS> &r,
                                     const grad_sides *sides)
{
    const int t = threadIdx.x % 4 * 2;
    CUDA_UNROLL
    for (int j = 0; j < GRAD_TILE / 8; j++) {
        const float2 add = *(const float2 *)&sides->add[8 * j + t];
        CUDA_UNROLL
        for (int i = 0; i < 2; i++) {
            s[j][2 * i] = exp2_fast(s[j][2 * i] * r.scale + (r.add[i] + add.x));
            s[j][2 * i + 1] = exp2_fast(s[j][2 * i + 1] * r.scale + (r.add[i] + add.y));
            x[j / 2][j % 2 * 2 + i] = bf16_pair(s[j][2 * i], s[j][2 * i + 1]);
        }
    }
}

/* x = p (g - delta) as operands */
template <int HD, bool KEYS>
static __device__ inline void slopes(uint32_t (*x)[4], const float (*p)[4], const float (*g)[4],
                                     const grad_sums<HD, KEYS> &r, const grad_sides *sides)
{
    const int t = threadIdx.x % 4 * 2;
    CUDA_UNROLL
    for (int j = 0; j < GRAD_TILE / 8; j++) {
        float2 delta = { 0, 0 };
        if (KEYS)
            delta = *(const float2 *)&sides->delta[8 * j + t];
        CUDA_UNROLL
        for (int i = 0; i < 2; i++)
            x[j / 2][j % 2 * 2 + i] =
                bf16_pair(p[j][2 * i] * (g[j][2 * i] - (KEYS ? delta.x : r.delta[i])),
                          p[j][2 * i + 1] * (g[j][2 * i + 1] - (KEYS ? delta.y : r.delta[i])));
    }
}

/* One tile: its scores are made while the sums of the one before are still at work. */
template <int HD, bool KEYS>
static __device__ inline void consume(grad_sums<HD, KEYS> &r, hall<HD> *m, int rows, int stage,
                                      int parity, uint64_t *before)
{
    const char *own = (const char *)m->own + rows * 128;
    float s[GRAD_TILE / 8][4], g[GRAD_TILE / 8][4];
    uint32_t p[GRAD_TILE / 16][4], x[GRAD_TILE / 16][4];
    mbarrier_wait(&m->full[stage], parity);
    scores<HD>(s, own, m->tile[stage][0]);
    wgmma_wait<1>();
    wgmma_touch<HD>(r.one);
    if (KEYS)
        wgmma_touch<HD>(r.two);
    if (before)
        mbarrier_arrive(before);
    scores<HD>(g, own + sizeof m->own[0], m->tile[stage][1]);
    wgmma_wait<1>();
    wgmma_touch<GRAD_TILE>(s);
    powers<HD, KEYS>(p, s, r, &m->sides[stage]);
    if (KEYS) {
        apply<HD>(r.two, p, m->tile[stage][1]);
        wgmma_wait<1>();
    } else {
        wgmma_wait<0>();
    }
    wgmma_touch<GRAD_TILE>(g);
    slopes<HD, KEYS>(x, s, g, r, &m->sides[stage]);
    apply<HD>(r.one, x, m->tile[stage][0]);
}

template <int HD, bool KEYS>
static __device__ inline void own(hall<HD> *m, const grad_walk &w, float scale)
{
    const int group = threadIdx.x / GROUP - 1, rows = group * GROUP_ROWS;
    const int row = rows + threadIdx.x % GROUP / 32 * 16;
    const int tiles = (int)((w.walked + GRAD_TILE - 1) / GRAD_TILE);
    grad_sums<HD, KEYS> r;
    grad_begin<HD, KEYS>(r, w, scale, row);
    int stage = 0, parity = 0;
    uint64_t *before = NULL;
    for (int i = 0; i < tiles; i++) {
        consume<HD, KEYS>(r, m, rows, stage, parity, before);
        before = &m->empty[stage];
        stage = stage == STAGES - 1 ? 0 : stage + 1;
        parity ^= stage == 0;
    }
    wgmma_wait<0>();
    wgmma_touch<HD>(r.one);
    if (KEYS)
        wgmma_touch<HD>(r.two);
    if (group == 0) /* a group's own rows are read no more */
        barrier_meet<1, GROUP>();
    else
        barrier_meet<2, GROUP>();
    grad_store<HD>(w.to1, w.ld1, w.first, w.own, m->own[0], row, scale, r.one);
    if (KEYS)
        grad_store<HD>(w.to2, w.ld2, w.first, w.own, m->own[1], row, 1, r.two);
}

#if defined(__CUDA_ARCH_FEAT_SM90_ALL) || !defined(__CUDA_ARCH__)
template <int HD, bool KEYS> static __device__ inline void grad_body(const grad_args &a)
{
    const grad_walk w = grad_walk_of<HD, KEYS>(a);
    if (w.first >= w.own)
        return;
    hall<HD> *m = (hall<HD> *)((char *)cuda_shared + (-shared_at(cuda_shared) & (SWIZZLE - 1)));
    if (threadIdx.x == 0)
        for (int i = 0; i < STAGES; i++) {
            mbarrier_init(&m->full[i], GROUP);
            mbarrier_init(&m->empty[i], OWNERS * GROUP);
        }
    __syncthreads();
    if (threadIdx.x < GROUP) {
        grad_load<HD, GRAD_OWN, GROUP>(m->own[0], w.one, w.ld1, w.first, w.own, threadIdx.x);
        grad_load<HD, GRAD_OWN, GROUP>(m->own[1], w.two, w.ld2, w.first, w.own, threadIdx.x);
        registers_less<FEW>();
        produce<HD, KEYS>(m, w);
    } else {
        registers_more<MANY>();
        own<HD, KEYS>(m, w, a.scale);
    }
}
#else /* launched on no other chip */
template <int HD, bool KEYS> static __device__ inline void grad_body(const grad_args &)
{
    __trap();
}
#endif

template <int HD, bool KEYS>
static __global__ void __launch_bounds__(HOPPER_THREADS, 1) grad_hopper(grad_args a)
{
    grad_body<HD, KEYS>(a);
}

/* ---- launchers */

template <int HD, bool KEYS>
static int pass(wan_dev *d, const grad_args *g, int64_t longest, int64_t heads)
{
    void (*kernel)(grad_args) = grad_hopper<HD, KEYS>;
    const size_t bytes = sizeof(hall<HD>) + SWIZZLE;
    CUDA_TRY(cudaFuncSetAttribute((const void *)kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  (int)bytes));
    const dim3 grid((unsigned)cuda_div(longest, GRAD_OWN), (unsigned)heads, 1);
    return cuda_launch(d, "attention_backward", kernel, grid, HOPPER_THREADS, bytes, *g);
}

int cuda_grad_hopper(wan_dev *d, const grad_args *g, int hd, int keys, int64_t longest,
                     int64_t heads)
{
    if (hd == 64)
        return keys ? pass<64, true>(d, g, longest, heads) : pass<64, false>(d, g, longest, heads);
    return keys ? pass<128, true>(d, g, longest, heads) : pass<128, false>(d, g, longest, heads);
}

/* Its code is that of 9.0a alone. */
int cuda_grad_has_hopper(wan_dev *d)
{
    return cuda_of(d)->sm == 90 && cuda_of(d)->shared >= sizeof(hall<128>) + SWIZZLE &&
           (strstr(WAN_CUDA_ARCH, "90a") || strstr(WAN_CUDA_ARCH, "emulation"));
}
