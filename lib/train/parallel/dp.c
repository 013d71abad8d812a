/* SPDX-License-Identifier: Apache-2.0
 *
 * dp.c - see dp.h.
 */
#include "lib/train/parallel/dp.h"

#include <stdlib.h>

#include "lib/base/file.h"

struct wan_dp {
    wan_store *s;
    wan_group *g;
    const wan_where *w;
    int64_t bucket; /* elements */
    int next;       /* part expected next */
    int64_t lo, hi; /* complete, not sent */
    wan_group_req *flight;
    int64_t n_flight, cap_flight;
};

static void begin(wan_dp *d)
{
    d->next = d->s->params.parts - 1;
    d->lo = d->hi = d->s->total;
    d->n_flight = 0;
}

int wan_dp_new(wan_dp **out, wan_store *s, wan_group *g, const wan_where *w, int64_t bucket_bytes)
{
    wan_dp *d = wan_calloc(1, sizeof *d, "gradient buckets");
    *out = NULL;
    if (!d)
        return -1;
    d->s = s;
    d->g = g;
    d->w = w;
    d->bucket = bucket_bytes / (int64_t)sizeof(wan_real);
    d->cap_flight = s->total / d->bucket + s->params.parts + 1;
    d->flight = wan_calloc((size_t)d->cap_flight, sizeof *d->flight, "gradient buckets");
    if (!d->flight) {
        wan_dp_free(&d);
        return -1;
    }
    begin(d);
    *out = d;
    return 0;
}

void wan_dp_free(wan_dp **pd)
{
    wan_dp *d = *pd;
    if (!d)
        return;
    free(d->flight);
    free(d);
    *pd = NULL;
}

/* Sends what is complete, in pieces of at most a bucket. */
static int send_open(wan_dp *d)
{
    for (int64_t lo = d->lo; lo < d->hi; lo += d->bucket) {
        int64_t n = d->hi - lo < d->bucket ? d->hi - lo : d->bucket;
        if (d->n_flight == d->cap_flight)
            WAN_BUG("more than %lld gradient buckets", (long long)d->cap_flight);
        WAN_TRY(wan_group_all_reduce_start(d->g, d->w, d->s->grad + lo, (size_t)n, WAN_REAL,
                                           WAN_SUM, &d->flight[d->n_flight]));
        d->n_flight++;
    }
    d->hi = d->lo;
    return 0;
}

int wan_dp_part(void *arg, int part)
{
    wan_dp *d = arg;
    if (d->g->size == 1)
        return 0;
    while (d->next > part && !d->s->part[d->next].size)
        d->next--; /* of another stage */
    if (part != d->next)
        WAN_BUG("gradients of part %d before those of part %d", part, d->next);
    d->next--;
    d->lo = d->s->part[part].at;
    return d->hi - d->lo >= d->bucket || part == 0 ? send_open(d) : 0;
}

int wan_dp_finish(wan_dp *d)
{
    if (d->g->size == 1)
        return 0;
    while (d->next >= 0)
        WAN_TRY(wan_dp_part(d, d->next));
    for (int64_t i = 0; i < d->n_flight; i++)
        WAN_TRY(wan_group_wait(&d->flight[i]));
    begin(d);
    return 0;
}
