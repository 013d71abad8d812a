/* SPDX-License-Identifier: Apache-2.0
 *
 * check_mix.c - the row of samples over several datasets: parts of a block, every sample once before
 * any again, one dataset as it always was, any position without those before it; quotas of weights.
 */
#include "lib/train/data/mix.h"

#include "lib/base/rng.h"
#include "tests/tap.h"

typedef struct place {
    int64_t part;
    int64_t sample;
} place;

static wan_mix *mix(const wan_mix_part *p, int n, uint64_t seed, int shuffle, int spread)
{
    wan_mix *m;
    const wan_mix_options o = { seed, shuffle, spread };
    if (wan_mix_new(&m, p, n, &o) < 0) {
        printf("Bail out! %s\n", wan_err_text());
        exit(1);
    }
    return m;
}

static void row(wan_mix *m, place *out, int64_t from, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        int part;
        out[i].part = wan_mix_at(m, from + i, &part, &out[i].sample) < 0 ? -1 : part;
    }
}

enum { N = 3, LENGTH = 8, BLOCKS = 50, TOTAL = LENGTH * BLOCKS };
static const wan_mix_part three[N] = { { 11, 5 }, { 4, 2 }, { 3, 1 } };

static void parts(void)
{
    place x[TOTAL], again[TOTAL];
    wan_mix *m = mix(three, N, 7, 1, 1);
    row(m, x, 0, TOTAL);
    int quotas = 1, once = 1, moved = 0;
    int64_t seen[N][11] = { { 0 } }, used[N] = { 0 };
    for (int b = 0; b < BLOCKS; b++) {
        int64_t count[N] = { 0 };
        for (int i = 0; i < LENGTH; i++)
            count[x[b * LENGTH + i].part]++;
        for (int j = 0; j < N; j++)
            quotas &= count[j] == three[j].quota;
        moved |= x[b * LENGTH].part != x[0].part;
    }
    ok(quotas, "every block holds 5, 2 and 1 of the three");
    ok(moved, "at other places in other blocks");
    for (int i = 0; i < TOTAL; i++) { /* the k-th use of a dataset is in its epoch k / N */
        int64_t j = x[i].part;
        once &= seen[j][x[i].sample] == used[j]++ / three[j].count;
        seen[j][x[i].sample]++;
    }
    ok(once, "of each dataset every sample is used once before any is used again");
    for (int64_t i = TOTAL - 1; i >= 0; i--)
        row(m, &again[i], i, 1);
    ok(!memcmp(x, again, sizeof x), "a position says everything: backwards the same");
    wan_mix_free(&m);
    m = mix(three, N, 7, 1, 1);
    row(m, again, 123, TOTAL - 123);
    ok(!memcmp(x + 123, again, (TOTAL - 123) * sizeof *x), "so does a start in the middle");
    wan_mix_free(&m);
    m = mix(three, N, 8, 1, 1);
    row(m, again, 0, TOTAL);
    ok(memcmp(x, again, sizeof x), "another seed, another row");
    wan_mix_free(&m);
}

/* Written out again: a permutation of each epoch by Fisher-Yates from (seed, epoch). */
static void plain(void)
{
    enum { COUNT = 13 };
    const wan_mix_part one = { COUNT, COUNT };
    wan_mix *m = mix(&one, 1, 5, 1, 0);
    int same = 1;
    for (int64_t e = 0; e < 3; e++) {
        int64_t perm[COUNT];
        wan_rng rng = wan_rng_stream(5, WAN_RNG_SHUFFLE, (uint64_t)e, 0);
        for (int64_t i = 0; i < COUNT; i++)
            perm[i] = i;
        for (int64_t i = COUNT - 1; i > 0; i--) {
            int64_t k = (int64_t)wan_rng_below(&rng, (uint64_t)i, (uint64_t)i + 1), t = perm[i];
            perm[i] = perm[k];
            perm[k] = t;
        }
        for (int64_t i = 0; i < COUNT; i++) {
            place x;
            row(m, &x, e * COUNT + i, 1);
            same &= x.part == 0 && x.sample == perm[i];
        }
    }
    ok(same, "one dataset: the permutation of its epoch");
    wan_mix_free(&m);
}

static void in_order(void)
{
    place x[LENGTH];
    wan_mix *m = mix(three, N, 7, 0, 1);
    row(m, x, 0, LENGTH);
    const int even[LENGTH] = { 0, 1, 0, 0, 2, 0, 1, 0 };
    int good = 1;
    for (int i = 0; i < LENGTH; i++)
        good &= x[i].part == even[i];
    ok(good && x[0].sample == 0 && x[2].sample == 1, "without shuffle weights are spread evenly");
    wan_mix_free(&m);
    m = mix(three, N, 7, 0, 0);
    row(m, x, 0, LENGTH);
    ok(x[4].part == 0 && x[4].sample == 4 && x[5].part == 1 && x[7].part == 2,
       "repeated datasets stand one after another");
    wan_mix_free(&m);
}

/* Uniform over all samples: with shares of their sizes each stands equally often at each place. */
static void uniform(void)
{
    enum { A = 3, B = 5, RUNS = 8000 };
    const wan_mix_part two[2] = { { A, A }, { B, B } };
    double count[A + B] = { 0 }, chi = 0;
    for (int s = 0; s < RUNS; s++) {
        place x;
        wan_mix *m = mix(two, 2, (uint64_t)s, 1, 0);
        row(m, &x, 2, 1);
        count[x.part * A + x.sample]++;
        wan_mix_free(&m);
    }
    for (int i = 0; i < A + B; i++)
        chi += pow(count[i] - (double)RUNS / (A + B), 2) / ((double)RUNS / (A + B));
    ok(chi < 24.3, "all samples are equally likely at a place (chi square %.1f, 7 degrees)", chi);
}

static void quota(const char *name, const double *w, int n, const int64_t *want)
{
    int64_t q[8];
    int rc = wan_mix_quotas(q, w, n), good = 1;
    for (int i = 0; i < n && rc == 0; i++)
        good &= q[i] == want[i];
    ok(rc == 0 && good, "%s: %lld, %lld", name, (long long)q[0], (long long)q[1]);
}

static void quotas(void)
{
    quota("5:2:1", (double[]){ 5, 2, 1 }, 3, (int64_t[]){ 5, 2, 1 });
    quota("equal", (double[]){ 0.3, 0.3 }, 2, (int64_t[]){ 1, 1 });
    quota("0.7, 0.2, 0.1", (double[]){ 0.7, 0.2, 0.1 }, 3, (int64_t[]){ 7, 2, 1 });
    quota("a third", (double[]){ 1, 2 }, 2, (int64_t[]){ 1, 2 });
    quota("0.25 percent", (double[]){ 0.0025, 0.9975 }, 2, (int64_t[]){ 1, 399 });
    quota("no fraction", (double[]){ 1, M_PI }, 2, (int64_t[]){ 15824, 49712 });
    quota("almost nothing", (double[]){ 1e-9, 1 }, 2, (int64_t[]){ 1, 65535 });
    int64_t q[2];
    ok(wan_mix_quotas(q, (double[]){ 1, 0 }, 2) < 0 &&
           wan_mix_quotas(q, (double[]){ 1, NAN }, 2) < 0,
       "a weight of 0 or none is refused");
    wan_mix *m;
    ok(wan_mix_new(&m, (wan_mix_part[]){ { 1, 1 }, { 0, 1 } }, 2, &(wan_mix_options){ 0 }) < 0 &&
           !m,
       "so is a dataset without samples");
}

int main(void)
{
    parts();
    plain();
    in_order();
    uniform();
    quotas();
    return tap_done();
}
