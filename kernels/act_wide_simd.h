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
WAN_WIDE_INLINE __m512 wan_act_wide_gate(__m512 z)
{
    const float k = -2 * WAN_F_LOG2E * WAN_ACT_K;
    __m512 t = _mm512_mul_ps(
        z, _mm512_fmadd_ps(_mm512_mul_ps(z, z), wan_wide_all(k * WAN_ACT_A), wan_wide_all(k)));
    return wan_wide_inverse(
        _mm512_add_ps(wan_wide_all(1), wan_wide_exp2(_mm512_min_ps(wan_wide_all(126), t))));
}

WAN_WIDE_INLINE __m512 wan_act_wide_low(__m512 z)
{
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(z, wan_wide_all(-WAN_ACT_FAR), _CMP_NLT_UQ), z);
}

WAN_WIDE_INLINE __m512 wan_act_wide_value(__m512 x)
{
    return _mm512_mul_ps(wan_act_wide_low(x), wan_act_wide_gate(x));
}

WAN_WIDE_INLINE __m512 wan_act_wide_slope(__m512 x)
{
    __m512 g = wan_act_wide_gate(x),
           z = _mm512_min_ps(wan_wide_all(WAN_ACT_FAR), wan_act_wide_low(x));
    __m512 a = _mm512_fmadd_ps(_mm512_mul_ps(z, z), wan_wide_all(6 * WAN_ACT_K * WAN_ACT_A),
                               wan_wide_all(2 * WAN_ACT_K));
    return _mm512_fmadd_ps(_mm512_mul_ps(z, a), _mm512_fnmadd_ps(g, g, g), g);
}

#endif

#endif
