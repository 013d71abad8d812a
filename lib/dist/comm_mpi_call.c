/* SPDX-License-Identifier: Apache-2.0
 *
 * comm_mpi_call.c - collective calls over MPI messages.
 *
 * First every member sends every other a head: its view of the call, with the data where they are
 * small.  When the heads agree, larger data go in pieces of a fixed size, some of them at once, each
 * in one or two phases:
 *
 *   gathering   member r owns row r; all send their copy of a piece of it to r, which adds the copies
 *               in the order of ranks                                    (all_reduce, reduce_scatter)
 *   spreading   the owner sends the piece to all                         (all_reduce, all_gather)
 *
 * A broadcast gathers from its root alone; all_to_all has one phase of its own.  So each member moves
 * 2 n (p-1)/p elements of an all_reduce, like a ring, and the order of additions is fixed.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/dist/comm_mpi.h"
#include "lib/dist/combine.h"

enum { GATHER = 1, SPREAD = 2, HEADS = 0 }; /* phases */
enum { SENDS = 1, RECVS = 2 };              /* which messages of a phase */
enum { LARGE = 1 << 26 };

/* Elements [at, at + n) of a vector. */
typedef struct piece {
    size_t at, n;
} piece;

static size_t size_of(const wan_call *c)
{
    return wan_dtype_size(c->type);
}

static int sums(const wan_call *c)
{
    return c->kind == WAN_ALL_REDUCE || c->kind == WAN_REDUCE_SCATTER;
}

static int whole(const wan_call *c)
{
    return c->kind == WAN_ALL_REDUCE || c->kind == WAN_BROADCAST;
}

/* Heads alone. */
static int bare(const wan_call *c)
{
    return c->kind == WAN_BARRIER || c->check;
}

/* Whether the data of row r go with the heads. */
static int is_eager(const mpi_group *g, const size_t *start, const wan_call *c, int r)
{
    size_t n = whole(c) ? c->n : start[r + 1] - start[r];
    return n * size_of(c) <= g->eager;
}

/* Bytes of a piece.  Where data neither wait for others nor for a copy, few large messages are best. */
static size_t piece_bytes(const mpi_group *g, const wan_call *c)
{
    const int direct = !c->where && (c->kind == WAN_ALL_GATHER || c->kind == WAN_ALL_TO_ALL);
    return direct ? LARGE : g->piece;
}

/* The k-th piece of row r, empty where it goes with the heads or does not exist. */
static piece cut(const mpi_group *g, const size_t *start, const wan_call *c, int r, size_t k)
{
    size_t most = piece_bytes(g, c) / size_of(c), at = start[r] + k * most;
    if (is_eager(g, start, c, r) || at >= start[r + 1])
        return (piece){ start[r], 0 };
    return (piece){ at, start[r + 1] - at < most ? start[r + 1] - at : most };
}

static char *at(const wan_call *c, const void *x, size_t i)
{
    return (char *)(uintptr_t)x + i * size_of(c);
}

static int tag(const mpi_group *g, int phase, int slot)
{
    return g->g->id << 4 | slot << 2 | phase;
}

static char *head_in(const mpi_group *g, int r)
{
    return g->head_in + (size_t)r * (MPI_HEAD + g->eager);
}

static char *head_out(const mpi_group *g, int r)
{
    return g->head_out + (size_t)r * (MPI_HEAD + g->eager);
}

static int read_out(const wan_call *c, void *host, const void *x, size_t bytes)
{
    if (!bytes)
        return 0;
    if (c->where)
        return c->where->read(c->where->arg, host, x, bytes);
    memcpy(host, x, bytes);
    return 0;
}

static int write_in(const wan_call *c, void *x, const void *host, size_t bytes)
{
    if (!bytes)
        return 0;
    if (c->where)
        return c->where->write(c->where->arg, x, host, bytes);
    memcpy(x, host, bytes);
    return 0;
}

/* ---- heads */

/* What I send beside the head for member r. */
static piece eager_part(const mpi_group *g, const wan_call *c, int r)
{
    const int me = g->g->rank;
    switch (c->kind) {
    case WAN_ALL_REDUCE: return (piece){ 0, is_eager(g, c->part, c, r) ? c->n : 0 };
    case WAN_BROADCAST: return (piece){ 0, c->peer == me && is_eager(g, c->part, c, r) ? c->n : 0 };
    case WAN_ALL_GATHER: r = me; break;
    default: break;
    }
    if (!is_eager(g, c->from, c, r))
        return (piece){ 0, 0 };
    return (piece){ c->from[r], c->from[r + 1] - c->from[r] };
}

/* The head for member r, its data behind it. */
static int fill_head(mpi_group *g, const wan_call *c, int r)
{
    piece p = bare(c) ? (piece){ 0, 0 } : eager_part(g, c, r);
    mpi_head *h = (mpi_head *)(void *)head_out(g, r);
    wan_mpi_head(h, c, r);
    h->eager = (int32_t)(p.n * size_of(c));
    if (r > 0 && c->where && (whole(c) || c->kind == WAN_ALL_GATHER)) {
        memcpy((char *)h + MPI_HEAD, head_out(g, 0) + MPI_HEAD, (size_t)h->eager);
        return 0;
    }
    /* an all_gather's x is the row alone */
    const char *x = at(c, c->x, c->kind == WAN_ALL_GATHER ? 0 : p.at);
    return read_out(c, (char *)h + MPI_HEAD, x, (size_t)h->eager);
}

static int post_heads(mpi_group *g, const wan_call *c)
{
    const int me = g->g->rank;
    g->heads.n = 0;
    for (int r = 0; r < g->g->size; r++)
        if (r != me)
            WAN_TRY(wan_mpi_recv(&g->heads, g->m->comm, head_in(g, r), MPI_HEAD + g->eager, g, r,
                                 tag(g, HEADS, 0)));
    for (int r = 0; r < g->g->size; r++) {
        const mpi_head *h = (const mpi_head *)(const void *)head_out(g, r);
        if (r != me || c->where)
            WAN_TRY(fill_head(g, c, r));
        if (r != me)
            WAN_TRY(wan_mpi_send(&g->heads, g->m->comm, h, MPI_HEAD + (size_t)h->eager, g, r,
                                 tag(g, HEADS, 0)));
    }
    return 0;
}

/* Adds the data of all heads, n elements, to `out`. */
static int add_heads(mpi_group *g, const wan_call *c, void *out, size_t n)
{
    const int p = g->g->size, me = g->g->rank;
    for (int r = 0; r < p; r++)
        g->copy[r] = (r == me ? head_out(g, r) : head_in(g, r)) + MPI_HEAD;
    if (!c->where)
        g->copy[me] = at(c, c->x, whole(c) ? 0 : c->part[me]);
    char *sum = c->where ? head_out(g, me) + MPI_HEAD : out;
    WAN_TRY(wan_combine_copies(sum, g->copy, p, n, c->type, c->op));
    return c->where ? write_in(c, out, sum, n * size_of(c)) : 0;
}

static int unpack_heads(mpi_group *g, const wan_call *c)
{
    const int me = g->g->rank;
    if (sums(c)) {
        size_t n = whole(c) ? c->n : c->part[me + 1] - c->part[me];
        return is_eager(g, c->part, c, me) ? add_heads(g, c, c->out, n) : 0;
    }
    for (int r = 0; r < g->g->size; r++) {
        const mpi_head *h = (const mpi_head *)(const void *)head_in(g, r);
        if (r == me || !h->eager)
            continue;
        void *to = at(c, c->out, whole(c) ? 0 : c->part[r]);
        WAN_TRY(write_in(c, to, (const char *)h + MPI_HEAD, (size_t)h->eager));
    }
    return 0;
}

static int check_heads(const mpi_group *g, const wan_call *c)
{
    for (int r = 0; r < g->g->size; r++)
        if (r != g->g->rank)
            WAN_TRY(wan_mpi_head_check((const mpi_head *)(const void *)head_in(g, r), c, r));
    return 0;
}

/* ---- pieces */

static size_t count_pieces(const mpi_group *g, const wan_call *c)
{
    size_t most = piece_bytes(g, c) / size_of(c), longest = 0;
    for (int r = 0; r < g->g->size; r++) {
        size_t n = is_eager(g, c->part, c, r) ? 0 : c->part[r + 1] - c->part[r];
        longest = n > longest ? n : longest;
        n = is_eager(g, c->from, c, r) ? 0 : c->from[r + 1] - c->from[r];
        longest = n > longest ? n : longest;
    }
    return longest / most + (longest % most != 0);
}

/* Where a piece of row r lies for sending and receiving: in place, or in staging memory. */
static char *place(const mpi_group *g, const mpi_slot *s, const wan_call *c, int r, piece p)
{
    if (c->where)
        return s->stage + (size_t)r * g->piece;
    if (c->kind == WAN_REDUCE_SCATTER)
        return at(c, c->x, p.at);
    if (c->kind == WAN_ALL_GATHER && r == g->g->rank) /* which the caller copies meanwhile */
        return at(c, c->x, p.at - c->part[r]);
    return at(c, c->out, p.at);
}

static char *copy_of(const mpi_group *g, const mpi_slot *s, int r)
{
    return s->copies + (size_t)r * g->piece;
}

static int slot_room(mpi_group *g, mpi_slot *s, const wan_call *c)
{
    size_t bytes = (size_t)g->g->size * g->piece;
    if (!s->copies && (sums(c) || (c->where && c->kind == WAN_ALL_TO_ALL)) &&
        !(s->copies = wan_malloc(bytes, 1, "pieces of a call")))
        return -1;
    if (!s->stage && c->where && !(s->stage = wan_malloc(bytes, 1, "pieces of a call")))
        return -1;
    return 0;
}

/* Device memory to staging memory: what this rank will send of piece k. */
static int stage_out(mpi_group *g, mpi_slot *s, const wan_call *c)
{
    const int me = g->g->rank;
    if (!c->where || (c->kind == WAN_BROADCAST && c->peer != me))
        return 0;
    for (int r = 0; r < g->g->size; r++) {
        piece p = cut(g, c->from, c, r, s->k);
        const int row = c->kind == WAN_ALL_GATHER;
        if (row && r != me)
            continue;
        WAN_TRY(read_out(c, s->stage + (size_t)r * g->piece,
                         at(c, c->x, row ? p.at - c->part[r] : p.at), p.n * size_of(c)));
    }
    return 0;
}

/* Staging memory to device memory: what this rank has got of piece k. */
static int stage_in(mpi_group *g, mpi_slot *s, const wan_call *c)
{
    const int a2a = c->kind == WAN_ALL_TO_ALL, me = g->g->rank;
    for (int r = 0; c->where && r < g->g->size; r++) {
        piece p = cut(g, c->part, c, r, s->k);
        if ((r == me && (a2a || c->kind == WAN_ALL_GATHER)) ||
            (c->kind == WAN_BROADCAST && c->peer == me))
            continue;
        const char *from = a2a ? copy_of(g, s, r) : s->stage + (size_t)r * g->piece;
        WAN_TRY(write_in(c, at(c, c->out, p.at), from, p.n * size_of(c)));
    }
    return 0;
}

static int post_gather(mpi_group *g, mpi_slot *s, const wan_call *c, int which)
{
    const int me = g->g->rank, t = tag(g, GATHER, (int)(s - g->slot));
    const piece mine = cut(g, c->part, c, me, s->k);
    const size_t e = size_of(c);
    if (c->kind == WAN_BROADCAST && c->peer != me)
        return which & RECVS ? wan_mpi_recv(&s->b, g->m->comm, place(g, s, c, me, mine), mine.n * e,
                                            g, c->peer, t)
                             : 0;
    for (int r = 0; r < g->g->size; r++) {
        piece p = cut(g, c->part, c, r, s->k);
        if (r != me && sums(c) && which & RECVS)
            WAN_TRY(wan_mpi_recv(&s->b, g->m->comm, copy_of(g, s, r), mine.n * e, g, r, t));
        if (r != me && which & SENDS)
            WAN_TRY(wan_mpi_send(&s->b, g->m->comm, place(g, s, c, r, p), p.n * e, g, r, t));
    }
    return 0;
}

static int post_spread(mpi_group *g, mpi_slot *s, const wan_call *c, int which)
{
    const int me = g->g->rank, t = tag(g, SPREAD, (int)(s - g->slot));
    const int root = c->kind == WAN_BROADCAST ? c->peer : -1; /* it has all */
    const piece mine = cut(g, c->part, c, me, s->k);
    const size_t e = size_of(c);
    for (int r = 0; r < g->g->size; r++) {
        piece p = cut(g, c->part, c, r, s->k);
        if (r != me && me != root && which & RECVS)
            WAN_TRY(wan_mpi_recv(&s->b, g->m->comm, place(g, s, c, r, p), p.n * e, g, r, t));
        if (r != me && r != root && which & SENDS)
            WAN_TRY(wan_mpi_send(&s->b, g->m->comm, place(g, s, c, me, mine), mine.n * e, g, r, t));
    }
    return 0;
}

static int post_exchange(mpi_group *g, mpi_slot *s, const wan_call *c, int which)
{
    const int me = g->g->rank, t = tag(g, SPREAD, (int)(s - g->slot));
    const size_t e = size_of(c);
    for (int r = 0; r < g->g->size; r++) {
        piece in = cut(g, c->part, c, r, s->k), out = cut(g, c->from, c, r, s->k);
        char *to = c->where ? copy_of(g, s, r) : at(c, c->out, in.at);
        const char *from = c->where ? s->stage + (size_t)r * g->piece : at(c, c->x, out.at);
        if (r != me && which & RECVS)
            WAN_TRY(wan_mpi_recv(&s->b, g->m->comm, to, in.n * e, g, r, t));
        if (r != me && which & SENDS)
            WAN_TRY(wan_mpi_send(&s->b, g->m->comm, from, out.n * e, g, r, t));
    }
    return 0;
}

/* Messages of the first phase of the slot's piece. */
static int post_first(mpi_group *g, mpi_slot *s, const wan_call *c, int which)
{
    s->phase = c->kind == WAN_ALL_TO_ALL || c->kind == WAN_ALL_GATHER ? SPREAD : GATHER;
    if (c->kind == WAN_ALL_TO_ALL)
        return post_exchange(g, s, c, which);
    return c->kind == WAN_ALL_GATHER ? post_spread(g, s, c, which) : post_gather(g, s, c, which);
}

static int post_piece(mpi_group *g, mpi_slot *s, const wan_call *c, size_t k, int which)
{
    s->k = k;
    s->b.n = 0;
    WAN_TRY(slot_room(g, s, c));
    WAN_TRY(stage_out(g, s, c));
    return post_first(g, s, c, which);
}

/* All copies of my piece are here. */
static int add_piece(mpi_group *g, mpi_slot *s, const wan_call *c)
{
    const int p = g->g->size, me = g->g->rank;
    const piece mine = cut(g, c->part, c, me, s->k);
    for (int r = 0; r < p; r++)
        g->copy[r] = r == me ? place(g, s, c, me, mine) : copy_of(g, s, r);
    int scatter = c->kind == WAN_REDUCE_SCATTER;
    char *out = at(c, c->out, scatter ? mine.at - c->part[me] : mine.at);
    char *sum = c->where ? s->stage + (size_t)me * g->piece : out;
    WAN_TRY(wan_combine_copies(sum, g->copy, p, mine.n, c->type, c->op));
    return c->where && scatter ? write_in(c, out, sum, mine.n * size_of(c)) : 0;
}

/* The messages of a phase have arrived. */
static int next_phase(mpi_group *g, mpi_slot *s, const wan_call *c)
{
    if (s->phase == GATHER) {
        if (sums(c))
            WAN_TRY(add_piece(g, s, c));
        if (c->kind != WAN_REDUCE_SCATTER) {
            s->phase = SPREAD;
            s->b.n = 0;
            return post_spread(g, s, c, SENDS | RECVS);
        }
    } else {
        WAN_TRY(stage_in(g, s, c));
    }
    s->phase = 0;
    return 0;
}

/* ---- turns */

static int begin(mpi_group *g, const wan_call *c)
{
    g->begun = 1;
    g->stalled = 0;
    g->posted = 0;
    g->pieces = bare(c) ? 0 : count_pieces(g, c);
    WAN_TRY(post_heads(g, c));
    /* the first pieces set out with the heads; they are received when those agree */
    while (g->posted < g->pieces && g->posted < MPI_SLOTS) {
        mpi_slot *s = &g->slot[g->posted];
        WAN_TRY(post_piece(g, s, c, g->posted++, SENDS));
    }
    return 0;
}

/* -1, 0 or 1 as wan_mpi_call_turn; the call is done when *done. */
static int turn_heads(mpi_group *g, const wan_call *c, int *done)
{
    int here = wan_mpi_test(&g->heads);
    if (here <= 0)
        return here < 0 ? -1 : wan_mpi_stalled(g, c, &g->stalled, &g->heads);
    g->heads.n = 0;
    WAN_TRY(check_heads(g, c));
    if (!bare(c))
        WAN_TRY(unpack_heads(g, c));
    for (size_t k = 0; k < g->posted; k++)
        WAN_TRY(post_first(g, &g->slot[k], c, RECVS));
    g->begun = 2;
    *done = !g->pieces;
    return 1;
}

static int turn_pieces(mpi_group *g, const wan_call *c, int *done)
{
    int moved = 0, busy = 0;
    const mpi_batch *late = NULL;
    for (int i = 0; i < MPI_SLOTS; i++) {
        /* pieces start in their order, so that both ends of a message count alike */
        mpi_slot *s = &g->slot[i];
        int here = s->phase ? wan_mpi_test(&s->b) : 0;
        WAN_TRY(here);
        if (here) {
            WAN_TRY(next_phase(g, s, c));
            moved = 1;
        }
        if (!s->phase && g->posted < g->pieces && g->posted % MPI_SLOTS == (size_t)i) {
            WAN_TRY(post_piece(g, s, c, g->posted++, SENDS | RECVS));
            moved = 1;
        }
        busy |= s->phase != 0;
        if (s->phase && !late)
            late = &s->b;
    }
    *done = !busy && g->posted == g->pieces;
    if (moved)
        g->stalled = 0;
    return moved || *done ? 1 : wan_mpi_stalled(g, c, &g->stalled, late);
}

int wan_mpi_call_turn(mpi_group *g)
{
    wan_call *c = g->first;
    int done = 0, rc = 1;
    if (!c)
        return 0;
    if (!g->begun)
        WAN_TRY(begin(g, c));
    rc = g->begun == 1 ? turn_heads(g, c, &done) : turn_pieces(g, c, &done);
    if (rc < 0 || !done)
        return rc;
    g->begun = 0;
    if (!(g->first = c->next))
        g->last = &g->first;
    wan_mpi_done(g, c);
    return 1;
}

int wan_mpi_call_open(mpi_group *g)
{
    const size_t p = (size_t)g->g->size;
    g->last = &g->first;
    g->head_in = aligned_alloc(64, p * (MPI_HEAD + g->eager));
    g->head_out = aligned_alloc(64, p * (MPI_HEAD + g->eager));
    g->copy = calloc(p, sizeof *g->copy);
    if (!g->head_in || !g->head_out || !g->copy)
        return wan_err("out of memory for messages");
    memset(g->head_out, 0, p * (MPI_HEAD + g->eager));
    WAN_TRY(wan_mpi_batch(&g->heads, 2 * (int)p));
    for (int i = 0; i < MPI_SLOTS; i++)
        WAN_TRY(wan_mpi_batch(&g->slot[i].b, 2 * (int)p));
    return 0;
}

void wan_mpi_call_close(mpi_group *g)
{
    free(g->head_in);
    free(g->head_out);
    free(g->copy);
    wan_mpi_batch_free(&g->heads);
    for (int i = 0; i < MPI_SLOTS; i++) {
        wan_mpi_batch_free(&g->slot[i].b);
        free(g->slot[i].copies);
        free(g->slot[i].stage);
    }
}
