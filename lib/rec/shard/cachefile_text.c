/* SPDX-License-Identifier: Apache-2.0
 *
 * cachefile_text.c - what the texts of both kinds of caches become.
 */
#include <stdlib.h>

#include "lib/rec/shard/cachefile_in.h"
#include "lib/rec/shard/measure.h"

int wan_cachefile_text(wan_record *r, wan_dtype t, int64_t rows, int64_t width, void *data)
{
    int64_t shape[2] = { rows, width };
    if (rows < 1 || width < 1) {
        free(data);
        return wan_err("no rows of text");
    }
    shape[0] = wan_measure_rows(data, rows, (uint64_t)width * wan_dtype_size(t));
    return wan_record_add(r, "text", t, shape, 2, data, WAN_TAKE);
}
