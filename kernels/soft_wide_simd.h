/* SPDX-License-Identifier: Apache-2.0
 *
 * soft_wide_simd.h - powers of two for probabilities in bf16, 16 at a time.
 */
#ifndef WAN_KERNELS_SOFT_WIDE_SIMD_H
#define WAN_KERNELS_SOFT_WIDE_SIMD_H

#ifdef __x86_64__
#include "kernels/wide_simd.h"

static const float wan_soft_factors[5] = { 1.34266844e-2f, 5.2242474e-2f, 2.41280205e-1f,
                                           6.93044845e-1f, 1.0f };

/* 2^t for what is rounded to bf16 next: within 3e-6 of it, a 600th of that rounding, so that a polynomial of degree 4
 * does; 1 for 0, 0 far below.  Seven operations in place of twelve: all of them wait for the same two units. */
WAN_WIDE_INLINE __m512 wan_soft_power2(__mmask16 live, __m512 t, const float factor[5])
{
    const __m512 f = _mm512_reduce_ps(t, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    __m512 p = _mm512_set1_ps(factor[0]);
    for (int i = 1; i < 5; i++)
        p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(factor[i]));
    return _mm512_maskz_scalef_ps(live, p, t);
}
#endif

#endif
