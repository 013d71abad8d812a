/* SPDX-License-Identifier: Apache-2.0
 *
 * bulk.c - see bulk.h.
 */
#include "lib/model/bulk.h"

enum { PIECE = 1 << 18 }; /* elements; of whole pages in every type */

int wan_bulk_convert(void *dst, wan_dtype dt, const void *src, wan_dtype st, int64_t n)
{
    int64_t ds = (int64_t)wan_dtype_size(dt), ss = (int64_t)wan_dtype_size(st);
    WAN_TRY(wan_convert(NULL, dt, NULL, st, 0)); /* the types; what is recorded is a thread's own */
    int rc = 0;
#pragma omp parallel for schedule(static) reduction(| : rc) if (n > PIECE)
    for (int64_t i = 0; i < n; i += PIECE)
        rc |= wan_convert((char *)dst + i * ds, dt, (const char *)src + i * ss, st,
                          (size_t)(n - i < PIECE ? n - i : PIECE));
    return rc ? wan_err("a conversion failed") : 0;
}
