/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_tar.c - shards: headers, payload, samples back to records.  A header with a bad checksum
 * would stop the fuzzer at once, so the checksums are made good too.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/rec/shard/samplemap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void read_all(const char *path, int headers)
{
    wan_shard_reader *r;
    wan_shard_sample s;
    wan_record rec = WAN_RECORD_INIT;
    if (wan_shard_reader_open(&r, path, headers) < 0)
        return;
    while (wan_shard_reader_next(r, &s) == 1)
        if (!headers && wan_samplemap_unpack(&rec, NULL, &s, path) == 0)
            wan_record_clear(&rec);
    wan_shard_reader_close(&r);
}

static void try(const uint8_t *data, size_t n)
{
    char path[64];
    int fd = memfd_create("fuzz", 0);
    if (fd < 0 || write(fd, data, n) != (ssize_t)n)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    read_all(path, 1);
    read_all(path, 0);
    close(fd);
}

/* Checksums of the headers that lie where the sizes before them say. */
static void reseal(uint8_t *p, size_t n)
{
    for (size_t at = 0; n - at >= 512;) {
        uint8_t *h = p + at;
        char size[13] = { 0 };
        unsigned sum = 0;
        memcpy(size, h + 124, 12);
        memset(h + 148, ' ', 8);
        for (int i = 0; i < 512; i++)
            sum += h[i];
        snprintf((char *)h + 148, 8, "%06o", sum);
        uint64_t step = (512 + strtoull(size, NULL, 8) + 511) / 512 * 512;
        if (step < 512 || step > n - at)
            return;
        at += step;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    uint8_t *copy = malloc(n + 1);
    if (!copy)
        return 0;
    memcpy(copy, data, n);
    try(copy, n);
    /* the blocks behind the last header stay zero: they are the end */
    size_t end = n;
    while (end >= 512 && !memcmp(copy + end - 512, (uint8_t[512]){ 0 }, 512))
        end -= 512;
    reseal(copy, end);
    try(copy, n);
    free(copy);
    return 0;
}
