/* SPDX-License-Identifier: Apache-2.0
 *
 * pp_order.c - see pp_order.h.
 */
#include "lib/train/parallel/pp_order.h"

#include <stdlib.h>

#include "lib/base/file.h"

/* The i-th forward or backward of a rank: groups of `ranks` micro-batches, each through all pieces. */
static wan_pp_act act(int ranks, int each, int rank, int back, int64_t i)
{
    int64_t group = i / (ranks * each), k = i / ranks % each;
    int64_t chunk = back ? each - 1 - k : k;
    return (wan_pp_act){ back, (int)chunk * ranks + rank, group * ranks + i % ranks };
}

static void put(wan_pp_order *o, wan_pp_act a, int64_t micros)
{
    if (a.micro < micros)
        o->v[o->n++] = a;
}

int wan_pp_order_make(wan_pp_order *o, int ranks, int each, int rank, int64_t micros, int train)
{
    int64_t all = (micros + ranks - 1) / ranks * ranks * each;
    int64_t warm = each == 1 ? ranks - rank - 1 : 2 * (ranks - rank - 1) + (each - 1) * ranks;
    *o = (wan_pp_order){ .n = 0 };
    o->v = wan_calloc((size_t)(2 * all + 1), sizeof *o->v, "pipeline order");
    if (!o->v)
        return -1;
    if (!train || warm > all)
        warm = all;
    for (int64_t i = 0; i < warm; i++)
        put(o, act(ranks, each, rank, 0, i), micros);
    for (int64_t i = 0; i < all && train; i++) {
        if (warm + i < all)
            put(o, act(ranks, each, rank, 0, warm + i), micros);
        put(o, act(ranks, each, rank, 1, i), micros);
    }
    return 0;
}

void wan_pp_order_free(wan_pp_order *o)
{
    free(o->v);
    *o = (wan_pp_order){ .n = 0 };
}

/* The same for so many micro-batches; raises seats. */
static int count(int *seats, int ranks, int each, int rank, int64_t micros)
{
    wan_pp_order o;
    int *alive = wan_calloc((size_t)each, sizeof *alive, "pipeline order");
    int rc = alive ? wan_pp_order_make(&o, ranks, each, rank, micros, 1) : -1;
    for (int64_t i = 0; rc == 0 && i < o.n; i++) {
        int k = o.v[i].piece / ranks;
        alive[k] += o.v[i].back ? -1 : 1;
        seats[k] = alive[k] > seats[k] ? alive[k] : seats[k];
    }
    if (rc == 0)
        wan_pp_order_free(&o);
    free(alive);
    return rc;
}

int wan_pp_order_seats(int *seats, int ranks, int each, int rank, int64_t most)
{
    for (int k = 0; k < each; k++)
        seats[k] = 1;
    for (int64_t n = 1; n <= most && n <= 3 * ranks; n++) /* more changes nothing */
        WAN_TRY(count(seats, ranks, each, rank, n));
    return 0;
}
