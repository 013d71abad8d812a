/* SPDX-License-Identifier: Apache-2.0
 *
 * crc32c.c - CRC32C by the processor's instruction or a table, CRC-32 by slicing.
 */
#include "lib/base/crc32c.h"

#include <pthread.h>
#include <string.h>
#ifdef __SSE4_2__
#include <nmmintrin.h>
#endif

static uint32_t table[2][8][256]; /* [0] Castagnoli, [1] zip */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_tables(void)
{
    static const uint32_t poly[2] = { 0x82f63b78u, 0xedb88320u };
    for (int p = 0; p < 2; p++) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t c = i;
            for (int k = 0; k < 8; k++)
                c = c & 1 ? c >> 1 ^ poly[p] : c >> 1;
            table[p][0][i] = c;
        }
        for (int s = 1; s < 8; s++)
            for (int i = 0; i < 256; i++)
                table[p][s][i] = table[p][s - 1][i] >> 8 ^ table[p][0][table[p][s - 1][i] & 255];
    }
}

static uint32_t slice8(int p, uint32_t crc, const uint8_t *b, size_t n)
{
    pthread_once(&once, make_tables);
    const uint32_t(*t)[256] = (const uint32_t(*)[256])table[p];
    for (; n >= 8; n -= 8, b += 8) {
        uint32_t lo, hi;
        memcpy(&lo, b, 4);
        memcpy(&hi, b + 4, 4);
        lo ^= crc;
        crc = t[7][lo & 255] ^ t[6][lo >> 8 & 255] ^ t[5][lo >> 16 & 255] ^ t[4][lo >> 24] ^
              t[3][hi & 255] ^ t[2][hi >> 8 & 255] ^ t[1][hi >> 16 & 255] ^ t[0][hi >> 24];
    }
    while (n--)
        crc = crc >> 8 ^ t[0][(crc ^ *b++) & 255];
    return crc;
}

uint32_t wan_crc32c(uint32_t crc, const void *data, size_t n)
{
    const uint8_t *b = data;
    crc = ~crc;
#ifdef __SSE4_2__
    uint64_t c = crc;
    for (; n >= 8; n -= 8, b += 8) {
        uint64_t v;
        memcpy(&v, b, 8);
        c = _mm_crc32_u64(c, v);
    }
    crc = (uint32_t)c;
#endif
    return ~slice8(0, crc, b, n);
}

uint32_t wan_crc32(uint32_t crc, const void *data, size_t n)
{
    return ~slice8(1, ~crc, data, n);
}

/* ---- ranges of a whole
 *
 * Bits are coefficients of a polynomial modulo the Castagnoli one, highest bit first: 1 is 1 << 31. */

static uint32_t times(uint32_t a, uint32_t b)
{
    uint32_t sum = 0;
    for (uint32_t m = UINT32_C(1) << 31; m; m >>= 1) {
        if (a & m)
            sum ^= b;
        b = b & 1 ? b >> 1 ^ 0x82f63b78u : b >> 1;
    }
    return sum;
}

/* x to the power of 8 n: what n bytes behind multiply a remainder by. */
static uint32_t power(uint64_t n)
{
    uint32_t p = UINT32_C(1) << 31, square = UINT32_C(1) << 23; /* 1, x^8 */
    for (; n; n >>= 1) {
        if (n & 1)
            p = times(p, square);
        square = times(square, square);
    }
    return p;
}

uint32_t wan_crc32c_zeros(uint64_t n)
{
    return times(power(n), 0xffffffffu) ^ 0xffffffffu;
}

uint32_t wan_crc32c_range(uint32_t crc, uint64_t n, uint64_t behind)
{
    return times(power(behind), crc ^ wan_crc32c_zeros(n));
}
