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
    wan_where *where;
    int64_t bucket;     /* elements */
    int next;           /* part expected next */
    int64_t lo, hi;     /* of the flat vector: complete, not sent */
    wan_group_req *req; /* [room], under way */
    int64_t n, room;
};

static void begin(wan_dp *d)
{
    d->next = d->s->params.parts - 1;
    d->lo = d->hi = d->s->total;
    d->n = 0;
}

int wan_dp_new(wan_dp **out, wan_store *s, wan_group *g, int64_t bucket_bytes)
{
    wan_dp *d = wan_calloc(1, sizeof *d, "gradient buckets");
    *out = NULL;
    if (!d)
        return -1;
    d->s = s;
    d->g = g;
    d->bucket = bucket_bytes / (int64_t)sizeof(float);
    d->room = s->total / d->bucket + s->params.parts + 1;
    d->req = wan_calloc((size_t)d->room, sizeof *d->req, "gradient buckets");
    if (!d->req || wan_where_open(&d->where, s->d) < 0) {
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
    wan_where_close(&d->where);
    free(d->req);
    free(d);
    *pd = NULL;
}

/* Sends what is complete, in pieces of at most a bucket. */
static int send_open(wan_dp *d)
{
    for (int64_t lo = d->lo; lo < d->hi; lo += d->bucket) {
        int64_t n = d->hi - lo < d->bucket ? d->hi - lo : d->bucket;
        if (d->n == d->room)
            WAN_BUG("more than %lld gradient buckets", (long long)d->room);
        WAN_TRY(wan_group_all_reduce_start(d->g, d->where, d->s->grad + lo, (size_t)n, WAN_F32,
                                           WAN_SUM, &d->req[d->n++]));
    }
    d->hi = d->lo;
    return 0;
}

int wan_dp_part(void *arg, int part)
{
    wan_dp *d = arg;
    if (d->g->size == 1)
        return 0;
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
    for (int64_t i = 0; i < d->n; i++)
        WAN_TRY(wan_group_wait(&d->req[i]));
    begin(d);
    return 0;
}
