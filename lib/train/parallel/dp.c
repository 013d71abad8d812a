/* SPDX-License-Identifier: Apache-2.0
 *
 * dp.c - see dp.h.
 */
#include "lib/train/parallel/dp.h"

#include <stdlib.h>

#include "lib/base/file.h"

typedef struct bucket {
    int64_t lo, hi; /* elements of the flat vector */
    wan_comm_req req;
} bucket;

struct wan_dp {
    wan_store *s;
    wan_comm *c;
    int64_t bucket; /* elements */
    int next;       /* part expected next */
    int64_t lo, hi; /* complete, not sent */
    float *host;    /* copy of the gradients where they are not in host memory */
    bucket *flight;
    int64_t n_flight, cap_flight;
};

static void begin(wan_dp *d)
{
    d->next = d->s->params.parts - 1;
    d->lo = d->hi = d->s->total;
    d->n_flight = 0;
}

int wan_dp_new(wan_dp **out, wan_store *s, wan_comm *c, int64_t bucket_bytes)
{
    int far = c->size > 1 && s->d->kind != WAN_DEV_CPU;
    wan_dp *d = wan_calloc(1, sizeof *d, "gradient buckets");
    *out = NULL;
    if (!d)
        return -1;
    d->s = s;
    d->c = c;
    d->bucket = bucket_bytes / (int64_t)sizeof(float);
    d->cap_flight = s->total / d->bucket + s->params.parts + 1;
    d->flight = wan_calloc((size_t)d->cap_flight, sizeof *d->flight, "gradient buckets");
    if (far)
        d->host = wan_malloc((size_t)s->total, sizeof *d->host, "gradients on the host");
    if (!d->flight || (far && !d->host)) {
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
    free(d->host);
    free(d);
    *pd = NULL;
}

/* Sends what is complete, in pieces of at most a bucket. */
static int send_open(wan_dp *d)
{
    for (int64_t lo = d->lo; lo < d->hi; lo += d->bucket) {
        int64_t n = d->hi - lo < d->bucket ? d->hi - lo : d->bucket;
        float *x = d->s->grad + lo;
        if (d->host) {
            x = d->host + lo;
            WAN_TRY(wan_dev_read(d->s->d, x, d->s->grad + lo, (size_t)n * sizeof *x));
        }
        if (d->n_flight == d->cap_flight)
            WAN_BUG("more than %lld gradient buckets", (long long)d->cap_flight);
        bucket *b = &d->flight[d->n_flight++];
        *b = (bucket){ .lo = lo, .hi = lo + n };
        WAN_TRY(wan_comm_sum_start(d->c, x, (size_t)n, &b->req));
    }
    d->hi = d->lo;
    return 0;
}

int wan_dp_part(void *arg, int part)
{
    wan_dp *d = arg;
    if (d->c->size == 1)
        return 0;
    if (part != d->next)
        WAN_BUG("gradients of part %d before those of part %d", part, d->next);
    WAN_TRY(wan_dev_sync(d->s->d));
    d->next--;
    d->lo = d->s->part[part].at;
    return d->hi - d->lo >= d->bucket || part == 0 ? send_open(d) : 0;
}

int wan_dp_finish(wan_dp *d)
{
    if (d->c->size == 1)
        return 0;
    while (d->next >= 0)
        WAN_TRY(wan_dp_part(d, d->next));
    for (int64_t i = 0; i < d->n_flight; i++) {
        const bucket *b = &d->flight[i];
        WAN_TRY(wan_comm_wait(d->c, b->req));
        if (d->host)
            WAN_TRY(wan_dev_write(d->s->d, d->s->grad + b->lo, d->host + b->lo,
                                  (size_t)(b->hi - b->lo) * sizeof(float)));
    }
    begin(d);
    return 0;
}
