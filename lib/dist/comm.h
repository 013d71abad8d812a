/* SPDX-License-Identifier: Apache-2.0
 *
 * comm.h - ranks that work together: one interface, several transports (self, mpi, nccl).
 *
 *     wan_comm *c;
 *     WAN_TRY(wan_comm_open(&c, "auto", 30, 1800));
 *     WAN_TRY(wan_comm_sum_start(c, grad, n, &req));   // goes on while we compute
 *     ...
 *     WAN_TRY(wan_comm_wait(c, req));
 *     wan_comm_close(&c);
 *
 * Every rank makes the same calls in the same order.  Buffers are host memory.  Sums are made in the
 * order of ranks on one owner per element and then sent around, so all ranks hold the same bytes and
 * the same number of ranks gives the same bytes again.  A rank that does not answer for `dead`
 * seconds, or that is alive but `late` seconds behind, makes the call fail with a sentence naming it.
 * One thread per rank makes the calls.
 */
#ifndef WAN_DIST_COMM_H
#define WAN_DIST_COMM_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

typedef struct wan_comm wan_comm;
typedef int64_t wan_comm_req; /* 0: already done */

/* What a transport provides.  All return 0 or -1. */
typedef struct wan_transport {
    const char *name;
    int (*sum)(wan_comm *c, void *x, size_t n, int f64, wan_comm_req *req);
    int (*broadcast)(wan_comm *c, void *x, size_t bytes, int root);
    int (*gather)(wan_comm *c, const void *x, size_t bytes, void *all);
    int (*wait)(wan_comm *c, wan_comm_req req);
    void (*close)(wan_comm *c);
} wan_transport;

struct wan_comm {
    const wan_transport *t;
    int rank, size;
    void *impl;
};

/* transport: "self", "mpi", "nccl" (sums on GPUs; ranks brought together as by auto), or "auto": mpi
 * where a launcher (mpirun, srun) started the process.
 * dead, late: seconds to wait for a rank that gives no sign of life, and for one that does. */
int wan_comm_open(wan_comm **out, const char *transport, double dead, double late) WAN_MUST_CHECK;
/* Waits for all ranks to come here.  After a failed call, do not: exit instead, which makes the
 * launcher end the others. */
void wan_comm_close(wan_comm **c);

/* x [n] becomes the sum over ranks; untouched by the caller until wan_comm_wait. */
int wan_comm_sum_start(wan_comm *c, float *x, size_t n, wan_comm_req *req) WAN_MUST_CHECK;
int wan_comm_wait(wan_comm *c, wan_comm_req req) WAN_MUST_CHECK;
int wan_comm_sum_f32(wan_comm *c, float *x, size_t n) WAN_MUST_CHECK;
int wan_comm_sum_f64(wan_comm *c, double *x, size_t n) WAN_MUST_CHECK;
/* x of rank root to all. */
int wan_comm_broadcast(wan_comm *c, void *x, size_t bytes, int root) WAN_MUST_CHECK;
/* all [size][bytes] gets x of every rank, on every rank. */
int wan_comm_gather(wan_comm *c, const void *x, size_t bytes, void *all) WAN_MUST_CHECK;
int wan_comm_barrier(wan_comm *c) WAN_MUST_CHECK;
/* This rank among those with the same host name, and how many they are.  Collective: it asks the
 * ranks, because launchers do not agree on a variable. */
int wan_comm_local(wan_comm *c, int *rank, int *ranks) WAN_MUST_CHECK;

/* Fill a wan_comm; used by wan_comm_open. */
int wan_comm_self_open(wan_comm *c) WAN_MUST_CHECK;
int wan_comm_mpi_open(wan_comm *c, double dead, double late) WAN_MUST_CHECK;
int wan_comm_nccl_open(wan_comm *c, wan_comm *boot) WAN_MUST_CHECK; /* comm_nccl.h */

#endif
