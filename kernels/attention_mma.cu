/* SPDX-License-Identifier: Apache-2.0
 *
 * attention_mma.cu - the backward of attention on tensor cores of compute capability 8.0 and later
 * (attention_grad.cuh has the walk).
 *
 * Eight warps own 16 rows each, and their sums [16, HD] are in registers; own operands stay in shared memory,
 * walked tiles come by cp.async into one of two places while the other is multiplied.
 */
#include "kernels/attention_grad.cuh"

enum { WARPS = 8, THREADS = 32 * WARPS, PART = 32 /* walked rows at once */ };

/* Shared memory of a block. */
template <int HD> struct room {
    char own[2][GRAD_OWN * HD * 2];
    char tile[2][2][GRAD_TILE * HD * 2];
    grad_sides sides[2];
};

/* s [16 x PART] = own rows . walked rows, all HD columns */
template <int HD>
static __device__ inline void scores(float (*s)[4], const char *own, const char *tile, int row,
                                     int walked)
{
    const int lane = threadIdx.x % 32;
    const int down = row + lane % 16, across = lane / 16;                    /* of own rows */
    const int line = walked + lane % 8 + lane / 16 * 8, side = lane / 8 % 2; /* of walked ones */
    CUDA_UNROLL
    for (int j = 0; j < PART / 8; j++)
        CUDA_UNROLL
    for (int i = 0; i < 4; i++)
        s[j][i] = 0;
    CUDA_UNROLL
    for (int c = 0; c < HD / 16; c++) {
        uint32_t a[4], b[4];
        ldmatrix4(a, own + tile_place<GRAD_OWN>(down, 2 * c + across));
        CUDA_UNROLL
        for (int j = 0; j < PART / 16; j++) {
            ldmatrix4(b, tile + tile_place<GRAD_TILE>(line + 16 * j, 2 * c + side));
            mma_16816(s[2 * j], a, b[0], b[1]);
            mma_16816(s[2 * j + 1], a, b[2], b[3]);
        }
    }
}

/* sum [16 x HD] += x [16 x PART] . walked rows */
template <int HD>
static __device__ inline void apply(float (*sum)[4], const uint32_t (*x)[4], const char *tile,
                                    int walked)
{
    const int lane = threadIdx.x % 32, line = walked + lane % 16, across = lane / 16;
    CUDA_UNROLL
    for (int j = 0; j < PART / 16; j++)
        CUDA_UNROLL
    for (int c = 0; c < HD / 16; c++) {
        uint32_t b[4];
        ldmatrix4_trans(b, tile + tile_place<GRAD_TILE>(line + 16 * j, 2 * c + across));
        mma_16816(sum[2 * c], x[j], b[0], b[1]);
        mma_16816(sum[2 * c + 1], x[j], b[2], b[3]);
    }
}

/* p and w of 16 x PART scores, as left operands of the next products */
template <int HD, bool KEYS>
static __device__ inline void weights(uint32_t (*p)[4], uint32_t (*w)[4], const float (*s)[4],
                                      const float (*g)[4], const grad_sums<HD, KEYS> &r,
                                      const grad_sides *sides, int walked)
{
    const int t = threadIdx.x % 4 * 2;
    CUDA_UNROLL
    for (int j = 0; j < PART / 8; j++) {
        float add[2], delta[2], x[4], y[4];
        CUDA_UNROLL
        for (int i = 0; i < 2; i++) {
            add[i] = sides->add[walked + 8 * j + t + i];
            delta[i] = KEYS ? sides->delta[walked + 8 * j + t + i] : 0;
        }
        CUDA_UNROLL
        for (int i = 0; i < 4; i++) {
            x[i] = exp2_fast(s[j][i] * r.scale + (r.add[i / 2] + add[i % 2]));
            y[i] = x[i] * (g[j][i] - (KEYS ? delta[i % 2] : r.delta[i / 2]));
        }
        CUDA_UNROLL
        for (int i = 0; i < 2; i++) {
            p[j / 2][j % 2 * 2 + i] = bf16_pair(x[2 * i], x[2 * i + 1]);
            w[j / 2][j % 2 * 2 + i] = bf16_pair(y[2 * i], y[2 * i + 1]);
        }
    }
}

/* PART walked rows of a tile that is there */
template <int HD, bool KEYS>
static __device__ inline void step(grad_sums<HD, KEYS> &r, const room<HD> *m, int stage, int row,
                                   int walked)
{
    float s[PART / 8][4], g[PART / 8][4];
    uint32_t p[PART / 16][4], w[PART / 16][4];
    scores<HD>(s, m->own[0], m->tile[stage][0], row, walked);
    scores<HD>(g, m->own[1], m->tile[stage][1], row, walked);
    weights<HD, KEYS>(p, w, s, g, r, &m->sides[stage], walked);
    if (KEYS)
        apply<HD>(r.two, p, m->tile[stage][1], walked);
    apply<HD>(r.one, w, m->tile[stage][0], walked);
}

template <int HD, bool KEYS>
static __device__ inline void fetch(room<HD> *m, const grad_walk &w, int64_t r0, int stage)
{
    grad_load<HD, GRAD_TILE, THREADS>(m->tile[stage][0], w.tile1, w.ldt1, r0, w.walked,
                                      threadIdx.x);
    grad_load<HD, GRAD_TILE, THREADS>(m->tile[stage][1], w.tile2, w.ldt2, r0, w.walked,
                                      threadIdx.x);
    if (threadIdx.x < GRAD_TILE)
        grad_load_sides<KEYS>(&m->sides[stage], w, r0, threadIdx.x);
}

template <int HD, bool KEYS> static __global__ void __launch_bounds__(THREADS) grad_mma(grad_args a)
{
    const grad_walk w = grad_walk_of<HD, KEYS>(a);
    if (w.first >= w.own)
        return;
    room<HD> *m = (room<HD> *)cuda_shared;
    const int row = threadIdx.x / 32 * 16;
    grad_sums<HD, KEYS> r;
    grad_load<HD, GRAD_OWN, THREADS>(m->own[0], w.one, w.ld1, w.first, w.own, threadIdx.x);
    grad_load<HD, GRAD_OWN, THREADS>(m->own[1], w.two, w.ld2, w.first, w.own, threadIdx.x);
    fetch<HD, KEYS>(m, w, 0, 0);
    cp_async_commit();
    grad_begin<HD, KEYS>(r, w, a.scale, row);
    int stage = 0;
    for (int64_t r0 = 0; r0 < w.walked; r0 += GRAD_TILE, stage ^= 1) {
        cp_async_wait<0>();
        __syncthreads(); /* this tile is there, and nobody reads the other any more */
        if (r0 + GRAD_TILE < w.walked)
            fetch<HD, KEYS>(m, w, r0 + GRAD_TILE, stage ^ 1);
        cp_async_commit();
        CUDA_LOOP
        for (int part = 0; part < GRAD_TILE; part += PART)
            step<HD, KEYS>(r, m, stage, row, part);
    }
    cp_async_wait<0>();
    __syncthreads();
    grad_store<HD>(w.to1, w.ld1, w.first, w.own, m->own[0], row, a.scale, r.one);
    if (KEYS)
        grad_store<HD>(w.to2, w.ld2, w.first, w.own, m->own[1], row, 1, r.two);
}

/* delta [H, Sq] = sum of dout o over a head: HD / 8 threads for each */
template <int HD>
static __global__ void grad_delta(float *delta, vbuf dout, vbuf o, int64_t ldo, int64_t Sq, int H)
{
    const int64_t k = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) / (HD / 8), s = k / H,
                  h = k % H;
    float x[8], y[8], sum = 0;
    for (int i = 0; i < 8; i++)
        x[i] = y[i] = 0;
    if (s < Sq) {
        const int64_t at = s * ldo + h * HD + threadIdx.x % (HD / 8) * 8;
        ld8(x, dout, at, 8);
        ld8(y, o, at, 8);
    }
    for (int i = 0; i < 8; i++)
        sum += x[i] * y[i];
    for (int i = HD / 16; i; i /= 2)
        sum += __shfl_xor_sync(0xffffffffu, sum, i);
    if (s < Sq && threadIdx.x % (HD / 8) == 0)
        delta[h * Sq + s] = sum;
}

/* ---- launchers */

template <int HD, bool KEYS>
static int pass(wan_dev *d, const grad_args *g, int64_t longest, int64_t heads)
{
    void (*kernel)(grad_args) = grad_mma<HD, KEYS>;
    CUDA_TRY(cudaFuncSetAttribute((const void *)kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  (int)sizeof(room<HD>)));
    const dim3 grid((unsigned)cuda_div(longest, GRAD_OWN), (unsigned)heads, 1);
    return cuda_launch(d, "attention_backward", kernel, grid, THREADS, sizeof(room<HD>), *g);
}

template <int HD>
static int passes(wan_dev *d, const wan_attn *a, const grad_args *g, wan_buf dout, wan_buf o)
{
    const int64_t heads = (int64_t)a->pq->n * a->H, rows = a->H * g->Sq;
    const int64_t keys = a->pk->max_len, queries = a->pq->max_len;
    WAN_TRY(cuda_launch(d, "attention_backward", grad_delta<HD>,
                        dim3((unsigned)cuda_div(rows * (HD / 8), 256)), 256, 0, (float *)g->delta,
                        vbuf_of(dout, a->ldo), vbuf_of(o, a->ldo), a->ldo, g->Sq, a->H));
    if (cuda_grad_has_hopper(d)) {
        WAN_TRY(cuda_grad_hopper(d, g, HD, 1, keys, heads));
        return cuda_grad_hopper(d, g, HD, 0, queries, heads);
    }
    WAN_TRY((pass<HD, true>(d, g, keys, heads)));
    return pass<HD, false>(d, g, queries, heads);
}

/* bf16 heads of 64 or 128 columns, in rows that start on 16 bytes. */
static int fits(wan_dev *d, const wan_attn *a, const wan_buf *b, int n)
{
    const size_t need = a->hd == 64 ? sizeof(room<64>) : sizeof(room<128>);
    for (int i = 0; i < n; i++)
        if (b[i].t != WAN_BF16 || (uintptr_t)b[i].p % 16)
            return 0;
    return (a->hd == 64 || a->hd == 128) && a->ldq % 8 == 0 && a->ldk % 8 == 0 && a->ldv % 8 == 0 &&
           a->ldo % 8 == 0 && cuda_of(d)->shared >= need && (int64_t)a->pq->n * a->H <= 65535;
}

int cuda_grad_backward(wan_dev *d, const grad_call *c)
{
    const wan_attn *a = c->a;
    const wan_buf all[] = { c->dq, c->dk, c->dv, c->dout, c->o, c->q, c->k, c->v };
    grad_args g;
    if (!fits(d, a, all, 8))
        return 1;
    memset(&g, 0, sizeof g);
    g.q = (const uint16_t *)c->q.p, g.k = (const uint16_t *)c->k.p, g.v = (const uint16_t *)c->v.p;
    g.dout = (const uint16_t *)c->dout.p;
    g.dq = (uint16_t *)c->dq.p, g.dk = (uint16_t *)c->dk.p, g.dv = (uint16_t *)c->dv.p;
    g.lse = c->lse, g.kbias = a->kbias;
    g.cuq = a->pq->cu, g.cuk = a->pk->cu;
    g.Sq = a->pq->S, g.H = a->H, g.scale = (float)a->scale;
    g.ldq = a->ldq, g.ldk = a->ldk, g.ldv = a->ldv, g.ldo = a->ldo;
    float *delta = (float *)cuda_scratch(d, (size_t)(a->H * g.Sq) * sizeof *delta);
    if (!delta)
        return -1;
    g.delta = delta;
    return a->hd == 64 ? passes<64>(d, a, &g, c->dout, c->o) : passes<128>(d, a, &g, c->dout, c->o);
}
