/* SPDX-License-Identifier: Apache-2.0
 *
 * pp.c - see pp.h.
 */
#include "lib/train/parallel/pp.h"

#include <stdlib.h>

#include "lib/base/file.h"
#include "lib/train/parallel/pp_order.h"

struct wan_pp {
    const wan_pp_split *split;
    int rank;
    const wan_where *where;
    wan_dev *d;
    char *
        hand; /* device: sums on their way back; the next backward works in the memory they come from */
    /* [pieces]: of the border in front of a piece, forward and back; NULL where it is not ours */
    wan_group **across[2];
};

/* Calls under way. */
typedef struct flight {
    wan_group_req req[WAN_MODEL_BORDERS];
    int n;
} flight;

/* A step at work. */
typedef struct work {
    wan_pp *p;
    const wan_pp_job *j;
    wan_pp_order order;
    int64_t prepared; /* acts of the order */
    int seats;
    int *seat;      /* [pieces here + 1] where the seats of each begin */
    flight *sent;   /* [seats] what parts behind still take from a seat */
    flight back;    /* ... and parts in front of the last backward */
    flight come[2]; /* what this act and the next wait for */
} work;

/* ---- groups */

/* The two ranks of a border. */
typedef struct border_ranks {
    int front, behind;
} border_ranks;

static int border_color(const void *arg, int rank)
{
    const border_ranks *b = arg;
    return rank == b->front || rank == b->behind ? 0 : -1;
}

static int open_border(wan_pp *p, wan_group *g, int piece, int back)
{
    char name[WAN_GROUP_NAME];
    int ranks = p->split->ranks;
    const border_ranks b = { (piece - 1) % ranks, piece % ranks };
    int ours = border_color(&b, p->rank) == 0;
    snprintf(name, sizeof name, "pp%d %s", piece % WAN_PP_PIECES, back ? "back" : "forward");
    WAN_TRY(wan_group_split_by(g, border_color, &b, name, &p->across[back][piece]));
    return ours ? wan_group_prepare(p->across[back][piece], p->where) : 0;
}

/* Where one of the rows of a border begins behind another of n elements. */
static int64_t padded(int64_t n)
{
    return (n * (int64_t)sizeof(wan_real) + 255) / 256 * 256;
}

int64_t wan_pp_bytes(const wan_pp_split *s, int rank, const wan_arch *arch, const wan_capacity *cap)
{
    int64_t most = 0;
    for (int k = rank; k < s->pieces; k += s->ranks) {
        wan_border v[WAN_MODEL_BORDERS];
        int n = k ? arch->model->border(arch->c, NULL, s->start[k], 1, v) : 0;
        int64_t bytes = 0;
        for (int i = 0; i < n; i++)
            bytes += padded(v[i].width * (v[i].rows == 'S'   ? cap->tokens
                                          : v[i].rows == 'R' ? cap->text_rows
                                                             : cap->samples));
        most = bytes > most ? bytes : most;
    }
    return most;
}

static int open_all(wan_pp *p, wan_group *g, int64_t bytes)
{
    for (int b = 0; b < 2; b++) {
        p->across[b] = wan_calloc((size_t)p->split->pieces, sizeof(wan_group *), "pipeline");
        if (!p->across[b])
            return -1;
    }
    if (bytes && !(p->hand = wan_dev_alloc(p->d, (size_t)bytes, "pipeline")))
        return -1;
    for (int k = 1; k < p->split->pieces; k++)
        for (int b = 0; b < 2; b++)
            WAN_TRY(open_border(p, g, k, b));
    return 0;
}

int wan_pp_open(wan_pp **out, const wan_pp_split *s, wan_group *g, const wan_where *w, wan_dev *d,
                const wan_arch *arch, const wan_capacity *cap)
{
    wan_pp *p = wan_calloc(1, sizeof *p, "pipeline");
    *out = NULL;
    if (!p)
        return -1;
    p->split = s;
    p->rank = g->rank;
    p->where = w;
    p->d = d;
    if (open_all(p, g, wan_pp_bytes(s, g->rank, arch, cap)) < 0) {
        wan_pp_free(&p);
        return -1;
    }
    *out = p;
    return 0;
}

void wan_pp_free(wan_pp **pp)
{
    wan_pp *p = *pp;
    if (!p)
        return;
    wan_dev_free(p->d, p->hand);
    for (int b = 0; b < 2; b++) {
        for (int k = 0; p->across[b] && k < p->split->pieces; k++)
            if (p->across[b][k])
                wan_group_free(&p->across[b][k]);
        free(p->across[b]);
    }
    free(p);
    *pp = NULL;
}

/* ---- what crosses a border */

static int settle(flight *f)
{
    for (int i = 0; i < f->n; i++)
        WAN_TRY(wan_group_wait(&f->req[i]));
    f->n = 0;
    return 0;
}

/* Sends or receives what crosses the border in front of a piece, in the acts of a seat; what goes back,
 * by way of p->hand. */
static int cross(const work *w, int piece, int back, int seat, int send, flight *f)
{
    const wan_pp *p = w->p;
    const wan_acts *a = w->j->acts(w->j->arg, seat);
    wan_group *g = p->across[back][piece];
    wan_border v[WAN_MODEL_BORDERS];
    int n = a->model->border(a->c, a, p->split->start[piece], back, v);
    int64_t at = 0;
    for (int i = 0; i < n; i++) {
        const wan_buf *b = &v[i].buf;
        const size_t count = (size_t)v[i].n;
        void *x = b->p;
        if (send && back) {
            x = p->hand + at;
            at += padded(v[i].n);
            WAN_TRY(wan_dev_copy(p->d, x, b->p, count * wan_dtype_size(b->t)));
        }
        WAN_TRY(
            send ? wan_group_send_start(g, p->where, x, count, b->t, 1 - g->rank, 0, &f->req[i])
                 : wan_group_recv_start(g, p->where, x, count, b->t, 1 - g->rank, 0, &f->req[i]));
        f->n = i + 1;
    }
    return wan_group_push(g); /* whoever waits for it need not wait until we do */
}

/* ---- acts */

static int last_piece(const work *w, int piece)
{
    return piece == w->p->split->pieces - 1;
}

/* The seat of a micro-batch in a piece. */
static int seat_of(const work *w, const wan_pp_act *a)
{
    int here = a->piece / w->p->split->ranks;
    return w->seat[here] + (int)(a->micro % (w->seat[here + 1] - w->seat[here]));
}

/* A round of nothing. */
static int is_empty(const work *w, const wan_pp_act *a)
{
    return a->micro >= w->j->micros;
}

static int prepare_forward(work *w, const wan_pp_act *a, flight *come)
{
    int seat = seat_of(w, a);
    WAN_TRY(settle(&w->sent[seat]));
    WAN_TRY(w->j->load(w->j->arg, a->micro, seat));
    return a->piece ? cross(w, a->piece, 0, seat, 0, come) : 0;
}

static int prepare_backward(work *w, const wan_pp_act *a, flight *come)
{
    int seat = seat_of(w, a);
    WAN_TRY(wan_model_back_begin(w->j->acts(w->j->arg, seat)));
    return last_piece(w, a->piece) ? 0 : cross(w, a->piece + 1, 1, seat, 0, come);
}

static int prepare(work *w, int64_t i)
{
    const wan_pp_act *a = &w->order.v[i];
    if (i < w->prepared)
        return 0;
    w->prepared = i + 1;
    if (is_empty(w, a))
        return 0;
    flight *come = &w->come[i % 2];
    return a->back ? prepare_backward(w, a, come) : prepare_forward(w, a, come);
}

/* Whether act i+1 can get ready before act i is carried out: without waiting for anybody, and in memory
 * that act i leaves alone. */
static int looks_ahead(const work *w, int64_t i)
{
    const wan_pp_act *a = &w->order.v[i], *b = &w->order.v[i + 1];
    return i + 1 < w->order.n && w->j->train && !(a->back && b->back) &&
           seat_of(w, a) != seat_of(w, b);
}

static int carry_out(work *w, const wan_pp_act *a)
{
    int seat = seat_of(w, a);
    if (!a->back) {
        WAN_TRY(w->j->forward(w->j->arg, a->micro, seat));
        return last_piece(w, a->piece) || is_empty(w, a)
                   ? 0
                   : cross(w, a->piece + 1, 0, seat, 1, &w->sent[seat]);
    }
    WAN_TRY(w->j->backward(w->j->arg, a->micro, seat));
    WAN_TRY(settle(&w->back));
    return a->piece && !is_empty(w, a) ? cross(w, a->piece, 1, seat, 1, &w->back) : 0;
}

static int run(work *w)
{
    for (int64_t i = 0; i < w->order.n; i++) {
        WAN_TRY(prepare(w, i));
        if (looks_ahead(w, i))
            WAN_TRY(prepare(w, i + 1));
        WAN_TRY(settle(&w->come[i % 2]));
        WAN_TRY(carry_out(w, &w->order.v[i]));
    }
    for (int i = 0; i < w->seats; i++)
        WAN_TRY(settle(&w->sent[i]));
    return settle(&w->back);
}

static int find_seats(work *w)
{
    const wan_pp_split *s = w->p->split;
    w->seat = wan_calloc((size_t)(s->pieces / s->ranks) + 1, sizeof *w->seat, "pipeline");
    if (!w->seat)
        return -1;
    for (int k = w->p->rank, i = 0; k < s->pieces; k += s->ranks)
        w->seat[++i] = w->seats += s->seats[k];
    w->sent = wan_calloc((size_t)w->seats, sizeof *w->sent, "pipeline");
    return w->sent ? 0 : -1;
}

int wan_pp_run(wan_pp *p, const wan_pp_job *j)
{
    const int ranks = p->split->ranks;
    work w = { .p = p, .j = j };
    int rc = find_seats(&w);
    if (rc == 0)
        rc = wan_pp_order_make(&w.order, ranks, p->split->pieces / ranks, p->rank, j->rounds,
                               j->train);
    if (rc == 0)
        rc = run(&w);
    wan_pp_order_free(&w.order);
    free(w.seat);
    free(w.sent);
    return rc;
}
