/* SPDX-License-Identifier: Apache-2.0
 *
 * group.c - the calls of a group: checked, counted, given to the transport.
 */
#include "lib/dist/group.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/dist/combine.h"
#include "lib/dist/transport.h"

const char *wan_group_kind_name(wan_group_kind k)
{
    static const char *const names[WAN_GROUP_KINDS] = { "all_reduce", "reduce_scatter",
                                                        "all_gather", "all_to_all",
                                                        "broadcast",  "barrier",
                                                        "send",       "recv" };
    return names[k];
}

const wan_group_counter *wan_group_counters(const wan_group *g)
{
    return g->counter;
}

/* A call with room for its parts; sums: of a type that can be added. */
static wan_call *new_call(wan_group *g, const wan_where *w, wan_group_kind kind, wan_dtype t,
                          int sums)
{
    if (!g)
        WAN_BUG("%s of no group", wan_group_kind_name(kind));
    if (sums && wan_combine_type(t) < 0)
        return NULL;
    wan_call *c = wan_calloc(1, sizeof *c + 2 * ((size_t)g->size + 1) * sizeof(size_t), "call");
    if (!c)
        return NULL;
    c->g = g;
    c->kind = kind;
    c->type = t;
    c->where = w;
    c->part = (size_t *)(void *)(c + 1);
    c->from = c->part;
    c->counter = &g->counter[kind];
    return c;
}

wan_call *wan_group_check_call(const wan_call *c, wan_group *g)
{
    const size_t rows = 2 * ((size_t)g->size + 1) * sizeof(size_t);
    wan_call *k = wan_malloc(1, sizeof *k + rows, "call");
    if (!k)
        return NULL;
    *k = *c;
    k->g = g;
    k->where = NULL;
    k->check = 1;
    k->part = (size_t *)(void *)(k + 1);
    k->from = c->from == c->part ? k->part : k->part + g->size + 1;
    memcpy(k + 1, c + 1, rows);
    return k;
}

/* Starts of rows of n[r] elements, or of n0 each where n is NULL. */
static int lay_rows(size_t *start, int size, const size_t *n, size_t n0)
{
    for (int r = 0; r < size; r++)
        if (__builtin_add_overflow(start[r], n ? n[r] : n0, &start[r + 1]))
            return wan_err("rows of %zu elements and more than there is memory", start[r]);
    return 0;
}

static void lay_even(wan_call *c)
{
    for (int r = 0; r <= c->g->size; r++)
        c->part[r] = wan_group_part(c->n, c->g->size, r);
}

static int copy_own(const wan_call *c, void *to, const void *from, size_t n)
{
    size_t bytes = n * wan_dtype_size(c->type);
    if (to == from || !bytes)
        return 0;
    if (c->where)
        return c->where->copy(c->where->arg, to, from, bytes);
    memcpy(to, from, bytes);
    return 0;
}

/* The row that a rank sends itself. */
static int copy_row(const wan_call *c, size_t n)
{
    const int me = c->g->rank;
    const size_t e = wan_dtype_size(c->type);
    char *out = (char *)c->out + c->part[me] * e;
    switch (c->kind) {
    case WAN_ALL_GATHER: return copy_own(c, out, c->x, c->part[me + 1] - c->part[me]);
    case WAN_ALL_TO_ALL:
        return copy_own(c, out, (const char *)c->x + c->from[me] * e,
                        c->part[me + 1] - c->part[me]);
    case WAN_REDUCE_SCATTER: return c->g->size == 1 ? copy_own(c, out, c->x, n) : 0;
    default: return 0;
    }
}

/* Until the call is done, and forgotten; `began` is when this rank stood still. */
static int finish(wan_call *c, double began)
{
    const wan_transport *t = c->g->comm->t;
    int rc = t->wait(c, began);
    double now = wan_now();
    if (t->left)
        t->left(c, now);
    c->counter->seconds += now - began;
    free(c);
    return rc;
}

/* Counts the call and hands it to the transport; a group of one copies.  req NULL: waits for it too. */
static int start(wan_call *c, size_t n, wan_group_req *req)
{
    wan_group *g = c->g;
    if (req)
        *req = NULL;
    if (__builtin_mul_overflow(n, wan_dtype_size(c->type), &c->bytes)) {
        free(c);
        return wan_err("%zu elements are more than there is memory", n);
    }
    c->counter->calls++;
    c->counter->bytes += (int64_t)c->bytes;
    if (c->kind != WAN_SEND && c->kind != WAN_RECV)
        c->number = ++g->number;
    if (g->size == 1) {
        int rc = copy_row(c, n);
        free(c);
        return rc;
    }
    const double began = wan_now();
    const wan_transport *t = g->comm->t;
    g->comm->at_once = !req;
    if (t->start(c, began) < 0) {
        free(c);
        return -1;
    }
    int rc = copy_row(c, n); /* while the others' rows are on their way */
    if (!req)
        return finish(c, began) < 0 || rc < 0 ? -1 : 0;
    *req = c;
    WAN_TRY(rc);
    if (c->where) /* the start may have waited for the device */
        c->counter->seconds += wan_now() - began;
    return 0;
}

int wan_group_prepare(wan_group *g, const wan_where *w)
{
    const struct wan_transport *t = g->comm->t;
    return g->size > 1 && t->prepare ? t->prepare(g, w) : 0;
}

int wan_group_push(wan_group *g)
{
    const struct wan_transport *t = g->comm->t;
    return g->size > 1 && t->push ? t->push(g) : 0;
}

int wan_group_wait(wan_group_req *req)
{
    wan_call *c = *req;
    *req = NULL;
    if (!c)
        return 0;
    c->g->comm->at_once = 0;
    return finish(c, wan_now());
}

/* ---- the calls */

int wan_group_all_reduce_start(wan_group *g, const wan_where *w, void *x, size_t n, wan_dtype t,
                               wan_group_op op, wan_group_req *req)
{
    wan_call *c = new_call(g, w, WAN_ALL_REDUCE, t, 1);
    if (!c)
        return -1;
    c->op = op;
    c->x = c->out = x;
    c->n = n;
    lay_even(c);
    return start(c, n, req);
}

static int rows(wan_call *c, void *out, const void *x, const size_t *n, size_t n0,
                wan_group_req *req)
{
    if (!c)
        return -1;
    c->out = out;
    c->x = x;
    if (lay_rows(c->part, c->g->size, n, n0) < 0) {
        free(c);
        return -1;
    }
    c->n = c->part[c->g->size];
    return start(c, c->n, req);
}

static int reduce_scatter(wan_group *g, const wan_where *w, void *out, const void *x,
                          const size_t *n, size_t n0, wan_dtype t, wan_group_op op,
                          wan_group_req *req)
{
    wan_call *c = new_call(g, w, WAN_REDUCE_SCATTER, t, 1);
    if (c)
        c->op = op;
    return rows(c, out, x, n, n0, req);
}

int wan_group_reduce_scatter_start(wan_group *g, const wan_where *w, void *out, const void *x,
                                   size_t n, wan_dtype t, wan_group_op op, wan_group_req *req)
{
    return reduce_scatter(g, w, out, x, NULL, n, t, op, req);
}

int wan_group_reduce_scatter_v_start(wan_group *g, const wan_where *w, void *out, const void *x,
                                     const size_t *n, wan_dtype t, wan_group_op op,
                                     wan_group_req *req)
{
    return reduce_scatter(g, w, out, x, n, 0, t, op, req);
}

int wan_group_all_gather_start(wan_group *g, const wan_where *w, void *out, const void *x, size_t n,
                               wan_dtype t, wan_group_req *req)
{
    return rows(new_call(g, w, WAN_ALL_GATHER, t, 0), out, x, NULL, n, req);
}

int wan_group_all_gather_v_start(wan_group *g, const wan_where *w, void *out, const void *x,
                                 const size_t *n, wan_dtype t, wan_group_req *req)
{
    return rows(new_call(g, w, WAN_ALL_GATHER, t, 0), out, x, n, 0, req);
}

int wan_group_all_to_all_start(wan_group *g, const wan_where *w, void *out, const size_t *recv,
                               const void *x, const size_t *send, wan_dtype t, wan_group_req *req)
{
    wan_call *c = new_call(g, w, WAN_ALL_TO_ALL, t, 0);
    if (!c)
        return -1;
    c->out = out;
    c->x = x;
    c->from = c->part + g->size + 1;
    if (lay_rows(c->part, g->size, recv, 0) < 0 || lay_rows(c->from, g->size, send, 0) < 0) {
        free(c);
        return -1;
    }
    if (recv[g->rank] != send[g->rank]) {
        free(c);
        return wan_err("all_to_all in group %s: rank %d sends itself %zu elements and wants %zu",
                       g->name, g->member[g->rank], send[g->rank], recv[g->rank]);
    }
    c->n = c->from[g->size] - send[g->rank];
    return start(c, c->n, req);
}

int wan_group_broadcast_start(wan_group *g, const wan_where *w, void *x, size_t n, wan_dtype t,
                              int root, wan_group_req *req)
{
    wan_call *c = new_call(g, w, WAN_BROADCAST, t, 0);
    if (!c)
        return -1;
    if (root < 0 || root >= g->size)
        WAN_BUG("broadcast from %d in group %s of %d", root, g->name, g->size);
    c->x = c->out = x;
    c->n = n;
    c->peer = root;
    lay_even(c);
    return start(c, n, req);
}

static int pair(wan_call *c, void *x, size_t n, int peer, int tag, wan_group_req *req)
{
    if (!c)
        return -1;
    if (peer < 0 || peer >= c->g->size || peer == c->g->rank || tag < 0 || tag >= WAN_GROUP_TAGS)
        WAN_BUG("%s between %d and %d with tag %d in group %s of %d", wan_group_kind_name(c->kind),
                c->g->rank, peer, tag, c->g->name, c->g->size);
    c->x = c->out = x;
    c->n = n;
    c->peer = peer;
    c->tag = tag;
    return start(c, n, req);
}

int wan_group_send_start(wan_group *g, const wan_where *w, const void *x, size_t n, wan_dtype t,
                         int to, int tag, wan_group_req *req)
{
    return pair(new_call(g, w, WAN_SEND, t, 0), (void *)(uintptr_t)x, n, to, tag, req);
}

int wan_group_recv_start(wan_group *g, const wan_where *w, void *x, size_t n, wan_dtype t, int from,
                         int tag, wan_group_req *req)
{
    return pair(new_call(g, w, WAN_RECV, t, 0), x, n, from, tag, req);
}

/* ---- started and waited for */

int wan_group_barrier(wan_group *g)
{
    wan_call *c = new_call(g, NULL, WAN_BARRIER, WAN_U8, 0);
    if (!c)
        return -1;
    return start(c, 0, NULL);
}

int wan_group_all_reduce(wan_group *g, const wan_where *w, void *x, size_t n, wan_dtype t,
                         wan_group_op op)
{
    return wan_group_all_reduce_start(g, w, x, n, t, op, NULL);
}

int wan_group_reduce_scatter(wan_group *g, const wan_where *w, void *out, const void *x, size_t n,
                             wan_dtype t, wan_group_op op)
{
    return wan_group_reduce_scatter_start(g, w, out, x, n, t, op, NULL);
}

int wan_group_reduce_scatter_v(wan_group *g, const wan_where *w, void *out, const void *x,
                               const size_t *n, wan_dtype t, wan_group_op op)
{
    return wan_group_reduce_scatter_v_start(g, w, out, x, n, t, op, NULL);
}

int wan_group_all_gather(wan_group *g, const wan_where *w, void *out, const void *x, size_t n,
                         wan_dtype t)
{
    return wan_group_all_gather_start(g, w, out, x, n, t, NULL);
}

int wan_group_all_gather_v(wan_group *g, const wan_where *w, void *out, const void *x,
                           const size_t *n, wan_dtype t)
{
    return wan_group_all_gather_v_start(g, w, out, x, n, t, NULL);
}

int wan_group_all_to_all(wan_group *g, const wan_where *w, void *out, const size_t *recv,
                         const void *x, const size_t *send, wan_dtype t)
{
    return wan_group_all_to_all_start(g, w, out, recv, x, send, t, NULL);
}

int wan_group_broadcast(wan_group *g, const wan_where *w, void *x, size_t n, wan_dtype t, int root)
{
    return wan_group_broadcast_start(g, w, x, n, t, root, NULL);
}

int wan_group_send(wan_group *g, const wan_where *w, const void *x, size_t n, wan_dtype t, int to,
                   int tag)
{
    return wan_group_send_start(g, w, x, n, t, to, tag, NULL);
}

int wan_group_recv(wan_group *g, const wan_where *w, void *x, size_t n, wan_dtype t, int from,
                   int tag)
{
    return wan_group_recv_start(g, w, x, n, t, from, tag, NULL);
}
