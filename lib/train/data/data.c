/* SPDX-License-Identifier: Apache-2.0
 *
 * data.c - see data.h.
 */
#include "lib/train/data/data.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/rng.h"

#define AHEAD 2 /* packs read ahead of the training thread */

/* The permutation of one epoch, kept until another epoch is asked for. */
typedef struct order {
    int64_t *perm;
    int64_t epoch; /* -1: none yet */
} order;

struct wan_data {
    wan_feed *s;
    wan_data_options o;
    int64_t n, max_tokens, min_tokens, max_text;
    order order;      /* of the training thread */
    int64_t position; /* of the next batch */
    int64_t left;     /* batches that may still be taken */
    /* sequential reading (workers 0) */
    wan_batch own;
    int64_t own_pack;
    /* reading thread */
    pthread_t thread;
    int running, quit;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    order ahead_order;
    int64_t ahead_position, ahead_left;
    wan_loaded ring[AHEAD];
    int64_t made, taken;
};

int64_t wan_data_tokens(const wan_data *d, const wan_sample_info *f)
{
    const int *p = d->o.patch;
    return f->latent[1] / p[0] * (f->latent[2] / p[1]) * (f->latent[3] / p[2]);
}

int wan_data_new(wan_data **out, wan_feed *s, const wan_data_options *o)
{
    wan_data *d = wan_calloc(1, sizeof *d, "data");
    *out = NULL;
    if (!d)
        return -1;
    d->s = s;
    d->o = *o;
    d->n = wan_feed_count(s);
    d->order.epoch = d->ahead_order.epoch = -1;
    d->max_text = o->empty_text;
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->changed, NULL);
    for (int64_t i = 0; i < d->n; i++) {
        const wan_sample_info *f = wan_feed_info(s, i);
        int64_t t = wan_data_tokens(d, f),
                rows = f->text_rows < o->text_len ? f->text_rows : o->text_len;
        if (t > d->max_tokens)
            d->max_tokens = t;
        if (!d->min_tokens || t < d->min_tokens)
            d->min_tokens = t;
        if (rows > d->max_text)
            d->max_text = rows;
    }
    if (d->o.capacity < d->max_tokens)
        d->o.capacity = d->max_tokens;
    *out = d;
    return 0;
}

void wan_data_free(wan_data **pd)
{
    wan_data *d = *pd;
    if (!d)
        return;
    wan_data_stop(d);
    free(d->order.perm);
    free(d->ahead_order.perm);
    pthread_mutex_destroy(&d->lock);
    pthread_cond_destroy(&d->changed);
    free(d);
    *pd = NULL;
}

void wan_data_capacity(const wan_data *d, wan_capacity *cap)
{
    int64_t most = d->o.capacity / d->min_tokens;
    int64_t batch = d->o.batch;
    cap->samples = most < batch ? most : batch;
    int64_t tokens = cap->samples * d->max_tokens;
    cap->tokens = tokens < d->o.capacity ? tokens : d->o.capacity;
    cap->text_rows = cap->samples * (d->max_text + 1);
}

/* Fisher-Yates from (seed, epoch). */
static int order_make(const wan_data *d, order *r, int64_t epoch)
{
    if (!r->perm && !(r->perm = wan_malloc((size_t)d->n, sizeof *r->perm, "order of samples")))
        return -1;
    wan_rng rng = wan_rng_stream(d->o.seed, WAN_RNG_SHUFFLE, (uint64_t)epoch, 0);
    for (int64_t i = 0; i < d->n; i++)
        r->perm[i] = i;
    for (int64_t i = d->n - 1; i > 0 && d->o.shuffle; i--) {
        int64_t j = (int64_t)wan_rng_below(&rng, (uint64_t)i, (uint64_t)i + 1);
        int64_t t = r->perm[i];
        r->perm[i] = r->perm[j];
        r->perm[j] = t;
    }
    r->epoch = epoch;
    return 0;
}

static int64_t order_at(const wan_data *d, order *r, int64_t position)
{
    int64_t epoch = position / d->n;
    if (r->epoch != epoch && order_make(d, r, epoch) < 0)
        return -1;
    return r->perm[position % d->n];
}

int64_t wan_data_at(wan_data *d, int64_t position)
{
    return order_at(d, &d->order, position);
}

static int batch_fill(const wan_data *d, order *r, wan_batch *b, int64_t position)
{
    memset(b, 0, sizeof *b);
    b->position = position;
    b->n = d->o.batch;
    b->sample = wan_malloc((size_t)b->n, sizeof *b->sample, "batch");
    b->tokens = wan_malloc((size_t)b->n, sizeof *b->tokens, "batch");
    int rc = b->sample && b->tokens ? 0 : -1;
    for (int64_t i = 0; i < b->n && rc == 0; i++) {
        b->sample[i] = order_at(d, r, position + i);
        if (b->sample[i] < 0) {
            rc = -1;
            break;
        }
        b->tokens[i] = wan_data_tokens(d, wan_feed_info(d->s, b->sample[i]));
        b->total += b->tokens[i];
    }
    if (rc == 0)
        rc = wan_packing_new(&b->packing, b->tokens, b->n, d->o.capacity, d->o.window, d->o.ranks,
                             d->o.quad);
    if (rc < 0)
        wan_batch_free(b);
    return rc;
}

int wan_data_batch_at(wan_data *d, wan_batch *b, int64_t position)
{
    return batch_fill(d, &d->order, b, position);
}

void wan_batch_free(wan_batch *b)
{
    free(b->sample);
    free(b->tokens);
    wan_packing_free(&b->packing);
    memset(b, 0, sizeof *b);
}

void wan_loaded_free(wan_loaded *p)
{
    for (int i = 0; i < p->n; i++)
        wan_sample_clear(&p->sample[i]);
    free(p->sample);
    free(p->error);
    memset(p, 0, sizeof *p);
}

/* Reads pack k of b; a failure is kept as a sentence, to be said by the thread that takes it. */
static void load_pack(const wan_data *d, const wan_batch *b, int64_t k, wan_loaded *p)
{
    const wan_packing *q = &b->packing;
    int64_t first = q->start[k], n = q->start[k + 1] - first;
    memset(p, 0, sizeof *p);
    p->pack = k;
    p->sample = wan_calloc((size_t)n, sizeof *p->sample, "samples of a pack");
    if (!p->sample) {
        p->error = strdup(wan_err_text());
        return;
    }
    for (p->n = 0; p->n < n; p->n++)
        if (wan_feed_read(d->s, b->sample[q->item[first + p->n]], d->o.text_len, &p->sample[p->n]) <
            0) {
            p->error = strdup(wan_err_text());
            p->n++;
            return;
        }
}

/* Waits for room in the ring and hands over one pack; -1 when told to quit. */
static int ring_put(wan_data *d, wan_loaded *p)
{
    pthread_mutex_lock(&d->lock);
    while (!d->quit && d->made - d->taken >= AHEAD)
        pthread_cond_wait(&d->changed, &d->lock);
    int quit = d->quit;
    if (!quit) {
        d->ring[d->made++ % AHEAD] = *p;
        pthread_cond_broadcast(&d->changed);
    }
    pthread_mutex_unlock(&d->lock);
    if (quit)
        wan_loaded_free(p);
    return quit ? -1 : 0;
}

static void *read_ahead(void *arg)
{
    wan_data *d = arg;
    for (; d->ahead_left > 0; d->ahead_left--) {
        wan_batch b;
        wan_loaded p;
        if (batch_fill(d, &d->ahead_order, &b, d->ahead_position) < 0) {
            memset(&p, 0, sizeof p);
            p.error = strdup(wan_err_text());
            ring_put(d, &p);
            return NULL;
        }
        for (int64_t k = 0; k < b.packing.packs; k++) {
            if (b.packing.rank[k] != d->o.rank)
                continue;
            load_pack(d, &b, k, &p);
            if (ring_put(d, &p) < 0) {
                wan_batch_free(&b);
                return NULL;
            }
        }
        d->ahead_position += b.n;
        wan_batch_free(&b);
    }
    return NULL;
}

int wan_data_start(wan_data *d, int64_t position, int64_t steps)
{
    d->position = d->ahead_position = position;
    d->left = d->ahead_left = steps;
    d->quit = 0;
    d->made = d->taken = 0;
    if (d->o.workers > 0) {
        if (pthread_create(&d->thread, NULL, read_ahead, d) != 0)
            return wan_err("cannot start the reading thread");
        d->running = 1;
    }
    return 0;
}

int wan_data_batch(wan_data *d, wan_batch *b)
{
    if (d->left < 1)
        WAN_BUG("more batches than announced");
    WAN_TRY(batch_fill(d, &d->order, b, d->position));
    if (!d->running) {
        wan_batch_free(&d->own);
        WAN_TRY(batch_fill(d, &d->order, &d->own, d->position));
        d->own_pack = 0;
    }
    d->position += b->n;
    d->left--;
    return 0;
}

int wan_data_pack(wan_data *d, wan_loaded *p)
{
    if (d->running) {
        pthread_mutex_lock(&d->lock);
        while (d->made == d->taken)
            pthread_cond_wait(&d->changed, &d->lock);
        *p = d->ring[d->taken++ % AHEAD];
        pthread_cond_broadcast(&d->changed);
        pthread_mutex_unlock(&d->lock);
    } else {
        while (d->own.packing.rank[d->own_pack] != d->o.rank)
            d->own_pack++;
        load_pack(d, &d->own, d->own_pack++, p);
    }
    if (!p->error)
        return 0;
    wan_err("%s", p->error);
    wan_loaded_free(p);
    return -1;
}

void wan_data_stop(wan_data *d)
{
    if (d->running) {
        pthread_mutex_lock(&d->lock);
        d->quit = 1;
        pthread_cond_broadcast(&d->changed);
        pthread_mutex_unlock(&d->lock);
        pthread_join(d->thread, NULL);
        for (; d->taken < d->made; d->taken++)
            wan_loaded_free(&d->ring[d->taken % AHEAD]);
        d->running = 0;
    }
    wan_batch_free(&d->own);
}
