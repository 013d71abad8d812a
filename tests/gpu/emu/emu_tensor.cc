/* SPDX-License-Identifier: Apache-2.0
 *
 * emu_tensor.cc - tensor-core instructions of the emulated device: fragments as the PTX ISA lays them out
 * (mma.m16n8k16, ldmatrix, wgmma with its descriptors), copies and products that are done as late as they may be
 * (cp.async, wgmma), barriers that count (mbarrier).
 */
#include "cuda_runtime.h"

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <vector>

#include "cuda_bf16.h"
#include "cuda_fp16.h"

alignas(16) extern float cuda_shared[];

static void refuse(const char *why)
{
    fprintf(stderr, "emulated kernel: %s\n", why);
    abort();
}

/* ---- what the lanes of a warp put together: one half is written while the other may still be read */

struct lanes {
    uint32_t word[2][32][8];
    unsigned turn[32]; /* of each lane */
};
static lanes warps[32];

/* This lane's n words; those of all 32 lanes. */
static const uint32_t (*gather(const uint32_t *w, int n))[8]
{
    lanes *l = &warps[threadIdx.x / 32];
    const unsigned lane = threadIdx.x % 32, half = l->turn[lane]++ % 2;
    for (int i = 0; i < n; i++)
        l->word[half][lane][i] = w[i];
    emu_warp_barrier();
    return l->word[half];
}

void emu_ldmatrix(uint32_t r[4], const void *row, int trans)
{
    const uint64_t at = (uint64_t)row;
    const uint32_t mine[2] = { (uint32_t)at, (uint32_t)(at >> 32) };
    if (at % 16)
        refuse("ldmatrix: a row that is not aligned");
    const uint32_t(*all)[8] = gather(mine, 2);
    const int g = (int)threadIdx.x % 32 / 4, t = (int)threadIdx.x % 4 * 2;
    for (int i = 0; i < 4; i++) {
        uint32_t half[2];
        for (int j = 0; j < 2; j++) {
            const int line = trans ? t + j : g, column = trans ? g : t + j;
            const uint32_t *w = all[8 * i + line];
            half[j] = ((const uint16_t *)(w[0] | (uint64_t)w[1] << 32))[column];
        }
        r[i] = half[0] | half[1] << 16;
    }
}

static double low(uint32_t u)
{
    return (double)wan_bf16_to_f32((uint16_t)u);
}

static double high(uint32_t u)
{
    return (double)wan_bf16_to_f32((uint16_t)(u >> 16));
}

/* The products of both halves of two registers. */
static double both(uint32_t x, uint32_t y, int f16)
{
    if (!f16)
        return low(x) * low(y) + high(x) * high(y);
    return (double)emu_f16_value((uint16_t)x) * (double)emu_f16_value((uint16_t)y) +
           (double)emu_f16_value((uint16_t)(x >> 16)) * (double)emu_f16_value((uint16_t)(y >> 16));
}

void emu_mma_16816(float d[4], const uint32_t a[4], uint32_t b0, uint32_t b1, int f16)
{
    const uint32_t mine[6] = { a[0], a[1], a[2], a[3], b0, b1 };
    const uint32_t(*all)[8] = gather(mine, 6);
    const int g = (int)threadIdx.x % 32 / 4, t = (int)threadIdx.x % 4;
    for (int i = 0; i < 4; i++) {
        const int row = g, below = i / 2, column = 2 * t + i % 2;
        double sum = 0;
        for (int q = 0; q < 4;
             q++) { /* columns 2 q, 2 q + 1 and, eight on, the same of a's right half */
            const uint32_t *x = all[4 * row + q], *y = all[4 * column + q];
            sum += both(x[below], y[4], f16);
            sum += both(x[2 + below], y[5], f16);
        }
        d[i] = (float)((double)d[i] + sum);
    }
    if (emu_spend)
        emu_spend(2.0 * 16 * 8 * 16 / 32); /* this thread's part */
}

/* ---- cp.async: groups of a thread on their way */

struct copy {
    void *dst;
    const void *src;
    int bytes;
};
struct queue {
    std::vector<copy> open;
    std::deque<std::vector<copy>> groups;
};
static queue queues[1024];

void emu_cp_async(void *dst, const void *src, int bytes)
{
    if ((uint64_t)dst % 16 || (uint64_t)src % 16)
        refuse("cp.async: 16 bytes that are not aligned");
    queues[threadIdx.x].open.push_back({ dst, src, bytes });
}

void emu_cp_async_commit(void)
{
    queue *q = &queues[threadIdx.x];
    q->groups.push_back(q->open);
    q->open.clear();
}

void emu_cp_async_wait(int left)
{
    queue *q = &queues[threadIdx.x];
    for (; (int)q->groups.size() > left; q->groups.pop_front())
        for (const copy &c : q->groups.front()) {
            memset(c.dst, 0, 16);
            memcpy(c.dst, c.src, (size_t)c.bytes);
            if (emu_touch)
                emu_touch(c.src, (size_t)c.bytes, 0);
        }
}

/* ---- wgmma: groups of products of a thread, each for its own part of d */

struct product {
    float *d;
    int n, b_along_sum, add;
    bool in_registers;
    uint64_t a, b;
    float left[2][16]; /* rows g and g + 8 of a, where it is in registers */
};
struct products {
    std::vector<product> open;
    std::deque<std::vector<product>> groups;
};
static products pending[1024];

void emu_wgmma(float *d, int n, uint64_t a, const uint32_t *fragment, uint64_t b, int b_along_sum,
               int add)
{
    product p = { d, n, b_along_sum, add, fragment != NULL, a, b, {} };
    if (fragment) {
        const uint32_t(*all)[8] = gather(fragment, 4);
        const int g = (int)threadIdx.x % 32 / 4;
        for (int q = 0; q < 4; q++)
            for (int i = 0; i < 4; i++) { /* a0 .. a3 of the lane of columns 2 q */
                const uint32_t u = all[4 * g + q][i];
                float *to = &p.left[i % 2][i / 2 * 8 + 2 * q];
                to[0] = (float)low(u), to[1] = (float)high(u);
            }
    }
    pending[threadIdx.x].open.push_back(p);
    if (emu_spend)
        emu_spend(2.0 * 64 * n * 16 / 128); /* this thread's part */
}

void emu_wgmma_commit(void)
{
    products *q = &pending[threadIdx.x];
    q->groups.push_back(q->open);
    q->open.clear();
}

/* Element (row, k) of an operand: row along M or N, k along the sum. */
static float operand(uint64_t desc, int along_sum, int row, int k)
{
    const unsigned start = (unsigned)(desc & 0x3fff) << 4, lead = (unsigned)(desc >> 16 & 0x3fff)
                                                                  << 4;
    const unsigned stride = (unsigned)(desc >> 32 & 0x3fff) << 4;
    if (desc >> 62 != 1 || (desc >> 49 & 7))
        refuse("wgmma: a descriptor that is not of the 128-byte pattern");
    const unsigned r = (unsigned)row, c = (unsigned)k;
    unsigned at = start + (along_sum ? r / 64 * lead + c / 8 * stride + c % 8 * 128 + r % 64 * 2
                                     : r / 8 * stride + r % 8 * 128 + c * 2);
    at ^= (at >> 7 & 7) << 4;
    return wan_bf16_to_f32(*(const uint16_t *)((const char *)cuda_shared + at));
}

static void multiply(const product *p)
{
    const int lane = (int)threadIdx.x % 32, g = lane / 4, t = lane % 4 * 2;
    const int row = (int)threadIdx.x % 128 / 32 * 16 + g;
    float left[2][16];
    for (int half = 0; half < 2; half++)
        for (int k = 0; k < 16; k++)
            left[half][k] =
                p->in_registers ? p->left[half][k] : operand(p->a, 0, row + 8 * half, k);
    for (int j = 0; j < p->n / 8; j++)
        for (int i = 0; i < 2; i++) {
            double sum[2] = { 0, 0 };
            for (int k = 0; k < 16; k++) {
                const double b = operand(p->b, p->b_along_sum, 8 * j + t + i, k);
                sum[0] += left[0][k] * b, sum[1] += left[1][k] * b;
            }
            for (int half = 0; half < 2; half++) {
                float *d = &p->d[4 * j + 2 * half + i];
                *d = (float)((p->add ? (double)*d : 0) + sum[half]);
            }
        }
}

void emu_wgmma_wait(int left)
{
    products *q = &pending[threadIdx.x];
    for (; (int)q->groups.size() > left; q->groups.pop_front())
        for (const product &p : q->groups.front())
            multiply(&p);
}

/* ---- mbarrier */

struct mbarrier {
    uint16_t expected, left;
    uint32_t phase;
};

void emu_mbarrier_init(uint64_t *b, int arrivals)
{
    *(mbarrier *)b = { (uint16_t)arrivals, (uint16_t)arrivals, 0 };
}

void emu_mbarrier_arrive(uint64_t *b)
{
    mbarrier *m = (mbarrier *)b;
    if (--m->left == 0) {
        m->left = m->expected;
        m->phase++;
    }
}

void emu_mbarrier_wait(uint64_t *b, int parity)
{
    while ((int)(((const volatile mbarrier *)b)->phase % 2) == parity)
        emu_others();
}
