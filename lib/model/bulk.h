/* SPDX-License-Identifier: Apache-2.0
 *
 * bulk.h - copies and conversions of whole tensors by all threads: weights on their way from a file.
 */
#ifndef WAN_MODEL_BULK_H
#define WAN_MODEL_BULK_H

#include "lib/base/dtype.h"

/* wan_convert, by all threads: each writes, and so first touches, an equal range of dst in host memory. */
int wan_bulk_convert(void *dst, wan_dtype dt, const void *src, wan_dtype st, int64_t n)
    WAN_MUST_CHECK;

#endif
