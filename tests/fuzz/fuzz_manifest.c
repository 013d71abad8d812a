/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_manifest.c - any bytes as manifest.json of a folder with two files.
 */
#include <sys/stat.h>

#include "lib/model/files/manifest.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (fuzz_begin()) {
        if (mkdir(fuzz_path("transformer"), 0700))
            abort();
        fuzz_put("transformer/config.json", "{}", 2);
        fuzz_put("a", "abc", 3);
    }
    if (n && data[0] == 'S') { /* one is written, and holds */
        static const uint32_t crc = 0x364b3fb7;
        const wan_manifest_known known = { "a", 3, &crc };
        if (wan_manifest_save(fuzz_dir, &known, 1) < 0 || wan_manifest_check(fuzz_dir, 0, 1) < 0)
            fuzz_broken();
        return 0;
    }
    fuzz_put("manifest.json", data, n);
    (void)!wan_manifest_check(fuzz_dir, 0, 1);
    (void)!wan_manifest_check_part(fuzz_path("a"), 0, 1);
    (void)!wan_manifest_check_part(fuzz_path("transformer"), 0, 1);
    return 0;
}
