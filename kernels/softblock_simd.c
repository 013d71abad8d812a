/* SPDX-License-Identifier: Apache-2.0
 *
 * softblock_simd.c - scores of attention's backward, and what becomes of them, without a way through memory: 4 keys by
 * 48 queries of K Q^T and V dO^T are 24 vectors of sums, and leave as operands in bf16.
 */
#include "kernels/soft_simd.h"

#ifdef __x86_64__
#include "kernels/math_simd.h"
#include "kernels/soft_wide_simd.h"

enum { KEYS = 4, MOST_PANELS = 3 };

_Alignas(64) static const uint16_t mix_pairs[32] = { 0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                     21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                     11, 27, 12, 28, 13, 29, 14, 30, 15, 31 };

/* to += rows a, two columns, times as many rows of the panels b */
WAN_WIDE_INLINE void add_products(__m512 to[KEYS][MOST_PANELS], const uint16_t *a, int64_t lda,
                                  const uint16_t *b, int64_t ldb, const int panels)
{
    __m512bh v[MOST_PANELS];
    for (int p = 0; p < panels; p++)
        v[p] = (__m512bh)_mm512_loadu_si512(b + p * ldb);
    for (int i = 0; i < KEYS; i++) {
        int32_t two;
        memcpy(&two, a + i * lda, sizeof two);
        for (int p = 0; p < panels; p++)
            to[i][p] = _mm512_dpbf16_ps(to[i][p], (__m512bh)_mm512_set1_epi32(two), v[p]);
    }
}

/* Two rows of 16 in bf16, one behind the other. */
WAN_WIDE_INLINE void put_rows(uint16_t *to, int64_t ld, __m512i rows)
{
    _mm256_storeu_si256((__m256i *)(void *)to, _mm512_castsi512_si256(rows));
    _mm256_storeu_si256((__m256i *)(void *)(to + ld), _mm512_extracti64x4_epi64(rows, 1));
}

/* The compiler forgets what memory holds: constants would stay in the registers that sums need. */
#define FORGET() __asm__ volatile("" ::: "memory")

/* Where one block of 4 keys by some panels of queries is, and goes. */
typedef struct spot {
    const float *lse, *delta, *power;
    const uint16_t *mix;
    float c, bias[KEYS];
    __mmask16 live[KEYS];
    uint16_t *p, *ds, *packed;
    int64_t ld, ldb;
    uintptr_t next[2], step; /* of Q and G, on their way to the cache */
} spot;

/* What becomes of s and dp - delta of keys i and i + 1 and 16 queries. */
WAN_WIDE_INLINE void put_pair(const spot *o, const __m512 *s, const __m512 *dp, const int i,
                              const int panel, const int biased)
{
    __m512 t[2], lse = _mm512_loadu_ps(o->lse + panel * WAN_TILE_N), d[2];
    for (int k = 0; k < 2; k++) {
        t[k] = _mm512_fmsub_ps(s[k * MOST_PANELS], _mm512_set1_ps(o->c), lse);
        if (biased)
            t[k] = _mm512_add_ps(t[k], _mm512_set1_ps(o->bias[i + k]));
        t[k] = wan_soft_power2(o->live[i + k], t[k], o->power);
        d[k] = _mm512_mul_ps(t[k], dp[k * MOST_PANELS]);
    }
    const __m512i D = wan_wide_narrow(d[0], d[1]);
    put_rows(o->p + panel * WAN_TILE_N, o->ld, wan_wide_narrow(t[0], t[1]));
    put_rows(o->ds + panel * WAN_TILE_N, o->ld, D);
    _mm512_storeu_si512(o->packed + panel * o->ldb,
                        _mm512_permutexvar_epi16(_mm512_load_si512(o->mix), D));
}

WAN_WIDE_INLINE void put_keys(spot *o, const __m512 *s, const __m512 *dp, const int i,
                              const int panels, const int biased)
{
    for (int p = 0; p < panels; p++)
        put_pair(o, s + p, dp + p, i, p, biased);
    o->p += 2 * o->ld;
    o->ds += 2 * o->ld;
    o->packed += 2 * WAN_TILE_N;
}

/* Some panels of queries from j against 4 keys. */
WAN_WIDE_INLINE void four_keys(const wan_soft_block *b, spot *o, int64_t at, int64_t j,
                               const int panels, const int biased)
{
    const int64_t k = b->k, ldb = k * WAN_TILE_N;
    const uint16_t *K = (const uint16_t *)b->K + at * k, *V = (const uint16_t *)b->V + at * k;
    const uint16_t *Q = (const uint16_t *)b->Q + j * k, *G = (const uint16_t *)b->G + j * k;
    uintptr_t next[2] = { o->next[0], o->next[1] }, step = o->step;
    __m512 s[KEYS][MOST_PANELS], dp[KEYS][MOST_PANELS];
    FORGET();
    for (int p = 0; p < panels; p++)
        for (int i = 0; i < KEYS; i++) {
            s[i][p] = _mm512_setzero_ps();
            dp[i][p] = _mm512_sub_ps(s[i][p], _mm512_loadu_ps(o->delta + p * WAN_TILE_N));
        }
    for (int64_t u = 0; u < k; u += 2, Q += 2 * WAN_TILE_N, G += 2 * WAN_TILE_N) {
        add_products(s, K, k, Q, ldb, panels);
        add_products(dp, V, k, G, ldb, panels);
        for (int i = 0; i < 2; i++) {
            __builtin_prefetch((const void *)next[i], 0, 2);
            next[i] += step;
        }
        WAN_TILE_STEP(K, 2);
        WAN_TILE_STEP(V, 2);
    }
    o->next[0] = next[0];
    o->next[1] = next[1];
    FORGET();
    put_keys(o, s[0], dp[0], 0, panels, biased);
    put_keys(o, s[2], dp[2], 2, panels, biased);
}

/* Some panels of queries from j against all keys. */
WAN_WIDE_INLINE void block_panels(const wan_soft_block *b, const wan_soft_rows *r, int64_t j,
                                  const int panels, const int biased)
{
    const int64_t behind = (j + panels * WAN_TILE_N) * b->k;
    spot o = { .lse = r->lse + j,
               .delta = r->delta + j,
               .power = wan_soft_factors,
               .mix = mix_pairs,
               .c = r->c,
               .p = (uint16_t *)r->p + j,
               .ds = (uint16_t *)r->ds + j,
               .packed = (uint16_t *)r->packed + j / WAN_TILE_N * r->ldb,
               .ld = r->ld,
               .ldb = r->ldb,
               .next = { (uintptr_t)((const uint16_t *)b->Q + behind),
                         (uintptr_t)((const uint16_t *)b->G + behind) },
               .step = (uintptr_t)(64 * panels * KEYS / (b->keys + KEYS - 1) + 1) };
    __asm__("" : "+r"(o.power), "+r"(o.mix)); /* now they can be anything */
    for (int64_t at = 0; at < b->keys; at += KEYS) {
        for (int i = 0; i < KEYS; i++) {
            o.live[i] = at + i < b->keys ? 0xffff : 0;
            if (biased)
                o.bias[i] = o.live[i] ? b->bias[at + i] * WAN_F_LOG2E : 0;
        }
        four_keys(b, &o, at, j, panels, biased);
    }
}

WAN_WIDE_INLINE void block_queries(const wan_soft_block *b, const wan_soft_rows *r, int64_t n,
                                   const int biased)
{
    int64_t j = 0, left = n / WAN_TILE_N;
    for (; left > 4 || left == 3; left -= 3, j += 3 * WAN_TILE_N)
        block_panels(b, r, j, 3, biased);
    for (; left >= 2; left -= 2, j += 2 * WAN_TILE_N)
        block_panels(b, r, j, 2, biased);
    if (left)
        block_panels(b, r, j, 1, biased);
}

WAN_WIDE void wan_softblock_bf16(const wan_soft_block *b, const wan_soft_rows *r, int64_t n)
{
    if (b->bias)
        block_queries(b, r, n, 1);
    else
        block_queries(b, r, n, 0);
}
#else
#include "lib/base/err.h"

void wan_softblock_bf16(const wan_soft_block *b, const wan_soft_rows *r, int64_t n)
{
    (void)b, (void)r, (void)n;
    WAN_BUG("AVX512-BF16 kernel on a machine without it");
}
#endif
