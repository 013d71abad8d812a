/* SPDX-License-Identifier: Apache-2.0
 *
 * deal.c - see deal.h.
 */
#include "lib/train/data/deal.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"

typedef struct work {
    const int64_t *tokens;
    double quad;
    int64_t *bin;  /* [n] micro-batch of each sample */
    int64_t *fill; /* [micros] tokens */
    double *cost;  /* [micros] */
    int64_t micros;
} work;

static double cost(int64_t tokens, double quad)
{
    double s = (double)tokens;
    return s * (1 + quad * s);
}

static double cost_of(const work *w, int64_t i)
{
    return cost(w->tokens[i], w->quad);
}

typedef struct ranked {
    double key;
    int64_t i;
} ranked;

/* Larger keys first, then lower indices. */
static int by_key(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? 1 : -1;
    return x->i < y->i ? -1 : x->i > y->i;
}

/* First-fit decreasing of samples [from, to) into new micro-batches. */
static int fill_window(work *w, int64_t from, int64_t to, int64_t capacity)
{
    int64_t first = w->micros, least = capacity;
    ranked *order = wan_malloc((size_t)(to - from), sizeof *order, "order of samples");
    if (!order)
        return -1;
    for (int64_t i = from; i < to; i++) {
        order[i - from] = (ranked){ (double)w->tokens[i], i };
        if (w->tokens[i] < least)
            least = w->tokens[i];
    }
    qsort(order, (size_t)(to - from), sizeof *order, by_key);
    for (int64_t k = 0; k < to - from; k++) {
        int64_t i = order[k].i, b;
        while (first < w->micros && w->fill[first] + least > capacity)
            first++; /* full for good */
        b = first;
        while (b < w->micros && w->fill[b] + w->tokens[i] > capacity)
            b++;
        if (b == w->micros) {
            w->fill[b] = 0;
            w->cost[b] = 0;
            w->micros++;
        }
        w->bin[i] = b;
        w->fill[b] += w->tokens[i];
        w->cost[b] += cost_of(w, i);
    }
    free(order);
    return 0;
}

/* Moves about half the cost of b into a new one: the samples go, largest first, to the lighter of
 * the two. */
static int halve(work *w, int64_t b, int64_t n)
{
    ranked *order = wan_malloc((size_t)n, sizeof *order, "order of samples");
    int64_t m = 0, c = w->micros++;
    if (!order)
        return -1;
    for (int64_t i = 0; i < n; i++)
        if (w->bin[i] == b)
            order[m++] = (ranked){ cost_of(w, i), i };
    qsort(order, (size_t)m, sizeof *order, by_key);
    w->cost[b] = w->cost[c] = 0;
    w->fill[b] = w->fill[c] = 0;
    for (int64_t k = 0; k < m; k++) {
        int64_t to = w->cost[c] < w->cost[b] ? c : b;
        w->bin[order[k].i] = to;
        w->cost[to] += order[k].key;
        w->fill[to] += w->tokens[order[k].i];
    }
    free(order);
    return 0;
}

/* Halves them until there is one for every rank, as far as samples allow. */
static int spread(work *w, int64_t n, int ranks)
{
    while (w->micros < ranks) {
        int64_t best = -1;
        for (int64_t b = 0; b < w->micros; b++) {
            int64_t members = 0;
            for (int64_t i = 0; i < n && members < 2; i++)
                members += w->bin[i] == b;
            if (members > 1 && (best < 0 || w->cost[b] > w->cost[best]))
                best = b;
        }
        if (best < 0)
            return 0;
        WAN_TRY(halve(w, best, n));
    }
    return 0;
}

static int deal(wan_deal *out, const work *w, int ranks)
{
    double *load = wan_calloc((size_t)ranks, sizeof *load, "loads");
    ranked *order = wan_malloc((size_t)w->micros, sizeof *order, "order of samples");
    if (!load || !order) {
        free(load);
        free(order);
        return -1;
    }
    for (int64_t b = 0; b < w->micros; b++)
        order[b] = (ranked){ w->cost[b], b };
    qsort(order, (size_t)w->micros, sizeof *order, by_key);
    for (int64_t k = 0; k < w->micros; k++) {
        int r = 0;
        for (int q = 1; q < ranks; q++)
            if (load[q] < load[r])
                r = q;
        out->rank[order[k].i] = r;
        load[r] += order[k].key;
    }
    free(load);
    free(order);
    return 0;
}

static void lay_out(wan_deal *out, const work *w)
{
    int64_t *at = w->fill; /* not needed any more: where the next item of each goes */
    memset(out->start, 0, (size_t)(w->micros + 1) * sizeof *out->start);
    for (int64_t i = 0; i < out->n; i++)
        out->start[w->bin[i] + 1]++;
    for (int64_t b = 0; b < w->micros; b++) {
        out->start[b + 1] += out->start[b];
        at[b] = out->start[b];
    }
    for (int64_t i = 0; i < out->n; i++)
        out->item[at[w->bin[i]]++] = i;
}

int wan_deal_new(wan_deal *out, const int64_t *tokens, int64_t n, int64_t capacity, int64_t window,
                 int ranks, double quad)
{
    size_t count = (size_t)n;
    memset(out, 0, sizeof *out);
    for (int64_t i = 0; i < n; i++)
        if (tokens[i] < 1 || tokens[i] > capacity)
            return wan_err("a sample of %lld tokens for a pack of %lld", (long long)tokens[i],
                           (long long)capacity);
    work w = { .tokens = tokens, .quad = quad };
    w.bin = wan_malloc(count, sizeof *w.bin, "micro-batches");
    w.fill = wan_malloc(count, sizeof *w.fill, "micro-batches");
    w.cost = wan_malloc(count, sizeof *w.cost, "micro-batches");
    out->n = n;
    out->item = wan_malloc(count, sizeof *out->item, "micro-batches");
    out->start = wan_malloc(count + 1, sizeof *out->start, "micro-batches");
    out->rank = wan_malloc(count, sizeof *out->rank, "micro-batches");
    int rc = w.bin && w.fill && w.cost && out->item && out->start && out->rank ? 0 : -1;
    if (window <= 0 || window > n)
        window = n;
    for (int64_t i = 0; i < n && rc == 0; i += window)
        rc = fill_window(&w, i, i + window < n ? i + window : n, capacity);
    if (rc == 0)
        rc = spread(&w, n, ranks);
    if (rc == 0)
        rc = deal(out, &w, ranks);
    if (rc == 0) {
        out->micros = w.micros;
        lay_out(out, &w);
    } else {
        wan_deal_free(out);
    }
    free(w.bin);
    free(w.fill);
    free(w.cost);
    return rc;
}

double wan_deal_imbalance(const wan_deal *p, const int64_t *tokens, int ranks, double quad,
                          int *rank)
{
    double most = 0, all = 0;
    if (rank)
        *rank = 0;
    for (int r = 0; r < ranks; r++) {
        double load = 0;
        for (int64_t k = 0; k < p->micros; k++)
            for (int64_t j = p->start[k]; j < p->start[k + 1] && p->rank[k] == r; j++)
                load += cost(tokens[p->item[j]], quad);
        if (load > most && rank)
            *rank = r;
        most = load > most ? load : most;
        all += load;
    }
    return all > 0 ? most * ranks / all : 1;
}

void wan_deal_free(wan_deal *p)
{
    free(p->item);
    free(p->start);
    free(p->rank);
    memset(p, 0, sizeof *p);
}
