/* SPDX-License-Identifier: Apache-2.0
 *
 * sizes_in.h - the layout of samples.bin, between sizes.c and sizes_write.c.
 */
#ifndef WAN_REC_SIZES_IN_H
#define WAN_REC_SIZES_IN_H

#include "lib/rec/shard/sizes.h"

#define WAN_SIZES_MAGIC "\x89WANSIZ\n"
enum { WAN_SIZES_VERSION = 2 };

struct wan_sizes_header {
    char magic[8];
    uint32_t version, crc; /* CRC32C of the header with crc = 0 */
    uint64_t shards, samples, table, names, end;
    uint32_t tail_crc, zero; /* CRC32C of [table, end) */
};

struct wan_sizes_entry {
    uint64_t at, n, bytes, name; /* name: offset below header.names */
    uint64_t ignored;
    uint32_t crc, other;
    uint8_t digest[32];
};

_Static_assert(sizeof(struct wan_sizes_header) == 64, "header");
_Static_assert(sizeof(struct wan_sizes_entry) == 80, "entry");
_Static_assert(sizeof(wan_sizes_row) == 32, "row");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "samples.bin is mapped as it is");

#endif
