/* SPDX-License-Identifier: Apache-2.0
 *
 * rng.c - Philox4x32-10 streams, and torch's CPU normal numbers.
 *
 * Sources: J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC'11); the MT19937
 * recurrence of Matsumoto and Nishimura (1998).
 */
#include "lib/base/rng.h"

#include <math.h>
#include <string.h>

void wan_philox(uint32_t out[4], const uint32_t ctr[4], const uint32_t key[2])
{
    uint32_t c[4] = { ctr[0], ctr[1], ctr[2], ctr[3] }, k[2] = { key[0], key[1] };
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c[0], b = (uint64_t)0xCD9E8D57u * c[2];
        uint32_t n0 = (uint32_t)(b >> 32) ^ c[1] ^ k[0], n2 = (uint32_t)(a >> 32) ^ c[3] ^ k[1];
        c[1] = (uint32_t)b;
        c[3] = (uint32_t)a;
        c[0] = n0;
        c[2] = n2;
        k[0] += 0x9E3779B9u;
        k[1] += 0xBB67AE85u;
    }
    memcpy(out, c, 16);
}

/* Purpose, step and sample do not fit beside the element counter, so a first Philox call mixes them
 * into the key: two streams differ in key or in upper counter. */
wan_rng wan_rng_stream(uint64_t seed, enum wan_rng_purpose purpose, uint64_t step, uint64_t sample)
{
    uint32_t key[2] = { (uint32_t)seed, (uint32_t)(seed >> 32) };
    uint32_t ctr[4] = { (uint32_t)step, (uint32_t)(step >> 32), (uint32_t)sample,
                        (uint32_t)(sample >> 32) };
    uint32_t mix[4];
    key[1] ^= (uint32_t)purpose << 24;
    wan_philox(mix, ctr, key);
    wan_rng r = { { mix[0], mix[1] }, { 0, mix[2], mix[3] } };
    return r;
}

/* Words 4b .. 4b+3 of the stream. */
static void block(uint32_t out[4], const wan_rng *r, uint64_t b)
{
    uint32_t ctr[4] = { (uint32_t)b, (uint32_t)(b >> 32) ^ r->hi[0], r->hi[1], r->hi[2] };
    wan_philox(out, ctr, r->key);
}

uint32_t wan_rng_u32(const wan_rng *r, uint64_t i)
{
    uint32_t w[4];
    block(w, r, i / 4);
    return w[i % 4];
}

double wan_rng_uniform(const wan_rng *r, uint64_t i)
{
    return ((double)wan_rng_u32(r, i) + 0.5) * 0x1p-32;
}

uint64_t wan_rng_below(const wan_rng *r, uint64_t i, uint64_t n)
{
    uint32_t w[4];
    block(w, r, i);
    uint64_t x = (uint64_t)w[0] << 32 | w[1];
    return (uint64_t)(((unsigned __int128)x * n) >> 64);
}

/* ---- torch's CPU generator ---- */

void wan_mt19937_seed(wan_mt19937 *g, uint64_t seed)
{
    g->s[0] = (uint32_t)seed; /* torch's engine keeps 32 bits of the seed */
    for (int i = 1; i < 624; i++)
        g->s[i] = 1812433253u * (g->s[i - 1] ^ g->s[i - 1] >> 30) + (uint32_t)i;
    g->i = 624;
    g->have = 0;
}

static void mt_refill(wan_mt19937 *g)
{
    uint32_t *s = g->s;
    for (int i = 0; i < 624; i++) {
        uint32_t y = (s[i] & 0x80000000u) | (s[(i + 1) % 624] & 0x7fffffffu);
        s[i] = s[(i + 397) % 624] ^ y >> 1 ^ (y & 1 ? 0x9908b0dfu : 0);
    }
    g->i = 0;
}

uint32_t wan_mt19937_u32(wan_mt19937 *g)
{
    if (g->i >= 624)
        mt_refill(g);
    uint32_t y = g->s[g->i++];
    y ^= y >> 11;
    y ^= y << 7 & 0x9d2c5680u;
    y ^= y << 15 & 0xefc60000u;
    return y ^ y >> 18;
}

static float mt_uniform24(wan_mt19937 *g)
{
    return (float)(wan_mt19937_u32(g) & 0xffffffu) * 0x1p-24f;
}

/* 16 numbers in place: element j pairs with j+8; 1-u keeps the logarithm finite. */
static void normal_fill_16(float *x)
{
    for (int j = 0; j < 8; j++) {
        float u1 = 1.0f - x[j], u2 = x[j + 8];
        float radius = sqrtf(-2.0f * logf(u1));
        float theta = 2.0f * 3.14159265358979323846f * u2;
        x[j] = radius * cosf(theta);
        x[j + 8] = radius * sinf(theta);
    }
}

/* Fewer than 16: torch draws doubles (53 bits from two words); the second of a pair waits in the
 * generator, also across calls. */
static void randn_small(wan_mt19937 *g, float *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (g->have) {
            out[i] = (float)g->kept;
            g->have = 0;
            continue;
        }
        double u[2];
        for (int k = 0; k < 2; k++) {
            uint64_t hi = wan_mt19937_u32(g), lo = wan_mt19937_u32(g);
            u[k] = (double)((hi << 32 | lo) & ((1ull << 53) - 1)) * 0x1p-53;
        }
        double radius = sqrt(-2 * log1p(-u[1])), theta = 2 * 3.14159265358979323846 * u[0];
        out[i] = (float)(radius * cos(theta));
        g->kept = radius * sin(theta);
        g->have = 1;
    }
}

void wan_torch_randn(wan_mt19937 *g, float *out, size_t n)
{
    if (n < 16) {
        randn_small(g, out, n);
        return;
    }
    for (size_t i = 0; i < n; i++)
        out[i] = mt_uniform24(g);
    for (size_t i = 0; i + 16 <= n; i += 16)
        normal_fill_16(out + i);
    if (n % 16) { /* the last 16 are drawn anew and overlap the block before */
        float *tail = out + n - 16;
        for (int j = 0; j < 16; j++)
            tail[j] = mt_uniform24(g);
        normal_fill_16(tail);
    }
}
