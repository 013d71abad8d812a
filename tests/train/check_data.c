/* SPDX-License-Identifier: Apache-2.0
 *
 * check_data.c - micro-batches: every sample once, capacity kept, the order free of ranks, ranks
 * balanced; the order of samples: every sample once an epoch, resumable anywhere.
 */
#include "lib/base/rng.h"
#include "lib/train/config/config.h"
#include "lib/train/data/data.h"
#include "lib/train/data/deal.h"
#include "tests/tap.h"

#define MAXN 300

static int complete(const wan_deal *p, int64_t n)
{
    char seen[MAXN] = { 0 };
    if (p->n != n || p->start[0] != 0 || p->start[p->micros] != n)
        return 0;
    for (int64_t i = 0; i < n; i++) {
        if (p->item[i] < 0 || p->item[i] >= n || seen[p->item[i]])
            return 0;
        seen[p->item[i]] = 1;
    }
    return 1;
}

static int within(const wan_deal *p, const int64_t *tokens, int64_t capacity)
{
    for (int64_t k = 0; k < p->micros; k++) {
        int64_t sum = 0;
        for (int64_t i = p->start[k]; i < p->start[k + 1]; i++)
            sum += tokens[p->item[i]];
        if (sum > capacity || p->start[k] == p->start[k + 1])
            return 0;
    }
    return 1;
}

static void random_batches(void)
{
    int all = 1, fits = 1, ranks_ok = 1, same = 1, fair = 1;
    for (uint64_t trial = 0; trial < 200; trial++) {
        wan_rng r = wan_rng_stream(5, WAN_RNG_TEST, trial, 0);
        int64_t tokens[MAXN], n = 1 + (int64_t)wan_rng_below(&r, 0, MAXN), sum = 0;
        for (int64_t i = 0; i < n; i++)
            sum += tokens[i] = 1 + (int64_t)wan_rng_below(&r, (uint64_t)i + 1, 100);
        wan_deal p, q;
        int ranks = 1 + (int)(trial % 7);
        int64_t window = trial % 3 ? 0 : 16;
        if (wan_deal_new(&p, tokens, n, 128, window, ranks, 1e-3) < 0 ||
            wan_deal_new(&q, tokens, n, 128, window, 1, 1e-3) < 0) {
            ok(0, "dealing: %s", wan_err_text());
            return;
        }
        all &= complete(&p, n);
        fits &= within(&p, tokens, 128);
        double load[7] = { 0 }, most = 0, least = 1e30;
        for (int64_t k = 0; k < p.micros; k++) {
            ranks_ok &= p.rank[k] >= 0 && p.rank[k] < ranks;
            for (int64_t i = p.start[k]; i < p.start[k + 1]; i++)
                load[p.rank[k]] +=
                    (double)tokens[p.item[i]] * (1 + 1e-3 * (double)tokens[p.item[i]]);
        }
        for (int i = 0; i < ranks; i++) {
            most = fmax(most, load[i]);
            least = fmin(least, load[i]);
        }
        fair &= n < ranks || most - least <= 128 * (1 + 1e-3 * 128);
        if (q.micros >= ranks)
            same &= p.micros == q.micros && !memcmp(p.item, q.item, (size_t)n * sizeof *p.item);
        else
            same &= p.micros == (n < ranks ? n : ranks);
        wan_deal_free(&p);
        wan_deal_free(&q);
    }
    ok(all, "every sample is in exactly one micro-batch");
    ok(fits, "none is empty or exceeds the capacity");
    ok(ranks_ok, "each has a rank");
    ok(same, "they do not depend on the ranks, unless ranks would be idle");
    ok(fair, "loads of ranks differ by at most one of them");
}

static void by_hand(void)
{
    const int64_t tokens[6] = { 3, 7, 5, 2, 6, 4 };
    wan_deal p;
    /* decreasing: 7 | 6 | 5 | 4 -> with 6 | 3 -> with 7 | 2 -> with 5 */
    if (wan_deal_new(&p, tokens, 6, 10, 0, 1, 0) < 0)
        return;
    const int64_t item[6] = { 0, 1, 4, 5, 2, 3 }, start[4] = { 0, 2, 4, 6 };
    ok(p.micros == 3 && !memcmp(p.item, item, sizeof item) && !memcmp(p.start, start, sizeof start),
       "first-fit decreasing of six samples worked by hand");
    wan_deal_free(&p);
    ok(wan_deal_new(&p, tokens, 6, 6, 0, 1, 0) < 0, "a sample above the capacity is refused");
}

/* One pack of 100 tokens and six of 2 x 50 cost 1100 and 600 each: 2 of the latter go beside the first. */
static void by_flops(void)
{
    const int64_t tokens[13] = { 50, 50, 50, 100, 50, 50, 50, 50, 50, 50, 50, 50, 50 };
    const double quad = 0.1;
    wan_deal p;
    if (wan_deal_new(&p, tokens, 13, 100, 0, 2, quad) < 0)
        return;
    int64_t load[2] = { 0 };
    for (int64_t k = 0; k < p.micros; k++)
        load[p.rank[k]] += p.start[k + 1] - p.start[k];
    ok(p.micros == 7 && load[p.rank[0]] == 5 && load[!p.rank[0]] == 8,
       "ranks get equal FLOPs, not equal tokens");
    ok_err(fabs(wan_deal_imbalance(&p, NULL) - 2400 / 2350.0), 1e-12, "imbalance by hand");
    wan_deal_free(&p);
    ok(wan_deal_new(&p, tokens, 13, 100, 0, 1, quad) == 0 &&
           fabs(wan_deal_imbalance(&p, NULL) - 1) < 1e-12,
       "one rank has none");
    wan_deal_free(&p);
}

/* S (1 + quad S), by which packs are dealt, is the shape of what a sample costs. */
static void cost_is_flops(void)
{
    for (int i = 0; wan_model_at(i); i++) {
        const wan_model *m = wan_model_at(i);
        const int64_t few = 16380, many = 75600;
        wan_sizes z;
        wan_arch arch;
        wan_model_arch(&arch, m, m->presets[0].c);
        wan_model_sizes(&z, &arch);
        double cost =
            (double)many * (1 + z.quad * (double)many) / ((double)few * (1 + z.quad * (double)few));
        double flops = m->flops(arch.c, 1, &many) / m->flops(arch.c, 1, &few);
        ok_err(fabs(cost / flops - 1), 0.01, "cost of a sample against FLOPs of a %s", m->type);
    }
}

static uint64_t seed = 11;

static wan_data *mock(wan_feed **s, int64_t batch, int ranks, int rank, int workers)
{
    wan_config *c;
    wan_data *d = NULL;
    if (wan_config_new(&c) < 0)
        return NULL;
    c->v.mock_t = 3;
    c->v.mock_h = c->v.mock_w = 4;
    c->v.mock_text = 3;
    c->v.mock_samples = 37;
    c->v.mock_vary = 1;
    const wan_data_options o = { .patch = { 1, 2, 2 },
                                 .seed = seed,
                                 .shuffle = 1,
                                 .batch = batch,
                                 .capacity = 24,
                                 .text_len = 8,
                                 .rank = rank,
                                 .ranks = ranks,
                                 .workers = workers };
    if (wan_feed_open(s, &c->v, "", "train", 16, 8) == 0 && wan_data_new(&d, *s, &o) < 0)
        d = NULL;
    wan_config_free(&c);
    return d;
}

static void epochs(void)
{
    wan_feed *s;
    wan_data *d = mock(&s, 5, 1, 0, 0);
    int once = 1, shuffled = 0, differ = 0;
    for (int64_t e = 0; e < 3; e++) {
        int seen[37] = { 0 };
        for (int64_t i = 0; i < 37; i++) {
            int64_t x = wan_data_at(d, e * 37 + i);
            seen[x]++;
            shuffled += x != i;
            differ += x != wan_data_at(d, (e + 1) * 37 + i);
        }
        for (int i = 0; i < 37; i++)
            once &= seen[i] == 1;
    }
    ok(once, "every sample exactly once an epoch");
    ok(shuffled > 90, "the order is shuffled");
    ok(differ > 90, "each epoch has its own order");
    wan_data_free(&d);
    wan_feed_close(&s);
}

static void seeds(void)
{
    wan_feed *s, *r;
    int differ = 0;
    wan_data *d = mock(&s, 5, 1, 0, 0);
    seed = 12;
    wan_data *e = mock(&r, 5, 1, 0, 0);
    seed = 11;
    for (int64_t i = 0; d && e && i < 37; i++)
        differ += wan_data_at(d, i) != wan_data_at(e, i);
    ok(differ > 30, "each seed has its own order");
    wan_data_free(&d);
    wan_data_free(&e);
    wan_feed_close(&s);
    wan_feed_close(&r);
}

typedef struct taken {
    int64_t want[20][5]; /* samples of each batch, by number, as one rank sees them */
    char got[20][5];     /* how often each was read */
    int same, right;     /* batches, samples */
} taken;

/* This rank's part of batch n. */
static int read_part(wan_data *d, const wan_feed *s, const wan_batch *b, int rank, int64_t n,
                     taken *t)
{
    for (int64_t k = 0; k < b->deal.micros; k++) {
        wan_loaded p;
        if (b->deal.rank[k] != rank)
            continue;
        WAN_TRY(wan_data_micro(d, k, &p));
        for (int j = 0; j < p.n; j++) {
            int64_t i = b->deal.item[b->deal.start[k] + j];
            t->got[n][i]++;
            t->right &= p.sample[j].info.latent[1] == wan_feed_info(s, b->sample[i])->latent[1];
        }
        wan_loaded_free(&p);
    }
    return 0;
}

static int read_all(int ranks, int rank, int64_t from, taken *t)
{
    wan_feed *s;
    wan_data *d = mock(&s, 5, ranks, rank, ranks != 2);
    int rc = d ? wan_data_start(d, from * 5, 20 - from) : -1;
    for (int64_t n = from; n < 20 && rc == 0; n++) {
        const wan_batch *b;
        if ((rc = wan_data_batch(d, &b)) < 0)
            break;
        for (int i = 0; i < 5; i++) {
            if (ranks == 1)
                t->want[n][i] = b->sample[i];
            t->same &= t->want[n][i] == b->sample[i];
        }
        rc = read_part(d, s, b, rank, n, t);
    }
    wan_data_free(&d);
    wan_feed_close(&s);
    return rc;
}

static void ranks_and_resume(void)
{
    taken t = { .same = 1, .right = 1 };
    for (int ranks = 1; ranks <= 3; ranks++) {
        int64_t from = ranks == 3 ? 7 : 0; /* three ranks resume at step 7 */
        int once = 1;
        memset(t.got, 0, sizeof t.got);
        for (int rank = 0; rank < ranks; rank++)
            once &= read_all(ranks, rank, from, &t) == 0;
        for (int64_t n = from; n < 20; n++)
            for (int i = 0; i < 5; i++)
                once &= t.got[n][i] == 1;
        ok(once, "%d rank(s): every sample of a batch is read by one rank", ranks);
    }
    ok(t.same, "batches are the same for 1, 2 and 3 ranks, and after a resume");
    ok(t.right, "the samples read are the samples asked for");
}

static void stop_early(void)
{
    wan_feed *s;
    wan_data *d = mock(&s, 5, 1, 0, 1);
    const wan_batch *b;
    wan_loaded p;
    int rc = wan_data_start(d, 0, 100000) < 0 || wan_data_batch(d, &b) < 0;
    if (rc == 0) {
        rc = wan_data_micro(d, 0, &p);
        wan_loaded_free(&p);
    }
    wan_data_free(&d);
    wan_feed_close(&s);
    ok(rc == 0, "the reading thread stops when the run does");
}

/* Of a batch of 300 this rank has nothing, or the first pack alone: it comes back for the next batch while the
 * thread still walks through this one (for AddressSanitizer). */
static void in_a_hurry(void)
{
    int in_order = 1;
    for (int rank = 0; rank < 2; rank++) {
        wan_feed *s;
        wan_data *d = mock(&s, 300, rank ? 301 : 300, rank ? 300 : 0, 1);
        int rc = d ? wan_data_start(d, 0, 400) : -1;
        for (int64_t n = 0; n < 400 && rc == 0; n++) {
            const wan_batch *b;
            rc = wan_data_batch(d, &b);
            in_order &= rc == 0 && b->position == n * 300;
            for (int64_t k = 0; rc == 0 && k < b->deal.micros; k++) {
                wan_loaded p;
                if (b->deal.rank[k] != (rank ? 300 : 0))
                    continue;
                rc = wan_data_micro(d, k, &p);
                wan_loaded_free(&p);
            }
        }
        in_order &= rc == 0;
        wan_data_free(&d);
        wan_feed_close(&s);
    }
    ok(in_order, "ranks with little to do have every batch in its turn");
}

int main(void)
{
    by_hand();
    by_flops();
    cost_is_flops();
    random_batches();
    epochs();
    seeds();
    ranks_and_resume();
    stop_early();
    in_a_hurry();
    return tap_done();
}
