/* SPDX-License-Identifier: Apache-2.0
 *
 * tile_f32_simd.c - the product in fp32 for each width of vectors, chosen at run time: a build for any CPU uses
 * what this one has.
 *
 * A block of C stays in registers while one row of a panel of B after the other is multiplied by as many values
 * of A: 8 rows by 3 panels of AVX512's 32 registers, 6 by one of AVX2's 16; without them 2 by one.
 */
#include "kernels/tile.h"

#define INLINE static inline __attribute__((always_inline))

/* How many of `left` panels to take, at most `most`: of 3, 4 goes as 2 + 2, never 3 + 1. */
INLINE int take(int64_t left, int most)
{
    return left == 1 || most == 1 ? 1 : left == 2 || left == 4 ? 2 : most;
}

/* name(): wan_tile_mul_fn on vectors `vec` of `wide` floats, in blocks of at most rows x panels.  Sums start from
 * 0, and what stands in C is added behind the loop; `next` is prefetched, the panels behind these.  unit: from one
 * element of a row of A to the next, more than 1 where A stands in panels as B does (cols); C is the result itself then,
 * far away. */
#define KERNEL(name, target, vec, wide, most_rows, most_panels)                                    \
    INLINE target void name##_block(float *C, int64_t ldc, const float *A, int64_t lda,            \
                                    const float *B, int64_t ldb, int64_t k, int add,               \
                                    const int unit, const int rows, const int panels,              \
                                    uintptr_t next, uintptr_t step)                                \
    {                                                                                              \
        enum { PER = WAN_TILE_N / (wide) };                                                        \
        vec acc[most_rows][(most_panels)*PER], b[(most_panels)*PER];                               \
        const float *a[2] = { A, A + 4 * lda };                                                    \
        for (int i = 0; i < rows; i++)                                                             \
            for (int p = 0; p < panels * PER; p++)                                                 \
                acc[i][p] = (vec){ 0 };                                                            \
        for (int i = 0; unit > 1 && i < rows; i++)                                                 \
            for (int p = 0; p < panels; p++)                                                       \
                __builtin_prefetch(C + i * ldc + p * WAN_TILE_N, 1, 2);                            \
        for (int64_t u = 0; u < k; u++, B += WAN_TILE_N, next += step) {                           \
            for (int p = 0; p < panels * PER; p++)                                                 \
                b[p] = *(const vec *)(B + p / PER * ldb + p % PER * (wide));                       \
            __builtin_prefetch((const void *)next, 0, 2);                                          \
            for (int i = 0; i < rows; i++)                                                         \
                for (int p = 0; p < panels * PER; p++)                                             \
                    acc[i][p] += a[i / 4][i % 4 * lda] * b[p];                                     \
            WAN_TILE_STEP(a[0], unit);                                                             \
            if (rows > 4)                                                                          \
                WAN_TILE_STEP(a[1], unit);                                                         \
        }                                                                                          \
        if (add)                                                                                   \
            for (int i = 0; i < rows; i++) {                                                       \
                for (int p = 0; p < panels * PER; p++)                                             \
                    *(vec *)(C + p * (wide)) += acc[i][p];                                         \
                WAN_TILE_STEP(C, ldc);                                                             \
            }                                                                                      \
        else                                                                                       \
            for (int i = 0; i < rows; i++) {                                                       \
                for (int p = 0; p < panels * PER; p++)                                             \
                    *(vec *)(C + p * (wide)) = acc[i][p];                                          \
                WAN_TILE_STEP(C, ldc);                                                             \
            }                                                                                      \
    }                                                                                              \
    INLINE target void name##_all(float *C, int64_t ldc, const void *A, int64_t lda,               \
                                  const void *B, int64_t ldb, int64_t m, int64_t n, int64_t k,     \
                                  int add, const int cols)                                         \
    {                                                                                              \
        const int unit = cols ? WAN_TILE_N : 1;                                                    \
        const int64_t ld = cols ? 1 : lda;                                                         \
        const float *a = (const float *)A, *b = (const float *)B;                                  \
        for (int64_t left = n / WAN_TILE_N, w; left;                                               \
             left -= w, b += w * ldb, C += w * WAN_TILE_N) {                                       \
            w = take(left, most_panels);                                                           \
            uintptr_t next = (uintptr_t)(b + w * ldb), step = (uintptr_t)(64 * (most_rows)*w / m); \
            for (int64_t i = 0, r; i < m; i += r) {                                                \
                r = m - i < (most_rows) ? m - i : (most_rows);                                     \
                float *c = C + i * ldc;                                                            \
                const float *x = cols ? a + i / WAN_TILE_N * lda + i % WAN_TILE_N : a + i * lda;   \
                uintptr_t nx = next + (uintptr_t)(i / (most_rows)*k) * step;                       \
                if (r == (most_rows) && w == (most_panels))                                        \
                    name##_block(c, ldc, x, ld, b, ldb, k, add, unit, most_rows, most_panels, nx,  \
                                 step);                                                            \
                else if (r == (most_rows) && w == 2)                                               \
                    name##_block(c, ldc, x, ld, b, ldb, k, add, unit, most_rows,                   \
                                 (most_panels) > 2 ? 2 : 1, nx, step);                             \
                else if (r == (most_rows))                                                         \
                    name##_block(c, ldc, x, ld, b, ldb, k, add, unit, most_rows, 1, nx, step);     \
                else if (r == 4)                                                                   \
                    name##_block(c, ldc, x, ld, b, ldb, k, add, unit, (most_rows) > 4 ? 4 : 1, 1,  \
                                 nx, step);                                                        \
                else                                                                               \
                    name##_block(c, ldc, x, ld, b, ldb, k, add, unit, 2, 1, nx, step);             \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    target static void name(float *C, int64_t ldc, const void *A, int64_t lda, const void *B,      \
                            int64_t ldb, int64_t m, int64_t n, int64_t k, int add)                 \
    {                                                                                              \
        name##_all(C, ldc, A, lda, B, ldb, m, n, k, add, 0);                                       \
    }

typedef float v4 __attribute__((vector_size(16), aligned(4), may_alias));

/* 2 rows by a panel, four units of k at a time: without a multiply-add each product is two instructions and a copy,
 * so that a load and a shuffle for every value of A would be too many. */
INLINE void plain_block(float *C, int64_t ldc, const float *A, int64_t lda, const float *B,
                        int64_t k, int add)
{
    enum { ROWS = 2, PER = WAN_TILE_N / 4 };
    v4 acc[ROWS][PER] = { { { 0 } } };
    for (int64_t u = 0; u < k; u += 4) {
        v4 a[ROWS];
        for (int i = 0; i < ROWS; i++)
            a[i] = *(const v4 *)(A + i * lda + u);
        for (int s = 0; s < 4; s++, B += WAN_TILE_N)
            for (int i = 0; i < ROWS; i++) {
                v4 x = { a[i][s], a[i][s], a[i][s], a[i][s] };
                for (int p = 0; p < PER; p++)
                    acc[i][p] += *(const v4 *)(B + 4 * p) * x;
            }
    }
    for (int i = 0; i < ROWS; i++)
        for (int p = 0; p < PER; p++) {
            v4 *c = (v4 *)(C + i * ldc + 4 * p), zero = { 0 };
            *c = acc[i][p] + (add ? *c : zero);
        }
}

static void mul_plain(float *C, int64_t ldc, const void *A, int64_t lda, const void *B, int64_t ldb,
                      int64_t m, int64_t n, int64_t k, int add)
{
    const float *a = (const float *)A, *b = (const float *)B;
    for (int64_t p = 0; p < n / WAN_TILE_N; p++)
        for (int64_t i = 0; i < m; i += 2)
            plain_block(C + i * ldc + p * WAN_TILE_N, ldc, a + i * lda, lda, b + p * ldb, k, add);
}

#ifdef __x86_64__
typedef float v8 __attribute__((vector_size(32), aligned(4), may_alias));
typedef float v16 __attribute__((vector_size(64), aligned(4), may_alias));
KERNEL(mul_avx2, __attribute__((target("avx2,fma"))), v8, 8, 6, 1)
KERNEL(mul_avx512, __attribute__((target("avx512f,fma"))), v16, 16, 8, 3)

/* Four sums of each column, because an addition takes as many cycles. */
__attribute__((target("avx512f,fma"))) static void sum_cols_avx512(float *sum, const void *A,
                                                                   int64_t lda, int64_t m,
                                                                   int64_t k)
{
    for (int64_t i = 0; i < m; i += WAN_TILE_N) {
        const float *a = (const float *)A + i / WAN_TILE_N * lda;
        v16 s[4] = { { 0 } };
        for (int64_t u = 0; u < k; u += 4)
            for (int q = 0; q < 4; q++, a += WAN_TILE_N)
                s[q] += *(const v16 *)a;
        const v16 t = (s[0] + s[1]) + (s[2] + s[3]);
        for (int64_t c = 0; c < WAN_TILE_N && i + c < m; c++)
            sum[i + c] += t[c];
    }
}

__attribute__((target("avx512f,fma"))) static void mul_avx512_cols(float *C, int64_t ldc,
                                                                   const void *A, int64_t lda,
                                                                   const void *B, int64_t ldb,
                                                                   int64_t m, int64_t n, int64_t k,
                                                                   int add)
{
    mul_avx512_all(C, ldc, A, lda, B, ldb, m, n, k, add, 1);
}

wan_tile_mul_fn *wan_tile_mul_f32(enum wan_cpu_vectors v)
{
    return v == WAN_CPU_AVX512 ? mul_avx512 : v == WAN_CPU_AVX2 ? mul_avx2 : mul_plain;
}

wan_tile_mul_fn *wan_tile_mul_f32_cols(enum wan_cpu_vectors v)
{
    return v == WAN_CPU_AVX512 ? mul_avx512_cols : NULL;
}

wan_tile_sum_fn *wan_tile_sum_f32_cols(enum wan_cpu_vectors v)
{
    return v == WAN_CPU_AVX512 ? sum_cols_avx512 : NULL;
}
#else
wan_tile_mul_fn *wan_tile_mul_f32(enum wan_cpu_vectors v)
{
    (void)v;
    return mul_plain;
}

wan_tile_mul_fn *wan_tile_mul_f32_cols(enum wan_cpu_vectors v)
{
    (void)v;
    return NULL;
}

wan_tile_sum_fn *wan_tile_sum_f32_cols(enum wan_cpu_vectors v)
{
    (void)v;
    return NULL;
}
#endif
