/* SPDX-License-Identifier: Apache-2.0
 *
 * comm_mpi.h - what the files of the MPI transport share: the process (comm_mpi.c), messages
 * (comm_mpi_message.c), collective calls (comm_mpi_call.c), sends and receives (comm_mpi_pair.c).
 *
 * Calls are small state machines over non-blocking messages.  Whoever holds the lock may drive them:
 * the caller while it waits, a thread of the process while the caller computes.
 */
#ifndef WAN_DIST_COMM_MPI_H
#define WAN_DIST_COMM_MPI_H

#include <mpi.h>
#include <pthread.h>

#include "lib/dist/transport.h"

enum { MPI_HEAD = 64, MPI_SLOTS = 3, MPI_GROUPS = 1024 };

/* What goes in front of every call: the sender's view of it. */
typedef struct mpi_head {
    int16_t kind, type, op;
    int16_t way; /* of the data: host memory, device memory, another transport */
    int32_t group, peer, tag, eager; /* eager: bytes of the data that follow in the same message */
    int64_t number;
    uint64_t n, parts; /* elements; a digest of the lengths of the rows */
} mpi_head;

/* Messages under way together. */
typedef struct mpi_batch {
    MPI_Request *req;
    int *peer;
    int n;
} mpi_batch;

/* A piece of a call under way. */
typedef struct mpi_slot {
    mpi_batch b;
    int phase;    /* 0: idle */
    size_t k;     /* which piece */
    char *copies; /* [size][piece] of the others */
    char *stage;  /* [size][piece] of device memory */
} mpi_slot;

typedef struct mpi_group {
    struct mpi *m;
    wan_group *g;
    struct mpi_group *next; /* of all groups */
    size_t eager, piece;    /* bytes: of data beside a head, of a message */
    /* collective calls: the first is under way */
    wan_call *first, **last;
    int begun;
    size_t pieces, posted; /* of the call under way */
    char *head_in, *head_out;
    const void **copy; /* [size]: what is added */
    mpi_batch heads;
    mpi_slot slot[MPI_SLOTS];
    double stalled; /* seconds without a message */
    /* sends and receives */
    wan_call *pairs;
    int64_t *sent, *received; /* [size] calls with each member */
} mpi_group;

typedef struct mpi {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int ready, stop, failed, driven, rank, size;
    char why[512];        /* sentence of the first failure */
    MPI_Comm comm, pairs; /* collective calls; sends and receives */
    mpi_group *groups;
    int64_t under_way;       /* calls */
    double dead, late, tick; /* tick: length of this turn of the clock */
    struct wan_watch *watch;
} mpi;

int wan_mpi_code(int rc, const char *what) WAN_MUST_CHECK; /* 0, or -1 with MPI's sentence */
/* Posts one message of a batch; none for 0 bytes. */
int wan_mpi_send(mpi_batch *b, MPI_Comm c, const void *x, size_t bytes, const mpi_group *g, int to,
                 int tag) WAN_MUST_CHECK;
int wan_mpi_recv(mpi_batch *b, MPI_Comm c, void *x, size_t bytes, const mpi_group *g, int from,
                 int tag) WAN_MUST_CHECK;
int wan_mpi_batch(mpi_batch *b, int n) WAN_MUST_CHECK; /* room for n messages */
void wan_mpi_batch_free(mpi_batch *b);
int wan_mpi_test(mpi_batch *b) WAN_MUST_CHECK; /* 1: all arrived, 0: not yet, -1 */
/* Nothing moved in this turn: -1 when that has lasted too long; what names the call. */
int wan_mpi_stalled(mpi_group *g, const wan_call *c, double *stalled, const mpi_batch *b)
    WAN_MUST_CHECK;
void wan_mpi_head(mpi_head *h, const wan_call *c, int to);
/* 0 when the other's view of the call is mine. */
int wan_mpi_head_check(const mpi_head *theirs, const wan_call *c, int from) WAN_MUST_CHECK;

/* One turn: 1 something moved, 0 nothing did, -1. */
int wan_mpi_call_turn(mpi_group *g) WAN_MUST_CHECK;
int wan_mpi_pair_turn(mpi_group *g) WAN_MUST_CHECK;
int wan_mpi_call_open(mpi_group *g) WAN_MUST_CHECK; /* memory for collective calls */
void wan_mpi_call_close(mpi_group *g);
int wan_mpi_pair_add(mpi_group *g, wan_call *c) WAN_MUST_CHECK;
void wan_mpi_done(mpi_group *g, wan_call *c);

#endif
