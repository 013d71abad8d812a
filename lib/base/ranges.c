/* SPDX-License-Identifier: Apache-2.0
 *
 * ranges.c - see ranges.h.
 */
#include "lib/base/ranges.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/crc32c.h"

enum { PIECE = 1 << 16, MOST = 1024 };

int64_t wan_ranges_each(int64_t bytes)
{
    const int64_t least = bytes / MOST + (bytes % MOST > 0);
    return least <= PIECE ? PIECE : (least + PIECE - 1) / PIECE * PIECE;
}

int wan_ranges_set(wan_ranges *r, const json_t *entry, int64_t bytes, const char *what)
{
    const json_t *ranges = json_object_get(entry, "ranges");
    r->each = wan_ranges_each(bytes);
    if (ranges)
        WAN_TRY(wan_json_int(ranges, "bytes", -1, PIECE, INT64_C(1) << 53, &r->each, what));
    return r->each % PIECE ? wan_err("%s: ranges of %" PRId64 " bytes are not a multiple of %d",
                                     what, r->each, PIECE)
                           : 0;
}

/* Room for one more. */
static uint32_t *more(wan_ranges *r)
{
    if ((r->n & (r->n - 1)) == 0) {
        uint32_t *sum = reallocarray(r->sum, r->n ? 2 * (size_t)r->n : 1, sizeof *sum);
        if (!sum) {
            wan_err("out of memory (digests)");
            return NULL;
        }
        r->sum = sum;
    }
    return &r->sum[r->n];
}

int wan_ranges_add_sum(wan_ranges *r, uint32_t crc, int64_t bytes)
{
    uint32_t *sum = more(r);
    if (!sum)
        return -1;
    *sum = crc;
    r->n++;
    r->bytes += bytes;
    return 0;
}

int wan_ranges_add(wan_ranges *r, const void *data, size_t n)
{
    const uint8_t *p = data;
    while (n) {
        const int64_t in = r->bytes % r->each, left = r->each - in;
        const size_t m = (int64_t)n < left ? n : (size_t)left;
        if (!in)
            WAN_TRY(wan_ranges_add_sum(r, 0, 0));
        r->sum[r->n - 1] = wan_crc32c(r->sum[r->n - 1], p, m);
        r->bytes += (int64_t)m;
        p += m;
        n -= m;
    }
    return 0;
}

void wan_ranges_put(json_t **entry, const wan_ranges *r)
{
    char hex[16];
    if (r->n < 2)
        return;
    json_t *sums = wan_json_array(), *o = wan_json_object();
    for (int64_t i = 0; i < r->n; i++) {
        snprintf(hex, sizeof hex, "%08" PRIx32, r->sum[i]);
        wan_json_push(&sums, json_string(hex));
    }
    wan_json_put(&o, "bytes", json_integer((json_int_t)r->each));
    wan_json_put(&o, "crc32c", sums);
    wan_json_put(entry, "ranges", o);
}

int wan_ranges_where(char *out, size_t room, const wan_ranges *r, const json_t *entry,
                     const char *what)
{
    const json_t *ranges = json_object_get(entry, "ranges");
    const json_t *sums = json_object_get(ranges, "crc32c");
    char hex[16];
    *out = 0;
    if (!ranges)
        return 0;
    if (!json_is_array(sums))
        return wan_err("%s: ranges without a list of digests", what);
    for (int64_t i = 0; i < r->n; i++) {
        const char *want = json_string_value(json_array_get(sums, (size_t)i));
        snprintf(hex, sizeof hex, "%08" PRIx32, r->sum[i]);
        if (want && !strcmp(want, hex))
            continue;
        const int64_t end = (i + 1) * r->each;
        snprintf(out, room, " in bytes %" PRId64 " to %" PRId64, i * r->each,
                 (end < r->bytes ? end : r->bytes) - 1);
        break;
    }
    return 0;
}

void wan_ranges_clear(wan_ranges *r)
{
    free(r->sum);
    *r = (wan_ranges){ 0 };
}
