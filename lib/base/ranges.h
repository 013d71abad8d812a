/* SPDX-License-Identifier: Apache-2.0
 *
 * ranges.h - the CRC32C of each range of a file's bytes, beside the digest of the whole: when that differs, the
 * place can be named.  In json: {"bytes": of a range, "crc32c": [eight digits each]}.
 */
#ifndef WAN_BASE_RANGES_H
#define WAN_BASE_RANGES_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/json.h"

typedef struct wan_ranges {
    int64_t each;  /* bytes of a range; set before the first byte is added */
    int64_t bytes; /* added so far */
    uint32_t *sum; /* [n], owned */
    int64_t n;
} wan_ranges;

/* Bytes of a range in a file of so many: 64 KiB, or more where there would be more than 1024 of them. */
int64_t wan_ranges_each(int64_t bytes);
/* The same of what a file's entry says it has, or its key "ranges" where it has one.  what names the entry. */
int wan_ranges_set(wan_ranges *r, const json_t *entry, int64_t bytes, const char *what)
    WAN_MUST_CHECK;
int wan_ranges_add(wan_ranges *r, const void *data, size_t n) WAN_MUST_CHECK;
/* Of a whole range, whose bytes somebody else has read: the last one may be shorter. */
int wan_ranges_add_sum(wan_ranges *r, uint32_t crc, int64_t bytes) WAN_MUST_CHECK;
/* Adds the key "ranges" to the entry of a file that has several. */
void wan_ranges_put(json_t **entry, const wan_ranges *r);
/* " in bytes A to B" of the first range that is not as the entry's "ranges" say, "" where all are or it has none. */
int wan_ranges_where(char *out, size_t room, const wan_ranges *r, const json_t *entry,
                     const char *what) WAN_MUST_CHECK;
void wan_ranges_clear(wan_ranges *r);

#endif
