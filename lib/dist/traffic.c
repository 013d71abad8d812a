/* SPDX-License-Identifier: Apache-2.0
 *
 * traffic.c - see traffic.h.
 */
#include "lib/dist/traffic.h"

#include <stdio.h>
#include <string.h>

static wan_traffic_line *find(wan_traffic *t, const char *group, wan_group_kind kind)
{
    for (int i = 0; i < t->n; i++)
        if (t->line[i].kind == kind && !strcmp(t->line[i].group, group))
            return &t->line[i];
    return NULL;
}

void wan_traffic_add(wan_traffic *t, const char *group, wan_group_kind kind, int64_t calls,
                     int64_t bytes, double seconds)
{
    wan_traffic_line *l = find(t, group, kind);
    if (!l) {
        if (t->n == WAN_TRAFFIC_LINES)
            WAN_BUG("more than %d kinds of calls", WAN_TRAFFIC_LINES);
        l = &t->line[t->n++];
        memset(l, 0, sizeof *l);
        snprintf(l->group, sizeof l->group, "%s", group);
        l->kind = kind;
    }
    l->count.calls += calls;
    l->count.bytes += bytes;
    l->count.seconds += seconds;
}

void wan_traffic_read(wan_traffic *t, const wan_comm *c)
{
    memset(t, 0, sizeof *t);
    for (const wan_group *g = c->groups; g; g = g->next)
        for (int k = 0; k < WAN_GROUP_KINDS && g->size > 1; k++)
            if (g->counter[k].calls)
                wan_traffic_add(t, g->name, k, g->counter[k].calls, g->counter[k].bytes,
                                g->counter[k].seconds);
}

void wan_traffic_since(wan_traffic *t, const wan_traffic *before)
{
    int n = 0;
    for (int i = 0; i < before->n; i++) {
        const wan_traffic_line *b = &before->line[i];
        wan_traffic_line *l = find(t, b->group, b->kind);
        if (!l) /* its group has been freed */
            continue;
        l->count.calls -= b->count.calls;
        l->count.bytes -= b->count.bytes;
        l->count.seconds -= b->count.seconds;
    }
    for (int i = 0; i < t->n; i++)
        if (t->line[i].count.calls > 0)
            t->line[n++] = t->line[i];
    t->n = n;
}

double wan_traffic_seconds(const wan_traffic *t)
{
    double s = 0;
    for (int i = 0; i < t->n; i++)
        s += t->line[i].count.seconds;
    return s;
}
