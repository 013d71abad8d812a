/* SPDX-License-Identifier: Apache-2.0
 *
 * transport.h - what lies behind comm.h and group.h: a call, and who carries it out.
 */
#ifndef WAN_DIST_TRANSPORT_H
#define WAN_DIST_TRANSPORT_H

#include "lib/dist/group.h"

/* One call under way.  Made by group.c, carried out by a transport, freed by wan_group_wait. */
typedef struct wan_call {
    wan_group *g;
    wan_group_kind kind;
    wan_dtype type;
    wan_group_op op;
    const wan_where *where;
    const void *x;
    void *out;       /* all_reduce, broadcast, recv: the vector itself; x is the same */
    int peer, tag;   /* root, to, from */
    int64_t number;  /* collective: in its group; send, recv: with this peer and tag */
    size_t n, bytes; /* of the counter */
    size_t *part;    /* [size + 1] starts of the rows, or of the pieces of out */
    size_t *from;    /* [size + 1] starts of the pieces of x; part but in all_to_all */
    wan_group_counter *counter;
    int check; /* only compared with the others' views, by transports that leave the data to another;
                  nobody waits, freed when done */
    /* of the transport */
    int done;
    struct wan_call *next;
    void *impl;
} wan_call;

/* All return 0 or -1; no group of one comes here. */
typedef struct wan_transport {
    const char *name;
    /* Takes the call; it may be done on return.  On failure it stays the caller's.  now: wan_now. */
    int (*start)(wan_call *c, double now);
    /* Until the call is done; forgets it also on failure. */
    int (*wait)(wan_call *c, double now);
    /* The caller goes on; NULL: the transport need not know. */
    void (*left)(const wan_call *c, double now);
    /* What the transport needs for g, which is new; collective over the members of g. */
    int (*join)(wan_group *g);
    void (*leave)(wan_group *g);
    /* wan_group_prepare; NULL: nothing to do */
    int (*prepare)(wan_group *g, const wan_where *w);
    void (*close)(wan_comm *c);
    /* wan_group_push; NULL: what is started has begun */
    int (*push)(wan_group *g);
    int alone; /* nobody answers: what others would say follows from what all know (comm_dry.h) */
} wan_transport;

/* Fill a wan_comm but for its world; used by wan_comm_open. */
int wan_comm_self_open(wan_comm *c) WAN_MUST_CHECK;
int wan_comm_mpi_open(wan_comm *c, double dead, double late) WAN_MUST_CHECK;
int wan_comm_nccl_open(wan_comm *c, wan_comm *boot) WAN_MUST_CHECK; /* comm_nccl.h */

/* A call like c, of group g, that is only checked; NULL: out of memory. */
wan_call *wan_group_check_call(const wan_call *c, wan_group *g);

/* The world of a comm whose rank, size and transport are known. */
int wan_group_open_world(wan_comm *c) WAN_MUST_CHECK;

/* [part[r], part[r + 1]): the r-th of size nearly equal parts of n. */
static inline size_t wan_group_part(size_t n, int size, int r)
{
    size_t p = (size_t)size, k = (size_t)r;
    return n / p * k + (n % p < k ? n % p : k);
}

#endif
