/* SPDX-License-Identifier: Apache-2.0
 *
 * dp.c - see dp.h.
 */
#include "lib/train/parallel/dp.h"

#include <stdlib.h>

#include "lib/base/file.h"

typedef struct range {
    int64_t lo, hi; /* elements of the flat vector; empty when equal */
} range;

typedef struct bucket {
    range r;
    wan_comm_req req;
} bucket;

struct wan_dp {
    wan_net *m;
    wan_comm *c;
    int64_t bucket; /* elements */
    range *part[2]; /* [layers]: gradients of each block among the GEMM weights, and the others */
    range open[2];  /* complete, not sent */
    range outer[2]; /* extent of each half of the vector */
    range sent[2];  /* what the blocks have sent of it */
    int next;       /* block expected next */
    float *host;    /* copy of the gradients where they are not in host memory */
    bucket *flight;
    int64_t n_flight, cap_flight;
};

static void widen(range *r, int64_t lo, int64_t hi)
{
    if (r->lo == r->hi)
        *r = (range){ lo, hi };
    if (lo < r->lo)
        r->lo = lo;
    if (hi > r->hi)
        r->hi = hi;
}

int wan_dp_new(wan_dp **out, wan_net *m, wan_comm *c, int64_t bucket_bytes)
{
    wan_dp *d = wan_calloc(1, sizeof *d, "gradient buckets");
    *out = NULL;
    if (!d)
        return -1;
    d->m = m;
    d->c = c;
    d->bucket = bucket_bytes / (int64_t)sizeof(float);
    d->part[0] = wan_calloc((size_t)m->c.layers, sizeof(range), "gradient buckets");
    d->part[1] = wan_calloc((size_t)m->c.layers, sizeof(range), "gradient buckets");
    d->cap_flight = 2 * (m->params.total / d->bucket + m->c.layers + 4);
    d->flight = wan_calloc((size_t)d->cap_flight, sizeof *d->flight, "gradient buckets");
    if (c->size > 1 && m->d->kind != WAN_DEV_CPU)
        d->host = wan_malloc((size_t)m->params.total, sizeof *d->host, "gradients on the host");
    if (!d->part[0] || !d->part[1] || !d->flight ||
        (c->size > 1 && m->d->kind != WAN_DEV_CPU && !d->host)) {
        wan_dp_free(&d);
        return -1;
    }
    d->outer[0] = (range){ 0, m->params.n_gemm };
    d->outer[1] = (range){ m->params.n_gemm, m->params.total };
    for (int i = 0; i < m->params.n; i++) {
        const wan_param *p = &m->params.v[i];
        if (p->block >= 0)
            widen(&d->part[!p->is_gemm][p->block], p->offset, p->offset + p->count);
    }
    d->next = m->c.layers - 1;
    *out = d;
    return 0;
}

void wan_dp_free(wan_dp **pd)
{
    wan_dp *d = *pd;
    if (!d)
        return;
    free(d->part[0]);
    free(d->part[1]);
    free(d->flight);
    free(d->host);
    free(d);
    *pd = NULL;
}

/* Sends [lo, hi) in pieces of at most a bucket. */
static int send_range(wan_dp *d, int64_t lo, int64_t hi)
{
    for (; lo < hi; lo += d->bucket) {
        int64_t n = hi - lo < d->bucket ? hi - lo : d->bucket;
        float *x = d->m->grad + lo;
        if (d->host) {
            x = d->host + lo;
            WAN_TRY(wan_dev_read(d->m->d, x, d->m->grad + lo, (size_t)n * sizeof *x));
        }
        if (d->n_flight == d->cap_flight)
            WAN_BUG("more than %lld gradient buckets", (long long)d->cap_flight);
        bucket *b = &d->flight[d->n_flight++];
        b->r = (range){ lo, lo + n };
        WAN_TRY(wan_comm_sum_start(d->c, x, (size_t)n, &b->req));
    }
    return 0;
}

/* Block b joins the open ranges; they go out when they have reached the size of a bucket. */
static int block_done(wan_dp *d, int b)
{
    for (int k = 0; k < 2; k++) {
        range *open = &d->open[k], *part = &d->part[k][b];
        if (part->lo == part->hi)
            continue;
        if (open->lo != open->hi && part->hi > open->lo)
            WAN_BUG("block %d lies above block %d", b, b + 1);
        widen(open, part->lo, part->hi);
        if (open->hi - open->lo < d->bucket)
            continue;
        WAN_TRY(send_range(d, open->lo, open->hi));
        widen(&d->sent[k], open->lo, open->hi);
        open->hi = open->lo;
    }
    return 0;
}

/* Everything around what the blocks have sent; padding between tensors goes along as zeros. */
static int rest_done(wan_dp *d)
{
    for (int k = 0; k < 2; k++) {
        range sent = d->sent[k], all = d->outer[k];
        if (sent.lo == sent.hi)
            sent = (range){ all.hi, all.hi };
        WAN_TRY(send_range(d, all.lo, sent.lo));
        WAN_TRY(send_range(d, sent.hi, all.hi));
    }
    return 0;
}

int wan_dp_on_grad(void *arg, int block)
{
    wan_dp *d = arg;
    if (d->c->size == 1)
        return 0;
    WAN_TRY(wan_dev_sync(d->m->d));
    if (block >= 0) {
        if (block != d->next)
            WAN_BUG("gradients of block %d before those of block %d", block, d->next);
        d->next--;
        return block_done(d, block);
    }
    d->next = -2;
    return rest_done(d);
}

int wan_dp_finish(wan_dp *d)
{
    if (d->c->size == 1)
        return 0;
    while (d->next >= 0)
        WAN_TRY(wan_dp_on_grad(d, d->next));
    if (d->next == -1)
        WAN_TRY(wan_dp_on_grad(d, -1));
    for (int64_t i = 0; i < d->n_flight; i++) {
        const range *r = &d->flight[i].r;
        WAN_TRY(wan_comm_wait(d->c, d->flight[i].req));
        if (d->host)
            WAN_TRY(wan_dev_write(d->m->d, d->m->grad + r->lo, d->host + r->lo,
                                  (size_t)(r->hi - r->lo) * sizeof(float)));
    }
    d->n_flight = 0;
    d->next = d->m->c.layers - 1;
    for (int k = 0; k < 2; k++)
        d->open[k] = d->sent[k] = (range){ 0, 0 };
    return 0;
}
