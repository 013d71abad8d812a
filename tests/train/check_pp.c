/* SPDX-License-Identifier: Apache-2.0
 *
 * check_pp.c - pipelines without processes: how a model is cut, and that the orders of all ranks, carried
 * out with sends that end only when they are received, never stand still.
 */
#include "lib/model/wan/net.h"
#include "lib/train/parallel/pp_order.h"
#include "lib/train/parallel/pp_split.h"
#include "tests/tap.h"

enum { MICROS = 20, RANKS = 8, PIECES = 32 };

/* ---- cutting */

static double cost_of(const wan_arch *a, int first, int end, int64_t tokens)
{
    double sum = 0;
    for (int k = first; k < end; k++)
        sum += a->model->part_flops(a->c, k, tokens);
    return sum;
}

/* Least largest piece of parts [first, parts) in n pieces, by trying all. */
static double least(const wan_arch *a, int first, int parts, int n, int64_t tokens)
{
    if (n == 1)
        return cost_of(a, first, parts, tokens);
    double best = INFINITY;
    for (int k = first + 1; k <= parts - n + 1; k++)
        best = fmin(best, fmax(cost_of(a, first, k, tokens), least(a, k, parts, n - 1, tokens)));
    return best;
}

static void cut(const char *preset, int ranks, int each, int64_t tokens)
{
    const wan_model *m = wan_model_find("wan");
    const wan_preset *p = m->presets;
    wan_arch a;
    wan_sizes z;
    wan_pp_split s;
    char what[128];
    double most = 0;
    while (strcmp(p->name, preset))
        p++;
    wan_model_arch(&a, m, p->c);
    wan_model_sizes(&z, &a);
    int rc = wan_pp_split_make(&s, &a, ranks, each, tokens, 8);
    int whole = rc == 0 && s.start[0] == 0 && s.start[ranks * each] == z.parts;
    for (int k = 0; whole && k < s.pieces; k++) {
        whole = s.start[k] < s.start[k + 1];
        most = fmax(most, cost_of(&a, s.start[k], s.start[k + 1], tokens));
    }
    snprintf(what, sizeof what, "%s in %d x %d pieces for %lld tokens", preset, ranks, each,
             (long long)tokens);
    ok(whole, "%s: every part is in one", what);
    if (ranks * each <= 4)
        ok(most <= least(&a, 0, z.parts, s.pieces, tokens) * (1 + 1e-9), "%s: as even as can be",
           what);
}

static void refused(int ranks, int each, const char *why)
{
    wan_arch a;
    wan_pp_split s;
    const wan_model *m = wan_model_find("wan");
    wan_model_arch(&a, m, m->presets->c);
    int rc = wan_pp_split_make(&s, &a, ranks, each, 100, 8);
    ok(rc < 0 && strstr(wan_err_text(), why), "%d x %d pieces: %s", ranks, each, wan_err_text());
}

/* ---- orders */

typedef struct run {
    wan_pp_split s;
    wan_pp_order order[RANKS];
    int64_t at[RANKS];
    int posted[RANKS]; /* the receive of the act that is next */
    int64_t micros;
    int train;
    int64_t done[2][PIECES];                    /* forwards, backwards of a piece */
    int now[RANKS], end[2][PIECES][MICROS + 1]; /* when a rank is free, when an act ended */
} run;

static int last(const run *r, int piece)
{
    return piece == r->s.pieces - 1;
}

/* Whether the receive of an act is there. */
static int posted(const run *r, int back, int piece, int64_t micro)
{
    int rank = piece % r->s.ranks;
    const wan_pp_act *a = &r->order[rank].v[r->at[rank]];
    return micro < r->done[back][piece] ||
           (r->posted[rank] && a->back == back && a->piece == piece && a->micro == micro);
}

/* Whether a rank has the memory that an act receives into. */
static int can_post(const run *r, const wan_pp_act *a)
{
    int64_t before = a->micro - r->s.seats[a->piece];
    if (a->back || before < 0)
        return 1;
    if (r->train)
        return before < r->done[1][a->piece];
    return last(r, a->piece) || posted(r, 0, a->piece + 1, before);
}

/* Whether what an act reads is there. */
static int can_run(const run *r, const wan_pp_act *a)
{
    int k = a->piece;
    if (a->back)
        return a->micro == r->done[1][k] && a->micro < r->done[0][k] &&
               (last(r, k) || a->micro < r->done[1][k + 1]);
    return a->micro == r->done[0][k] && (k == 0 || a->micro < r->done[0][k - 1]);
}

/* Whether there is memory for what an act hands back: that of the one before has been received. */
static int can_end(const run *r, int rank, const wan_pp_act *a)
{
    for (int64_t i = r->at[rank] - 1; i >= 0 && a->back; i--) {
        const wan_pp_act *b = &r->order[rank].v[i];
        if (b->back)
            return b->piece == 0 || posted(r, 1, b->piece - 1, b->micro);
    }
    return 1;
}

static void carry_out(run *r, int rank, const wan_pp_act *a)
{
    int k = a->piece, from = 0;
    if (a->back)
        from = last(r, k) ? r->end[0][k][a->micro] : r->end[1][k + 1][a->micro];
    else if (k)
        from = r->end[0][k - 1][a->micro];
    r->now[rank] = (from > r->now[rank] ? from : r->now[rank]) + 1 + a->back;
    r->end[a->back][k][a->micro] = r->now[rank];
    r->done[a->back][k]++;
    r->at[rank]++;
}

/* One step of a rank, if it can make one. */
static int advance(run *r, int rank)
{
    const wan_pp_act *a = &r->order[rank].v[r->at[rank]];
    if (r->at[rank] == r->order[rank].n)
        return 0;
    if (!r->posted[rank])
        return r->posted[rank] = can_post(r, a);
    if (!can_run(r, a) || !can_end(r, rank, a))
        return 0;
    r->posted[rank] = 0;
    carry_out(r, rank, a);
    return 1;
}

/* All orders together, whoever can goes on; whether all came to their ends. */
static int replay(run *r)
{
    for (int moved = 1; moved;) {
        moved = 0;
        for (int k = 0; k < r->s.ranks; k++)
            while (advance(r, k))
                moved = 1;
    }
    for (int k = 0; k < r->s.pieces; k++)
        if (r->done[0][k] != r->micros || r->done[1][k] != (r->train ? r->micros : 0))
            return 0;
    return 1;
}

static void open_run(run *r, int ranks, int each, int64_t micros, int train, int64_t most)
{
    *r = (run){ .micros = micros, .train = train };
    r->s = (wan_pp_split){ .ranks = ranks, .pieces = ranks * each };
    for (int k = 0; k < ranks; k++) {
        int own[PIECES];
        if (wan_pp_order_make(&r->order[k], ranks, each, k, micros, train) < 0 ||
            wan_pp_order_seats(own, ranks, each, k, most) < 0)
            printf("Bail out! %s\n", wan_err_text());
        for (int i = 0; i < each; i++)
            r->s.seats[i * ranks + k] = own[i];
    }
}

static void close_run(run *r)
{
    for (int k = 0; k < r->s.ranks; k++)
        wan_pp_order_free(&r->order[k]);
}

/* Any number of micro-batches, of as many as there are seats for and of fewer. */
static void stands_still(int ranks, int each)
{
    int bad = 0, runs = 0;
    for (int64_t most = 0; most <= MICROS; most++)
        for (int64_t n = 0; n <= most; n++)
            for (int train = 0; train < 2; train++, runs++) {
                run r;
                open_run(&r, ranks, each, n, train, most);
                bad += !replay(&r);
                close_run(&r);
            }
    ok(bad == 0, "%d ranks of %d pieces: no order of %d stands still", ranks, each, runs);
}

/* Units of time until equal micro-batches are through, a backward takes two. */
static void takes(int ranks, int each, int64_t micros, int units)
{
    run r;
    open_run(&r, ranks, each, micros, 1, micros);
    int whole = replay(&r), span = 0;
    for (int k = 0; k < ranks; k++)
        span = r.now[k] > span ? r.now[k] : span;
    close_run(&r);
    ok(whole && span == units, "%d ranks of %d pieces, %lld micro-batches: %d units", ranks, each,
       (long long)micros, span);
}

/* As many seats as the papers say: ranks behind it, and its own. */
static void seats(void)
{
    int own[PIECES], same = 1;
    for (int r = 0; r < 4; r++)
        same = same && wan_pp_order_seats(own, 4, 1, r, 20) == 0 && own[0] == 4 - r;
    ok(same, "1F1B keeps as many micro-batches as there are stages from here on");
    ok(wan_pp_order_seats(own, 4, 1, 0, 2) == 0 && own[0] == 2, "... or as many as there are");
}

int main(void)
{
    cut("1.3B", 2, 1, 32760);
    cut("1.3B", 4, 1, 32760);
    cut("1.3B", 2, 2, 100);
    cut("14B", 3, 1, 1);
    cut("14B", 8, 4, 75600);
    refused(1, 2, "on one pipeline rank");
    refused(40, 1, "has 32 parts");
    refused(2, 17, "into at most");
    stands_still(1, 1);
    stands_still(2, 1);
    stands_still(4, 1);
    stands_still(8, 1);
    stands_still(2, 2);
    stands_still(2, 4);
    stands_still(3, 2);
    stands_still(4, 3);
    stands_still(8, 4);
    /* 3 (micro-batches x pieces + ranks - 1) where groups are full */
    takes(2, 1, 8, 27);
    takes(4, 1, 3, 18);
    takes(8, 1, 20, 81);
    takes(2, 2, 8, 51);
    takes(4, 2, 16, 105);
    takes(4, 4, 16, 201);
    seats();
    return tap_done();
}
