/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_metafile.c - any bytes as a .meta file of Automodel; what is read is written and reads back.
 */
#include "lib/rec/shard/metafile.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    wan_record r = WAN_RECORD_INIT, again = WAN_RECORD_INIT;
    fuzz_begin();
    fuzz_put("in.meta", data, n);
    if (wan_metafile_read(&r, fuzz_path("in.meta"), "key") == 0 &&
        wan_metafile_write(fuzz_path("out.meta"), &r, 1024, (int)(n & 1)) == 0) {
        int rc = wan_metafile_read(&again, fuzz_path("out.meta"), "key");
        const wan_tensor *a = wan_record_find(&r, "latent"), *b = wan_record_find(&again, "latent");
        if (rc < 0 || !a || !b || a->bytes != b->bytes || memcmp(a->data, b->data, a->bytes))
            fuzz_broken();
    }
    wan_record_clear(&r);
    wan_record_clear(&again);
    return 0;
}
