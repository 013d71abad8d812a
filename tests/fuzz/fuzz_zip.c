/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_zip.c - torch archives: any bytes are a list of tensors or an error.
 */
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    /* checksums that say "not computed", so that changed pickles are run too */
    uint8_t *copy = malloc(n + 1);
    if (!copy)
        return 0;
    memcpy(copy, data, n);
    for (size_t i = 0; i + 46 <= n; i++)
        if (!memcmp(copy + i, "PK\1\2", 4))
            memset(copy + i + 16, 0, 4);
    fuzz_torch(copy, n);
    free(copy);
    return 0;
}
