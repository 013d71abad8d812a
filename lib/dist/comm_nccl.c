/* SPDX-License-Identifier: Apache-2.0
 *
 * comm_nccl.c - the NCCL transport: libwan-nccl.so, opened by comm_nccl_load.c when it is asked
 * for, so that no tool needs NCCL to start.
 *
 * Calls in the memory of a CUDA device go through NCCL on a stream of their group, between two events:
 * they begin when the caller's stream has reached their start, and the caller's stream goes on behind
 * wan_group_wait when they have ended; the host waits for neither.  Each also goes to the transport that
 * brought the ranks together (mpi) as a call without data, which names ranks that differ.  Calls in
 * host memory go there whole.
 */
#include <cuda_runtime_api.h>
#include <nccl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/dist/comm_nccl.h"
#include "lib/dist/transport.h"
#include "lib/dist/watch.h"

/* What a call leaves until the device has passed it. */
typedef struct passing {
    cudaEvent_t begin, end, wanted; /* data ready; call ended; caller's stream came to the wait */
    wan_group_counter *counter;     /* NULL: nothing is counted any more */
    struct passing *next;           /* of those past */
    struct passing *before;         /* of all */
} passing;

enum { PASSING = 256, PAIRS = 256 };

typedef struct nccl_group {
    wan_group boot; /* the same ranks in the other transport */
    ncclComm_t comm;
    cudaStream_t stream;
    passing *all;
    passing *past, **past_end; /* waited for, the oldest first, and how many */
    int n_past;
    wan_call *pair[PAIRS]; /* sends and receives not begun */
    int pairs;
    struct nccl_group *next_open; /* of those that have a comm */
    _Atomic int aborted;
} nccl_group;

/* Groups with a communicator, which the watching thread asks for errors. */
static pthread_mutex_t open_lock = PTHREAD_MUTEX_INITIALIZER;
static nccl_group *open_groups;

static int cuda_ok(cudaError_t e, const char *what)
{
    if (e == cudaSuccess)
        return 0;
    (void)cudaGetLastError();
    return wan_err("nccl: %s: %s", what, cudaGetErrorString(e));
}

static int nccl_ok(const nccl_group *s, ncclResult_t r, const char *what)
{
    char why[WAN_WATCH_TEXT];
    wan_watch *w = s->boot.comm->watch;
    if (r == ncclSuccess && !s->aborted)
        return 0;
    if (w && wan_watch_lost(w, why)) { /* the reason is known, and the communicator gone */
        wan_watch_noticed(w);
        return wan_err("%s", why);
    }
    return wan_err("nccl: %s in group %s: %s (%s)", what, s->boot.name, ncclGetErrorString(r),
                   ncclGetLastError(s->comm));
}

static int on_device(const wan_where *w)
{
    return w && w->stream;
}

/* ---- one call on the device */

static ncclDataType_t type_of(const wan_call *c)
{
    switch (c->type) {
    case WAN_F32: return ncclFloat;
    case WAN_BF16: return ncclBfloat16;
    case WAN_F64: return ncclDouble;
    case WAN_I64: return ncclInt64;
    default: return ncclUint8;
    }
}

/* Elements of type_of in n of the call's. */
static size_t units(const wan_call *c, size_t n)
{
    return type_of(c) == ncclUint8 ? n * wan_dtype_size(c->type) : n;
}

static void *at(const wan_call *c, const void *x, size_t i)
{
    return (char *)(uintptr_t)x + i * wan_dtype_size(c->type);
}

static int even(const wan_call *c)
{
    for (int r = 1; r < c->g->size; r++)
        if (c->part[r + 1] - c->part[r] != c->part[1])
            return 0;
    return 1;
}

static size_t row(const wan_call *c, const size_t *start, int r)
{
    return units(c, start[r + 1] - start[r]);
}

/* Rows of several lengths: a call for each, launched together. */
static ncclResult_t by_rows(nccl_group *s, const wan_call *c)
{
    const int me = c->g->rank;
    const ncclRedOp_t op = c->op == WAN_MAX ? ncclMax : ncclSum;
    ncclResult_t rc = ncclSuccess;
    for (int r = 0; r < c->g->size && rc == ncclSuccess; r++) {
        size_t n = row(c, c->part, r);
        if (!n)
            continue;
        if (c->kind == WAN_ALL_GATHER)
            rc = ncclBroadcast(r == me ? c->x : NULL, at(c, c->out, c->part[r]), n, type_of(c), r,
                               s->comm, s->stream);
        else
            rc = ncclReduce(at(c, c->x, c->part[r]), r == me ? c->out : NULL, n, type_of(c), op, r,
                            s->comm, s->stream);
    }
    return rc;
}

static ncclResult_t exchange(nccl_group *s, const wan_call *c)
{
    ncclResult_t rc = ncclSuccess;
    for (int r = 0; r < c->g->size && rc == ncclSuccess; r++) {
        size_t out = row(c, c->from, r), in = row(c, c->part, r);
        if (r == c->g->rank) /* copied by group.c */
            continue;
        if (out)
            rc = ncclSend(at(c, c->x, c->from[r]), out, type_of(c), r, s->comm, s->stream);
        if (in && rc == ncclSuccess)
            rc = ncclRecv(at(c, c->out, c->part[r]), in, type_of(c), r, s->comm, s->stream);
    }
    return rc;
}

static ncclResult_t launch(nccl_group *s, const wan_call *c)
{
    const ncclDataType_t t = type_of(c);
    const ncclRedOp_t op = c->op == WAN_MAX ? ncclMax : ncclSum;
    const size_t n = units(c, c->n);
    switch (c->kind) {
    case WAN_ALL_REDUCE: return ncclAllReduce(c->x, c->out, n, t, op, s->comm, s->stream);
    case WAN_BROADCAST: return ncclBroadcast(c->x, c->out, n, t, c->peer, s->comm, s->stream);
    case WAN_ALL_TO_ALL: return exchange(s, c);
    case WAN_SEND: return ncclSend(c->x, n, t, c->peer, s->comm, s->stream);
    case WAN_RECV: return ncclRecv(c->out, n, t, c->peer, s->comm, s->stream);
    case WAN_ALL_GATHER:
        return even(c) ? ncclAllGather(c->x, c->out, row(c, c->part, 0), t, s->comm, s->stream)
                       : by_rows(s, c);
    case WAN_REDUCE_SCATTER:
        return even(c)
                   ? ncclReduceScatter(c->x, c->out, row(c, c->part, 0), t, op, s->comm, s->stream)
                   : by_rows(s, c);
    default: return ncclInvalidUsage;
    }
}

/* Launches calls together. */
static int launch_all(nccl_group *s, wan_call *const *c, int n)
{
    if (s->aborted)
        return nccl_ok(s, ncclRemoteError, wan_group_kind_name(c[0]->kind));
    WAN_TRY(nccl_ok(s, ncclGroupStart(), "begin"));
    ncclResult_t rc = ncclSuccess;
    for (int i = 0; i < n && rc == ncclSuccess; i++)
        rc = c[i]->n || c[i]->kind == WAN_ALL_TO_ALL ? launch(s, c[i]) : ncclSuccess;
    ncclResult_t end = ncclGroupEnd();
    return nccl_ok(s, rc == ncclSuccess ? end : rc, wan_group_kind_name(c[0]->kind));
}

/* ---- events */

/* Adds the time that the caller's stream stood still to the counter. */
static int settle(passing *p)
{
    float ms = 0;
    if (!p->counter)
        return 0;
    WAN_TRY(cuda_ok(cudaEventSynchronize(p->end), "wait"));
    WAN_TRY(cuda_ok(cudaEventSynchronize(p->wanted), "wait"));
    WAN_TRY(cuda_ok(cudaEventElapsedTime(&ms, p->wanted, p->end), "time"));
    p->counter->seconds += ms > 0 ? (double)ms / 1000 : 0;
    p->counter = NULL;
    return 0;
}

static void leave_past(nccl_group *s, passing *p)
{
    p->next = NULL;
    *s->past_end = p;
    s->past_end = &p->next;
    s->n_past++;
}

static int new_place(nccl_group *s, passing **out)
{
    passing *p = *out = wan_calloc(1, sizeof *p, "call");
    if (!p)
        return -1;
    p->before = s->all;
    s->all = p;
    WAN_TRY(cuda_ok(cudaEventCreateWithFlags(&p->begin, cudaEventDisableTiming), "event"));
    WAN_TRY(cuda_ok(cudaEventCreate(&p->end), "event"));
    return cuda_ok(cudaEventCreate(&p->wanted), "event");
}

/* A place: that of a call with PASSING younger ones past, which the device has left behind; or a new one, of which
 * there are as many more as calls are under way at once. */
static int take(nccl_group *s, wan_call *c)
{
    passing *p = s->past;
    if (s->n_past < PASSING) {
        WAN_TRY(new_place(s, &p));
    } else {
        WAN_TRY(settle(p));
        s->past = p->next;
        s->n_past--;
    }
    p->counter = c->counter;
    c->impl = p;
    return 0;
}

/* The group's stream begins behind the work of the caller so far. */
static int begin(nccl_group *s, wan_call *c)
{
    passing *p = c->impl;
    WAN_TRY(cuda_ok(cudaEventRecord(p->begin, (cudaStream_t)c->where->stream), "event"));
    return cuda_ok(cudaStreamWaitEvent(s->stream, p->begin, 0), "event");
}

static int end(nccl_group *s, wan_call *c)
{
    passing *p = c->impl;
    return cuda_ok(cudaEventRecord(p->end, s->stream), "event");
}

/* ---- errors that come between calls */

/* wan_watch_tend_fn: an error of a communicator is one of the run; where a rank is lost calls that wait for it are
 * ended, on the device too. */
static int tend(void *arg, int lost, char why[WAN_WATCH_TEXT])
{
    int failed = 0;
    (void)arg;
    pthread_mutex_lock(&open_lock);
    for (nccl_group *s = open_groups; s; s = s->next_open) {
        ncclResult_t e = ncclSuccess;
        if (!lost && !failed && ncclCommGetAsyncError(s->comm, &e) == ncclSuccess &&
            e != ncclSuccess && e != ncclInProgress) {
            snprintf(why, WAN_WATCH_TEXT, "nccl: group %s: %s (%s)", s->boot.name,
                     ncclGetErrorString(e), ncclGetLastError(s->comm));
            failed = 1;
        }
        if (lost && !s->aborted) {
            s->aborted = 1;
            ncclCommAbort(s->comm);
        }
    }
    pthread_mutex_unlock(&open_lock);
    return failed;
}

static void add_open(nccl_group *s)
{
    pthread_mutex_lock(&open_lock);
    s->next_open = open_groups;
    open_groups = s;
    pthread_mutex_unlock(&open_lock);
    if (s->boot.comm->watch)
        wan_watch_tend(s->boot.comm->watch, tend, NULL);
}

static void remove_open(nccl_group *s)
{
    pthread_mutex_lock(&open_lock);
    for (nccl_group **p = &open_groups; *p; p = &(*p)->next_open)
        if (*p == s) {
            *p = s->next_open;
            break;
        }
    pthread_mutex_unlock(&open_lock);
}

/* ---- groups */

static int open_device(nccl_group *s, const wan_where *w)
{
    ncclUniqueId id;
    memset(&id, 0, sizeof id);
    WAN_TRY(cuda_ok(cudaSetDevice(w->index), "device"));
    WAN_TRY(cuda_ok(cudaStreamCreateWithFlags(&s->stream, cudaStreamNonBlocking), "stream"));
    for (int i = 0; i < PASSING; i++) {
        passing *p;
        WAN_TRY(new_place(s, &p));
        leave_past(s, p);
    }
    if (s->boot.rank == 0)
        WAN_TRY(nccl_ok(s, ncclGetUniqueId(&id), "id"));
    WAN_TRY(wan_group_broadcast(&s->boot, NULL, &id, sizeof id, WAN_U8, 0));
    WAN_TRY(nccl_ok(s, ncclCommInitRank(&s->comm, s->boot.size, id, s->boot.rank), "start"));
    add_open(s);
    return 0;
}

static int nccl_prepare(wan_group *g, const wan_where *w)
{
    nccl_group *s = g->impl;
    return s->comm || !on_device(w) ? 0 : open_device(s, w);
}

static int nccl_join(wan_group *g)
{
    nccl_group *s = wan_calloc(1, sizeof *s, "group");
    if (!s)
        return -1;
    s->boot = *g;
    s->boot.comm = g->comm->impl;
    s->past_end = &s->past;
    if (s->boot.comm->t->join(&s->boot) < 0) {
        free(s);
        return -1;
    }
    g->impl = s;
    return 0;
}

static void nccl_leave(wan_group *g)
{
    nccl_group *s = g->impl;
    remove_open(s);
    if (s->comm && !s->aborted)
        ncclCommDestroy(s->comm);
    for (passing *p; (p = s->all);) {
        cudaEvent_t events[] = { p->begin, p->end, p->wanted };
        for (int k = 0; k < 3; k++)
            if (events[k])
                cudaEventDestroy(events[k]);
        s->all = p->before;
        free(p);
    }
    if (s->stream)
        cudaStreamDestroy(s->stream);
    s->boot.comm->t->leave(&s->boot);
    free(s);
}

/* ---- calls */

/* The others' views of the call, through the other transport. */
static int compare(nccl_group *s, const wan_call *c, double now)
{
    wan_call *k = wan_group_check_call(c, &s->boot);
    if (!k)
        return -1;
    s->boot.comm->at_once = 0;
    if (s->boot.comm->t->start(k, now) == 0)
        return 0;
    free(k);
    return -1;
}

static int nccl_start(wan_call *c, double now)
{
    nccl_group *s = c->g->impl;
    if (!on_device(c->where)) {
        s->boot.comm->at_once = c->g->comm->at_once;
        c->g = &s->boot; /* who waits for it there */
        return s->boot.comm->t->start(c, now);
    }
    const int alone = c->kind == WAN_SEND || c->kind == WAN_RECV;
    if (alone && !s->comm)
        return wan_err("nccl: %s in group %s before wan_group_prepare",
                       wan_group_kind_name(c->kind), c->g->name);
    if (alone && s->pairs == PAIRS)
        return wan_err("nccl: more than %d sends and receives of group %s at once", PAIRS,
                       c->g->name);
    WAN_TRY(nccl_prepare(c->g, c->where));
    WAN_TRY(compare(s, c, now));
    WAN_TRY(take(s, c));
    WAN_TRY(begin(s, c));
    if (alone) {
        s->pair[s->pairs++] = c;
        return 0;
    }
    WAN_TRY(launch_all(s, &c, 1));
    return end(s, c);
}

/* Sends and receives that have gathered go together: each may need the other. */
static int launch_pairs(nccl_group *s)
{
    int n = s->pairs;
    s->pairs = 0;
    WAN_TRY(n ? launch_all(s, s->pair, n) : 0);
    for (int i = 0; i < n; i++)
        WAN_TRY(end(s, s->pair[i]));
    return 0;
}

static int nccl_wait(wan_call *c, double now)
{
    nccl_group *s = c->g->impl;
    passing *p = c->impl;
    cudaStream_t stream = (cudaStream_t)c->where->stream;
    (void)now;
    WAN_TRY(launch_pairs(s));
    WAN_TRY(cuda_ok(cudaEventRecord(p->wanted, stream), "event"));
    leave_past(s, p);
    return cuda_ok(cudaStreamWaitEvent(stream, p->end, 0), "event");
}

static int nccl_push(wan_group *g)
{
    return launch_pairs(g->impl);
}

static void nccl_close(wan_comm *c)
{
    wan_comm *boot = c->impl;
    if (c->size > 1)
        nccl_leave(c->world);
    wan_comm_close(&boot);
}

int wan_comm_nccl_start(wan_comm *c, wan_comm *boot)
{
    static const wan_transport table = { "nccl",     nccl_start,   nccl_wait,  NULL,      nccl_join,
                                         nccl_leave, nccl_prepare, nccl_close, nccl_push, 0 };
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices < 1) {
        (void)cudaGetLastError();
        return wan_err("nccl: rank %d has no CUDA device", boot->rank);
    }
    c->t = &table;
    c->impl = boot;
    c->watch = boot->watch;
    c->rank = boot->rank;
    c->size = boot->size;
    return 0;
}
