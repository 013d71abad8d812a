/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_sizes.c - any bytes as samples.bin; the checksum of the header is made good, so that what lies
 * behind it is read too.
 */
#include <stddef.h>

#include "lib/base/crc32c.h"
#include "lib/rec/shard/sizes_in.h"
#include "tests/fuzz/fuzz.h"

static void read_all(void)
{
    wan_sizes *t;
    wan_sizes_shard s;
    if (wan_sizes_open(&t, fuzz_path("samples.bin")) < 0 || !t)
        return;
    for (uint64_t i = 0; i < wan_sizes_count(t) && i < 1000; i++)
        if (wan_sizes_at(t, i, &s) == 0) {
            volatile uint64_t sum = strlen(s.name);
            for (uint64_t k = 0; k < s.n; k++)
                sum = sum + s.offset[k + 1] + s.row[k].text_rows;
            (void)!wan_sizes_find(t, s.name, &s);
        }
    (void)!wan_sizes_find(t, "x.tar", &s);
    wan_sizes_close(&t);
}

static void reseal(uint8_t *p, size_t n)
{
    struct wan_sizes_header h;
    if (n < sizeof h)
        return;
    memcpy(&h, p, sizeof h);
    const int whole = h.table <= h.end && h.end <= n;
    if (whole)
        h.tail_crc = wan_crc32c(0, p + h.table, h.end - h.table);
    for (uint64_t at = h.table;
         whole && at + sizeof(struct wan_sizes_entry) <= h.names && h.names <= h.end;
         at += sizeof(struct wan_sizes_entry)) {
        struct wan_sizes_entry e;
        memcpy(&e, p + at, sizeof e);
        if (e.n > n || e.at > n || 8 * (e.n + 1) + sizeof(wan_sizes_row) * e.n > n - e.at)
            continue;
        e.crc = wan_crc32c(0, p + e.at, 8 * (e.n + 1) + sizeof(wan_sizes_row) * e.n);
        memcpy(p + at, &e, sizeof e);
        h.tail_crc = wan_crc32c(0, p + h.table, h.end - h.table);
    }
    h.crc = 0;
    h.crc = wan_crc32c(0, &h, sizeof h);
    memcpy(p, &h, sizeof h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    uint8_t *copy = malloc(n + 1);
    fuzz_begin();
    if (!copy)
        return 0;
    memcpy(copy, data, n);
    fuzz_put("samples.bin", copy, n);
    read_all();
    reseal(copy, n);
    fuzz_put("samples.bin", copy, n);
    read_all();
    free(copy);
    return 0;
}
