/* SPDX-License-Identifier: Apache-2.0
 *
 * rng_normal.c - normal numbers by the transform of Box and Muller (1958), many at a time.
 *
 * What libm gives for sqrt(-2 log u) times cosine and sine, rounded to float, is what a stream is made of.  Here the three
 * are polynomials that compilers vectorise, off by a few units of the last place of a double; where a product is so
 * close to the middle between two floats that this could round it otherwise, libm is asked: the same floats, bit
 * for bit.
 */
#include <math.h>
#include <string.h>

#include "lib/base/rng.h"

enum { BLOCKS = 8, PAIRS = 2 * BLOCKS };

static const double turn = 6.283185307179586476925;

static double unit(uint32_t x)
{
    return ((double)x + 0.5) * 0x1p-32;
}

/* Words 2j, 2j+1 give elements 2j (cosine) and 2j+1 (sine). */
static void box_muller(float out[2], uint32_t a, uint32_t b)
{
    double radius = sqrt(-2 * log(unit(a))), angle = turn * unit(b);
    out[0] = (float)(radius * cos(angle));
    out[1] = (float)(radius * sin(angle));
}

static uint64_t bits_of(double x)
{
    uint64_t b;
    memcpy(&b, &x, sizeof b);
    return b;
}

static double of_bits(uint64_t b)
{
    double x;
    memcpy(&x, &b, sizeof x);
    return x;
}

/* BLOCKS blocks of the stream from b: words 2j to w[0], 2j+1 to w[1], in their order. */
static void words(uint32_t w[2][PAIRS], const wan_rng *r, uint64_t b)
{
    uint32_t z[4][BLOCKS];
    for (uint32_t i = 0; i < BLOCKS; i++) { /* wan_philox */
        uint32_t c0 = (uint32_t)b + i, c1 = (uint32_t)((b + i) >> 32) ^ r->hi[0];
        uint32_t c2 = r->hi[1], c3 = r->hi[2], k0 = r->key[0], k1 = r->key[1];
        for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
            uint64_t x = (uint64_t)0xD2511F53u * c0, y = (uint64_t)0xCD9E8D57u * c2;
            c0 = (uint32_t)(y >> 32) ^ c1 ^ k0;
            c2 = (uint32_t)(x >> 32) ^ c3 ^ k1;
            c1 = (uint32_t)y;
            c3 = (uint32_t)x;
        }
        z[0][i] = c0;
        z[1][i] = c1;
        z[2][i] = c2;
        z[3][i] = c3;
    }
    for (int i = 0; i < PAIRS; i++) {
        w[0][i] = z[i % 2 * 2][i / 2];
        w[1][i] = z[i % 2 * 2 + 1][i / 2];
    }
}

/* sqrt(-2 log u): u = 2^k m with m in sqrt(1/2) .. sqrt(2), log m = 2 artanh((m - 1) / (m + 1)) by its series. */
static void radii(double *restrict out, const uint32_t *restrict a)
{
    const uint64_t one = 1ull << 52, shift = 64 * one, least = bits_of(0.70710678118654752440);
    for (int i = 0; i < PAIRS; i++) {
        uint64_t u = bits_of(unit(a[i])), k = (u - least + shift) >> 52;
        double m = of_bits(u - (k << 52) + shift), n = of_bits(k | bits_of(0x1p52)) - (0x1p52 + 64);
        double s = (m - 1) / (m + 1), z = s * s, p = 1.0 / 23;
        p = p * z + 1.0 / 21;
        p = p * z + 1.0 / 19;
        p = p * z + 1.0 / 17;
        p = p * z + 1.0 / 15;
        p = p * z + 1.0 / 13;
        p = p * z + 1.0 / 11;
        p = p * z + 1.0 / 9;
        p = p * z + 1.0 / 7;
        p = p * z + 1.0 / 5;
        p = p * z + 1.0 / 3;
        s += s;
        double log2_low = n * 1.90821492927058770002e-10;
        out[i] = sqrt(-2 * (n * 6.93147180369123816490e-01 + (s + (s * (p * z) + log2_low))));
    }
}

/* Cosines and sines of angles in 0 .. 2 pi, by their series around the next multiple of pi/2, which is subtracted in
 * three parts: differences and products of the first two are exact. */
static void circle(double *restrict c, double *restrict s, const double *restrict angle)
{
    const double shift = 0x1.8p52;
    for (int i = 0; i < PAIRS; i++) {
        double t = angle[i] * 0.63661977236758134308 + shift, q = t - shift;
        uint64_t quarter = bits_of(t);
        double r = angle[i] - q * 0x1.921fb54400000p+0;
        r = r - q * 0x1.0b4611a600000p-34;
        r = r - q * 0x1.3198a2e037073p-69;
        double z = r * r, x = 1.0 / 355687428096000.0;
        x = x * z - 1.0 / 1307674368000.0;
        x = x * z + 1.0 / 6227020800.0;
        x = x * z - 1.0 / 39916800;
        x = x * z + 1.0 / 362880;
        x = x * z - 1.0 / 5040;
        x = x * z + 1.0 / 120;
        x = x * z - 1.0 / 6;
        double y = -1.0 / 6402373705728000.0;
        y = y * z + 1.0 / 20922789888000.0;
        y = y * z - 1.0 / 87178291200.0;
        y = y * z + 1.0 / 479001600;
        y = y * z - 1.0 / 3628800;
        y = y * z + 1.0 / 40320;
        y = y * z - 1.0 / 720;
        y = y * z + 1.0 / 24;
        x = r + r * (x * z);
        y = 1 - (0.5 * z - y * (z * z));
        uint64_t swap = -(quarter & 1), X = bits_of(x), Y = bits_of(y), d = (X ^ Y) & swap;
        c[i] = of_bits((Y ^ d) ^ ((quarter + 1) & 2) << 62);
        s[i] = of_bits((X ^ d) ^ (quarter & 2) << 62);
    }
}

/* out <- x.  1 where a double so near to x could be another float: its last 29 bits are within 64 of the middle. */
static uint64_t narrow(float *restrict out, const double *restrict x)
{
    uint64_t near = 0;
    for (int i = 0; i < PAIRS; i++)
        out[i] = (float)x[i];
    for (int i = 0; i < PAIRS; i++)
        near |= ((bits_of(x[i]) - (0x10000000 - 64)) & 0x1fffffff) < 128;
    return near;
}

/* BLOCKS blocks from b. */
static void many(float *out, const wan_rng *r, uint64_t b)
{
    uint32_t w[2][PAIRS];
    double radius[PAIRS], angle[PAIRS], c[PAIRS], s[PAIRS];
    float z[2][PAIRS];
    words(w, r, b);
    radii(radius, w[0]);
    for (int i = 0; i < PAIRS; i++)
        angle[i] = turn * unit(w[1][i]);
    __asm__("" : "+m"(angle)); /* rounded here, as libm's argument is, and in no multiply-add */
    circle(c, s, angle);
    for (int i = 0; i < PAIRS; i++) {
        c[i] *= radius[i];
        s[i] *= radius[i];
    }
    uint64_t near = narrow(z[0], c) | narrow(z[1], s);
    for (int i = 0; i < PAIRS; i++) {
        out[2 * i] = z[0][i];
        out[2 * i + 1] = z[1][i];
        if (near)
            box_muller(out + 2 * i, w[0][i], w[1][i]);
    }
}

void wan_rng_normal(const wan_rng *r, float *out, uint64_t first, size_t n)
{
    enum { EACH = 2 * PAIRS };
    float z[EACH];
    for (uint64_t end = first + n, b = first / 4; b * 4 < end; b += BLOCKS) {
        uint64_t at = b * 4, from = at < first ? first : at, to = end - at < EACH ? end : at + EACH;
        float *o = to - from == EACH ? out + (from - first) : z;
        many(o, r, b);
        if (o == z)
            memcpy(out + (from - first), z + (from - at), (size_t)(to - from) * sizeof *z);
    }
}
