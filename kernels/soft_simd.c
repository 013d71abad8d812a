/* SPDX-License-Identifier: Apache-2.0
 *
 * soft_simd.c - rows of scores, for operands in fp32 on any CPU and in bf16 with AVX512-BF16.
 */
#include "kernels/soft_simd.h"

#include "kernels/math_simd.h"
#include "kernels/soft_wide_simd.h"

/* ---- fp32 */

static float top_f32(const float *s, int64_t n)
{
    float top = -INFINITY;
#pragma omp simd reduction(max : top)
    for (int64_t j = 0; j < n; j++)
        top = s[j] > top ? s[j] : top;
    return top;
}

static float exponents_f32(void *p, const float *s, float c, float top, int64_t n)
{
    float sum[16] = { 0 }, *o = (float *)p;
    for (int64_t j = 0; j < n; j += 16)
        for (int i = 0; i < 16; i++) {
            o[j + i] = wan_f_exp2_soft(s[j + i] * c - top);
            sum[i] += o[j + i];
        }
    for (int w = 8; w; w /= 2)
        for (int i = 0; i < w; i++)
            sum[i] += sum[i + w];
    return sum[0];
}

static void grads_f32(const wan_soft_rows *r, int64_t n)
{
    for (int k = 0; k < 2; k++) {
        const float *s = r->s + k * r->ld, *dp = r->dp + k * r->ld;
        float *p = (float *)r->p + k * r->ld, *ds = (float *)r->ds + k * r->ld;
        float *packed = (float *)r->packed + k * WAN_TILE_N, live = k < r->keys;
#pragma omp simd
        for (int64_t j = 0; j < n; j++) {
            float v = wan_f_exp2_soft(s[j] * r->c + (r->bias[k] - r->lse[j])) * live;
            ds[j] = v * (dp[j] - r->delta[j]);
            p[j] = v;
        }
        for (int64_t j = 0; j < n; j += WAN_TILE_N)
            memcpy(packed + j / WAN_TILE_N * r->ldb, ds + j, WAN_TILE_N * sizeof *ds);
    }
}

/* ---- bf16 */

#ifdef __x86_64__

WAN_WIDE static float top_bf16(const float *s, int64_t n)
{
    __m512 a = _mm512_loadu_ps(s + n - 16), b = a;
    for (int64_t j = 0; j + 32 <= n; j += 32) {
        a = _mm512_max_ps(a, _mm512_loadu_ps(s + j));
        b = _mm512_max_ps(b, _mm512_loadu_ps(s + j + 16));
    }
    return _mm512_reduce_max_ps(_mm512_max_ps(a, b));
}

WAN_WIDE_INLINE __m512 exponent(const float *s, __m512 c, __m512 top)
{
    return wan_soft_power2(0xffff, _mm512_fmsub_ps(_mm512_loadu_ps(s), c, top), wan_soft_factors);
}

WAN_WIDE static float exponents_bf16(void *p, const float *s, float c, float top, int64_t n)
{
    __m512 sum = _mm512_setzero_ps(), vc = _mm512_set1_ps(c), vt = _mm512_set1_ps(top);
    int64_t j = 0;
    for (; j + 32 <= n; j += 32) {
        __m512 a = exponent(s + j, vc, vt), b = exponent(s + j + 16, vc, vt);
        sum = _mm512_add_ps(_mm512_add_ps(sum, a), b);
        _mm512_storeu_si512((uint16_t *)p + j, wan_wide_narrow(a, b));
    }
    if (j < n) {
        __m512 a = exponent(s + j, vc, vt);
        sum = _mm512_add_ps(sum, a);
        _mm256_storeu_si256((__m256i *)(void *)((uint16_t *)p + j),
                            _mm512_castsi512_si256(wan_wide_narrow(a, a)));
    }
    return _mm512_reduce_add_ps(sum);
}

/* p and ds of 32 queries of one key, in bf16. */
typedef struct pair {
    __m512i p, ds;
} pair;

WAN_WIDE_INLINE pair grad_32(const wan_soft_rows *r, int k, int64_t j, __mmask16 live)
{
    const float *s = r->s + k * r->ld + j, *dp = r->dp + k * r->ld + j;
    __m512 c = _mm512_set1_ps(r->c), bias = _mm512_set1_ps(r->bias[k]), p[2], ds[2];
    for (int i = 0; i < 2; i++) {
        __m512 lse = _mm512_loadu_ps(r->lse + j + 16 * i);
        __m512 delta = _mm512_loadu_ps(r->delta + j + 16 * i);
        __m512 t = _mm512_fmadd_ps(_mm512_loadu_ps(s + 16 * i), c, _mm512_sub_ps(bias, lse));
        p[i] = wan_soft_power2(live, t, wan_soft_factors);
        ds[i] = _mm512_mul_ps(p[i], _mm512_sub_ps(_mm512_loadu_ps(dp + 16 * i), delta));
    }
    return (pair){ wan_wide_narrow(p[0], p[1]), wan_wide_narrow(ds[0], ds[1]) };
}

WAN_WIDE static void grads_bf16(const wan_soft_rows *r, int64_t n)
{
    _Alignas(64) static const uint16_t order[2][32] = {
        { 0, 32, 1, 33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
          8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47 },
        { 16, 48, 17, 49, 18, 50, 19, 51, 20, 52, 21, 53, 22, 54, 23, 55,
          24, 56, 25, 57, 26, 58, 27, 59, 28, 60, 29, 61, 30, 62, 31, 63 },
    };
    uint16_t *P = (uint16_t *)r->p, *D = (uint16_t *)r->ds, *B = (uint16_t *)r->packed;
    const __m512i low = _mm512_load_si512(order[0]), high = _mm512_load_si512(order[1]);
    const __mmask16 second = r->keys > 1 ? 0xffff : 0;
    for (int64_t j = 0; j < n; j += 32) {
        pair a = grad_32(r, 0, j, 0xffff), b = grad_32(r, 1, j, second);
        uint16_t *o = B + j / WAN_TILE_N * r->ldb;
        _mm512_storeu_si512(P + j, a.p);
        _mm512_storeu_si512(P + r->ld + j, b.p);
        _mm512_storeu_si512(D + j, a.ds);
        _mm512_storeu_si512(D + r->ld + j, b.ds);
        _mm512_storeu_si512(o, _mm512_permutex2var_epi16(a.ds, low, b.ds));
        _mm512_storeu_si512(o + r->ldb, _mm512_permutex2var_epi16(a.ds, high, b.ds));
    }
}
#endif

wan_soft wan_soft_for(wan_dtype t)
{
#ifdef __x86_64__
    const wan_tile tile = wan_tile_for(t);
    if (tile.t == WAN_BF16)
        return (wan_soft){ top_bf16, exponents_bf16, grads_bf16,
                           tile.mul == wan_tile_mul_bf16 ? wan_softblock_bf16 : NULL };
#else
    (void)t;
#endif
    return (wan_soft){ top_f32, exponents_f32, grads_f32, NULL };
}
