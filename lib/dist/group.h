/* SPDX-License-Identifier: Apache-2.0
 *
 * group.h - some ranks and the calls they make together.
 *
 *     wan_group *g, *tp;
 *     g = wan_group_world(comm);
 *     WAN_TRY(wan_group_split(g, rank / 2, rank, "tp", &tp));
 *     WAN_TRY(wan_group_all_reduce_start(tp, NULL, x, n, WAN_F32, WAN_SUM, &req)); // goes on while
 *     ...                                                                         // we compute
 *     WAN_TRY(wan_group_wait(&req));
 *     wan_group_free(&tp);
 *
 * Every member makes the same collective calls of a group in the same order, with the same sizes and
 * types; calls of different groups, and sends and receives, are ordered only among themselves.  Any
 * number may be under way.  Each call carries number, kind, size and type to the other members: where
 * two differ, the call fails with a sentence that names both.  A group of one copies and returns.
 *
 * Sums are made in the order of the group's ranks, bf16 in float32 and rounded once, so all members
 * get the same bytes, and the same layout gives the same bytes again.  A maximum with a NaN is NaN.
 * Sums exist for F32, BF16, F64 and I64; the other calls move any type (bytes: WAN_U8).
 *
 * n counts elements, without a limit.  `where` (where.h) says in which memory x and out lie, both in
 * the same.  Buffers and `where` belong to the caller, who leaves them alone between _start and
 * wan_group_wait; arrays of counts are copied.  out and x do not overlap unless said.  The plain form
 * of a call is its _start and wan_group_wait in one (as is a _start whose req is NULL).  In device memory, _start waits for the work that makes
 * the buffers.
 *
 * Under NCCL, calls in device memory run on a stream of the group; neither _start nor wan_group_wait
 * stops the host, work given to the device after wan_group_wait runs after the call, and the host waits
 * by wan_dev_sync.  NCCL adds in an order of its own, the same on all members and in the same layout,
 * and rounds bf16 at each addition.  Sends and receives begin at the next wan_group_wait or
 * wan_group_push of the group, all that have been started together, and end together.
 *
 * One thread per rank makes the calls.  All return 0, or -1 with a sentence; after a failure every
 * later call of the communicator fails.
 */
#ifndef WAN_DIST_GROUP_H
#define WAN_DIST_GROUP_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/dtype.h"
#include "lib/dist/comm.h"
#include "lib/dist/where.h"

enum { WAN_GROUP_NAME = 16, WAN_GROUP_TAGS = 4096 };

typedef enum wan_group_op { WAN_SUM, WAN_MAX } wan_group_op;

typedef enum wan_group_kind {
    WAN_ALL_REDUCE,
    WAN_REDUCE_SCATTER,
    WAN_ALL_GATHER,
    WAN_ALL_TO_ALL,
    WAN_BROADCAST,
    WAN_BARRIER,
    WAN_SEND,
    WAN_RECV,
    WAN_GROUP_KINDS
} wan_group_kind;

/* What this rank has asked for and how long it stood still for it. */
typedef struct wan_group_counter {
    int64_t calls;
    int64_t bytes;  /* of the whole vector: x of all_reduce, broadcast, reduce_scatter, send; out of
                       all_gather, recv; all_to_all: x without the rank's own part */
    double seconds; /* the caller waited */
} wan_group_counter;

typedef struct wan_group {
    wan_comm *comm;
    char name[WAN_GROUP_NAME]; /* "tp", "dp", ... in messages and counters */
    int rank, size;            /* of this process in the group */
    const int *member;         /* [size]: rank in the world */
    int id;                    /* the same on all members */
    int64_t number;            /* of the last collective call */
    wan_group_counter counter[WAN_GROUP_KINDS];
    void *impl;             /* of the transport */
    struct wan_group *next; /* of the communicator's */
} wan_group;

/* All ranks; belongs to c. */
wan_group *wan_group_world(wan_comm *c);
/* Ranks of the parent that give the same color >= 0 become a group, ordered by key and then by rank in
 * the parent.  A negative color takes part in the call and gets *out = NULL.  Collective over parent.
 * A call on a NULL group is a bug of the caller. */
int wan_group_split(wan_group *parent, int color, int key, const char *name, wan_group **out)
    WAN_MUST_CHECK;
/* The same where every member knows everyone's colour: color(arg, rank in the parent), key the rank. */
typedef int wan_group_color_fn(const void *arg, int rank);
int wan_group_split_by(wan_group *parent, wan_group_color_fn *color, const void *arg,
                       const char *name, wan_group **out) WAN_MUST_CHECK;
void wan_group_free(wan_group **g); /* NULL-safe; by each member on its own, no call under way */
const char *wan_group_kind_name(wan_group_kind k);               /* "all_reduce", ... */
const wan_group_counter *wan_group_counters(const wan_group *g); /* [WAN_GROUP_KINDS] */

/* Makes what calls in the memory of w need (under NCCL a communicator, which costs device memory).  The
 * first collective call there does it too, so this is for groups that only send and receive.
 * Collective. */
int wan_group_prepare(wan_group *g, const wan_where *w) WAN_MUST_CHECK;

/* Begins the sends and receives that have been started, all together, without waiting for them. */
int wan_group_push(wan_group *g) WAN_MUST_CHECK;
/* Waits for one request and forgets it; NULL is done. */
int wan_group_wait(wan_group_req *req) WAN_MUST_CHECK;

/* x [n] becomes the sum or maximum over members. */
int wan_group_all_reduce_start(wan_group *g, const wan_where *w, void *x, size_t n, wan_dtype t,
                               wan_group_op op, wan_group_req *req) WAN_MUST_CHECK;
/* x [size][n] is summed, out [n] is this rank's row of it; out may be that row of x. */
int wan_group_reduce_scatter_start(wan_group *g, const wan_where *w, void *out, const void *x,
                                   size_t n, wan_dtype t, wan_group_op op, wan_group_req *req)
    WAN_MUST_CHECK;
/* The same with rows of n[0..size) elements, laid end to end. */
int wan_group_reduce_scatter_v_start(wan_group *g, const wan_where *w, void *out, const void *x,
                                     const size_t *n, wan_dtype t, wan_group_op op,
                                     wan_group_req *req) WAN_MUST_CHECK;
/* out [size][n] gets x [n] of every member; x may be this rank's row of out. */
int wan_group_all_gather_start(wan_group *g, const wan_where *w, void *out, const void *x, size_t n,
                               wan_dtype t, wan_group_req *req) WAN_MUST_CHECK;
/* The same with rows of n[0..size) elements, laid end to end. */
int wan_group_all_gather_v_start(wan_group *g, const wan_where *w, void *out, const void *x,
                                 const size_t *n, wan_dtype t, wan_group_req *req) WAN_MUST_CHECK;
/* The r-th piece of x, of send[r] elements, goes to member r; out gets recv[r] elements of each member
 * r; both laid end to end. */
int wan_group_all_to_all_start(wan_group *g, const wan_where *w, void *out, const size_t *recv,
                               const void *x, const size_t *send, wan_dtype t, wan_group_req *req)
    WAN_MUST_CHECK;
/* x [n] of member root to all. */
int wan_group_broadcast_start(wan_group *g, const wan_where *w, void *x, size_t n, wan_dtype t,
                              int root, wan_group_req *req) WAN_MUST_CHECK;
/* x [n] from one member to another, whose calls with the same tag (0 .. WAN_GROUP_TAGS - 1) meet in
 * their order.  A send may end before its receive begins. */
int wan_group_send_start(wan_group *g, const wan_where *w, const void *x, size_t n, wan_dtype t,
                         int to, int tag, wan_group_req *req) WAN_MUST_CHECK;
int wan_group_recv_start(wan_group *g, const wan_where *w, void *x, size_t n, wan_dtype t, int from,
                         int tag, wan_group_req *req) WAN_MUST_CHECK;
/* Returns when all members have come here. */
int wan_group_barrier(wan_group *g) WAN_MUST_CHECK;

int wan_group_all_reduce(wan_group *g, const wan_where *w, void *x, size_t n, wan_dtype t,
                         wan_group_op op) WAN_MUST_CHECK;
int wan_group_reduce_scatter(wan_group *g, const wan_where *w, void *out, const void *x, size_t n,
                             wan_dtype t, wan_group_op op) WAN_MUST_CHECK;
int wan_group_reduce_scatter_v(wan_group *g, const wan_where *w, void *out, const void *x,
                               const size_t *n, wan_dtype t, wan_group_op op) WAN_MUST_CHECK;
int wan_group_all_gather(wan_group *g, const wan_where *w, void *out, const void *x, size_t n,
                         wan_dtype t) WAN_MUST_CHECK;
int wan_group_all_gather_v(wan_group *g, const wan_where *w, void *out, const void *x,
                           const size_t *n, wan_dtype t) WAN_MUST_CHECK;
int wan_group_all_to_all(wan_group *g, const wan_where *w, void *out, const size_t *recv,
                         const void *x, const size_t *send, wan_dtype t) WAN_MUST_CHECK;
int wan_group_broadcast(wan_group *g, const wan_where *w, void *x, size_t n, wan_dtype t, int root)
    WAN_MUST_CHECK;
int wan_group_send(wan_group *g, const wan_where *w, const void *x, size_t n, wan_dtype t, int to,
                   int tag) WAN_MUST_CHECK;
int wan_group_recv(wan_group *g, const wan_where *w, void *x, size_t n, wan_dtype t, int from,
                   int tag) WAN_MUST_CHECK;

#endif
