/* SPDX-License-Identifier: Apache-2.0
 *
 * tile_amx_simd.c - the bf16 product on AMX tiles: 16 x 32 of A times 32 x 16 of B into 16 x 16.
 * Two by two tiles of C share their loads.
 */
#include "kernels/tile.h"

#include <string.h>

#ifdef __x86_64__
#include <immintrin.h>

#define AMX __attribute__((target("amx-tile,amx-bf16")))

/* Tile numbers: 0..3 C, 4..5 A, 6..7 B; all 16 rows of 64 bytes. */
struct config {
    uint8_t palette, start_row, zero[14];
    uint16_t colsb[16];
    uint8_t rows[16];
};

static const struct config all16 = {
    .palette = 1,
    .colsb = { 64, 64, 64, 64, 64, 64, 64, 64 },
    .rows = { 16, 16, 16, 16, 16, 16, 16, 16 },
};

/* C of 32 x 32, one block: ar, br = 1 or 2 tiles of rows and columns. */
AMX static void block(float *C, int64_t ldc, const uint16_t *A, int64_t lda, const uint16_t *B,
                      int64_t ldb, int64_t k, int add, int ar, int br)
{
    float *C1 = C + 16 * ldc;
    if (add) {
        _tile_loadd(0, C, ldc * 4);
        if (br == 2)
            _tile_loadd(1, C + 16, ldc * 4);
        if (ar == 2)
            _tile_loadd(2, C1, ldc * 4);
        if (ar == 2 && br == 2)
            _tile_loadd(3, C1 + 16, ldc * 4);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (int64_t u = 0; u < k; u += 32) {
        _tile_loadd(4, A + u, lda * 2);
        _tile_loadd(6, B + u * 16, 64);
        _tile_dpbf16ps(0, 4, 6);
        if (br == 2) {
            _tile_loadd(7, B + ldb + u * 16, 64);
            _tile_dpbf16ps(1, 4, 7);
        }
        if (ar == 2) {
            _tile_loadd(5, A + 16 * lda + u, lda * 2);
            _tile_dpbf16ps(2, 5, 6);
        }
        if (ar == 2 && br == 2)
            _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, C, ldc * 4);
    if (br == 2)
        _tile_stored(1, C + 16, ldc * 4);
    if (ar == 2)
        _tile_stored(2, C1, ldc * 4);
    if (ar == 2 && br == 2)
        _tile_stored(3, C1 + 16, ldc * 4);
}

AMX void wan_tile_mul_amx(float *C, int64_t ldc, const void *A, int64_t lda, const void *B,
                          int64_t ldb, int64_t m, int64_t n, int64_t k, int add)
{
    _tile_loadconfig(&all16);
    for (int64_t j = 0; j < n; j += 32)
        for (int64_t i = 0; i < m; i += 32)
            block(C + i * ldc + j, ldc, (const uint16_t *)A + i * lda, lda,
                  (const uint16_t *)B + j / 16 * ldb, ldb, k, add, i + 16 < m ? 2 : 1,
                  j + 16 < n ? 2 : 1);
    _tile_release();
}
#else
void wan_tile_mul_amx(float *C, int64_t ldc, const void *A, int64_t lda, const void *B, int64_t ldb,
                      int64_t m, int64_t n, int64_t k, int add)
{
    (void)C, (void)ldc, (void)A, (void)lda, (void)B, (void)ldb, (void)m, (void)n, (void)k;
    (void)add;
    WAN_BUG("AMX kernel on a machine without it");
}
#endif
