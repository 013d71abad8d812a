/* SPDX-License-Identifier: Apache-2.0
 *
 * quant.c - see quant.h: reading of blocks.  Writing is in quant_encode.c.
 */
#include "lib/base/quant.h"

#include <string.h>

#include "lib/base/quant_in.h"

typedef void decode_fn(float *restrict y, const uint8_t *restrict b);

/* A block has one or two of these for 32 values: in line, and without a branch for what is small. */
static inline float half_at(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    if ((h & 0x7c00) == 0x7c00) /* not finite */
        return wan_f16_to_f32(h);
    uint32_t u = (uint32_t)(h & 0x7fff) << 13;
    float f;
    memcpy(&f, &u, sizeof f);
    f *= 0x1p112f; /* the difference of the exponents' biases, subnormals too */
    return h & 0x8000 ? -f : f;
}

/* d, then 32 signed bytes. */
static inline void q8_0(float *restrict y, const uint8_t *restrict b)
{
    const float d = half_at(b);
    for (int i = 0; i < 32; i++)
        y[i] = d * (float)(int8_t)b[2 + i];
}

/* d [m], [32 high bits,] 16 bytes: value i is the low half of byte i, value i + 16 its high half. */
static void nibbles(float *restrict y, float d, float m, uint32_t high, int bias,
                    const uint8_t *restrict q)
{
    for (int i = 0; i < 16; i++) {
        int lo = (q[i] & 15) | (int)(high >> i & 1) << 4;
        int hi = q[i] >> 4 | (int)(high >> (i + 16) & 1) << 4;
        y[i] = d * (float)(lo - bias) + m;
        y[i + 16] = d * (float)(hi - bias) + m;
    }
}

static uint32_t bits_at(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void q4_0(float *restrict y, const uint8_t *restrict b)
{
    nibbles(y, half_at(b), 0, 0, 8, b + 2);
}

static void q4_1(float *restrict y, const uint8_t *restrict b)
{
    nibbles(y, half_at(b), half_at(b + 2), 0, 0, b + 4);
}

static void q5_0(float *restrict y, const uint8_t *restrict b)
{
    nibbles(y, half_at(b), 0, bits_at(b + 2), 16, b + 6);
}

static void q5_1(float *restrict y, const uint8_t *restrict b)
{
    nibbles(y, half_at(b), half_at(b + 2), bits_at(b + 4), 0, b + 8);
}

void wan_quant_scales_k(int scale[8], int offset[8], const uint8_t *p)
{
    for (int j = 0; j < 4; j++) {
        scale[j] = p[j] & 63;
        offset[j] = p[j + 4] & 63;
        scale[j + 4] = (p[j + 8] & 15) | (p[j] >> 6) << 4;
        offset[j + 4] = p[j + 8] >> 4 | (p[j + 4] >> 6) << 4;
    }
}

/* d, dmin, 12 bytes of scales, [32 bytes of fifth bits,] 128 bytes: groups 2 g and 2 g + 1 of 32 values
 * are the low and the high halves of bytes 32 g ... 32 g + 31. */
static void groups_k(float *restrict y, const uint8_t *restrict b, const uint8_t *fifth,
                     const uint8_t *q)
{
    const float d = half_at(b), dmin = half_at(b + 2);
    int scale[8], offset[8];
    wan_quant_scales_k(scale, offset, b + 4);
    for (int g = 0; g < 8; g++) {
        const float s = d * (float)scale[g], m = dmin * (float)offset[g];
        const uint8_t *p = q + g / 2 * 32;
        const int shift = g & 1 ? 4 : 0;
        int v[32];
        for (int i = 0; i < 32; i++)
            v[i] = p[i] >> shift & 15;
        for (int i = 0; fifth && i < 32; i++)
            v[i] |= (fifth[i] >> g & 1) << 4;
        for (int i = 0; i < 32; i++)
            y[g * 32 + i] = s * (float)v[i] - m;
    }
}

static void q4_k(float *restrict y, const uint8_t *restrict b)
{
    groups_k(y, b, NULL, b + 16);
}

static void q5_k(float *restrict y, const uint8_t *restrict b)
{
    groups_k(y, b, b + 16, b + 48);
}

/* 128 bytes of low halves, 64 of two high bits, 16 signed scales, d.  In each half of 128 values the four
 * groups of 32 take the low and then the high halves of two times 32 bytes. */
static void q6_k(float *restrict y, const uint8_t *restrict b)
{
    const float d = half_at(b + 208);
    for (int i = 0; i < 256; i += 16) { /* one scale */
        const int half = i / 128, g = i % 128 / 32, k = i % 32, shift = g & 2 ? 4 : 0;
        const uint8_t *low = b + half * 64 + (g & 1) * 32 + k, *high = b + 128 + half * 32 + k;
        const float s = d * (float)(int8_t)b[192 + i / 16];
        for (int j = 0; j < 16; j++)
            y[i + j] = s * (float)(((low[j] >> shift & 15) | (high[j] >> (2 * g) & 3) << 4) - 32);
    }
}

static const struct {
    const char *name;
    size_t values, bytes;
    decode_fn *decode;
} type[WAN_QUANTS] = {
    [WAN_Q4_0] = { "q4_0", 32, 18, q4_0 },   [WAN_Q4_1] = { "q4_1", 32, 20, q4_1 },
    [WAN_Q5_0] = { "q5_0", 32, 22, q5_0 },   [WAN_Q5_1] = { "q5_1", 32, 24, q5_1 },
    [WAN_Q8_0] = { "q8_0", 32, 34, q8_0 },   [WAN_Q4_K] = { "q4_k", 256, 144, q4_k },
    [WAN_Q5_K] = { "q5_k", 256, 176, q5_k }, [WAN_Q6_K] = { "q6_k", 256, 210, q6_k },
};

const char *wan_quant_name(wan_quant q)
{
    return type[q].name;
}

int wan_quant_parse(wan_quant *out, const char *name)
{
    for (int q = WAN_Q_NONE + 1; q < WAN_QUANTS; q++)
        if (!strcmp(type[q].name, name)) {
            *out = (wan_quant)q;
            return 0;
        }
    return wan_err("\"%s\" is no type of quantised weights", name);
}

size_t wan_quant_values(wan_quant q)
{
    return type[q].values;
}

size_t wan_quant_bytes(wan_quant q)
{
    return type[q].bytes;
}

size_t wan_quant_span(wan_dtype t, int64_t n)
{
    wan_quant q = wan_quant_of(t);
    return q ? (size_t)n / type[q].values * type[q].bytes : (size_t)n * wan_dtype_size(t);
}

void wan_quant_decode(float *dst, const void *src, wan_quant q, size_t n)
{
    const uint8_t *b = src;
    if (q == WAN_Q8_0) { /* so short that a call would be a third of it */
        for (size_t i = 0; i < n; i += 32, b += 34)
            q8_0(dst + i, b);
        return;
    }
    for (size_t i = 0; i < n; i += type[q].values, b += type[q].bytes)
        type[q].decode(dst + i, b);
}
