/* SPDX-License-Identifier: Apache-2.0
 *
 * comm_mpi_pair.c - sends and receives over MPI messages: a head, with the data where they are small,
 * then pieces of a fixed size, some of them at once.
 *
 * MPI keeps the order of messages with the same ends and tag, so one call after the other is under
 * way for each of these.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/dist/comm_mpi.h"

typedef struct pair {
    mpi_batch head, slot[MPI_SLOTS];
    int begun, busy[MPI_SLOTS]; /* begun: 1 head on its way, 2 data may go */
    size_t pieces, posted;
    double stalled;
    char *stage; /* [MPI_SLOTS][piece], device memory only */
    char data[]; /* head and eager data */
} pair;

static size_t bytes_of(const wan_call *c)
{
    return c->check ? 0 : c->n * wan_dtype_size(c->type);
}

static int tag(const wan_call *c)
{
    return c->g->id << 12 | c->tag;
}

static size_t piece_bytes(const mpi_group *g, const wan_call *c, size_t k)
{
    size_t left = bytes_of(c) - k * g->piece;
    return left < g->piece ? left : g->piece;
}

static int post_head(mpi_group *g, wan_call *c, pair *p)
{
    mpi_head *h = (mpi_head *)(void *)p->data;
    size_t bytes = bytes_of(c), eager = bytes <= g->eager ? bytes : 0;
    p->begun = 1;
    p->pieces = eager ? 0 : bytes / g->piece + (bytes % g->piece != 0);
    if (c->kind == WAN_RECV)
        return wan_mpi_recv(&p->head, g->m->pairs, p->data, MPI_HEAD + g->eager, g, c->peer,
                            tag(c));
    wan_mpi_head(h, c, c->peer);
    h->eager = (int32_t)eager;
    if (c->where && eager)
        WAN_TRY(c->where->read(c->where->arg, p->data + MPI_HEAD, c->x, eager));
    else if (eager)
        memcpy(p->data + MPI_HEAD, c->x, eager);
    p->begun = 2; /* the data follow at once */
    return wan_mpi_send(&p->head, g->m->pairs, p->data, MPI_HEAD + eager, g, c->peer, tag(c));
}

static int head_here(wan_call *c, pair *p)
{
    const mpi_head *h = (const mpi_head *)(const void *)p->data;
    WAN_TRY(wan_mpi_head_check(h, c, c->peer));
    p->begun = 2;
    if (!h->eager)
        return 0;
    if (c->where)
        return c->where->write(c->where->arg, c->out, p->data + MPI_HEAD, (size_t)h->eager);
    memcpy(c->out, p->data + MPI_HEAD, (size_t)h->eager);
    return 0;
}

static int post_piece(mpi_group *g, wan_call *c, pair *p, int i)
{
    size_t k = p->posted++, n = piece_bytes(g, c, k);
    char *x = (char *)c->out + k * g->piece;
    if (c->where) {
        char *stage = p->stage + (size_t)i * g->piece;
        if (c->kind == WAN_SEND)
            WAN_TRY(c->where->read(c->where->arg, stage, x, n));
        x = stage;
    }
    p->busy[i] = 1;
    p->slot[i].n = 0;
    if (c->kind == WAN_SEND)
        return wan_mpi_send(&p->slot[i], g->m->pairs, x, n, g, c->peer, tag(c));
    return wan_mpi_recv(&p->slot[i], g->m->pairs, x, n, g, c->peer, tag(c));
}

/* Piece k has arrived in slot i. */
static int piece_here(mpi_group *g, wan_call *c, pair *p, int i, size_t k)
{
    p->busy[i] = 0;
    if (!c->where || c->kind == WAN_SEND)
        return 0;
    return c->where->write(c->where->arg, (char *)c->out + k * g->piece,
                           p->stage + (size_t)i * g->piece, piece_bytes(g, c, k));
}

/* The number of the piece that slot i holds: the last one posted there. */
static size_t piece_in(const pair *p, int i)
{
    size_t k = (p->posted - 1) / MPI_SLOTS * MPI_SLOTS + (size_t)i;
    return k < p->posted ? k : k - MPI_SLOTS;
}

static int turn(mpi_group *g, wan_call *c, int *done)
{
    pair *p = c->impl;
    const mpi_batch *late = &p->head;
    if (!p->begun)
        WAN_TRY(post_head(g, c, p));
    int here = wan_mpi_test(&p->head), moved = 0, busy = 0;
    WAN_TRY(here);
    if (here && p->begun == 1) {
        WAN_TRY(head_here(c, p));
        moved = 1;
    }
    for (int i = 0; i < MPI_SLOTS && p->begun == 2; i++) {
        int end = p->busy[i] ? wan_mpi_test(&p->slot[i]) : 0;
        WAN_TRY(end);
        if (end)
            WAN_TRY(piece_here(g, c, p, i, piece_in(p, i)));
        if (!p->busy[i] && p->posted < p->pieces && p->posted % MPI_SLOTS == (size_t)i) {
            WAN_TRY(post_piece(g, c, p, i));
            end = 1;
        }
        moved |= end;
        busy |= p->busy[i];
        if (here && p->busy[i])
            late = &p->slot[i];
    }
    *done = here && !busy && p->begun == 2 && p->posted == p->pieces;
    if (moved)
        p->stalled = 0;
    return moved || *done ? 1 : wan_mpi_stalled(g, c, &p->stalled, late);
}

static void pair_free(pair *p)
{
    wan_mpi_batch_free(&p->head);
    for (int i = 0; i < MPI_SLOTS; i++)
        wan_mpi_batch_free(&p->slot[i]);
    free(p->stage);
    free(p);
}

/* Whether an earlier call has the same ends and tag. */
static int must_wait(const mpi_group *g, const wan_call *c)
{
    for (const wan_call *o = g->pairs; o != c; o = o->next)
        if (o->kind == c->kind && o->peer == c->peer && o->tag == c->tag)
            return 1;
    return 0;
}

int wan_mpi_pair_turn(mpi_group *g)
{
    int moved = 0;
    for (wan_call **at = &g->pairs, *c; (c = *at);) {
        int done = 0, rc = must_wait(g, c) ? 0 : turn(g, c, &done);
        WAN_TRY(rc);
        moved |= rc;
        if (!done) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        pair_free(c->impl);
        c->impl = NULL;
        wan_mpi_done(g, c);
    }
    return moved;
}

int wan_mpi_pair_add(mpi_group *g, wan_call *c)
{
    pair *p = wan_calloc(1, sizeof *p + MPI_HEAD + g->eager, "send or receive");
    int rc = p ? wan_mpi_batch(&p->head, 1) : -1;
    for (int i = 0; i < MPI_SLOTS && rc == 0; i++)
        rc = wan_mpi_batch(&p->slot[i], 1);
    if (rc == 0 && c->where && !(p->stage = wan_malloc(MPI_SLOTS, g->piece, "send or receive")))
        rc = -1;
    if (rc < 0) {
        if (p)
            pair_free(p);
        return -1;
    }
    c->impl = p;
    c->number = c->kind == WAN_SEND ? ++g->sent[c->peer] : ++g->received[c->peer];
    wan_call **at = &g->pairs;
    while (*at)
        at = &(*at)->next;
    *at = c;
    return 0;
}
