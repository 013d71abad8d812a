/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_index.c - any bytes as one of the side files of a dataset; the first byte says which.  What
 * opens is read to its end.
 */
#include "lib/rec/shard/dataset.h"
#include "lib/rec/shard/index.h"
#include "tests/fuzz/fuzz.h"

/* A dataset of the shard DFM made, with samples at hand. */
static void begin(void)
{
    wan_index_options opt = { .weight = { 1, 0, 0 } };
    wan_index_report rep;
    fuzz_copy("x.tar", "tests/data/torch/dfm/shard-rank00-000000.tar");
    if (wan_index_build(&rep, fuzz_dir, &opt) < 0)
        abort();
}

static void read_all(void)
{
    wan_dataset *d;
    wan_sample_info info;
    wan_sample s = WAN_SAMPLE_INIT;
    if (wan_dataset_open(&d, fuzz_dir, "train") < 0)
        return;
    for (int64_t i = 0; i < wan_dataset_count(d) && i < 16; i++)
        if (wan_dataset_info(d, i, &info) == 0 && wan_dataset_read(d, i, &s) == 0)
            wan_sample_clear(&s);
    wan_dataset_close(&d);
}

/* What a pattern stands for, written as patterns, stands for the same. */
static void patterns(const uint8_t *data, size_t n)
{
    wan_names a = { 0 }, b = { 0 }, c = { 0 };
    char *text = strndup((const char *)data, n < 256 ? n : 256);
    if (text && wan_names_expand(&a, text) == 0 && a.n < 10000 && wan_names_collapse(&b, &a) == 0) {
        int rc = 0;
        for (size_t i = 0; i < b.n && rc == 0; i++)
            rc = wan_names_expand(&c, b.v[i]);
        if (rc == 0 && c.n != a.n)
            fuzz_broken();
    }
    wan_names_clear(&a);
    wan_names_clear(&b);
    wan_names_clear(&c);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const name[] = { ".nv-meta/split.yaml", ".nv-meta/.info.json",
                                        ".nv-meta/.info.yaml", "x.tar.idx" };
    static char *good[4];
    static size_t size[4];
    if (fuzz_begin()) {
        begin();
        for (int i = 0; i < 4; i++)
            if (i != 2 && wan_slurp(&good[i], &size[i], fuzz_path(name[i]), 1 << 16) < 0)
                abort();
    }
    if (!n)
        return 0;
    int which = data[0] % 5;
    if (which == 4) {
        patterns(data + 1, n - 1);
        return 0;
    }
    fuzz_put(name[which], data + 1, n - 1);
    if (which == 2) /* is read only where the other one is missing */
        unlink(fuzz_path(name[1]));
    read_all();
    which = which == 2 ? 1 : which;
    fuzz_put(name[which], good[which], size[which]);
    return 0;
}
