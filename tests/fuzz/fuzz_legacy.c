/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_legacy.c - torch files of before 1.6: pickles one behind the other, then the storages.
 */
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    fuzz_torch(data, n);
    return 0;
}
