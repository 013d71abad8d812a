/* SPDX-License-Identifier: Apache-2.0
 *
 * math_simd.h - fp32 functions without branches or calls, so that loops over them vectorise on any
 * instruction set.  Errors are against the exact value, measured on a sample of all floats
 * by tests/kernels/check_math.c.
 */
#ifndef WAN_KERNELS_MATH_SIMD_H
#define WAN_KERNELS_MATH_SIMD_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline float wan_f_of_bits(int32_t i)
{
    float f;
    memcpy(&f, &i, 4);
    return f;
}

static inline int32_t wan_f_bits(float f)
{
    int32_t i;
    memcpy(&i, &f, 4);
    return i;
}

/* 2^n for n in -126..127; unsigned, because a NaN gives any n. */
static inline float wan_f_power2(int32_t n)
{
    return wan_f_of_bits((int32_t)(((uint32_t)n + 127u) << 23));
}

/* c = n ln 2 + r with |r| <= ln2/2: returns e^r by its Taylor polynomial of degree 7 (truncation
 * 4e-9) and n. */
static inline float wan_f_exp_parts(float c, int32_t *n)
{
    const float shift = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    float t = c * 1.44269504088896341f + shift, f = t - shift;
    float r = c - f * 0.693359375f;
    r = r - f * -2.12194440e-4f;
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    *n = (int32_t)((uint32_t)wan_f_bits(t) - (uint32_t)wan_f_bits(shift));
    return p * (r * r) + r + 1.0f;
}

/* e^x within 2 ulp; 0 below -87.3 (no subnormal results), infinity above 88.7; NaN stays NaN.
 * 2^n in two factors, because n = 128 is needed just below the overflow. */
static inline float wan_f_exp(float x)
{
    int32_t n, half;
    float c = x < -88.0f ? -88.0f : x;
    c = c > 89.0f ? 89.0f : c;
    float p = wan_f_exp_parts(c, &n);
    half = n >> 1;
    float e = p * wan_f_power2(half) * wan_f_power2(n - half);
    e = x < -87.33f ? 0.0f : e;
    return x > 88.72f ? INFINITY : e;
}

/* The same for probabilities, where x is at most about 0 and 1e-38 is as good as 0: e^x for x in
 * [-87, 88], the value at the nearer end outside. */
static inline float wan_f_exp_soft(float x)
{
    int32_t n;
    float c = x < -87.0f ? -87.0f : x;
    c = c > 88.0f ? 88.0f : c;
    float p = wan_f_exp_parts(c, &n);
    return p * wan_f_power2(n);
}

#define WAN_F_LOG2E 1.44269504088896341f

/* 2^t for probabilities, within 2 ulp for t in -125..127; below the value at -125.  A polynomial that is
 * off by 2e-9 of 2^r for |r| <= 1/2, and n added to its exponent. */
static inline float wan_f_exp2_soft(float t)
{
    const float shift = 12582912.0f;
    float c = t < -125.0f ? -125.0f : t, k = c + shift, r = c - (k - shift);
    float p = 1.534581184e-4f;
    p = p * r + 1.339993122e-3f;
    p = p * r + 9.618488958e-3f;
    p = p * r + 5.550328777e-2f;
    p = p * r + 2.402264689e-1f;
    p = p * r + 6.931472057e-1f;
    p = p * r + 1.0f;
    return wan_f_of_bits((int32_t)((uint32_t)wan_f_bits(p) + ((uint32_t)wan_f_bits(k) << 23)));
}

static inline float wan_f_sigmoid(float x)
{
    return 1.0f / (1.0f + wan_f_exp(-x));
}

#endif
