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
    fuzz_put("manifest.json", data, n);
    (void)!wan_manifest_check(fuzz_dir, 0, 1);
    (void)!wan_manifest_check_under(fuzz_dir, "a");
    (void)!wan_manifest_check_weights(fuzz_path("transformer"));
    return 0;
}
