/* SPDX-License-Identifier: Apache-2.0
 *
 * comm_mpi_message.c - messages of the MPI transport: posted, tested, and what goes in front of them.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/dist/comm_mpi.h"
#include "lib/dist/watch.h"

int wan_mpi_code(int rc, const char *what)
{
    char text[MPI_MAX_ERROR_STRING];
    int n;
    if (rc == MPI_SUCCESS)
        return 0;
    MPI_Error_string(rc, text, &n);
    return wan_err("MPI: %s: %s", what, text);
}

int wan_mpi_batch(mpi_batch *b, int n)
{
    b->req = wan_calloc((size_t)n, sizeof *b->req, "messages");
    b->peer = wan_calloc((size_t)n, sizeof *b->peer, "messages");
    return b->req && b->peer ? 0 : -1;
}

void wan_mpi_batch_free(mpi_batch *b)
{
    free(b->req);
    free(b->peer);
}

int wan_mpi_send(mpi_batch *b, MPI_Comm c, const void *x, size_t bytes, const mpi_group *g, int to,
                 int tag)
{
    if (!bytes)
        return 0;
    b->peer[b->n] = g->g->member[to];
    return wan_mpi_code(
        MPI_Isend(x, (int)bytes, MPI_BYTE, g->g->member[to], tag, c, &b->req[b->n++]), "send");
}

int wan_mpi_recv(mpi_batch *b, MPI_Comm c, void *x, size_t bytes, const mpi_group *g, int from,
                 int tag)
{
    if (!bytes)
        return 0;
    b->peer[b->n] = g->g->member[from];
    return wan_mpi_code(
        MPI_Irecv(x, (int)bytes, MPI_BYTE, g->g->member[from], tag, c, &b->req[b->n++]), "receive");
}

int wan_mpi_test(mpi_batch *b)
{
    int done = 1;
    if (b->n)
        WAN_TRY(wan_mpi_code(MPI_Testall(b->n, b->req, &done, MPI_STATUSES_IGNORE), "test"));
    return done;
}

int wan_mpi_stalled(mpi_group *g, const wan_call *c, double *stalled, const mpi_batch *b)
{
    char text[WAN_WATCH_TEXT];
    int late = -1;
    *stalled += g->m->tick;
    if (*stalled <= g->m->late)
        return 0;
    for (int i = 0; b && i < b->n && late < 0; i++) {
        int here;
        WAN_TRY(
            wan_mpi_code(MPI_Request_get_status(b->req[i], &here, MPI_STATUS_IGNORE), "status"));
        late = here ? -1 : b->peer[i];
    }
    if (late < 0)
        return 0;
    wan_watch_ask(g->m->watch, late, text);
    return wan_err(
        "%s of %zu bytes, call %lld of group %s, waits for %.0f seconds (dist.timeout_minutes) "
        "for rank %d %s",
        wan_group_kind_name(c->kind), c->bytes, (long long)c->number, g->g->name, *stalled, late,
        text);
}

/* ---- heads */

static uint64_t digest(const size_t *start, int size)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (int r = 1; r <= size; r++)
        h = (h ^ start[r]) * 0x100000001b3u;
    return h;
}

void wan_mpi_head(mpi_head *h, const wan_call *c, int to)
{
    const int rows = c->kind == WAN_REDUCE_SCATTER || c->kind == WAN_ALL_GATHER;
    *h = (mpi_head){ .kind = (int16_t)c->kind,
                     .type = (int16_t)c->type,
                     .op = (int16_t)c->op,
                     .way = (int16_t)(c->check ? 2 : c->where != NULL),
                     .group = c->g->id,
                     .peer = c->peer,
                     .tag = c->tag,
                     .number = c->number,
                     .n = c->n,
                     .parts = rows ? digest(c->part, c->g->size) : 0 };
    if (c->kind == WAN_ALL_TO_ALL)
        h->n = c->from[to + 1] - c->from[to];
}

static void describe(char *text, size_t size, const mpi_head *h, const wan_group *g)
{
    int kind = h->kind >= 0 && h->kind < WAN_GROUP_KINDS ? h->kind : WAN_BARRIER;
    int type = h->type >= 0 && h->type < WAN_DTYPES ? h->type : WAN_U8;
    int n = snprintf(text, size, "%s of %llu %s", wan_group_kind_name((wan_group_kind)kind),
                     (unsigned long long)h->n, wan_dtype_name((wan_dtype)type));
    if (kind == WAN_BROADCAST && h->peer >= 0 && h->peer < g->size)
        snprintf(text + n, size - (size_t)n, " from rank %d", g->member[h->peer]);
    else if ((kind == WAN_ALL_REDUCE || kind == WAN_REDUCE_SCATTER) && h->op == WAN_MAX)
        snprintf(text + n, size - (size_t)n, " (maximum)");
    else if (h->way)
        snprintf(text + n, size - (size_t)n, " in device memory");
    else if (h->parts)
        snprintf(text + n, size - (size_t)n, " in rows of digest %08x", (unsigned)h->parts);
}

int wan_mpi_head_check(const mpi_head *theirs, const wan_call *c, int from)
{
    const wan_group *g = c->g;
    char a[128], b[128];
    mpi_head mine;
    wan_mpi_head(&mine, c, from);
    if (c->kind == WAN_ALL_TO_ALL)
        mine.n = c->part[from + 1] - c->part[from];
    if (c->kind == WAN_RECV) {
        if (theirs->n == mine.n && theirs->type == mine.type)
            return 0;
        return wan_err(
            "rank %d sends %llu %s to rank %d with tag %d in group %s, which wants %llu %s",
            g->member[from], (unsigned long long)theirs->n,
            wan_dtype_name(theirs->type >= 0 && theirs->type < WAN_DTYPES ? (wan_dtype)theirs->type
                                                                          : WAN_U8),
            g->member[g->rank], c->tag, g->name, (unsigned long long)mine.n,
            wan_dtype_name(c->type));
    }
    if (theirs->kind == mine.kind && theirs->type == mine.type && theirs->op == mine.op &&
        theirs->peer == mine.peer && theirs->n == mine.n && theirs->parts == mine.parts &&
        theirs->group == mine.group && theirs->way == mine.way)
        return 0;
    describe(a, sizeof a, from < g->rank ? theirs : &mine, g);
    describe(b, sizeof b, from < g->rank ? &mine : theirs, g);
    const int lower = from < g->rank ? from : g->rank;
    return wan_err("ranks disagree about call %lld of group %s: rank %d makes it %s, rank %d %s",
                   (long long)mine.number, g->name, g->member[lower], a,
                   g->member[from + g->rank - lower], b);
}

void wan_mpi_done(mpi_group *g, wan_call *c)
{
    g->m->under_way--;
    c->done = 1;
    if (c->check)
        free(c);
}
