/* SPDX-License-Identifier: Apache-2.0
 *
 * pp_order.c - see pp_order.h.
 */
#include "lib/train/parallel/pp_order.h"

#include <math.h>
#include <stdlib.h>

#include "lib/base/file.h"

/* When a piece began and ended a micro-batch; NAN: not yet. */
typedef struct when {
    double begin, end;
} when;

typedef struct simulation {
    const wan_pp_split *s;
    const double *cost;
    int64_t micros;
    int train;
    when *did[2];       /* [pieces][micros] forward, backward */
    int64_t *next[2];   /* [pieces] */
    double *now;        /* [ranks] free from then on */
    wan_pp_act *handed; /* [ranks] the last backward, whose sums the rank before must have taken */
} simulation;

/* Something that can be done. */
typedef struct choice {
    wan_pp_act act;
    double arrived, ready; /* its input; that and all else */
} choice;

static when *at(const simulation *m, int back, int piece, int64_t micro)
{
    return &m->did[back][piece * m->micros + micro];
}

/* Until the seat that a forward needs is free: NAN not known yet. */
static double seat_free(const simulation *m, int piece, int64_t micro)
{
    int64_t before = micro - wan_pp_split_seats(m->s, piece);
    if (before < 0)
        return 0;
    if (m->train)
        return at(m, 1, piece, before)->end;
    return piece + 1 < m->s->pieces ? at(m, 0, piece + 1, before)->begin
                                    : at(m, 0, piece, before)->end;
}

static double forward_ready(const simulation *m, choice *c)
{
    int k = c->act.piece;
    c->arrived = k ? at(m, 0, k - 1, c->act.micro)->end : 0;
    return seat_free(m, k, c->act.micro);
}

static double backward_ready(const simulation *m, choice *c)
{
    int k = c->act.piece;
    const wan_pp_act *h = &m->handed[k % m->s->ranks];
    c->arrived =
        k + 1 < m->s->pieces ? at(m, 1, k + 1, c->act.micro)->end : at(m, 0, k, c->act.micro)->end;
    return h->piece > 0 ? at(m, 1, h->piece - 1, h->micro)->begin : 0;
}

/* Whether there is a next forward or backward of a piece that can be begun at a known time. */
static int can(const simulation *m, int back, int piece, choice *c)
{
    c->act = (wan_pp_act){ back, piece, m->next[back][piece] };
    if (c->act.micro >= (back ? m->next[0][piece] : m->micros))
        return 0;
    double room = back ? backward_ready(m, c) : forward_ready(m, c);
    c->ready = fmax(c->arrived, room);
    return !isnan(c->arrived) && !isnan(room);
}

/* Whether a rank that is free at `now` takes a before b. */
static int better(const choice *a, const choice *b, double now)
{
    double x = fmax(a->ready, now), y = fmax(b->ready, now);
    if (x != y)
        return x < y;
    if (a->act.back != b->act.back)
        return a->act.back;
    if (a->act.back && a->arrived != b->arrived)
        return a->arrived < b->arrived;
    return a->act.piece > b->act.piece;
}

static int choose(const simulation *m, int rank, choice *best)
{
    int found = 0;
    choice c;
    for (int k = rank; k < m->s->pieces; k += m->s->ranks)
        for (int back = 0; back <= m->train; back++)
            if (can(m, back, k, &c) && (!found || better(&c, best, m->now[rank]))) {
                *best = c;
                found = 1;
            }
    if (found)
        best->ready = fmax(best->ready, m->now[rank]);
    return found;
}

static void carry_out(simulation *m, int rank, const choice *c)
{
    const wan_pp_act *a = &c->act;
    when *w = at(m, a->back, a->piece, a->micro);
    w->begin = c->ready;
    w->end = m->now[rank] = c->ready + m->cost[a->micro] * (1 + a->back);
    m->next[a->back][a->piece]++;
    if (a->back)
        m->handed[rank] = *a;
}

/* Whoever can begin first does, until all is done; the acts of `rank` into o. */
static void simulate(simulation *m, int rank, wan_pp_order *o)
{
    int64_t left = m->s->pieces * m->micros * (1 + m->train);
    for (; left > 0; left--) {
        choice best = { .ready = 0 }, c;
        int who = -1;
        for (int r = 0; r < m->s->ranks; r++)
            if (choose(m, r, &c) && (who < 0 || c.ready < best.ready)) {
                best = c;
                who = r;
            }
        if (who < 0)
            WAN_BUG("a pipeline of %d pieces stands still", m->s->pieces);
        carry_out(m, who, &best);
        o->span = fmax(o->span, m->now[who]);
        if (who != rank)
            continue;
        o->v[o->n++] = best.act;
        o->busy += m->cost[best.act.micro] * (1 + best.act.back);
    }
}

static int reserve(simulation *m, wan_pp_order *o)
{
    size_t pieces = (size_t)m->s->pieces, ranks = (size_t)m->s->ranks;
    size_t all = pieces * (size_t)m->micros + 1;
    for (int b = 0; b < 2; b++) {
        m->did[b] = wan_malloc(all, sizeof *m->did[b], "pipeline order");
        m->next[b] = wan_calloc(pieces, sizeof *m->next[b], "pipeline order");
        if (!m->did[b] || !m->next[b])
            return -1;
        for (size_t i = 0; i < all; i++)
            m->did[b][i] = (when){ NAN, NAN };
    }
    m->now = wan_calloc(ranks, sizeof *m->now, "pipeline order");
    m->handed = wan_calloc(ranks, sizeof *m->handed, "pipeline order");
    o->v = wan_calloc(2 * all / ranks + 2, sizeof *o->v, "pipeline order");
    return m->now && m->handed && o->v ? 0 : -1;
}

int wan_pp_order_make(wan_pp_order *o, const wan_pp_split *s, int rank, const double *cost,
                      int64_t micros, int train)
{
    simulation m = { .s = s, .cost = cost, .micros = micros, .train = !!train };
    *o = (wan_pp_order){ .n = 0 };
    int rc = reserve(&m, o);
    if (rc == 0)
        simulate(&m, rank, o);
    else
        wan_pp_order_free(o);
    for (int b = 0; b < 2; b++) {
        free(m.did[b]);
        free(m.next[b]);
    }
    free(m.now);
    free(m.handed);
    return rc;
}

void wan_pp_order_free(wan_pp_order *o)
{
    free(o->v);
    *o = (wan_pp_order){ .n = 0 };
}
