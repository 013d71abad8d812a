/* SPDX-License-Identifier: Apache-2.0
 * Rows of scores between two products of attention against double: powers of two, their sums, and both products of the
 * backward with what becomes of them. */
#include <math.h>
#include <stdlib.h>

#include "kernels/math_simd.h"
#include "kernels/soft_simd.h"
#include "lib/base/rng.h"
#include "tests/tap.h"

/* bf16: 3e-6 of the value; fp32: two units in the last place.  Rounding to bf16 is off by 2^-8 at most. */
static const double bound_sum[2] = { 2.5e-7, 3.2e-6 }, round_bf16 = 1.0 / 256;

enum { LD = 96, KEYS = 64, WIDTH = 128, LDB = KEYS * WAN_TILE_N };

static double value(const void *p, int64_t i, wan_dtype t)
{
    return t == WAN_F32 ? ((const float *)p)[i] : wan_bf16_to_f32(((const uint16_t *)p)[i]);
}

/* n times the same score: its power, and the sum of them. */
static void powers(wan_dtype t)
{
    const wan_soft f = wan_soft_for(t);
    const wan_dtype kept = wan_tile_for(t).t;
    float s[48], p[48];
    double worst = 0, worst_p = 0;
    for (int k = 0; k < 20000; k++) {
        int n = k % 3 * 16 + 16;
        float x = -120.0f * (float)k / 20000;
        for (int i = 0; i < 48; i++)
            s[i] = i < n ? x : INFINITY;
        double want = exp2((double)x + 1), sum = f.exponents(p, s, 1, -1, n);
        worst = worse(worst, fabs(sum / n / want - 1));
        for (int i = 0; i < n; i++)
            worst_p = worse(worst_p, fabs(value(p, i, kept) / want - 1));
    }
    ok(worst <= bound_sum[kept == WAN_BF16], "sums of powers in %s: %.2g", wan_dtype_name(kept),
       worst);
    ok(worst_p <= (kept == WAN_BF16 ? round_bf16 + 4e-6 : 2.5e-7), "  powers: %.2g", worst_p);
    for (int i = 0; i < 48; i++)
        s[i] = i == 41 ? 3 : i % 3 ? -1e30f : -INFINITY;
    ok(f.top(s, 48) == 3 && f.top(s, 32) == -1e30f && f.top(s + 32, 16) == 3, "  the largest");
    double sum = f.exponents(p, s, 0.5f, 1.5f, 48);
    ok(sum == 1 && value(p, 41, kept) == 1 && value(p, 40, kept) < 1e-37,
       "  the largest has power 1, nothing is nothing: %g", sum - 1);
}

/* A block, and what it should be. */
typedef struct block {
    uint16_t K[KEYS * WIDTH], V[KEYS * WIDTH], Q[LD * WIDTH], G[LD * WIDTH];
    uint16_t packed[2][LD * WIDTH], P[KEYS * LD], D[KEYS * LD], B[KEYS * LD];
    float lse[LD], delta[LD], bias[KEYS];
} block;

static void draw(uint16_t *x, int n, uint64_t seed, int zero_from)
{
    wan_rng r = wan_rng_stream(seed, WAN_RNG_TEST, 0, 0);
    float v;
    for (int i = 0; i < n; i++) {
        wan_rng_normal(&r, &v, (uint64_t)i, 1);
        x[i] = i < zero_from ? wan_f32_to_bf16(v) : 0;
    }
}

static double dot(const uint16_t *a, const uint16_t *b, int k)
{
    double sum = 0;
    for (int i = 0; i < k; i++)
        sum += (double)wan_bf16_to_f32(a[i]) * (double)wan_bf16_to_f32(b[i]);
    return sum;
}

/* Errors of p, beside it, and of ds, beside the largest; what is packed is ds, what is behind the keys 0. */
static void compare(const block *b, int k, int keys, int n, double c, int biased)
{
    double worst = 0, off = 0, most = 0;
    int wrong = 0;
    for (int i = 0; i < (keys + 3) / 4 * 4; i++)
        for (int j = 0; j < n; j++) {
            int at = i * LD + j;
            double s = dot(b->K + i * k, b->Q + j * k, k), dp = dot(b->V + i * k, b->G + j * k, k);
            double t = c * s - (double)b->lse[j];
            double p = exp2(t + (biased ? (double)b->bias[i] / log(2) : 0));
            double ds = p * (dp - (double)b->delta[j]);
            wrong +=
                b->B[j / WAN_TILE_N * LDB + (i / 2 * WAN_TILE_N + j % WAN_TILE_N) * 2 + i % 2] !=
                b->D[at];
            if (i >= keys) {
                wrong += b->P[at] || (b->D[at] & 0x7fff);
                continue;
            }
            worst = worse(worst, fabs(value(b->P, at, WAN_BF16) / p - 1));
            off = worse(off, fabs(value(b->D, at, WAN_BF16) - ds));
            most = fmax(most, fabs(ds));
        }
    ok(worst <= round_bf16 * 1.01 && off <= round_bf16 * 1.01 * most && !wrong,
       "block of %d keys, %d queries, heads of %d%s: p %.2g, ds %.2g, %d wrong", keys, n, k,
       biased ? ", bias" : "", worst, off / most, wrong);
}

static void blocks(block *b, int k, int keys, int n, int biased)
{
    const wan_soft f = wan_soft_for(WAN_BF16);
    const wan_tile tile = wan_tile_for(WAN_BF16);
    const float c = 0.2f;
    draw(b->K, KEYS * k, 1, keys * k);
    draw(b->V, KEYS * k, 2, keys * k);
    draw(b->Q, LD * k, 3, LD * k);
    draw(b->G, LD * k, 4, LD * k);
    for (int j = 0; j < LD; j++)
        b->lse[j] = (float)(j % 7), b->delta[j] = 0.25f * (float)(j % 5);
    for (int i = 0; i < KEYS; i++)
        b->bias[i] = 0.1f * (float)(i % 11);
    b->lse[5] = keys % 4 ? -100 : 5; /* padding would become infinite */
    wan_tile_pack_rows(&tile, b->packed[0], wan_buf_of(b->Q, WAN_BF16), 0, k, n, k, n, k);
    wan_tile_pack_rows(&tile, b->packed[1], wan_buf_of(b->G, WAN_BF16), 0, k, n, k, n, k);
    const wan_soft_block s = { b->K, b->V, b->packed[0],           b->packed[1],
                               k,    keys, biased ? b->bias : NULL };
    const wan_soft_rows r = { .p = b->P,
                              .ds = b->D,
                              .ld = LD,
                              .packed = b->B,
                              .ldb = LDB,
                              .lse = b->lse,
                              .delta = b->delta,
                              .c = c };
    f.block(&s, &r, n);
    compare(b, k, keys, n, (double)c, biased);
}

int main(void)
{
    powers(WAN_F32);
    powers(WAN_BF16);
    if (!wan_soft_for(WAN_BF16).block) {
        tap_skip("blocks of scores", "made where there is AVX512-BF16 and no AMX");
        return tap_done();
    }
    block *b = calloc(1, sizeof *b);
    for (int n = 16; b && n <= LD; n += 16)
        blocks(b, n % 32 ? 64 : 128, 64 - n / 16, n, n % 48 == 0);
    blocks(b, 32, 1, 96, 1);
    blocks(b, 96, 64, 48, 0);
    free(b);
    return tap_done();
}
