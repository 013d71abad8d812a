/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_pickle.c - the stack machine on any bytes, and the same bytes as a pickled tensor.
 */
#include "lib/rec/tensor/pickle.h"
#include "lib/rec/tensor/torch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    wan_pickle *p = wan_pickle_new();
    size_t used;
    wan_torch *w;
    if (p)
        wan_pickle_run(p, data, n, &used);
    wan_pickle_free(&p);
    if (wan_torch_parse(&w, data, n, "input") == 0)
        wan_torch_close(&w);
    return 0;
}
