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

/* 32 elements of b from `at`, rounded as wan_f32_to_bf16 does. */
WAN_WIDE_INLINE void wan_wide_store(wan_buf b, int64_t at, __m512 low, __m512 high)
{
    enum { SUBNORMAL = 0x20 };
    if (b.t == WAN_F32) {
        _mm512_storeu_ps((float *)b.p + at, low);
        _mm512_storeu_ps((float *)b.p + at + 16, high);
        return;
    }
    uint16_t *o = (uint16_t *)b.p + at;
    _mm512_storeu_si512(o, wan_wide_narrow(low, high));
    if (__builtin_expect(
            _mm512_fpclass_ps_mask(low, SUBNORMAL) | _mm512_fpclass_ps_mask(high, SUBNORMAL), 0)) {
        float f[32];
        _mm512_storeu_ps(f, low);
        _mm512_storeu_ps(f + 16, high);
        for (int i = 0; i < 32; i++)
            o[i] = wan_f32_to_bf16(f[i]);
    }
}
#endif

#endif
