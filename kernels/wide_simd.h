/* SPDX-License-Identifier: Apache-2.0
 *
 * wide_simd.h - 16 floats at a time, for kernels chosen where the CPU has AVX512-BF16: what the compiler does not
 * make of plain C - rounding to bf16 in one instruction, a reciprocal without a division.
 */
#ifndef WAN_KERNELS_WIDE_SIMD_H
#define WAN_KERNELS_WIDE_SIMD_H

#ifdef __x86_64__
#include <immintrin.h>

#include "kernels/real.h"

#define WAN_WIDE __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")))
#define WAN_WIDE_INLINE static inline __attribute__((always_inline)) WAN_WIDE

WAN_WIDE_INLINE __m512 wan_wide_all(float v)
{
    return _mm512_set1_ps(v);
}

/* wan_f_exp2_soft */
WAN_WIDE_INLINE __m512 wan_wide_exp2(__m512 t)
{
    const __m512 shift = _mm512_set1_ps(12582912.0f);
    __m512 c = _mm512_max_ps(_mm512_set1_ps(-125.0f), t), k = _mm512_add_ps(c, shift);
    __m512 r = _mm512_sub_ps(c, _mm512_sub_ps(k, shift)), p = _mm512_set1_ps(1.534581184e-4f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.339993122e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(9.618488958e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.550328777e-2f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(2.402264689e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(6.931472057e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    return (__m512)_mm512_add_epi32((__m512i)p, _mm512_slli_epi32((__m512i)k, 23));
}

/* 1/d within 2 ulp, for d in 2^-125 .. 2^126: an estimate of 14 bits and a step of Newton's. */
WAN_WIDE_INLINE __m512 wan_wide_inverse(__m512 d)
{
    __m512 y = _mm512_rcp14_ps(d);
    return _mm512_fmadd_ps(_mm512_fnmadd_ps(d, y, _mm512_set1_ps(1)), y, y);
}

/* 32 neighbours in bf16; subnormals become 0. */
WAN_WIDE_INLINE __m512i wan_wide_narrow(__m512 low, __m512 high)
{
    return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

/* 16 elements of b from `at` */
WAN_WIDE_INLINE __m512 wan_wide_load(wan_buf b, int64_t at)
{
    if (b.t == WAN_F32)
        return _mm512_loadu_ps((const float *)b.p + at);
    __m256i h = _mm256_loadu_si256((const __m256i *)(const void *)((const uint16_t *)b.p + at));
    return (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16);
}

/* Whether one of them is a subnormal, which wan_wide_narrow would lose. */
WAN_WIDE_INLINE int wan_wide_tiny(__m512 a, __m512 b)
{
    enum { SUBNORMAL = 0x20 };
    return __builtin_expect(
        _mm512_fpclass_ps_mask(a, SUBNORMAL) | _mm512_fpclass_ps_mask(b, SUBNORMAL), 0);
}

/* 32 elements of b from `at`, rounded as wan_f32_to_bf16 does. */
WAN_WIDE_INLINE void wan_wide_store(wan_buf b, int64_t at, __m512 low, __m512 high)
{
    if (b.t == WAN_F32) {
        _mm512_storeu_ps((float *)b.p + at, low);
        _mm512_storeu_ps((float *)b.p + at + 16, high);
        return;
    }
    uint16_t *o = (uint16_t *)b.p + at;
    _mm512_storeu_si512(o, wan_wide_narrow(low, high));
    if (wan_wide_tiny(low, high)) {
        float f[32];
        _mm512_storeu_ps(f, low);
        _mm512_storeu_ps(f + 16, high);
        for (int i = 0; i < 32; i++)
            o[i] = wan_f32_to_bf16(f[i]);
    }
}

/* 32 neighbours, those of even places and those of odd ones: a rotation of pairs needs no shuffles then, and of
 * bf16 these are its halves of 32 bits. */
typedef struct wan_wide_pairs {
    __m512 even, odd;
} wan_wide_pairs;

#define WAN_WIDE_TWICE(x, step)                                                                    \
    _mm512_setr_epi32(x, (x) + (step), (x) + 2 * (step), (x) + 3 * (step), (x) + 4 * (step),       \
                      (x) + 5 * (step), (x) + 6 * (step), (x) + 7 * (step), (x) + 8 * (step),      \
                      (x) + 9 * (step), (x) + 10 * (step), (x) + 11 * (step), (x) + 12 * (step),   \
                      (x) + 13 * (step), (x) + 14 * (step), (x) + 15 * (step))

WAN_WIDE_INLINE wan_wide_pairs wan_wide_part(__m512 low, __m512 high)
{
    const __m512i at = WAN_WIDE_TWICE(0, 2);
    return (wan_wide_pairs){ _mm512_permutex2var_ps(low, at, high),
                             _mm512_permutex2var_ps(low, _mm512_add_epi32(at, _mm512_set1_epi32(1)),
                                                    high) };
}

WAN_WIDE_INLINE wan_wide_pairs wan_wide_load_pairs(wan_buf b, int64_t at)
{
    if (b.t == WAN_F32) {
        const float *f = (const float *)b.p + at;
        return wan_wide_part(_mm512_loadu_ps(f), _mm512_loadu_ps(f + 16));
    }
    __m512i h = _mm512_loadu_si512((const uint16_t *)b.p + at);
    return (wan_wide_pairs){ (__m512)_mm512_slli_epi32(h, 16),
                             (__m512)_mm512_and_epi32(h, _mm512_set1_epi32((int32_t)0xffff0000u)) };
}

/* As wan_wide_store. */
WAN_WIDE_INLINE void wan_wide_store_pairs(wan_buf b, int64_t at, wan_wide_pairs v)
{
    if (b.t == WAN_BF16 && !wan_wide_tiny(v.even, v.odd)) { /* word 2i is i, 2i + 1 is 16 + i */
        const __m512i place = WAN_WIDE_TWICE(0x00100000, 0x00010001);
        _mm512_storeu_si512((uint16_t *)b.p + at,
                            _mm512_permutexvar_epi16(place, wan_wide_narrow(v.even, v.odd)));
        return;
    }
    const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
    wan_wide_store(b, at, _mm512_permutex2var_ps(v.even, low, v.odd),
                   _mm512_permutex2var_ps(v.even, high, v.odd));
}
#endif

#endif
