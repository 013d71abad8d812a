/* SPDX-License-Identifier: Apache-2.0
 *
 * gather.c - see gather.h.
 */
#include "lib/train/checkpoint/gather.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"

/* qsort has no argument for the table */
typedef struct named {
    const char *name;
    int i;
} named;

static int by_name(const void *a, const void *b)
{
    return strcmp(((const named *)a)->name, ((const named *)b)->name);
}

static int list(wan_gather *g, const wan_real *const *vector, int n)
{
    const wan_params *p = &g->s->params;
    named *order = wan_calloc((size_t)p->n, sizeof *order, "tensor list");
    if (!order)
        return -1;
    for (int i = 0; i < p->n; i++)
        order[i] = (named){ p->v[i].name, i };
    qsort(order, (size_t)p->n, sizeof *order, by_name);
    for (int i = 0; i < p->n; i++, g->n++) {
        g->item[g->n].x = g->s->master;
        g->item[g->n].i = order[i].i;
    }
    free(order);
    for (int k = 0; k < n; k++)
        for (int i = 0; i < p->n; i++, g->n++) {
            g->item[g->n].x = vector[k];
            g->item[g->n].i = i;
        }
    return 0;
}

int wan_gather_open(wan_gather *g, wan_ranks *r, const wan_store *s, const wan_real *const *vector,
                    int n)
{
    int64_t most = 1;
    *g = (wan_gather){ .r = r, .s = s };
    for (int i = 0; i < s->params.n; i++)
        most = s->params.v[i].count > most ? s->params.v[i].count : most;
    int root = r->mesh.group[WAN_WORLD]->rank == 0;
    g->held = wan_malloc((size_t)(root ? most : wan_store_largest(s)), sizeof *g->held, "a tensor");
    g->whole = wan_malloc(root ? (size_t)most : 1, sizeof *g->whole, "a tensor");
    g->item = wan_calloc((size_t)s->params.n * (size_t)(n + 1), sizeof *g->item, "tensor list");
    if (g->held && g->whole && g->item && list(g, vector, n) == 0)
        return 0;
    wan_gather_close(g);
    return -1;
}

void wan_gather_close(wan_gather *g)
{
    free(g->held);
    free(g->whole);
    free(g->item);
    *g = (wan_gather){ .n = 0 };
}

int wan_gather_next(wan_gather *g, int i)
{
    if (g->at >= g->n || g->item[g->at].i != i)
        WAN_BUG("tensor %s is not the next", g->s->params.v[i].name);
    int64_t k = g->at++;
    return wan_ranks_collect(g->r, g->s, i, g->item[k].x, g->held, g->whole);
}

int wan_gather_rest(wan_gather *g)
{
    while (g->at < g->n)
        WAN_TRY(wan_gather_next(g, g->item[g->at].i));
    return 0;
}
