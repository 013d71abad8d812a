/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_index.c - any bytes as one of the side files of a dataset; the first byte says which.  What
 * opens is read to its end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/rec/shard/dataset.h"
#include "lib/rec/shard/index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static char dir[64];

static void put(const char *name, const void *data, size_t n)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb"); /* not wan_spew, which waits for the disk */
    if (!f || fwrite(data, 1, n, f) != n || fclose(f))
        abort();
}

static void forget(void)
{
    wan_remove_tree(dir);
}

/* A dataset of the shard DFM made, with samples at hand. */
static void begin(void)
{
    static const char shard[] = "tests/data/torch/dfm/shard-rank00-000000.tar";
    wan_index_options opt = { .weight = { 1, 0, 0 } };
    wan_index_report rep;
    char *tar;
    size_t n;
    snprintf(dir, sizeof dir, "%s/wan-fuzz.XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
    if (!mkdtemp(dir) || atexit(forget) || wan_slurp(&tar, &n, shard, 1 << 20) < 0)
        abort();
    put("x.tar", tar, n);
    free(tar);
    if (wan_index_build(&rep, dir, &opt) < 0)
        abort();
}

static void read_all(void)
{
    wan_dataset *d;
    wan_sample_info info;
    wan_sample s = WAN_SAMPLE_INIT;
    if (wan_dataset_open(&d, dir, "train") < 0)
        return;
    for (int64_t i = 0; i < wan_dataset_count(d) && i < 16; i++)
        if (wan_dataset_info(d, i, &info) == 0 && wan_dataset_read(d, i, &s) == 0)
            wan_sample_clear(&s);
    wan_dataset_close(&d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const name[] = { ".nv-meta/split.yaml", ".nv-meta/.info.json",
                                        ".nv-meta/.info.yaml", "x.tar.idx" };
    static char *good[4];
    static size_t size[4];
    char path[128];
    if (!*dir) {
        begin();
        for (int i = 0; i < 4; i++) {
            snprintf(path, sizeof path, "%s/%s", dir, name[i]);
            if (i != 2 && wan_slurp(&good[i], &size[i], path, 1 << 16) < 0)
                abort();
        }
    }
    if (!n)
        return 0;
    int which = data[0] % 4;
    put(name[which], data + 1, n - 1);
    if (which == 2) { /* is read only where the other one is missing */
        snprintf(path, sizeof path, "%s/%s", dir, name[1]);
        unlink(path);
    }
    read_all();
    which = which == 2 ? 1 : which;
    put(name[which], good[which], size[which]);
    return 0;
}
