/* SPDX-License-Identifier: Apache-2.0
 *
 * watch_priv.h - what watch.c (the thread), watch_net.c (connecting) and watch_start.c (beats in the
 * memory of one machine) share.
 */
#ifndef WAN_DIST_WATCH_PRIV_H
#define WAN_DIST_WATCH_PRIV_H

#include <pthread.h>

#include "lib/dist/watch.h"

enum { WATCH_HOST = 64, WATCH_TOKEN = 16, WATCH_ADDRESSES = 16, WATCH_CALL = 192 };

enum frame_type {
    FRAME_HELLO = 1,
    FRAME_WELCOME,
    FRAME_BEAT,
    FRAME_ASK,
    FRAME_TELL,
    FRAME_LOST,
    FRAME_BYE
};

/* The one message; all of a run are built from the same source, or the identity differs. */
typedef struct watch_frame {
    uint32_t magic, type;
    int32_t rank, about; /* about: whom it asks or tells of, or who is lost */
    int32_t pid, pad;
    unsigned char token[WATCH_TOKEN];
    char host[WATCH_HOST];
    char text[WAN_WATCH_TEXT]; /* last call, sentence, identity */
} watch_frame;

typedef struct watch_peer {
    int fd, rank, pid, gone; /* fd -1: none; gone: said goodbye */
    int muted;               /* takes nothing more */
    double silent;           /* seconds */
    char host[WATCH_HOST], call[WATCH_CALL];
    watch_frame in;
    size_t got; /* bytes of in */
} watch_peer;

struct wan_watch {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    double dead, interval;
    int rank, size, pid, stop, connected;
    int linked, leaving; /* of the thread: it holds the connections; says goodbye */
    char host[WATCH_HOST];
    struct watch_start *start; /* beats in shared memory, or NULL */
    /* [n_peers]: of rank 0 the others in their order, of the others rank 0 */
    watch_peer *peer;
    int n_peers;
    /* written by callers, read by the thread without a lock: a mixture of two calls does no harm */
    struct {
        _Atomic uint64_t name[2];
        _Atomic(const char *) kind;
        _Atomic int64_t number;
        _Atomic size_t bytes;
        _Atomic double since;
        _Atomic int waiting;
    } note;
    _Atomic int is_lost;
    /* under lock */
    int lost, speaker; /* lost: a rank is, or this one is doomed; speaker: the rank that says so */
    int noticed, said;
    double lost_at, grace;
    char why[WAN_WATCH_TEXT];
    wan_watch_lost_fn *on_lost;
    wan_watch_tend_fn *tend;
    void *tend_arg;
    int ask, told; /* rank + 1 asked for, or 0; answered */
    char answer[WAN_WATCH_TEXT];
};

void wan_watch_frame(const wan_watch *w, watch_frame *f, enum frame_type t);
/* 0, or -1 when the peer takes nothing more (no sentence). */
int wan_watch_send(watch_peer *p, const watch_frame *f);
/* 1: p->in is a whole frame, 0: not yet, -1: the connection has ended. */
int wan_watch_recv(watch_peer *p);

int wan_watch_start_new(wan_watch *w); /* no sentence: a machine without the means does without */
void wan_watch_start_beat(wan_watch *w);
void wan_watch_start_free(wan_watch *w);

#endif
