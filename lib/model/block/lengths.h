/* SPDX-License-Identifier: Apache-2.0
 *
 * lengths.h - a pack in memory that was reserved once: where its samples begin, and whose each row is.
 */
#ifndef WAN_MODEL_LENGTHS_H
#define WAN_MODEL_LENGTHS_H

#include "kernels/ops.h"

typedef struct wan_lengths {
    wan_pack pack;
    int32_t *cu, *seg;           /* device [samples+1], [rows] */
    int32_t *cu_host, *seg_host; /* the same numbers */
} wan_lengths;

/* Room for `samples` samples of `rows` rows in all; release also after a failure. */
int wan_lengths_reserve(wan_dev *d, wan_lengths *p, int64_t samples, int64_t rows) WAN_MUST_CHECK;
void wan_lengths_release(wan_dev *d, wan_lengths *p);
/* The pack of n samples, sample i of len[i] rows. */
int wan_lengths_set(wan_dev *d, wan_lengths *p, const int64_t *len, int n) WAN_MUST_CHECK;
/* The same of rows [from, from + rows) of that pack alone: of a sample, what lies there. */
int wan_lengths_cut(wan_dev *d, wan_lengths *p, const int64_t *len, int n, int64_t from,
                    int64_t rows) WAN_MUST_CHECK;

#endif
