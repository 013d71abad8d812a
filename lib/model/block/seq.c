/* SPDX-License-Identifier: Apache-2.0
 *
 * seq.c - see seq.h.
 */
#include "lib/model/block/seq.h"

#include "lib/model/block/shared.h"

int64_t wan_seq_own(const wan_acts *a, int64_t *from, int64_t S)
{
    *from = 0;
    return a->slice.spread ? wan_store_share(from, &a->slice, S, 1) : S;
}

int64_t wan_seq_most(const wan_slice *s, int64_t S)
{
    return s && s->spread ? (S + s->ranks - 1) / s->ranks : S;
}

int wan_seq_set(const wan_acts *a, wan_lengths *own, const int64_t *len, int n)
{
    int64_t from, S = 0;
    if (!a->slice.spread)
        return 0;
    for (int i = 0; i < n; i++)
        S += len[i];
    int64_t rows = wan_seq_own(a, &from, S);
    return wan_lengths_cut(a->d, own, len, n, from, rows);
}

wan_buf wan_seq_at(const wan_acts *a, wan_buf x, int64_t S, int64_t width)
{
    int64_t from;
    wan_seq_own(a, &from, S);
    return wan_buf_at(x, from * width);
}

int wan_seq_gather(const wan_acts *a, wan_buf x, int64_t S, int64_t width)
{
    const wan_wing *w = &a->wing;
    return a->slice.spread ? w->gather(w->arg, a->d, x, S, width) : 0;
}

int wan_seq_scatter(const wan_acts *a, wan_buf x, int64_t S, int64_t width)
{
    const wan_wing *w = &a->wing;
    return a->slice.spread ? w->scatter(w->arg, a->d, x, S, width)
                           : wan_shared_sum(a, x, S * width);
}

/* Own rows between a buffer of them alone and one of all. */
static int copy(const wan_acts *a, wan_buf to, wan_buf from, int64_t S, int64_t width)
{
    int64_t first, n = wan_seq_own(a, &first, S);
    return wan_dev_copy(a->d, to.p, from.p, (size_t)(n * width) * wan_dtype_size(to.t));
}

int wan_seq_whole(const wan_acts *a, wan_buf *whole, wan_buf own, wan_buf room, int64_t S,
                  int64_t width)
{
    *whole = own;
    if (!a->slice.spread)
        return 0;
    *whole = room;
    WAN_TRY(copy(a, wan_seq_at(a, room, S, width), own, S, width));
    return wan_seq_gather(a, room, S, width);
}

int wan_seq_part(const wan_acts *a, wan_buf own, wan_buf whole, int64_t S, int64_t width)
{
    return a->slice.spread ? copy(a, own, wan_seq_at(a, whole, S, width), S, width) : 0;
}

int wan_seq_dense(const wan_acts *a, const wan_dense *w, wan_buf y, wan_buf x, int64_t M,
                  wan_buf room)
{
    wan_dense own = *w;
    wan_buf all = a->slice.spread ? room : y;
    if (a->slice.rank > 0)
        own.b = NULL;
    WAN_TRY(wan_dense_forward(a->d, &own, all, x, M));
    WAN_TRY(wan_seq_scatter(a, all, M, w->N));
    return wan_seq_part(a, y, all, M, w->N);
}
