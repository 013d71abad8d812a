/* SPDX-License-Identifier: Apache-2.0
 *
 * crc32c.c - CRC32C by the processor's instruction or a table, CRC-32 by slicing, SHA-256.
 */
#include "lib/base/crc32c.h"

#include <pthread.h>
#include <stdio.h>
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
                table[p][s][i] =
                    table[p][s - 1][i] >> 8 ^ table[p][0][table[p][s - 1][i] & 255];
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

/* SHA-256, FIPS 180-4.  The constants are the fractional parts of cube and square roots. */
static const uint32_t K256[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotr(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

static void sha_block(uint32_t h[8], const uint8_t *p)
{
    uint32_t w[64], v[8];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] << 24 | p[4 * i + 1] << 16 | p[4 * i + 2] << 8 | p[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + (rotr(a, 7) ^ rotr(a, 18) ^ a >> 3) + w[i - 7] +
               (rotr(b, 17) ^ rotr(b, 19) ^ b >> 10);
    }
    memcpy(v, h, 32);
    for (int i = 0; i < 64; i++) {
        uint32_t t1 = v[7] + (rotr(v[4], 6) ^ rotr(v[4], 11) ^ rotr(v[4], 25)) +
                      ((v[4] & v[5]) ^ (~v[4] & v[6])) + K256[i] + w[i];
        uint32_t t2 = (rotr(v[0], 2) ^ rotr(v[0], 13) ^ rotr(v[0], 22)) +
                      ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 28);
        v[4] += t1;
        v[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++)
        h[i] += v[i];
}

void wan_sha256_init(wan_sha256 *s)
{
    static const uint32_t h0[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };
    memcpy(s->h, h0, sizeof h0);
    s->bytes = 0;
}

void wan_sha256_add(wan_sha256 *s, const void *data, size_t n)
{
    const uint8_t *p = data;
    size_t fill = s->bytes % 64;
    s->bytes += n;
    if (fill) {
        size_t m = 64 - fill < n ? 64 - fill : n;
        memcpy(s->buf + fill, p, m);
        p += m;
        n -= m;
        if (fill + m < 64)
            return;
        sha_block(s->h, s->buf);
    }
    for (; n >= 64; n -= 64, p += 64)
        sha_block(s->h, p);
    memcpy(s->buf, p, n);
}

void wan_sha256_hex(wan_sha256 *s, char hex[65])
{
    uint64_t bits = s->bytes * 8;
    uint8_t pad[72] = { 0x80 };
    size_t n = (s->bytes % 64 < 56 ? 56 : 120) - s->bytes % 64;
    for (int i = 0; i < 8; i++)
        pad[n + i] = (uint8_t)(bits >> (56 - 8 * i));
    wan_sha256_add(s, pad, n + 8);
    for (int i = 0; i < 8; i++)
        sprintf(hex + 8 * i, "%08x", s->h[i]);
}
