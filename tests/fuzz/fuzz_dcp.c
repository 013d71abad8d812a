/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_dcp.c - a distributed checkpoint of which the .metadata, or (first byte odd) a file of pieces,
 * is any bytes; what opens is read to its end.
 */
#include "lib/rec/tensor/dcp.h"
#include "tests/fuzz/fuzz.h"

#define FROM "tests/data/ref/dcp/megatron/iter_0000004/"

static void read_all(void)
{
    wan_dcp *d;
    if (!wan_dcp_is(fuzz_dir) || wan_dcp_open(&d, fuzz_dir) < 0)
        return;
    for (size_t i = 0; i < wan_dcp_count(d); i++) {
        const wan_dcp_tensor *t = wan_dcp_at(d, i);
        int64_t rows = t->rank ? t->shape[0] : 1;
        float *x = t->count <= 1 << 20 ? malloc((size_t)t->count * 4 + 8) : NULL;
        if (x && wan_dcp_read(d, t, 0, rows, x, WAN_F32) < 0)
            i = wan_dcp_count(d); /* the others are of the same files */
        free(x);
    }
    wan_dcp_close(&d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const name[] = { ".metadata", "__0_0.distcp" };
    static const char *const from[] = { FROM ".metadata", FROM "__0_0.distcp" };
    if (fuzz_begin()) {
        fuzz_copy(".metadata", from[0]);
        fuzz_copy("__0_0.distcp", from[1]);
        fuzz_copy("__1_0.distcp", FROM "__1_0.distcp");
    }
    if (!n)
        return 0;
    int which = data[0] & 1;
    fuzz_put(name[which], data + 1, n - 1);
    read_all();
    fuzz_copy(name[which], from[which]);
    return 0;
}
