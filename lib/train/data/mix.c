/* SPDX-License-Identifier: Apache-2.0
 *
 * mix.c - see mix.h.
 */
#include "lib/train/data/mix.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/rng.h"

#define WHO UINT64_MAX /* the stream of places, beside those of the datasets */
#define EXACT 10000
#define COARSE 65536

typedef struct order {
    int64_t epoch; /* -1: none yet */
    int64_t *perm; /* [count] */
} order;

struct wan_mix {
    wan_mix_options o;
    int n;
    wan_mix_part *part; /* [n] */
    order *order;       /* [n] */
    int64_t length;     /* of a block */
    /* the block that was drawn last; not for one dataset */
    int64_t block;  /* -1: none yet */
    uint16_t *who;  /* [length] dataset at a place */
    uint16_t *plan; /* [length] the same before it is shuffled, of every block */
    int32_t *nth;   /* [length] which of its places in the block that is */
    int64_t *count; /* [n] scratch */
};

int wan_mix_new(wan_mix **out, const wan_mix_part *part, int n, const wan_mix_options *o)
{
    *out = NULL;
    if (n < 1 || n > WAN_MIX_PARTS)
        return wan_err("%d datasets: must be 1..%d", n, WAN_MIX_PARTS);
    wan_mix *m = wan_calloc(1, sizeof *m, "mixture");
    if (!m)
        return -1;
    m->o = *o;
    m->n = n;
    m->block = -1;
    m->part = wan_calloc((size_t)n, sizeof *m->part, "mixture");
    m->order = wan_calloc((size_t)n, sizeof *m->order, "mixture");
    m->count = wan_calloc((size_t)n, sizeof *m->count, "mixture");
    int rc = m->part && m->order && m->count ? 0 : -1;
    for (int j = 0; j < n && rc == 0; j++) {
        m->part[j] = part[j];
        m->order[j].epoch = -1;
        if (part[j].count < 1 || part[j].quota < 1)
            rc = wan_err("dataset %d of the mixture has no samples, or no part in it", j);
        m->length += part[j].quota;
    }
    if (rc == 0 && n > 1 && m->length > INT32_MAX)
        rc = wan_err("the mixture has %lld samples, more than can be drawn from",
                     (long long)m->length);
    if (rc < 0)
        wan_mix_free(&m);
    *out = m;
    return rc;
}

void wan_mix_free(wan_mix **pm)
{
    wan_mix *m = *pm;
    if (!m)
        return;
    for (int j = 0; m->order && j < m->n; j++)
        free(m->order[j].perm);
    free(m->order);
    free(m->part);
    free(m->count);
    free(m->who);
    free(m->plan);
    free(m->nth);
    free(m);
    *pm = NULL;
}

/* Fisher-Yates from (seed, epoch, dataset). */
static int draw_order(wan_mix *m, int j, int64_t epoch)
{
    order *x = &m->order[j];
    const int64_t n = m->part[j].count;
    if (!x->perm && !(x->perm = wan_malloc((size_t)n, sizeof *x->perm, "order of samples")))
        return -1;
    wan_rng rng = wan_rng_stream(m->o.seed, WAN_RNG_SHUFFLE, (uint64_t)epoch, (uint64_t)j);
    for (int64_t i = 0; i < n; i++)
        x->perm[i] = i;
    for (int64_t i = n - 1; i > 0 && m->o.shuffle; i--) {
        int64_t k = (int64_t)wan_rng_below(&rng, (uint64_t)i, (uint64_t)i + 1);
        int64_t t = x->perm[i];
        x->perm[i] = x->perm[k];
        x->perm[k] = t;
    }
    x->epoch = epoch;
    return 0;
}

/* Places without shuffle: one dataset after another, or each time the one that is most behind. */
static void place_in_order(wan_mix *m)
{
    int64_t at = 0;
    for (int j = 0; j < m->n && !m->o.spread; j++)
        for (int64_t k = 0; k < m->part[j].quota; k++)
            m->who[at++] = (uint16_t)j;
    memset(m->count, 0, (size_t)m->n * sizeof *m->count);
    for (; at < m->length; at++) {
        int best = 0;
        double most = -1e300;
        for (int j = 0; j < m->n; j++) {
            double behind = (double)m->part[j].quota * (double)(at + 1) -
                            (double)m->count[j] * (double)m->length;
            if (m->count[j] < m->part[j].quota && behind > most) {
                most = behind;
                best = j;
            }
        }
        m->who[at] = (uint16_t)best;
        m->count[best]++;
    }
}

static int draw_block(wan_mix *m, int64_t block)
{
    if (!m->who)
        m->who = wan_malloc((size_t)m->length, sizeof *m->who, "places of a mixture");
    if (!m->nth)
        m->nth = wan_malloc((size_t)m->length, sizeof *m->nth, "places of a mixture");
    if (!m->plan && m->o.shuffle && m->o.spread)
        m->plan = wan_malloc((size_t)m->length, sizeof *m->plan, "places of a mixture");
    if (!m->who || !m->nth || (!m->plan && m->o.shuffle && m->o.spread))
        return -1;
    const size_t bytes = (size_t)m->length * sizeof *m->who;
    if (m->block < 0 || (m->o.shuffle && !m->plan))
        place_in_order(m);
    if (m->plan) /* each place looks at all datasets: a third of a second for 5,000 */
        m->block < 0 ? memcpy(m->plan, m->who, bytes) : memcpy(m->who, m->plan, bytes);
    wan_rng rng = wan_rng_stream(m->o.seed, WAN_RNG_SHUFFLE, (uint64_t)block, WHO);
    for (int64_t i = m->length - 1; i > 0 && m->o.shuffle; i--) {
        int64_t k = (int64_t)wan_rng_below(&rng, (uint64_t)i, (uint64_t)i + 1);
        uint16_t t = m->who[i];
        m->who[i] = m->who[k];
        m->who[k] = t;
    }
    memset(m->count, 0, (size_t)m->n * sizeof *m->count);
    for (int64_t i = 0; i < m->length; i++)
        m->nth[i] = (int32_t)m->count[m->who[i]]++;
    m->block = block;
    return 0;
}

int wan_mix_at(wan_mix *m, int64_t position, int *part, int64_t *sample)
{
    const int64_t block = position / m->length, at = position % m->length;
    int64_t k = position;
    int j = 0;
    if (m->n > 1) {
        if (m->block != block)
            WAN_TRY(draw_block(m, block));
        j = m->who[at];
        k = block * m->part[j].quota + m->nth[at];
    }
    const int64_t epoch = k / m->part[j].count;
    if (m->order[j].epoch != epoch)
        WAN_TRY(draw_order(m, j, epoch));
    *part = j;
    *sample = m->order[j].perm[k % m->part[j].count];
    return 0;
}

/* ---- quotas ---- */

/* Whether `length` positions have the shares exactly. */
static int exact(int64_t *quota, const double *share, int n, int length)
{
    for (int j = 0; j < n; j++) {
        double x = share[j] * length;
        quota[j] = (int64_t)llround(x);
        if (quota[j] < 1 || fabs(x - (double)quota[j]) > 1e-9 * length)
            return 0;
    }
    return 1;
}

/* Rounded down, the rest to those that lost most, at least one each. */
static void nearest(int64_t *quota, const double *share, int n)
{
    int64_t left = COARSE;
    for (int j = 0; j < n; j++) {
        quota[j] = (int64_t)floor(share[j] * COARSE);
        quota[j] = quota[j] > 1 ? quota[j] : 1;
        left -= quota[j];
    }
    while (left != 0) {
        int best = 0;
        double most = -1e300;
        for (int j = 0; j < n; j++) {
            double short_of = share[j] * COARSE - (double)quota[j];
            short_of = left > 0 ? short_of : -short_of;
            if ((left > 0 || quota[j] > 1) && short_of > most) {
                most = short_of;
                best = j;
            }
        }
        quota[best] += left > 0 ? 1 : -1;
        left -= left > 0 ? 1 : -1;
    }
}

int wan_mix_quotas(int64_t *quota, const double *weight, int n)
{
    double total = 0;
    for (int j = 0; j < n; j++) {
        if (!(weight[j] > 0) || !isfinite(weight[j]))
            return wan_err("weight %g of a dataset is not above 0", weight[j]);
        total += weight[j];
    }
    if (n > COARSE / 4)
        return wan_err("%d datasets with weights: at most %d", n, COARSE / 4);
    double *share = wan_malloc((size_t)n, sizeof *share, "weights");
    if (!share)
        return -1;
    int length = 1;
    for (int j = 0; j < n; j++)
        share[j] = weight[j] / total;
    while (length <= EXACT && !exact(quota, share, n, length))
        length++;
    if (length > EXACT)
        nearest(quota, share, n);
    free(share);
    return 0;
}
