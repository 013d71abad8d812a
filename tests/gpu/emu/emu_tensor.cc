/* SPDX-License-Identifier: Apache-2.0
 *
 * emu_tensor.cc - tensor-core instructions of the emulated device: fragments as the PTX ISA lays them out
 * (mma.m16n8k16, ldmatrix), copies that arrive as late as they may (cp.async).
 */
#include "cuda_runtime.h"

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <vector>

#include "cuda_bf16.h"

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

void emu_mma_16816(float d[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
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
            sum += low(x[below]) * low(y[4]) + high(x[below]) * high(y[4]);
            sum += low(x[2 + below]) * low(y[5]) + high(x[2 + below]) * high(y[5]);
        }
        d[i] = (float)((double)d[i] + sum);
    }
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
        }
}
