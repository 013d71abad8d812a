/* SPDX-License-Identifier: Apache-2.0
 *
 * act_wide_simd.h - GELU of 16 floats at a time (act_simd.c says how), for ops and for the epilogue of products.
 */
#ifndef WAN_KERNELS_ACT_WIDE_SIMD_H
#define WAN_KERNELS_ACT_WIDE_SIMD_H

#include "kernels/act_math.h"
#include "kernels/math_simd.h"
#include "kernels/wide_simd.h"

/* Beyond WAN_ACT_FAR gelu is 0 or z, to the last bit; there z would overflow in its cube, or undo a gate that is
 * not quite 0. */
#define WAN_ACT_FAR 10.5f

#ifdef __x86_64__
/* Nearer than that a gate is a normal number: farther out it is taken as there, off by less than 1e-37. */
#define WAN_ACT_NEAR 10.0f

/* 1 + 2^t for |t| < 126, off by 4e-7 of it, or 2e-8 if it is to be fine: 2^t in steps of 1/16 from a table (less
 * what the exponent's shift leaves below it) times a polynomial. */
WAN_WIDE_INLINE __m512 wan_act_wide_power(__m512 t, const int fine)
{
    const __m512i steps =
        _mm512_setr_epi32(0x3f800000, 0x3f7daac3, 0x3f7b95c2, 0x3f79c3d3, 0x3f7837f0, 0x3f76f532,
                          0x3f75fed7, 0x3f75583f, 0x3f7504f3, 0x3f7508a4, 0x3f75672a, 0x3f76248c,
                          0x3f7744fd, 0x3f78ccdf, 0x3f7ac0c7, 0x3f7d257d);
    const __m512 shift = wan_wide_all(786432.0f); /* 1.5 * 2^19: adding it rounds to sixteenths */
    __m512 n = _mm512_add_ps(t, shift), r = _mm512_sub_ps(t, _mm512_sub_ps(n, shift));
    __m512 s = (__m512)_mm512_add_epi32(_mm512_permutexvar_epi32((__m512i)n, steps),
                                        _mm512_slli_epi32((__m512i)n, 19));
    __m512 p = fine
                   ? _mm512_fmadd_ps(r, wan_wide_all(5.550410866e-2f), wan_wide_all(2.40234288e-1f))
                   : wan_wide_all(2.402265070e-1f);
    p = _mm512_fmadd_ps(p, r, wan_wide_all(fine ? 6.931471806e-1f : 6.93187833e-1f));
    return _mm512_fmadd_ps(_mm512_mul_ps(p, r), s, _mm512_add_ps(s, wan_wide_all(1)));
}

/* 1/gate for |z| <= WAN_ACT_NEAR; square: z^2. */
WAN_WIDE_INLINE __m512 wan_act_wide_gate(__m512 z, __m512 square, const int fine)
{
    const float k = -2 * WAN_F_LOG2E * WAN_ACT_K;
    return wan_act_wide_power(
        _mm512_mul_ps(z, _mm512_fmadd_ps(square, wan_wide_all(k * WAN_ACT_A), wan_wide_all(k))),
        fine);
}

/* x, but -WAN_ACT_NEAR below that; NaN stays. */
WAN_WIDE_INLINE __m512 wan_act_wide_low(__m512 x)
{
    return _mm512_max_ps(wan_wide_all(-WAN_ACT_NEAR), x);
}

/* gelu_tanh; within 7e-5 of it for a result that is rounded to bf16 (half a unit there: 2e-3), else `fine`. */
WAN_WIDE_INLINE __m512 wan_act_wide_value(__m512 x, const int fine)
{
    __m512 low = wan_act_wide_low(x), z = _mm512_min_ps(wan_wide_all(WAN_ACT_NEAR), low);
    __m512 d = wan_act_wide_gate(z, _mm512_mul_ps(z, z), fine);
    /* 0 below that, not what it is there */
    return _mm512_maskz_mul_ps(_mm512_cmp_ps_mask(x, wan_wide_all(-WAN_ACT_NEAR), _CMP_NLT_UQ), low,
                               fine ? wan_wide_inverse(d) : _mm512_rcp14_ps(d));
}

/* Its derivative g + z g (1 - g) 2u', where g (1 - g) is g^2 2^t if g is an estimate: 1 - g would be that of
 * its error. */
WAN_WIDE_INLINE __m512 wan_act_wide_slope(__m512 x, const int fine)
{
    __m512 z = _mm512_min_ps(wan_wide_all(WAN_ACT_NEAR), wan_act_wide_low(x));
    __m512 square = _mm512_mul_ps(z, z), d = wan_act_wide_gate(z, square, fine);
    __m512 a = _mm512_fmadd_ps(square, wan_wide_all(6 * WAN_ACT_K * WAN_ACT_A),
                               wan_wide_all(2 * WAN_ACT_K));
    __m512 g = fine ? wan_wide_inverse(d) : _mm512_rcp14_ps(d);
    __m512 rest = fine ? _mm512_fnmadd_ps(g, g, g)
                       : _mm512_mul_ps(g, _mm512_mul_ps(g, _mm512_sub_ps(d, wan_wide_all(1))));
    return _mm512_fmadd_ps(_mm512_mul_ps(z, a), rest, g);
}

#endif

#endif
