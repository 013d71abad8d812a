/* SPDX-License-Identifier: Apache-2.0
 *
 * data.h - the order of samples, global batches, and the micro-batches of a rank, read ahead by a
 * thread.
 *
 * The run consumes one endless row of samples (mix.h): over one dataset position p is sample
 * perm_e[p mod N] of epoch e = p / N, with perm_e a permutation drawn from (seed, e) alone.  A global batch is the next B
 * positions; it is cut into micro-batches, and these are dealt to ranks (deal.h).  The only state is
 * the position, so a resume is exact, and with any number of ranks.
 *
 *     wan_data_new(&d, feed, &options);
 *     wan_data_start(d, position, steps);          // the reading thread
 *     for each step:
 *         wan_data_batch(d, &batch);               // who does what
 *         for each k of ours: wan_data_micro(d, k, &loaded); ... wan_loaded_free(&loaded);
 */
#ifndef WAN_TRAIN_DATA_H
#define WAN_TRAIN_DATA_H

#include "lib/model/model.h"
#include "lib/train/data/deal.h"
#include "lib/train/data/feed.h"

typedef struct wan_data_options {
    uint64_t seed;
    int shuffle;
    int64_t batch, capacity, window; /* samples, tokens, samples */
    int64_t text_len;                /* rows of the model's context */
    int64_t empty_text;              /* rows that stand in for a dropped caption */
    int rank, ranks;
    int workers;  /* 0: read in the calling thread */
    double quad;  /* see deal.h */
    int patch[3]; /* of a latent in one token: frames, rows, columns */
} wan_data_options;

typedef struct wan_batch {
    int64_t position; /* of its first sample */
    int64_t n;        /* samples */
    int64_t *sample;  /* [n] numbers in the feed */
    int64_t *tokens;  /* [n] */
    int64_t total;    /* tokens of the batch */
    wan_deal deal;
} wan_batch;

/* The samples of one micro-batch, in the order of deal.item. */
typedef struct wan_loaded {
    int64_t micro; /* its number in the batch */
    int n;
    wan_sample *sample; /* [n] */
} wan_loaded;

typedef struct wan_data wan_data;

/* capacity is raised to the longest sample (see wan_data_capacity). */
int wan_data_new(wan_data **out, wan_feed *s, const wan_data_options *o) WAN_MUST_CHECK;
void wan_data_free(wan_data **d);
/* Bounds of every micro-batch that can come. */
void wan_data_capacity(const wan_data *d, wan_capacity *cap);
int64_t wan_data_tokens(const wan_data *d, const wan_sample_info *f);
/* Sample number at a position of the run, -1 on trouble; the batch there.  Not between start and
 * stop. */
int64_t wan_data_at(wan_data *d, int64_t position);
int wan_data_batch_at(wan_data *d, wan_batch *b, int64_t position) WAN_MUST_CHECK;
void wan_batch_free(wan_batch *b);

/* Starts at a position; `steps` batches will be taken. */
int wan_data_start(wan_data *d, int64_t position, int64_t steps) WAN_MUST_CHECK;
/* The next batch, which stays d's, until the next call or the stop; then those of its micro-batches
 * that are this rank's, each once, in ascending order.  p is the caller's. */
int wan_data_batch(wan_data *d, const wan_batch **b) WAN_MUST_CHECK;
int wan_data_micro(wan_data *d, int64_t k, wan_loaded *p) WAN_MUST_CHECK;
void wan_loaded_free(wan_loaded *p);
/* Stops the thread; wan_data_start may follow. */
void wan_data_stop(wan_data *d);

#endif
