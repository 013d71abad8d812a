/* SPDX-License-Identifier: Apache-2.0
 *
 * crc32c.h - checksums: CRC32C (Castagnoli; records) and CRC-32 (zip, PNG).
 */
#ifndef WAN_BASE_CRC32C_H
#define WAN_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Continues crc (0 to start).  "123456789" gives 0xE3069283. */
uint32_t wan_crc32c(uint32_t crc, const void *data, size_t n);
/* The CRC32C of a whole is the exclusive-or of what its ranges add, in any order, and of that of as many
 * zeros: a range of n bytes whose CRC32C is crc, with `behind` bytes of the whole behind it. */
uint32_t wan_crc32c_range(uint32_t crc, uint64_t n, uint64_t behind);
uint32_t wan_crc32c_zeros(uint64_t n);
/* CRC-32 of zip and PNG.  "123456789" gives 0xCBF43926. */
uint32_t wan_crc32(uint32_t crc, const void *data, size_t n);

#endif
