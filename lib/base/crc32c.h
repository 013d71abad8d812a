/* SPDX-License-Identifier: Apache-2.0
 *
 * crc32c.h - checksums: CRC32C (Castagnoli; records), CRC-32 (zip), SHA-256 (digests).
 */
#ifndef WAN_BASE_CRC32C_H
#define WAN_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Continues crc (0 to start).  "123456789" gives 0xE3069283. */
uint32_t wan_crc32c(uint32_t crc, const void *data, size_t n);
/* CRC-32 of zip and PNG.  "123456789" gives 0xCBF43926. */
uint32_t wan_crc32(uint32_t crc, const void *data, size_t n);

typedef struct wan_sha256 {
    uint32_t h[8];
    uint64_t bytes;
    uint8_t buf[64];
} wan_sha256;
void wan_sha256_init(wan_sha256 *s);
void wan_sha256_add(wan_sha256 *s, const void *data, size_t n);
void wan_sha256_hex(wan_sha256 *s, char hex[65]); /* finishes s */

#endif
