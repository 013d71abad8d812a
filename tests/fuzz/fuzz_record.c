/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_record.c - any bytes as a record stream.  Heads with bad checksums would stop the fuzzer at
 * once, so the checksums are made good first; what is then accepted must survive a rewrite.
 */
#include "lib/base/crc32c.h"
#include "lib/rec/record/record_format.h"
#include "tests/fuzz/fuzz.h"

/* Reseals every head that lies where the lengths before it say. */
static void reseal(uint8_t *p, size_t n)
{
    for (size_t at = 0; at < n && n - at >= WAN_HEAD_BYTES;) {
        uint8_t *h = p + at;
        uint64_t length = wan_le_get64(h + 16), room = n - at;
        uint64_t front = wan_align(wan_align(wan_le_get32(h + 32), 8) +
                                       wan_align(wan_le_get32(h + 36), 8) + wan_le_get32(h + 40),
                                   64);
        if (length >= WAN_HEAD_BYTES && length <= room && front <= length - WAN_HEAD_BYTES) {
            wan_le_put32(h + 48, wan_crc32c(0, h + WAN_HEAD_BYTES, front));
            wan_le_put32(
                h + 52, wan_crc32c(0, h + WAN_HEAD_BYTES + front, length - WAN_HEAD_BYTES - front));
        }
        wan_le_put32(h + 60, wan_crc32c(0, h, 60));
        if (length < WAN_HEAD_BYTES || length > room)
            return;
        at += length;
    }
}

static void read_all(uint8_t *data, size_t n)
{
    wan_reader *r;
    wan_writer *w;
    wan_record rec = WAN_RECORD_INIT;
    FILE *in = fmemopen(data, n, "rb"), *out = fopen("/dev/null", "wb");
    int rc = in && out ? wan_reader_open(&r, in, "fuzz") : -1;
    if (rc == 0) {
        if (wan_writer_open(&w, out, "null", wan_reader_header(r)) < 0)
            rc = fuzz_broken() - 1;
        wan_reader_tee(r, rc < 0 ? NULL : w);
        while (rc == 0 && wan_reader_next(r, &rec) > 0)
            if (wan_writer_put(w, &rec) < 0)
                fuzz_broken(); /* what the reader accepts the writer can write */
        if (rc == 0 && wan_writer_finish(&w) < 0)
            fuzz_broken();
        wan_reader_close(&r);
    }
    wan_record_clear(&rec);
    if (in)
        fclose(in);
    if (out)
        fclose(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    uint8_t *copy = malloc(n + 1);
    if (!copy || !n) {
        free(copy);
        return 0;
    }
    memcpy(copy, data, n);
    read_all(copy, n); /* as it is */
    reseal(copy, n);
    read_all(copy, n); /* past the checksums */
    free(copy);
    return 0;
}
