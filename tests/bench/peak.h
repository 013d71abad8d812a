/* SPDX-License-Identifier: Apache-2.0
 *
 * peak.h - the most this machine can do: multiply-adds on registers, and a copy through memory.
 */
#ifndef WAN_BENCH_PEAK_H
#define WAN_BENCH_PEAK_H

#include <sys/mman.h>

#include "tests/bench/bench.h"

/* Rounds of the register loops, and independent accumulators: more than latency times width. */
enum { PEAK_ROUNDS = 4000000, PEAK_ACC = 12 };

/* Multiply-adds on vectors of `wide` floats. */
#define PEAK_FMA(name, target, wide)                                                               \
    target static float name(void)                                                                 \
    {                                                                                              \
        typedef float vec __attribute__((vector_size(4 * (wide))));                                \
        vec acc[PEAK_ACC], x = { 0 }, y = { 0 }, s = { 0 };                                        \
        x += 1.0001f;                                                                              \
        y += 0.5f;                                                                                 \
        for (int i = 0; i < PEAK_ACC; i++)                                                         \
            acc[i] = y + (float)i;                                                                 \
        for (int r = 0; r < PEAK_ROUNDS; r++)                                                      \
            for (int i = 0; i < PEAK_ACC; i++)                                                     \
                acc[i] = acc[i] * x + y;                                                           \
        for (int i = 0; i < PEAK_ACC; i++)                                                         \
            s += acc[i];                                                                           \
        return s[0];                                                                               \
    }
PEAK_FMA(peak_plain, , 4)

#ifdef __x86_64__
#include <immintrin.h>

__attribute__((target("avx512f,avx512bf16"))) static float peak_dp(void)
{
    __m512 acc[PEAK_ACC], s = _mm512_setzero_ps();
    __m512bh x = (__m512bh)_mm512_set1_epi32(0x3f003f00);
    __m512bh y = (__m512bh)_mm512_set1_epi32(0x3e803e80);
    for (int i = 0; i < PEAK_ACC; i++)
        acc[i] = _mm512_set1_ps((float)i);
    for (int r = 0; r < PEAK_ROUNDS; r++)
        for (int i = 0; i < PEAK_ACC; i++)
            acc[i] = _mm512_dpbf16_ps(acc[i], x, y);
    for (int i = 0; i < PEAK_ACC; i++)
        s = _mm512_add_ps(s, acc[i]);
    return _mm512_reduce_add_ps(s);
}

__attribute__((target("amx-tile,amx-bf16"))) static float peak_amx(void)
{
    static const struct {
        uint8_t palette, start, zero[14];
        uint16_t colsb[16];
        uint8_t rows[16];
    } c = { 1, 0, { 0 }, { 64, 64, 64, 64, 64, 64, 64, 64 }, { 16, 16, 16, 16, 16, 16, 16, 16 } };
    float out[256];
    _tile_loadconfig(&c);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    _tile_zero(6);
    _tile_zero(7);
    for (int r = 0; r < PEAK_ROUNDS / 8; r++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, out, 64);
    _tile_release();
    return out[0];
}
PEAK_FMA(peak_avx2, __attribute__((target("avx2,fma"))), 8)
PEAK_FMA(peak_avx512, __attribute__((target("avx512f,fma"))), 16)
#else
#define peak_avx2 peak_plain
#define peak_avx512 peak_plain
#define peak_dp peak_plain
#define peak_amx peak_plain
#endif

/* GFLOP/s of all threads together for a loop of `flops` in each; best of 5. */
static double peak_rate(float (*loop)(void), double flops)
{
    double best = 0;
    for (int k = 0; k < 5; k++) {
        volatile float sink = 0;
        double t = bench_now();
#pragma omp parallel
        {
            float s = loop();
#pragma omp critical
            sink += s;
        }
        t = bench_now() - t;
        double g = flops * wan_rows_threads() / t / 1e9;
        best = g > best ? g : best;
    }
    return best;
}

/* n floats in huge pages, as a device's memory is: else the triad waits for page tables. */
static float *peak_memory(int64_t n)
{
    const size_t huge = (size_t)2 << 20;
    size_t bytes = ((size_t)n * 4 + huge - 1) / huge * huge;
    void *p = bytes > huge ? aligned_alloc(huge, bytes) : malloc(bytes);
    if (p && bytes > huge)
        madvise(p, bytes, MADV_HUGEPAGE);
    return p;
}

/* GB/s of a = b + s c over arrays of `bytes` together: from memory, or from the cache that holds them; and
 * of a = a + s b, which spares the read of what is written.  The better, as the best of 9 trials, each as
 * long as a millisecond takes. */
static double peak_triad(double bytes)
{
    int64_t n = (int64_t)(bytes / 12) + 1, again = 1 + (int64_t)(5e7 / bytes);
    float *a = peak_memory(n), *b = peak_memory(n), *c = peak_memory(n);
    double best = 0;
    if (!a || !b || !c)
        return 0;
#pragma omp parallel for
    for (int64_t i = 0; i < n; i++)
        a[i] = b[i] = c[i] = 1;
    for (int k = 0; k < 18; k++) {
        const float *add = k % 2 ? a : c;
        double t = bench_now(), rate;
        for (int64_t r = 0; r < again; r++) {
#pragma omp parallel for
            for (int64_t i = 0; i < n; i++)
                a[i] = b[i] + 0.5f * add[i];
        }
        rate = 12.0 * (double)(n * again) / (bench_now() - t) / 1e9;
        best = rate > best ? rate : best;
    }
    free(a);
    free(b);
    free(c);
    return best;
}

/* The same for an op that moves so many bytes: measured once for each power of two. */
__attribute__((unused)) static double peak_triad_at(double bytes)
{
    static double known[64];
    int k = 0;
    while (k < 34 && (double)((int64_t)1 << k) < bytes)
        k++;
    if (known[k] == 0)
        known[k] = peak_triad((double)((int64_t)1 << k));
    return known[k];
}

__attribute__((unused)) static bench_peaks bench_peak(void)
{
    static float (*const fma[])(void) = { peak_plain, peak_avx2, peak_avx512 };
    double per = (double)PEAK_ROUNDS * PEAK_ACC, wide = 4 << wan_cpu_vectors();
    bench_peaks p = { peak_rate(fma[wan_cpu_vectors()], 2 * per * wide), 0, peak_triad(384 << 20) };
    if (wan_cpu_isa() == WAN_CPU_AMX)
        p.bf16 = peak_rate(peak_amx, PEAK_ROUNDS / 8 * 4.0 * 16384 * 2);
    else if (wan_cpu_isa() == WAN_CPU_BF16)
        p.bf16 = peak_rate(peak_dp, 4 * per * 16);
    p.bf16 = p.bf16 > p.f32 ? p.bf16 : p.f32; /* widened operands are multiplied in fp32 */
    return p;
}

#endif
