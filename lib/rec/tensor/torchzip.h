/* SPDX-License-Identifier: Apache-2.0
 *
 * torchzip.h - the container torch.save writes: a zip archive of stored entries, each payload at
 * a multiple of 64 bytes (wan-data(7), Archive and Zip headers).
 *
 * Only the central directory is believed; entries must be disjoint, in front of it, stored, and
 * named alike in both headers.  Nothing is copied: entries point into the caller's bytes.
 */
#ifndef WAN_REC_TORCHZIP_H
#define WAN_REC_TORCHZIP_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

typedef struct wan_torchzip_entry {
    const char *name; /* behind the archive prefix; not NUL-terminated */
    size_t name_len;
    const uint8_t *data;
    size_t size;
    uint32_t crc; /* 0: not computed by the writer */
} wan_torchzip_entry;

typedef struct wan_torchzip {
    wan_torchzip_entry *entry; /* owned, sorted by name */
    size_t n;
} wan_torchzip;

/* Reads the directory of the archive data[0..n), which must outlive z. */
int wan_torchzip_parse(wan_torchzip *z, const void *data, size_t n) WAN_MUST_CHECK;
const wan_torchzip_entry *wan_torchzip_find(const wan_torchzip *z, const char *name, size_t len);
/* Compares the payload with its checksum. */
int wan_torchzip_verify(const wan_torchzip_entry *e) WAN_MUST_CHECK;
void wan_torchzip_clear(wan_torchzip *z);

#endif
