/* SPDX-License-Identifier: Apache-2.0
 *
 * sha256.h - SHA-256, for digests that name files and models.
 */
#ifndef WAN_BASE_SHA256_H
#define WAN_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

typedef struct wan_sha256 {
    uint32_t h[8];
    uint64_t bytes;
    uint8_t buf[64];
} wan_sha256;
void wan_sha256_init(wan_sha256 *s);
void wan_sha256_add(wan_sha256 *s, const void *data, size_t n);
/* Either of these finishes s. */
void wan_sha256_hex(wan_sha256 *s, char hex[65]);
void wan_sha256_bytes(wan_sha256 *s, uint8_t out[32]);

#endif
