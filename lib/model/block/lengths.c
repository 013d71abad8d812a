/* SPDX-License-Identifier: Apache-2.0
 *
 * lengths.c - see lengths.h.
 */
#include "lib/model/block/lengths.h"

#include <stdlib.h>

#include "lib/base/file.h"

int wan_lengths_reserve(wan_dev *d, wan_lengths *p, int64_t samples, int64_t rows)
{
    *p = (wan_lengths){ 0 };
    p->cu_host = wan_malloc((size_t)samples + 1, sizeof *p->cu_host, "pack");
    p->seg_host = wan_malloc((size_t)rows, sizeof *p->seg_host, "pack");
    p->cu = wan_dev_alloc(d, ((size_t)samples + 1) * sizeof *p->cu, "pack");
    p->seg = wan_dev_alloc(d, (size_t)rows * sizeof *p->seg, "pack");
    return p->cu_host && p->seg_host && p->cu && p->seg ? 0 : -1;
}

void wan_lengths_release(wan_dev *d, wan_lengths *p)
{
    wan_dev_free(d, p->cu);
    wan_dev_free(d, p->seg);
    free(p->cu_host);
    free(p->seg_host);
    *p = (wan_lengths){ 0 };
}

int wan_lengths_set(wan_dev *d, wan_lengths *p, const int64_t *len, int n)
{
    int64_t rows = 0;
    for (int i = 0; i < n; i++)
        rows += len[i];
    return wan_lengths_cut(d, p, len, n, 0, rows);
}

int wan_lengths_cut(wan_dev *d, wan_lengths *p, const int64_t *len, int n, int64_t from,
                    int64_t rows)
{
    int32_t at = 0;
    int64_t row = 0; /* of the whole pack */
    wan_pack *k = &p->pack;
    *k = (wan_pack){ .n = n, .cu = p->cu, .seg = p->seg, .cu_host = p->cu_host };
    for (int i = 0; i < n; i++) {
        p->cu_host[i] = at;
        for (int64_t end = row + len[i]; row < end; row++)
            if (row >= from && row < from + rows)
                p->seg_host[at++] = i;
        if (at - p->cu_host[i] > k->max_len)
            k->max_len = at - p->cu_host[i];
    }
    p->cu_host[n] = at;
    k->S = at;
    WAN_TRY(wan_dev_write(d, p->cu, p->cu_host, ((size_t)n + 1) * sizeof *p->cu));
    return wan_dev_write(d, p->seg, p->seg_host, (size_t)at * sizeof *p->seg);
}
