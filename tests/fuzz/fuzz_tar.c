/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_tar.c - shards: headers, payload, samples back to records; and the bytes as a split.yaml.
 */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/rec/samplemap.h"
#include "lib/rec/split.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void read_all(const char *path, int headers)
{
    wan_shard_reader *r;
    wan_shard_sample s;
    wan_record rec = WAN_RECORD_INIT;
    if (wan_shard_reader_open(&r, path, headers) < 0)
        return;
    while (wan_shard_reader_next(r, &s) == 1)
        if (!headers && wan_samplemap_unpack(&rec, &s, path) == 0)
            wan_record_clear(&rec);
    wan_shard_reader_close(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char path[64];
    wan_split split;
    int fd = memfd_create("fuzz", 0);
    if (fd < 0 || write(fd, data, n) != (ssize_t)n)
        return 0;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    read_all(path, 1);
    read_all(path, 0);
    if (n < 2000 && wan_split_load(&split, path) == 0)
        wan_split_clear(&split);
    close(fd);
    return 0;
}
