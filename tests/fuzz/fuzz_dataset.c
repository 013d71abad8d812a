/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_dataset.c - any bytes as a shard that was indexed: the index is made for it where that can be, or
 * (odd length) that of the last one which could be indexed stays; then it is read as training does, and
 * checked as wan-index -c does.
 */
#include "lib/rec/shard/dataset.h"
#include "lib/rec/shard/index.h"
#include "lib/rec/shard/samplemap.h"
#include "tests/fuzz/fuzz.h"

static void pass_by(const char *sentence)
{
    if (!*sentence)
        abort();
}

static void read_all(void)
{
    static const wan_caption_choice choice[] = { { NULL, UINT64_MAX / 2, 0 }, { "usr", 0, 1 } };
    wan_dataset *d;
    wan_sample_info info;
    wan_sample s = WAN_SAMPLE_INIT;
    if (wan_dataset_open(&d, fuzz_dir, "train") < 0)
        return;
    for (int64_t i = 0; i < wan_dataset_count(d) && i < 16; i++) {
        if (wan_dataset_info(d, i, &info) == 0 && wan_dataset_read(d, i, &s) == 0)
            wan_sample_clear(&s);
        for (int k = 0; k < 2; k++)
            if (wan_dataset_read_caption(d, i, &choice[k], &s) == 0)
                wan_sample_clear(&s);
    }
    wan_dataset_close(&d);
}

static void unpack_all(void)
{
    wan_shard_reader *r;
    wan_shard_sample s;
    wan_record rec = WAN_RECORD_INIT;
    json_t *history = NULL;
    char path[512];
    snprintf(path, sizeof path, "%s", fuzz_path("x.tar"));
    if (wan_shard_reader_open(&r, path, 0) < 0)
        return;
    while (wan_shard_reader_next(r, &s) == 1)
        if (wan_samplemap_unpack(&rec, &history, &s, path) == 0) {
            wan_record_clear(&rec);
            json_decref(history);
            history = NULL;
        }
    wan_shard_reader_close(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    wan_index_options opt = { .weight = { 1, 0, 0 }, .reread = (int)(n >> 9 & 1) };
    wan_index_report rep;
    fuzz_begin();
    fuzz_put("x.tar", data, n);
    unpack_all();
    if (!(n & 1))
        (void)!wan_index_build(&rep, fuzz_dir, &opt);
    read_all();
    (void)!wan_index_check(&rep, fuzz_dir, pass_by, NULL);
    return 0;
}
