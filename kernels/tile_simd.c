/* SPDX-License-Identifier: Apache-2.0
 *
 * tile_simd.c - packing, and the product in bf16 (AVX512-BF16).
 */
#include "kernels/tile.h"

#include "kernels/cpu.h"
#include "kernels/rows.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

wan_tile wan_tile_for(wan_dtype t)
{
    enum wan_cpu_isa isa = t == WAN_BF16 ? wan_cpu_isa() : WAN_CPU_PORTABLE;
    if (isa == WAN_CPU_AMX)
        return (wan_tile){
            .t = WAN_BF16, .size = 2, .mul = wan_tile_mul_amx, .store = wan_tile_store_bf16
        };
    if (isa == WAN_CPU_BF16)
        return (wan_tile){ .t = WAN_BF16,
                           .size = 2,
                           .mul = wan_tile_mul_bf16,
                           .store = wan_tile_store_bf16,
                           .mul_cols = wan_tile_mul_bf16_cols,
                           .sum_cols = wan_tile_sum_bf16_cols };
    return (wan_tile){ .t = WAN_F32,
                       .size = 4,
                       .mul = wan_tile_mul_f32(wan_cpu_vectors()),
                       .store = wan_tile_store_f32,
                       .mul_cols = wan_tile_mul_f32_cols(wan_cpu_vectors()),
                       .sum_cols = wan_tile_sum_f32_cols(wan_cpu_vectors()) };
}

/* ---- packing */

/* Row of n elements at off as elements of t; tmp [n] for a conversion. */
static const void *row_as(const wan_tile *t, wan_buf src, int64_t off, int64_t n, float *tmp)
{
    if (t->t == WAN_BF16)
        return (const uint16_t *)src.p + off;
    return wan_row_load(src, off, n, tmp);
}

void wan_tile_rows(const wan_tile *t, void *dst, int64_t lda, wan_buf src, int64_t off, int64_t ld,
                   int64_t m, int64_t k, int64_t mp)
{
    size_t len = (size_t)(k * t->size), row = (size_t)(lda * t->size);
    for (int64_t i = 0; i < m; i++) {
        char *o = (char *)dst + (size_t)i * row;
        const void *from = row_as(t, src, off + i * ld, k, (float *)(void *)o);
        if (from != o) /* else it was widened there */
            memcpy(o, from, len);
        memset(o + len, 0, row - len);
    }
    memset((char *)dst + (size_t)m * row, 0, (size_t)(mp - m) * row);
}

typedef uint32_t u16x __attribute__((vector_size(64)));

/* Lanes of a (0..15) and b (16..31); gcc 11 has only the first form, clang only the second. */
#ifdef __clang__
#define PICK(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define PICK(a, b, ...) __builtin_shuffle(a, b, (u16x){ __VA_ARGS__ })
#endif
/* Every second block of s lanes, from either half. */
#define LOW8(a, b) PICK(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23)
#define HIGH8(a, b) PICK(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31)
#define LOW4(a, b) PICK(a, b, 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27)
#define HIGH4(a, b) PICK(a, b, 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31)
#define LOW2(a, b) PICK(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29)
#define HIGH2(a, b) PICK(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31)
#define LOW1(a, b) PICK(a, b, 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30)
#define HIGH1(a, b) PICK(a, b, 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31)
#define STAGE(s)                                                                                   \
    for (int i = 0; i < 16; i++)                                                                   \
        if (!(i & s)) {                                                                            \
            u16x a = r[i], b = r[i | s];                                                           \
            r[i] = LOW##s(a, b);                                                                   \
            r[i | s] = HIGH##s(a, b);                                                              \
        }

/* A row of a panel, which begins a line of the cache; past: straight to memory, and not read from there before. */
INLINE void put(uint32_t *o, u16x r, const int past)
{
#ifdef __AVX512F__
    if (past) {
        _mm512_stream_si512((__m512i *)(void *)o, (__m512i)r);
        return;
    }
#elif defined(__x86_64__)
    if (past) {
        __m128i q[4];
        memcpy(q, &r, sizeof q);
        for (int i = 0; i < 4; i++)
            _mm_stream_si128((__m128i *)(void *)(o + 4 * i), q[i]);
        return;
    }
#endif
    (void)past;
    memcpy(o, &r, sizeof r);
}

/* What was put past the caches is there for other threads. */
INLINE void settle(const wan_tile *t)
{
#ifdef __x86_64__
    if (t->past)
        _mm_sfence();
#endif
    (void)t;
}

/* A panel from 16 whole rows of 64-byte multiples: 16 x 16 units are transposed in registers. */
INLINE void pack_panel(uint32_t *dst, const char *src, size_t ld, int64_t units, const int past)
{
    for (int64_t u = 0; u < units; u += 16) {
        u16x r[16];
        for (int i = 0; i < 16; i++) { /* the next panel's rows too: too short to be foreseen */
            memcpy(&r[i], src + (size_t)i * ld + 4 * u, sizeof r[i]);
            __builtin_prefetch(src + (size_t)(i + 16) * ld + 4 * u, 0, 2);
        }
        STAGE(8)
        STAGE(4)
        STAGE(2)
        STAGE(1)
        for (int i = 0; i < 16; i++)
            put(dst + (u + i) * WAN_TILE_N, r[i], past);
    }
}

/* The same from 16 rows of bf16 that are widened on the way, WIDE columns at a time. */
static void pack_panel_widened(uint32_t *dst, wan_buf src, int64_t off, int64_t ld, int64_t k)
{
    enum { WIDE = 64 };
    float w[WAN_TILE_N][WIDE];
    for (int64_t c = 0; c < k; c += WIDE) {
        int64_t n = k - c < WIDE ? k - c : WIDE;
        for (int64_t i = 0; i < WAN_TILE_N; i++)
            (void)wan_row_load(src, off + i * ld + c, n, w[i]);
        pack_panel(dst + c * WAN_TILE_N, (const char *)w, sizeof w[0], n, 0);
    }
}

void wan_tile_pack_rows(const wan_tile *t, void *dst, wan_buf src, int64_t off, int64_t ld,
                        int64_t n, int64_t k, int64_t np, int64_t kp)
{
    float tmp[WAN_TILE_WIDTH];
    int64_t units = kp * t->size / 4, whole = k == kp && k * t->size % 64 == 0;
    uint32_t u[WAN_TILE_WIDTH + WAN_TILE_K];
    for (int64_t j = 0; j < np; j++) {
        uint32_t *o = (uint32_t *)dst + j / WAN_TILE_N * units * WAN_TILE_N + j % WAN_TILE_N;
        if (whole && j % WAN_TILE_N == 0 && j + WAN_TILE_N <= n) {
            const char *from = (const char *)wan_buf_at(src, off + j * ld).p;
            if (src.t == t->t && t->past)
                pack_panel(o, from, (size_t)(ld * t->size), units, 1);
            else if (src.t == t->t)
                pack_panel(o, from, (size_t)(ld * t->size), units, 0);
            else
                pack_panel_widened(o, src, off + j * ld, ld, k);
            j += WAN_TILE_N - 1;
            continue;
        }
        memset(u, 0, (size_t)units * sizeof *u);
        if (j < n)
            memcpy(u, row_as(t, src, off + j * ld, k, tmp), (size_t)(k * t->size));
        for (int64_t i = 0; i < units; i++)
            o[i * WAN_TILE_N] = u[i];
    }
    settle(t);
}

/* Two rows of bf16 as 32-bit pairs, 16 columns. */
INLINE u16x pair_of(const void *lo, const void *hi)
{
    typedef uint16_t half __attribute__((vector_size(32)));
    half l, h;
    memcpy(&l, lo, sizeof l);
    memcpy(&h, hi, sizeof h);
    return __builtin_convertvector(l, u16x) | __builtin_convertvector(h, u16x) << 16;
}

INLINE u16x row_of(const void *p)
{
    u16x r;
    memcpy(&r, p, sizeof r);
    return r;
}

void wan_tile_pack_cols(const wan_tile *t, void *dst, int64_t ldb, wan_buf src, int64_t off,
                        int64_t ld, int64_t k, int64_t n, int64_t kp, int64_t np)
{
    enum { AHEAD = 8 };
    float tmp[WAN_TILE_WIDTH + WAN_TILE_N] = { 0 };
    uint16_t pair[2][WAN_TILE_WIDTH + WAN_TILE_N] = { 0 };
    for (int64_t i = 0; t->size == 4 && i < kp; i++) {
        if (src.t == t->t && n == np && i < k) { /* whole rows, from where they are */
            const float *r = (const float *)src.p + off + i * ld;
            for (int64_t p = 0; p < np; p += WAN_TILE_N) { /* too short to be foreseen */
                __builtin_prefetch(r + AHEAD * ld + p, 0, 2);
                put((uint32_t *)dst + p / WAN_TILE_N * ldb + i * WAN_TILE_N, row_of(r + p),
                    t->past);
            }
            continue;
        }
        if (i < k)
            memcpy(tmp, row_as(t, src, off + i * ld, n, tmp), (size_t)n * sizeof *tmp);
        else
            memset(tmp, 0, (size_t)n * sizeof *tmp);
        for (int64_t p = 0; p < np; p += WAN_TILE_N)
            put((uint32_t *)dst + p / WAN_TILE_N * ldb + i * WAN_TILE_N, row_of(tmp + p), t->past);
    }
    for (int64_t i = 0; t->size == 2 && i < kp; i += 2) {
        if (src.t == t->t && n == np && i + 2 <= k) { /* whole rows, from where they are */
            const uint16_t *lo = (const uint16_t *)src.p + off + i * ld;
            for (int64_t p = 0; p < np; p += WAN_TILE_N) { /* too short to be foreseen */
                __builtin_prefetch(lo + AHEAD * ld + p, 0, 2);
                __builtin_prefetch(lo + (AHEAD + 1) * ld + p, 0, 2);
                put((uint32_t *)dst + (p / WAN_TILE_N * ldb + i * WAN_TILE_N) / 2,
                    pair_of(lo + p, lo + ld + p), t->past);
            }
            continue;
        }
        for (int64_t r = 0; r < 2; r++)
            if (i + r < k)
                memcpy(pair[r], row_as(t, src, off + (i + r) * ld, n, tmp), 2 * (size_t)n);
            else
                memset(pair[r], 0, 2 * (size_t)n);
        for (int64_t p = 0; p < np; p += WAN_TILE_N)
            put((uint32_t *)dst + (p / WAN_TILE_N * ldb + i * WAN_TILE_N) / 2,
                pair_of(pair[0] + p, pair[1] + p), t->past);
    }
    settle(t);
}

/* 16 columns of 32 rows of bf16 (16 rows of fp32) become 16 rows of 64 bytes. */
static void transpose_square(char *dst, size_t ldt, const char *src, size_t ld, int size)
{
    u16x r[16];
    for (int i = 0; i < 16; i++)
        if (size == 4) {
            memcpy(&r[i], src + (size_t)i * ld, sizeof r[i]);
        } else {
            r[i] = pair_of(src + 2 * (size_t)i * ld, src + (2 * (size_t)i + 1) * ld);
        }
    STAGE(8)
    STAGE(4)
    STAGE(2)
    STAGE(1) for (int i = 0; i < 16; i++) memcpy(dst + (size_t)i * ldt, &r[i], sizeof r[i]);
}

/* The same from 16 rows of bf16. */
static void transpose_widened(char *dst, size_t ldt, wan_buf src, int64_t off, int64_t ld)
{
    float w[16][16];
    for (int i = 0; i < 16; i++)
        (void)wan_row_load(src, off + i * ld, 16, w[i]);
    transpose_square(dst, ldt, (const char *)w, sizeof w[0], 4);
}

/* Column by column, for what does not fill a square: rows [m0, m) and all, or columns [k0, k). */
static void transpose_rest(const wan_tile *t, void *dst, int64_t ldt, wan_buf src, int64_t off,
                           int64_t ld, int64_t i, int64_t k0, int64_t k)
{
    float tmp[WAN_TILE_WIDTH];
    const void *r = row_as(t, src, off + i * ld + k0, k - k0, tmp);
    for (int64_t j = k0; t->size == 2 && j < k; j++)
        ((uint16_t *)dst)[j * ldt + i] = ((const uint16_t *)r)[j - k0];
    for (int64_t j = k0; t->size == 4 && j < k; j++)
        ((float *)dst)[j * ldt + i] = ((const float *)r)[j - k0];
}

void wan_tile_transpose(const wan_tile *t, void *dst, int64_t ldt, wan_buf src, int64_t off,
                        int64_t ld, int64_t m, int64_t k, int64_t kp)
{
    int64_t side = 64 / t->size, ms = m / side * side, ks = k / 16 * 16;
    size_t e = (size_t)t->size, row = (size_t)ldt * e;
    for (int64_t j = 0; j < kp; j++) {
        int64_t from = j < k ? m : 0;
        memset((char *)dst + (size_t)j * row + (size_t)from * e, 0, (size_t)(ldt - from) * e);
    }
    for (int64_t i = 0; i < ms; i += side)
        for (int64_t j = 0; j < ks; j += 16) {
            char *o = (char *)dst + (size_t)j * row + (size_t)i * e;
            if (src.t == t->t)
                transpose_square(o, row, (const char *)wan_buf_at(src, off + i * ld + j).p,
                                 (size_t)ld * e, t->size);
            else
                transpose_widened(o, row, src, off + i * ld + j, ld);
        }
    for (int64_t i = 0; i < m; i++)
        if (i >= ms || ks < k)
            transpose_rest(t, dst, ldt, src, off, ld, i, i < ms ? ks : 0, k);
}

/* ---- fp32: the product is in tile_f32_simd.c */

void wan_tile_store_f32(void *dst, const float *src, int64_t n)
{
    memcpy(dst, src, (size_t)n * sizeof *src);
}

/* ---- bf16: AVX512-BF16, chosen at run time */

#ifdef __x86_64__
#define BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")))

/* Sums start from 0, and what stands in C is added behind the loop: else the next block would wait for it.
 * Rows of A are lda apart, pairs of each `pair`. */
INLINE BF16 void block_bf16(float *C, int64_t ldc, const uint16_t *A, int64_t lda, const int pair,
                            const uint16_t *B, int64_t ldb, int64_t k, int add, const int panels,
                            uintptr_t next, uintptr_t step)
{
    __m512 acc[8][3];
    const uint16_t *a[2] = { A, A + 4 * lda };
    for (int i = 0; i < 8; i++)
        for (int p = 0; p < panels; p++)
            acc[i][p] = _mm512_setzero_ps();
    for (int i = 0; pair > 2 && i < 8; i++) /* where C is the result itself, far away */
        for (int p = 0; p < panels; p++)
            __builtin_prefetch(C + i * ldc + p * 16, 1, 2);
    for (int64_t u = 0; u < k; u += 2, B += 32, next += 2 * step) {
        __m512bh b[3];
        for (int p = 0; p < panels; p++)
            b[p] = (__m512bh)_mm512_loadu_si512(B + p * ldb);
        __builtin_prefetch((const void *)next, 0, 2);
        for (int i = 0; i < 8; i++) {
            int32_t two;
            memcpy(&two, a[i / 4] + i % 4 * lda, 4);
            for (int p = 0; p < panels; p++)
                acc[i][p] = _mm512_dpbf16_ps(acc[i][p], (__m512bh)_mm512_set1_epi32(two), b[p]);
        }
        WAN_TILE_STEP(a[0], pair);
        WAN_TILE_STEP(a[1], pair);
    }
    if (add)
        for (int i = 0; i < 8; i++) {
            for (int p = 0; p < panels; p++)
                _mm512_storeu_ps(C + p * 16, _mm512_add_ps(acc[i][p], _mm512_loadu_ps(C + p * 16)));
            WAN_TILE_STEP(C, ldc);
        }
    else
        for (int i = 0; i < 8; i++) {
            for (int p = 0; p < panels; p++)
                _mm512_storeu_ps(C + p * 16, acc[i][p]);
            WAN_TILE_STEP(C, ldc);
        }
}

/* cols: A stands in panels of 16 rows as B does, lda apart. */
INLINE BF16 void mul_bf16(float *C, int64_t ldc, const uint16_t *a, int64_t lda, const uint16_t *b,
                          int64_t ldb, int64_t m, int64_t n, int64_t k, int add, const int cols)
{
    const int pair = cols ? 2 * WAN_TILE_N : 2;
    for (int64_t p = 0, left = n / 16, w; left; p += w, left -= w) {
        w = left == 1 ? 1 : left == 2 || left == 4 ? 2 : 3;
        uintptr_t step = (uintptr_t)(256 * w / m);
        for (int64_t i = 0; i < m; i += 8) {
            float *c = C + i * ldc + p * 16;
            const uint16_t *x = cols ? a + i / 16 * lda + i % 16 * 2 : a + i * lda;
            int64_t ld = cols ? 2 : lda;
            uintptr_t next = (uintptr_t)(b + (p + w) * ldb) + (uintptr_t)(i / 8 * k) * step;
            if (w == 1)
                block_bf16(c, ldc, x, ld, pair, b + p * ldb, ldb, k, add, 1, next, step);
            else if (w == 2)
                block_bf16(c, ldc, x, ld, pair, b + p * ldb, ldb, k, add, 2, next, step);
            else
                block_bf16(c, ldc, x, ld, pair, b + p * ldb, ldb, k, add, 3, next, step);
        }
    }
}

BF16 void wan_tile_mul_bf16(float *C, int64_t ldc, const void *A, int64_t lda, const void *B,
                            int64_t ldb, int64_t m, int64_t n, int64_t k, int add)
{
    mul_bf16(C, ldc, (const uint16_t *)A, lda, (const uint16_t *)B, ldb, m, n, k, add, 0);
}

BF16 void wan_tile_mul_bf16_cols(float *C, int64_t ldc, const void *A, int64_t lda, const void *B,
                                 int64_t ldb, int64_t m, int64_t n, int64_t k, int add)
{
    mul_bf16(C, ldc, (const uint16_t *)A, lda, (const uint16_t *)B, ldb, m, n, k, add, 1);
}

/* Four sums of each column, because an addition takes as many cycles. */
BF16 void wan_tile_sum_bf16_cols(float *sum, const void *A, int64_t lda, int64_t m, int64_t k)
{
    const __m512i high = _mm512_set1_epi32((int32_t)0xffff0000u);
    for (int64_t i = 0; i < m; i += WAN_TILE_N) {
        const uint16_t *a = (const uint16_t *)A + i / WAN_TILE_N * lda;
        __m512 s[4] = { _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(),
                        _mm512_setzero_ps() };
        for (int64_t u = 0; u < k; u += 4, a += 4 * WAN_TILE_N)
            for (int q = 0; q < 2; q++) {
                __m512i v = _mm512_loadu_si512(a + 2 * q * WAN_TILE_N);
                s[q] = _mm512_add_ps(s[q], (__m512)_mm512_slli_epi32(v, 16));
                s[2 + q] = _mm512_add_ps(s[2 + q], (__m512)_mm512_and_si512(v, high));
            }
        float t[WAN_TILE_N];
        _mm512_storeu_ps(t, _mm512_add_ps(_mm512_add_ps(s[0], s[1]), _mm512_add_ps(s[2], s[3])));
        for (int64_t c = 0; c < WAN_TILE_N && i + c < m; c++)
            sum[i + c] += t[c];
    }
}

/* Subnormals become 0, unlike wan_f32_to_bf16: this is for values inside attention only. */
BF16 void wan_tile_store_bf16(void *dst, const float *src, int64_t n)
{
    int64_t i = 0;
    for (; i + 32 <= n; i += 32)
        _mm512_storeu_si512(
            (uint16_t *)dst + i,
            (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(src + i + 16), _mm512_loadu_ps(src + i)));
    for (; i < n; i++)
        ((uint16_t *)dst)[i] = wan_f32_to_bf16(src[i]);
}
#else
void wan_tile_store_bf16(void *dst, const float *src, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        ((uint16_t *)dst)[i] = wan_f32_to_bf16(src[i]);
}

void wan_tile_mul_bf16(float *C, int64_t ldc, const void *A, int64_t lda, const void *B,
                       int64_t ldb, int64_t m, int64_t n, int64_t k, int add)
{
    (void)C, (void)ldc, (void)A, (void)lda, (void)B, (void)ldb, (void)m, (void)n, (void)k;
    (void)add;
    WAN_BUG("AVX512-BF16 kernel on a machine without it");
}

void wan_tile_mul_bf16_cols(float *C, int64_t ldc, const void *A, int64_t lda, const void *B,
                            int64_t ldb, int64_t m, int64_t n, int64_t k, int add)
{
    wan_tile_mul_bf16(C, ldc, A, lda, B, ldb, m, n, k, add);
}

void wan_tile_sum_bf16_cols(float *sum, const void *A, int64_t lda, int64_t m, int64_t k)
{
    wan_tile_mul_bf16(sum, 0, A, lda, NULL, 0, m, 0, k, 0);
}
#endif
