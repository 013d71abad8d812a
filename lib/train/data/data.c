/* SPDX-License-Identifier: Apache-2.0
 *
 * data.c - see data.h.
 */
#include "lib/train/data/data.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"

/* What the reading thread hands over, in the order in which it is taken: a batch, then this rank's
 * part of it, one by one. */
typedef struct item {
    wan_batch *batch;  /* or NULL */
    wan_loaded loaded; /* sample NULL: none */
    int failed;
    char *error; /* a sentence, to be said by the thread that takes it; NULL: no memory for one */
} item;
enum { AHEAD = 3 };

struct wan_data {
    wan_feed *feed;
    wan_data_options o;
    int64_t n, max_tokens, min_tokens, max_text;
    wan_mix *mix;
    int64_t position; /* of the next batch to be made */
    int64_t left;     /* batches that are still to be made */
    int64_t due;      /* ... and to be taken */
    /* the last one taken; the thread reads it until it hands over the next one */
    wan_batch *batch;
    /* reading thread */
    pthread_t thread;
    int running, quit;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    item ring[AHEAD];
    int64_t made, taken;
};

int64_t wan_data_tokens(const wan_data *d, const wan_sample_info *f)
{
    const int *p = d->o.patch;
    return f->latent[1] / p[0] * (f->latent[2] / p[1]) * (f->latent[3] / p[2]);
}

int wan_data_new(wan_data **out, wan_feed *feed, const wan_data_options *o)
{
    wan_data *d = wan_calloc(1, sizeof *d, "data");
    *out = NULL;
    if (!d)
        return -1;
    d->feed = feed;
    d->o = *o;
    d->n = wan_feed_count(feed);
    d->max_text = o->empty_text;
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->changed, NULL);
    for (int64_t i = 0; i < d->n; i++) {
        const wan_sample_info *f = wan_feed_info(feed, i);
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
    int parts, spread;
    const wan_mix_part *mix = wan_feed_mix(feed, &parts, &spread);
    const wan_mix_options mo = { o->seed, o->shuffle, spread };
    if (wan_mix_new(&d->mix, mix, parts, &mo) < 0)
        wan_data_free(&d);
    *out = d;
    return d ? 0 : -1;
}

void wan_data_free(wan_data **pd)
{
    wan_data *d = *pd;
    if (!d)
        return;
    wan_data_stop(d);
    wan_mix_free(&d->mix);
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

int64_t wan_data_at(wan_data *d, int64_t position)
{
    int part;
    int64_t sample;
    WAN_TRY(wan_mix_at(d->mix, position, &part, &sample));
    return wan_feed_first(d->feed, part) + sample;
}

int wan_data_batch_at(wan_data *d, wan_batch *b, int64_t position)
{
    memset(b, 0, sizeof *b);
    b->position = position;
    b->n = d->o.batch;
    b->sample = wan_malloc((size_t)b->n, sizeof *b->sample, "batch");
    b->tokens = wan_malloc((size_t)b->n, sizeof *b->tokens, "batch");
    int rc = b->sample && b->tokens ? 0 : -1;
    for (int64_t i = 0; i < b->n && rc == 0; i++) {
        b->sample[i] = wan_data_at(d, position + i);
        if (b->sample[i] < 0) {
            rc = -1;
            break;
        }
        b->tokens[i] = wan_data_tokens(d, wan_feed_info(d->feed, b->sample[i]));
        b->total += b->tokens[i];
    }
    if (rc == 0)
        rc = wan_deal_new(&b->deal, b->tokens, b->n, d->o.capacity, d->o.window, d->o.ranks,
                          d->o.quad);
    if (rc < 0)
        wan_batch_free(b);
    return rc;
}

void wan_batch_free(wan_batch *b)
{
    free(b->sample);
    free(b->tokens);
    wan_deal_free(&b->deal);
    memset(b, 0, sizeof *b);
}

void wan_loaded_free(wan_loaded *p)
{
    for (int i = 0; i < p->n; i++)
        wan_sample_clear(&p->sample[i]);
    free(p->sample);
    memset(p, 0, sizeof *p);
}

static void drop(wan_batch **b)
{
    if (*b)
        wan_batch_free(*b);
    free(*b);
    *b = NULL;
}

static void item_free(item *it)
{
    drop(&it->batch);
    wan_loaded_free(&it->loaded);
    free(it->error);
    memset(it, 0, sizeof *it);
}

static int next_batch(wan_data *d, wan_batch **out)
{
    wan_batch *b = *out = wan_calloc(1, sizeof *b, "batch");
    if (!b || wan_data_batch_at(d, b, d->position) < 0) {
        free(b);
        *out = NULL;
        return -1;
    }
    d->position += b->n;
    d->left--;
    return 0;
}

static int load(const wan_data *d, const wan_batch *b, int64_t k, wan_loaded *p)
{
    int64_t first = b->deal.start[k], n = b->deal.start[k + 1] - first;
    memset(p, 0, sizeof *p);
    p->micro = k;
    p->sample = wan_calloc((size_t)n, sizeof *p->sample, "samples of a micro-batch");
    if (!p->sample)
        return -1;
    for (; p->n < n; p->n++) {
        int64_t at = b->deal.item[first + p->n];
        if (wan_feed_read(d->feed, b->sample[at], b->position + at, d->o.text_len,
                          &p->sample[p->n]) < 0) {
            p->n++; /* what was read of it is freed too */
            wan_loaded_free(p);
            return -1;
        }
    }
    return 0;
}

/* ---- reading ahead ---- */

/* Waits for room and hands over an item; -1 when told to quit. */
static int put(wan_data *d, item *it)
{
    pthread_mutex_lock(&d->lock);
    while (!d->quit && d->made - d->taken >= AHEAD)
        pthread_cond_wait(&d->changed, &d->lock);
    int quit = d->quit;
    if (!quit) {
        d->ring[d->made++ % AHEAD] = *it;
        pthread_cond_broadcast(&d->changed);
    }
    pthread_mutex_unlock(&d->lock);
    if (quit)
        item_free(it);
    return quit ? -1 : 0;
}

static void take(wan_data *d, item *it)
{
    pthread_mutex_lock(&d->lock);
    while (d->made == d->taken)
        pthread_cond_wait(&d->changed, &d->lock);
    *it = d->ring[d->taken++ % AHEAD];
    pthread_cond_broadcast(&d->changed);
    pthread_mutex_unlock(&d->lock);
}

/* One batch and this rank's part of it; -1 when told to quit, or on trouble, which is recorded. */
static int hand_over(wan_data *d)
{
    item it = { 0 };
    const wan_batch *b;
    WAN_TRY(next_batch(d, &it.batch));
    b = it.batch;
    WAN_TRY(put(d, &it));
    for (int64_t k = 0; k < b->deal.micros; k++) {
        item part = { 0 };
        if (b->deal.rank[k] != d->o.rank)
            continue;
        WAN_TRY(load(d, b, k, &part.loaded));
        WAN_TRY(put(d, &part));
    }
    return 0;
}

static void *read_ahead(void *arg)
{
    wan_data *d = arg;
    wan_err_clear();
    while (d->left > 0)
        if (hand_over(d) < 0) {
            item it = { .failed = 1, .error = strdup(wan_err_text()) };
            put(d, &it); /* refused when told to quit */
            break;
        }
    return NULL;
}

int wan_data_start(wan_data *d, int64_t position, int64_t steps)
{
    d->position = position;
    d->left = d->due = steps;
    d->quit = 0;
    d->made = d->taken = 0;
    if (d->o.workers > 0) {
        if (pthread_create(&d->thread, NULL, read_ahead, d) != 0)
            return wan_err("cannot start the reading thread");
        d->running = 1;
    }
    return 0;
}

/* What the thread has for us, or its sentence. */
static int expect(wan_data *d, item *it)
{
    take(d, it);
    if (!it->failed)
        return 0;
    wan_err("%s", it->error ? it->error : "out of memory (batch)");
    item_free(it);
    return -1;
}

int wan_data_batch(wan_data *d, const wan_batch **b)
{
    item it = { 0 };
    *b = NULL;
    if (d->due-- < 1)
        WAN_BUG("more batches than announced");
    if (d->running)
        WAN_TRY(expect(d, &it));
    else
        WAN_TRY(next_batch(d, &it.batch));
    drop(&d->batch);
    if (!it.batch)
        WAN_BUG("a batch was not taken to its end");
    *b = d->batch = it.batch;
    return 0;
}

int wan_data_micro(wan_data *d, int64_t k, wan_loaded *p)
{
    item it = { 0 };
    if (!d->running)
        return load(d, d->batch, k, p);
    WAN_TRY(expect(d, &it));
    if (it.batch || it.loaded.micro != k)
        WAN_BUG("micro-batch %lld was not the next", (long long)k);
    *p = it.loaded;
    return 0;
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
            item_free(&d->ring[d->taken % AHEAD]);
        d->running = 0;
    }
    drop(&d->batch);
}
