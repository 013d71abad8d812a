/* SPDX-License-Identifier: Apache-2.0
 *
 * comm_mpi.c - the MPI transport.  One thread of its own makes every MPI call of the process, works
 * off the collectives in the order they were asked for, and answers pings of other ranks meanwhile;
 * so sums progress while the caller computes, and a rank that is gone can be told from a slow one.
 *
 * A sum of n elements: rank r owns the r-th part; all send their copy of a part to its owner, the
 * owner adds the copies in the order of ranks and sends the result to all.  Each rank moves
 * 2 n (p-1)/p elements, like a ring, and the order of additions is fixed.
 */
#include <errno.h>
#include <mpi.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/dist/comm.h"

#define TAG_PING 1
#define TAG_PONG 2
#define TAG_DATA 3 /* + parity of the collective, so that two in a row cannot mix */

enum job_kind { JOB_SUM_F32, JOB_SUM_F64, JOB_BROADCAST, JOB_GATHER, JOB_END };

typedef struct job {
    enum job_kind kind;
    void *x;
    const void *from;
    size_t n; /* elements, or bytes */
    int root;
    int64_t number;
    struct job *next;
} job;

typedef struct mpi {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    job *first, **last;
    int64_t asked, done;
    int ready, failed, rank, size;
    char why[512]; /* sentence of the first failure */
    /* owned by the thread */
    double dead, late; /* a third of `dead` is waited before the late rank is asked */
    int64_t number;    /* of the collective under way */
    MPI_Request *req;  /* [2 size] */
    int *peer;         /* [2 size] */
    int n_req;
    void *parts; /* copies of my part from all ranks */
    size_t parts_bytes;
    double asked_at, answer_at;
    char ping, pong;
} mpi;

static int code(int rc, const char *what)
{
    char text[MPI_MAX_ERROR_STRING];
    int n;
    if (rc == MPI_SUCCESS)
        return 0;
    MPI_Error_string(rc, text, &n);
    return wan_err("MPI: %s: %s", what, text);
}

/* Answers pings and notes pongs. */
static int serve(mpi *m)
{
    for (;;) {
        int flag = 0;
        MPI_Status st;
        char byte;
        WAN_TRY(code(MPI_Iprobe(MPI_ANY_SOURCE, TAG_PING, MPI_COMM_WORLD, &flag, &st), "probe"));
        if (flag) {
            MPI_Request r;
            WAN_TRY(code(MPI_Recv(&byte, 1, MPI_CHAR, st.MPI_SOURCE, TAG_PING, MPI_COMM_WORLD,
                                  MPI_STATUS_IGNORE),
                         "receive"));
            WAN_TRY(
                code(MPI_Isend(&m->pong, 1, MPI_CHAR, st.MPI_SOURCE, TAG_PONG, MPI_COMM_WORLD, &r),
                     "send"));
            MPI_Request_free(&r);
            continue;
        }
        WAN_TRY(code(MPI_Iprobe(MPI_ANY_SOURCE, TAG_PONG, MPI_COMM_WORLD, &flag, &st), "probe"));
        if (!flag)
            return 0;
        WAN_TRY(code(MPI_Recv(&byte, 1, MPI_CHAR, st.MPI_SOURCE, TAG_PONG, MPI_COMM_WORLD,
                              MPI_STATUS_IGNORE),
                     "receive"));
        m->answer_at = wan_now();
    }
}

/* The peer of the first request still open, or -1. */
static int late_peer(mpi *m)
{
    for (int i = 0; i < m->n_req; i++)
        if (m->req[i] != MPI_REQUEST_NULL)
            return m->peer[i];
    return -1;
}

/* After a long wait: asks the late rank for a sign of life; gives it up when there is none. */
static int suspect(mpi *m, double since, int *asked)
{
    double now = wan_now();
    int peer = late_peer(m);
    if (peer < 0 || now - since < m->dead / 3)
        return 0;
    if (*asked != peer) {
        MPI_Request r;
        *asked = peer;
        m->asked_at = now;
        m->answer_at = 0;
        WAN_TRY(code(MPI_Isend(&m->ping, 1, MPI_CHAR, peer, TAG_PING, MPI_COMM_WORLD, &r), "send"));
        MPI_Request_free(&r);
        return 0;
    }
    if (m->answer_at >= m->asked_at) {
        if (now - since > m->late)
            return wan_err("rank %d is alive but has kept the others waiting for %.0f minutes "
                           "(dist.timeout_minutes)",
                           peer, m->late / 60);
        if (now - m->answer_at > m->dead / 3)
            *asked = -1; /* ask again */
        return 0;
    }
    if (now - m->asked_at > m->dead * 2 / 3)
        return wan_err(
            "rank %d has not answered for %.0f seconds: it was killed, or its machine or "
            "the network is gone",
            peer, now - since);
    return 0;
}

static void nap(int *turns)
{
    struct timespec t = { 0, 50000 };
    if (++*turns < 200)
        sched_yield();
    else
        nanosleep(&t, NULL);
}

static int wait_all(mpi *m)
{
    double since = wan_now();
    int done = 0, turns = 0, asked = -1;
    while (!done) {
        WAN_TRY(code(MPI_Testall(m->n_req, m->req, &done, MPI_STATUSES_IGNORE), "test"));
        if (done)
            break;
        nap(&turns);
        if (turns % 64 == 0) {
            WAN_TRY(serve(m));
            WAN_TRY(suspect(m, since, &asked));
        }
    }
    m->n_req = 0;
    return 0;
}

static int tag(const mpi *m)
{
    return TAG_DATA + (int)(m->number & 1);
}

/* Messages of up to 2^30 bytes: larger ones are refused by the callers' sizes. */
static int post_send(mpi *m, const void *x, size_t bytes, int to)
{
    if (!bytes)
        return 0;
    m->peer[m->n_req] = to;
    return code(MPI_Isend(x, (int)bytes, MPI_BYTE, to, tag(m), MPI_COMM_WORLD, &m->req[m->n_req++]),
                "send");
}

static int post_recv(mpi *m, void *x, size_t bytes, int from)
{
    if (!bytes)
        return 0;
    m->peer[m->n_req] = from;
    return code(
        MPI_Irecv(x, (int)bytes, MPI_BYTE, from, tag(m), MPI_COMM_WORLD, &m->req[m->n_req++]),
        "receive");
}

static size_t part_start(size_t n, int size, int r)
{
    return n / (size_t)size * (size_t)r +
           (n % (size_t)size < (size_t)r ? n % (size_t)size : (size_t)r);
}

static int room(mpi *m, size_t bytes)
{
    if (bytes <= m->parts_bytes)
        return 0;
    free(m->parts);
    m->parts_bytes = 0;
    m->parts = wan_malloc(bytes, 1, "parts of a sum");
    if (!m->parts)
        return -1;
    m->parts_bytes = bytes;
    return 0;
}

/* mine += the copies of the other ranks, in the order of ranks 0..size-1. */
static void add_up(mpi *m, void *mine, size_t n, int f64, size_t stride)
{
    for (int r = 1; r < m->size; r++) {
        const char *at = (const char *)m->parts + (size_t)r * stride;
        if (f64) {
            double *sum = m->parts;
            for (size_t i = 0; i < n; i++)
                sum[i] += ((const double *)(const void *)at)[i];
        } else {
            float *sum = m->parts;
            for (size_t i = 0; i < n; i++)
                sum[i] += ((const float *)(const void *)at)[i];
        }
    }
    memcpy(mine, m->parts, n * (f64 ? 8 : 4));
}

static int do_sum(mpi *m, const job *j)
{
    int f64 = j->kind == JOB_SUM_F64;
    size_t e = f64 ? 8 : 4;
    size_t lo = part_start(j->n, m->size, m->rank), hi = part_start(j->n, m->size, m->rank + 1);
    size_t mine = (hi - lo) * e;
    char *x = j->x;
    WAN_TRY(room(m, mine * (size_t)m->size + 8));
    for (int r = 0; r < m->size; r++) {
        size_t a = part_start(j->n, m->size, r), b = part_start(j->n, m->size, r + 1);
        if (r == m->rank) {
            memcpy((char *)m->parts + (size_t)r * mine, x + lo * e, mine);
            continue;
        }
        WAN_TRY(post_recv(m, (char *)m->parts + (size_t)r * mine, mine, r));
        WAN_TRY(post_send(m, x + a * e, (b - a) * e, r));
    }
    WAN_TRY(wait_all(m));
    add_up(m, x + lo * e, hi - lo, f64, mine);
    m->number++;
    for (int r = 0; r < m->size; r++) {
        size_t a = part_start(j->n, m->size, r), b = part_start(j->n, m->size, r + 1);
        if (r == m->rank)
            continue;
        WAN_TRY(post_recv(m, x + a * e, (b - a) * e, r));
        WAN_TRY(post_send(m, x + lo * e, mine, r));
    }
    return wait_all(m);
}

static int do_broadcast(mpi *m, const job *j)
{
    if (m->rank != j->root) {
        WAN_TRY(post_recv(m, j->x, j->n, j->root));
        return wait_all(m);
    }
    for (int r = 0; r < m->size; r++)
        if (r != m->rank)
            WAN_TRY(post_send(m, j->x, j->n, r));
    return wait_all(m);
}

static int do_gather(mpi *m, const job *j)
{
    for (int r = 0; r < m->size; r++) {
        char *at = (char *)j->x + (size_t)r * j->n;
        if (r == m->rank) {
            memcpy(at, j->from, j->n);
            continue;
        }
        WAN_TRY(post_recv(m, at, j->n, r));
        WAN_TRY(post_send(m, j->from, j->n, r));
    }
    return wait_all(m);
}

static int run_job(mpi *m, const job *j)
{
    m->number++;
    switch (j->kind) {
    case JOB_SUM_F32:
    case JOB_SUM_F64: return do_sum(m, j);
    case JOB_BROADCAST: return do_broadcast(m, j);
    case JOB_GATHER: return do_gather(m, j);
    case JOB_END: return 0;
    }
    return 0;
}

static int start(mpi *m)
{
    int provided;
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS)
        return wan_err("MPI does not start");
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, &m->rank);
    MPI_Comm_size(MPI_COMM_WORLD, &m->size);
    m->req = wan_calloc((size_t)m->size * 2, sizeof *m->req, "requests");
    m->peer = wan_calloc((size_t)m->size * 2, sizeof *m->peer, "requests");
    return m->req && m->peer ? 0 : -1;
}

static void settle(mpi *m, int64_t number, int rc)
{
    pthread_mutex_lock(&m->lock);
    if (rc < 0 && !m->failed) {
        m->failed = 1;
        snprintf(m->why, sizeof m->why, "%s", wan_err_text());
    }
    if (number)
        m->done = number;
    else
        m->ready = 1;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
}

/* The next job, or NULL after a short time without one. */
static job *take(mpi *m)
{
    struct timespec until;
    pthread_mutex_lock(&m->lock);
    if (!m->first) {
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 50000000;
        if (until.tv_nsec >= 1000000000) {
            until.tv_nsec -= 1000000000;
            until.tv_sec++;
        }
        pthread_cond_timedwait(&m->changed, &m->lock, &until);
    }
    job *j = m->first;
    if (j && !(m->first = j->next))
        m->last = &m->first;
    pthread_mutex_unlock(&m->lock);
    return j;
}

static void *work(void *arg)
{
    mpi *m = arg;
    int rc = start(m);
    settle(m, 0, rc);
    while (rc == 0) {
        job *j = take(m);
        if (!j) {
            rc = serve(m);
            if (rc < 0)
                settle(m, 0, rc);
            continue;
        }
        int end = j->kind == JOB_END;
        rc = run_job(m, j);
        if (end)
            MPI_Finalize();
        settle(m, j->number, rc);
        free(j);
        if (end)
            break;
    }
    return NULL;
}

static int ask(wan_comm *c, job proto, wan_comm_req *req)
{
    mpi *m = c->impl;
    job *j = wan_malloc(1, sizeof *j, "collective");
    if (!j)
        return -1;
    *j = proto;
    j->next = NULL;
    pthread_mutex_lock(&m->lock);
    *req = j->number = ++m->asked;
    *m->last = j;
    m->last = &j->next;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
    return 0;
}

static int mpi_wait(wan_comm *c, wan_comm_req req)
{
    mpi *m = c->impl;
    pthread_mutex_lock(&m->lock);
    while (m->done < req && !m->failed)
        pthread_cond_wait(&m->changed, &m->lock);
    int failed = m->failed;
    pthread_mutex_unlock(&m->lock);
    return failed ? wan_err("%s", m->why) : 0;
}

static int mpi_sum(wan_comm *c, void *x, size_t n, int f64, wan_comm_req *req)
{
    if (n > (1u << 27))
        return wan_err("a sum of %zu elements at once; the limit is 2^27", n);
    return ask(c, (job){ .kind = f64 ? JOB_SUM_F64 : JOB_SUM_F32, .x = x, .n = n }, req);
}

static int mpi_broadcast(wan_comm *c, void *x, size_t bytes, int root)
{
    for (size_t at = 0; at < bytes;) {
        size_t n = bytes - at < (1u << 30) ? bytes - at : (1u << 30);
        wan_comm_req req;
        WAN_TRY(ask(c, (job){ .kind = JOB_BROADCAST, .x = (char *)x + at, .n = n, .root = root },
                    &req));
        WAN_TRY(mpi_wait(c, req));
        at += n;
    }
    return 0;
}

static int mpi_gather(wan_comm *c, const void *x, size_t bytes, void *all)
{
    wan_comm_req req;
    if (bytes > (1u << 20))
        return wan_err("a gather of %zu bytes; the limit is 2^20", bytes);
    WAN_TRY(ask(c, (job){ .kind = JOB_GATHER, .x = all, .from = x, .n = bytes }, &req));
    return mpi_wait(c, req);
}

static void mpi_close(wan_comm *c)
{
    mpi *m = c->impl;
    wan_comm_req req;
    if (m->failed || wan_comm_barrier(c) < 0 || ask(c, (job){ .kind = JOB_END }, &req) < 0)
        return; /* leaves MPI open: exiting so makes the launcher end the others */
    if (mpi_wait(c, req) < 0)
        return;
    pthread_join(m->thread, NULL);
    pthread_mutex_destroy(&m->lock);
    pthread_cond_destroy(&m->changed);
    free(m->req);
    free(m->peer);
    free(m->parts);
    free(m);
}

int wan_comm_mpi_open(wan_comm *c, double dead, double late)
{
    static const wan_transport transport = { "mpi",      mpi_sum,  mpi_broadcast,
                                             mpi_gather, mpi_wait, mpi_close };
    mpi *m = wan_calloc(1, sizeof *m, "communicator");
    if (!m)
        return -1;
    m->last = &m->first;
    m->dead = dead;
    m->late = late;
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->changed, NULL);
    c->t = &transport;
    c->impl = m;
    if (pthread_create(&m->thread, NULL, work, m) != 0) {
        free(m);
        return wan_err("cannot start the communication thread");
    }
    pthread_mutex_lock(&m->lock);
    while (!m->ready)
        pthread_cond_wait(&m->changed, &m->lock);
    pthread_mutex_unlock(&m->lock);
    c->rank = m->rank;
    c->size = m->size;
    return m->failed ? wan_err("%s", m->why) : 0;
}
