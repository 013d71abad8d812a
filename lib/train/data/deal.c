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

/* A heap: the first in by_key's order is at v[0]. */
static void sink(ranked *v, int64_t n, int64_t at, ranked x)
{
    for (int64_t k; (k = 2 * at + 1) < n; at = k) {
        k += k + 1 < n && by_key(&v[k + 1], &v[k]) < 0;
        if (by_key(&x, &v[k]) <= 0)
            break;
        v[at] = v[k];
    }
    v[at] = x;
}

static void rise(ranked *v, int64_t at, ranked x)
{
    for (; at > 0 && by_key(&x, &v[(at - 1) / 2]) < 0; at = (at - 1) / 2)
        v[at] = v[(at - 1) / 2];
    v[at] = x;
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

/* The samples of each micro-batch, as lists. */
typedef struct lists {
    int64_t *head, *next; /* [n] of a micro-batch, of a sample: -1 none */
    ranked *order;        /* [n] scratch */
} lists;

/* Moves about half the cost of b into a new one: the samples go, largest first, to the lighter of
 * the two. */
static void halve(work *w, lists *l, int64_t b)
{
    int64_t m = 0, c = w->micros++;
    for (int64_t i = l->head[b]; i >= 0; i = l->next[i])
        l->order[m++] = (ranked){ cost_of(w, i), i };
    qsort(l->order, (size_t)m, sizeof *l->order, by_key);
    w->cost[b] = w->cost[c] = 0;
    w->fill[b] = w->fill[c] = 0;
    l->head[b] = l->head[c] = -1;
    for (int64_t k = 0; k < m; k++) {
        const int64_t i = l->order[k].i, to = w->cost[c] < w->cost[b] ? c : b;
        w->bin[i] = to;
        w->cost[to] += l->order[k].key;
        w->fill[to] += w->tokens[i];
        l->next[i] = l->head[to];
        l->head[to] = i;
    }
}

/* Those of several samples wait to be halved, the costliest first. */
static void wait_for(const work *w, const lists *l, ranked *heap, int64_t *waiting, int64_t b)
{
    if (l->head[b] >= 0 && l->next[l->head[b]] >= 0)
        rise(heap, (*waiting)++, (ranked){ w->cost[b], b });
}

static void spread_lists(work *w, lists *l, ranked *heap, int64_t n, int ranks)
{
    int64_t waiting = 0;
    for (int64_t b = 0; b < n; b++)
        l->head[b] = -1;
    for (int64_t i = 0; i < n; i++) {
        l->next[i] = l->head[w->bin[i]];
        l->head[w->bin[i]] = i;
    }
    for (int64_t b = 0; b < w->micros; b++)
        wait_for(w, l, heap, &waiting, b);
    while (w->micros < ranks && waiting) {
        const int64_t b = heap[0].i;
        if (--waiting)
            sink(heap, waiting, 0, heap[waiting]);
        halve(w, l, b);
        wait_for(w, l, heap, &waiting, b);
        wait_for(w, l, heap, &waiting, w->micros - 1);
    }
}

/* Halves them until there is one for every rank, as far as samples allow. */
static int spread(work *w, int64_t n, int ranks)
{
    if (w->micros >= ranks)
        return 0;
    ranked *heap = wan_malloc((size_t)n, sizeof *heap, "micro-batches");
    lists l = { wan_malloc((size_t)n, sizeof *l.head, "micro-batches"),
                wan_malloc((size_t)n, sizeof *l.next, "micro-batches"),
                wan_malloc((size_t)n, sizeof *l.order, "micro-batches") };
    int rc = heap && l.head && l.next && l.order ? 0 : -1;
    if (rc == 0)
        spread_lists(w, &l, heap, n, ranks);
    free(heap);
    free(l.head);
    free(l.next);
    free(l.order);
    return rc;
}

/* Each to the rank that has least, the costliest first. */
static int deal(wan_deal *out, const work *w, int ranks)
{
    ranked *load = wan_malloc((size_t)ranks, sizeof *load, "loads"); /* key: less is more */
    ranked *order = wan_malloc((size_t)w->micros, sizeof *order, "order of samples");
    if (!load || !order) {
        free(load);
        free(order);
        return -1;
    }
    for (int r = 0; r < ranks; r++)
        load[r] = (ranked){ 0, r };
    for (int64_t b = 0; b < w->micros; b++)
        order[b] = (ranked){ w->cost[b], b };
    qsort(order, (size_t)w->micros, sizeof *order, by_key);
    for (int64_t k = 0; k < w->micros; k++) {
        out->rank[order[k].i] = (int)load[0].i;
        sink(load, ranks, 0, (ranked){ load[0].key - order[k].key, load[0].i });
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
    for (int64_t k = 0; k < w->micros; k++)
        for (int64_t j = out->start[k]; j < out->start[k + 1]; j++)
            out->load[out->rank[k]] += cost_of(w, out->item[j]);
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
    out->ranks = ranks;
    out->load = wan_calloc((size_t)ranks, sizeof *out->load, "loads");
    out->item = wan_malloc(count, sizeof *out->item, "micro-batches");
    out->start = wan_malloc(count + 1, sizeof *out->start, "micro-batches");
    out->rank = wan_malloc(count, sizeof *out->rank, "micro-batches");
    int rc =
        w.bin && w.fill && w.cost && out->item && out->start && out->rank && out->load ? 0 : -1;
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

double wan_deal_imbalance(const wan_deal *p, int *rank)
{
    double most = 0, all = 0;
    int busiest = 0;
    for (int r = 0; r < p->ranks; r++) {
        if (p->load[r] > most) {
            most = p->load[r];
            busiest = r;
        }
        all += p->load[r];
    }
    if (rank)
        *rank = busiest;
    return all > 0 ? most * p->ranks / all : 1;
}

void wan_deal_free(wan_deal *p)
{
    free(p->item);
    free(p->start);
    free(p->rank);
    free(p->load);
    memset(p, 0, sizeof *p);
}
