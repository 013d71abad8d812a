/* SPDX-License-Identifier: Apache-2.0
 *
 * comm_dry.c - see comm_dry.h.
 */
#include "lib/dist/comm_dry.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/dist/transport.h"

enum { IN, OUT, WAYS, NEAR = 0, FAR, LINKS };

typedef struct dry {
    wan_dry_links links;
    double *clock; /* NULL: calls take no time */
    double busy[LINKS][WAYS];
    wan_traffic waited, far;
} dry;

static int machine(const dry *y, int world_rank)
{
    return y->links.per_machine > 0 ? world_rank / y->links.per_machine : 0;
}

/* Members on this rank's machine. */
static int at_home(const dry *y, const wan_group *g)
{
    int n = 0;
    for (int r = 0; r < g->size; r++)
        n += machine(y, g->member[r]) == machine(y, g->member[g->rank]);
    return n;
}

static int is_far(const dry *y, const wan_call *c)
{
    const wan_group *g = c->g;
    if (c->kind == WAN_SEND || c->kind == WAN_RECV)
        return machine(y, g->member[c->peer]) != machine(y, g->member[g->rank]);
    return at_home(y, g) < g->size;
}

static double rate_of(const dry *y, const wan_call *c, int far)
{
    const wan_dry_links *l = &y->links;
    int alone = c->kind == WAN_SEND || c->kind == WAN_RECV || c->kind == WAN_ALL_TO_ALL;
    double rate = far ? l->far * (alone ? 1 : at_home(y, c->g)) : l->near;
    return rate < l->near ? rate : l->near;
}

static double seconds(const dry *y, const wan_call *c, int far)
{
    double n = c->g->size, bytes = (double)c->bytes, rate = rate_of(y, c, far), rounds = log2(n);
    switch (c->kind) {
    case WAN_ALL_REDUCE:
        bytes *= 2 * (n - 1) / n;
        rounds *= 2;
        break;
    case WAN_REDUCE_SCATTER:
    case WAN_ALL_GATHER: bytes *= (n - 1) / n; break;
    case WAN_SEND:
    case WAN_RECV: rounds = 1; break;
    default: break;
    }
    return (rate > 0 ? bytes / rate : 0) +
           rounds * (far ? y->links.far_latency : y->links.near_latency);
}

/* The call's turn on its link; when it is done goes into *end. */
static void take_turn(dry *y, const wan_call *c, double *end)
{
    int far = is_far(y, c), from = c->kind == WAN_SEND ? OUT : IN,
        to = c->kind == WAN_RECV ? IN : OUT;
    double begin = *y->clock;
    for (int w = from; w <= to; w++)
        begin = y->busy[far][w] > begin ? y->busy[far][w] : begin;
    *end = begin + seconds(y, c, far);
    for (int w = from; w <= to; w++)
        y->busy[far][w] = *end;
    if (far)
        wan_traffic_add(&y->far, c->g->name, c->kind, 1, (int64_t)c->bytes, 0);
}

static int dry_start(wan_call *c, double now)
{
    dry *y = c->g->comm->impl;
    const size_t e = wan_dtype_size(c->type);
    double *end = wan_calloc(1, sizeof *end, "call");
    (void)now;
    if (!end)
        return -1;
    c->impl = end;
    c->done = 1;
    if (y->clock)
        take_turn(y, c, end);
    if (c->where || c->kind != WAN_ALL_GATHER)
        return 0;
    for (int r = 0; r < c->g->size; r++)
        if (r != c->g->rank &&
            c->part[r + 1] - c->part[r] == c->part[c->g->rank + 1] - c->part[c->g->rank])
            memcpy((char *)c->out + c->part[r] * e, c->x, (c->part[r + 1] - c->part[r]) * e);
    return 0;
}

static int dry_wait(wan_call *c, double now)
{
    dry *y = c->g->comm->impl;
    const double end = *(double *)c->impl;
    (void)now;
    free(c->impl);
    if (y->clock && end > *y->clock) {
        wan_traffic_add(&y->waited, c->g->name, c->kind, 1, 0, end - *y->clock);
        *y->clock = end;
    }
    return 0;
}

static int dry_join(wan_group *g)
{
    (void)g;
    return 0;
}

static void dry_leave(wan_group *g)
{
    (void)g;
}

static void dry_close(wan_comm *c)
{
    free(c->impl);
}

static const wan_transport transport = { .name = "dry",
                                         .start = dry_start,
                                         .wait = dry_wait,
                                         .join = dry_join,
                                         .leave = dry_leave,
                                         .close = dry_close,
                                         .alone = 1 };

int wan_comm_dry_open(wan_comm **out, int rank, int size)
{
    wan_comm *c = *out = wan_calloc(1, sizeof *c, "communicator");
    if (!c)
        return -1;
    c->t = &transport;
    c->rank = rank;
    c->size = size;
    c->impl = wan_calloc(1, sizeof(dry), "communicator");
    if (c->impl && wan_group_open_world(c) == 0)
        return 0;
    free(c->impl);
    free(c);
    *out = NULL;
    return -1;
}

void wan_comm_dry_run(wan_comm *c, const wan_dry_links *links, double *clock)
{
    dry *y = c->impl;
    y->links = *links;
    y->clock = clock;
    memset(y->busy, 0, sizeof y->busy);
    memset(&y->waited, 0, sizeof y->waited);
    memset(&y->far, 0, sizeof y->far);
}

const wan_traffic *wan_comm_dry_waited(const wan_comm *c)
{
    return &((const dry *)c->impl)->waited;
}

const wan_traffic *wan_comm_dry_far(const wan_comm *c)
{
    return &((const dry *)c->impl)->far;
}

int wan_comm_dry_is(const wan_comm *c)
{
    return c->t == &transport;
}
