/* SPDX-License-Identifier: Apache-2.0
 *
 * quant_encode.c - values to blocks: Q8_0 and Q4_K.
 */
#include <math.h>
#include <string.h>

#include "lib/base/dtype.h"
#include "lib/base/quant.h"
#include "lib/base/quant_in.h"

static float put_half(uint8_t *p, float v)
{
    uint16_t h = wan_f32_to_f16(v);
    memcpy(p, &h, sizeof h);
    return wan_f16_to_f32(h);
}

/* fmaxf and lrintf are calls; these are instructions, and vectorise. */
static inline float larger(float a, float b)
{
    return a > b ? a : b;
}

static inline float whole(float v, float lo, float hi)
{
    const float shift = 12582912.0f; /* 1.5 * 2^23: adding it rounds, to the even one of two */
    v = v < lo ? lo : v;
    v = v > hi ? hi : v;
    return (v + shift) - shift;
}

static inline int nearest(float v, int lo, int hi)
{
    return (int)whole(v, (float)lo, (float)hi);
}

static void q8_0(uint8_t *b, const float *x)
{
    float most = 0;
    for (int i = 0; i < 32; i++)
        most = larger(most, fabsf(x[i]));
    const float d = put_half(b, most / 127);
    for (int i = 0; i < 32; i++)
        b[2 + i] = (uint8_t)(int8_t)(d > 0 ? nearest(x[i] / d, -127, 127) : 0);
}

/* Squared error of x [32] as s q - m with the nearest q of 0..15, and the s and m of least squares for those q. */
static float fit_error(const float *x, float s, float m, float *better_s, float *better_m)
{
    enum { LANES = 8 }; /* a fixed order of sums that vectorises */
    float e[LANES] = { 0 }, sx[LANES] = { 0 }, sqx[LANES] = { 0 }, sq[LANES] = { 0 },
          sqq[LANES] = { 0 };
    const float inverse = s > 0 ? 1 / s : 0;
    for (int i = 0; i < 32; i += LANES) {
#pragma omp simd
        for (int k = 0; k < LANES; k++) {
            float y = x[i + k], v = whole((y + m) * inverse, 0, 15), r = s * v - m - y;
            e[k] += r * r;
            sx[k] += y;
            sqx[k] += v * y;
            sq[k] += v;
            sqq[k] += v * v;
        }
    }
    for (int k = 1; k < LANES; k++) {
        e[0] += e[k];
        sx[0] += sx[k];
        sqx[0] += sqx[k];
        sq[0] += sq[k];
        sqq[0] += sqq[k];
    }
    float det = 32 * sqq[0] - sq[0] * sq[0];
    *better_s = det > 0 ? (32 * sqx[0] - sq[0] * sx[0]) / det : s;
    *better_m = (*better_s * sq[0] - sx[0]) / 32;
    return e[0];
}

/* The scale and offset of a group: from spans a little narrower and wider than the values', each improved by
 * least squares.  Offsets are not negative: Q4_K takes them away. */
static void fit_group(const float *x, float *scale, float *offset)
{
    float lo = 0, hi = x[0];
    float best = INFINITY;
    for (int i = 0; i < 32; i++) {
        lo = x[i] < lo ? x[i] : lo;
        hi = larger(hi, x[i]);
    }
    *scale = *offset = 0;
    for (int k = 0; k < 10 && hi > lo; k++) {
        /* from either end, as what does not fit is cut off at the other: else the mean would drift */
        float s = (hi - lo) / (15 + 0.8f * (float)(k / 2 - 2)), s2, m2;
        float m = k % 2 ? larger(15 * s - hi, 0) : -lo;
        for (int round = 0; round < 2; round++) {
            float e = fit_error(x, s, m, &s2, &m2);
            if (e < best) {
                best = e;
                *scale = s;
                *offset = m;
            }
            s = s2;
            m = larger(m2, 0);
        }
    }
}

static void put_scales(uint8_t *p, const int scale[8], const int offset[8])
{
    for (int j = 0; j < 4; j++) {
        p[j] = (uint8_t)(scale[j] | (scale[j + 4] >> 4) << 6);
        p[j + 4] = (uint8_t)(offset[j] | (offset[j + 4] >> 4) << 6);
        p[j + 8] = (uint8_t)((scale[j + 4] & 15) | (offset[j + 4] & 15) << 4);
    }
}

static void q4_k(uint8_t *b, const float *x)
{
    float s[8], m[8], most_s = 0, most_m = 0;
    int scale[8], offset[8];
    for (int g = 0; g < 8; g++) {
        fit_group(x + 32 * g, &s[g], &m[g]);
        most_s = larger(most_s, s[g]);
        most_m = larger(most_m, m[g]);
    }
    const float d = put_half(b, most_s / 63), dmin = put_half(b + 2, most_m / 63);
    for (int g = 0; g < 8; g++) {
        scale[g] = d > 0 ? nearest(s[g] / d, 0, 63) : 0;
        offset[g] = dmin > 0 ? nearest(m[g] / dmin, 0, 63) : 0;
    }
    put_scales(b + 4, scale, offset);
    memset(b + 16, 0, 128);
    for (int i = 0; i < 256; i++) {
        int g = i / 32;
        float ds = d * (float)scale[g];
        int q = ds > 0 ? nearest((x[i] + dmin * (float)offset[g]) / ds, 0, 15) : 0;
        b[16 + g / 2 * 32 + i % 32] |= (uint8_t)(g & 1 ? q << 4 : q);
    }
}

/* Whether a scale of a block is infinite: the values are too large for half precision. */
static int is_broken(const uint8_t *b, wan_quant q)
{
    uint16_t h[2] = { 0, 0 };
    memcpy(h, b, q == WAN_Q8_0 ? 2 : 4);
    return (h[0] & 0x7c00) == 0x7c00 || (h[1] & 0x7c00) == 0x7c00;
}

int wan_quant_encode(void *dst, const float *src, wan_quant q, size_t n)
{
    if (q != WAN_Q8_0 && q != WAN_Q4_K)
        return wan_err("weights are not written as %s, only as q8_0 and q4_k", wan_quant_name(q));
    const size_t values = wan_quant_values(q), bytes = wan_quant_bytes(q);
    int broken = 0;
#pragma omp parallel for reduction(| : broken) if (n > 1 << 14)
    for (size_t i = 0; i < n / values; i++) {
        uint8_t *b = (uint8_t *)dst + i * bytes;
        (q == WAN_Q8_0 ? q8_0 : q4_k)(b, src + i * values);
        broken |= is_broken(b, q);
    }
    return broken ? wan_err("values are too large for blocks of %s", wan_quant_name(q)) : 0;
}
