/* SPDX-License-Identifier: Apache-2.0
 *
 * comm_mpi.c - the MPI transport: the process, its thread, and how calls are driven.
 *
 * MPI is started with MPI_THREAD_SERIALIZED.  A caller that waits drives all calls of the process
 * itself, which saves waking anyone; while it computes, the thread does.
 */
#include "lib/dist/comm_mpi.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/opt.h"
#include "lib/dist/watch.h"

enum { EAGER_MOST = 3968, EAGER_LEAST = 512, PIECE_MOST = 1 << 20, PIECE_LEAST = 16384 };

/* ---- driving */

static void fail(mpi *m)
{
    if (!m->failed) {
        snprintf(m->why, sizeof m->why, "%s", wan_err_text());
        wan_watch_doom(m->watch, m->why); /* the caller may compute, or wait for a device */
    }
    m->failed = 1;
    pthread_cond_broadcast(&m->changed);
}

/* One turn of all calls, under the lock: 1 something moved, 0, -1 failed. */
static int turn(mpi *m)
{
    char why[WAN_WATCH_TEXT];
    int moved = 0;
    if (m->failed)
        return -1;
    if (wan_watch_lost(m->watch, why)) {
        wan_err("%s", why);
        fail(m);
        return -1;
    }
    for (mpi_group *g = m->groups; g; g = g->next) {
        int a = g->first ? wan_mpi_call_turn(g) : 0,
            b = g->pairs && a >= 0 ? wan_mpi_pair_turn(g) : 0;
        if (a < 0 || b < 0) {
            fail(m);
            return -1;
        }
        moved |= a | b;
    }
    return moved;
}

/* Nothing moves: how the clock goes on, and how long to leave the processor to others. */
typedef struct idle {
    int turns;
    double last;
} idle;

enum { SPIN = 60, YIELD = 400, NAP = 4000 }; /* turns: without a break, yielding, with short naps */

/* Under the lock, after a turn. */
static void count(mpi *m, idle *i, int moved)
{
    m->tick = 0;
    if (moved) {
        i->turns = 0;
        return;
    }
    if (++i->turns % 32 == 0) {
        double now = wan_now(), passed = i->last > 0 ? now - i->last : 0;
        m->tick = passed < 0.5 ? passed : 0.5;
        i->last = now;
    }
}

static void rest(const idle *i)
{
    struct timespec t = { 0, i->turns < NAP ? 50000 : 500000 };
    if (i->turns >= YIELD)
        nanosleep(&t, NULL);
    else if (i->turns >= SPIN)
        sched_yield();
}

static int failure(mpi *m)
{
    double hold = wan_watch_noticed(m->watch);
    struct timespec t = { (time_t)hold, 0 };
    if (hold > 0)
        nanosleep(&t, NULL);
    return wan_err("%s", m->why);
}

static void note(mpi *m, const wan_call *c, double now, int waiting)
{
    wan_watch_note(m->watch, c->g->name, wan_group_kind_name(c->kind), c->number, c->bytes, now,
                   waiting);
}

static int mpi_start(wan_call *c, double now)
{
    mpi_group *g = c->g->impl;
    mpi *m = g->m;
    int rc = 0, at_once = c->g->comm->at_once;
    if (c->where)
        WAN_TRY(c->where->ready(c->where->arg));
    pthread_mutex_lock(&m->lock);
    if (m->failed) {
        pthread_mutex_unlock(&m->lock);
        return failure(m);
    }
    if (c->kind == WAN_SEND || c->kind == WAN_RECV) {
        rc = wan_mpi_pair_add(g, c);
    } else {
        *g->last = c;
        g->last = &c->next;
    }
    if (rc == 0) {
        m->under_way++;
        m->tick = 0;
        note(m, c, now, at_once);
        turn(m); /* a failure is the waiting caller's */
        if (at_once)
            return 0; /* mpi_wait comes at once, and finds the lock held */
        if (m->under_way)
            pthread_cond_broadcast(&m->changed);
    }
    pthread_mutex_unlock(&m->lock);
    return rc;
}

static int mpi_wait(wan_call *c, double now)
{
    mpi_group *g = c->g->impl;
    mpi *m = g->m;
    idle i = { 0, 0 };
    if (!c->g->comm->at_once) {
        pthread_mutex_lock(&m->lock);
        note(m, c, now, 1);
    }
    m->driven = 1;
    while (!c->done && !m->failed) {
        count(m, &i, turn(m));
        rest(&i);
    }
    m->driven = 0;
    if (m->under_way)
        pthread_cond_broadcast(&m->changed);
    int done = c->done;
    pthread_mutex_unlock(&m->lock);
    return done ? 0 : failure(m);
}

/* The caller goes on. */
static void mpi_left(const wan_call *c, double now)
{
    note(((mpi_group *)c->g->impl)->m, c, now, 0);
}

/* ---- groups */

static void group_free(mpi_group *g)
{
    wan_mpi_call_close(g);
    free(g->sent);
    free(g->received);
    free(g);
}

static size_t share(size_t total, int size, size_t least, size_t most)
{
    size_t n = total / (size_t)size / 64 * 64;
    return n < least ? least : n > most ? most : n;
}

static int mpi_join(wan_group *wg)
{
    mpi *m = wg->comm->impl;
    mpi_group *g = wan_calloc(1, sizeof *g, "group");
    if (!g)
        return -1;
    if (wg->id >= MPI_GROUPS) {
        free(g);
        return wan_err("group %s would be number %d; a run has at most %d", wg->name, wg->id,
                       MPI_GROUPS);
    }
    g->m = m;
    g->g = wg;
    g->eager = share((size_t)1 << 17, wg->size, EAGER_LEAST, EAGER_MOST);
    g->piece = share((size_t)1 << 22, wg->size, PIECE_LEAST, PIECE_MOST);
    g->sent = wan_calloc((size_t)wg->size, sizeof *g->sent, "group");
    g->received = wan_calloc((size_t)wg->size, sizeof *g->received, "group");
    if (wan_mpi_call_open(g) < 0 || !g->sent || !g->received) {
        group_free(g);
        return -1;
    }
    wg->impl = g;
    pthread_mutex_lock(&m->lock);
    g->next = m->groups;
    m->groups = g;
    pthread_mutex_unlock(&m->lock);
    return 0;
}

static void mpi_leave(wan_group *wg)
{
    mpi_group *g = wg->impl;
    mpi *m = g->m;
    pthread_mutex_lock(&m->lock);
    mpi_group **at = &m->groups;
    while (*at != g)
        at = &(*at)->next;
    *at = g->next;
    int busy = g->first || g->pairs; /* after a failure: MPI may still write there */
    pthread_mutex_unlock(&m->lock);
    if (!busy)
        group_free(g);
}

/* ---- the process */

static int share_bytes(void *arg, void *x, int bytes)
{
    return wan_mpi_code(MPI_Bcast(x, bytes, MPI_BYTE, 0, ((mpi *)arg)->comm), "broadcast");
}

/* Rank, size, and a world of its own for pairs. */
static int look_around(mpi *m)
{
    int *most, found = 0;
    m->comm = MPI_COMM_WORLD;
    WAN_TRY(wan_mpi_code(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "errors"));
    WAN_TRY(wan_mpi_code(MPI_Comm_rank(MPI_COMM_WORLD, &m->rank), "this rank's number"));
    WAN_TRY(wan_mpi_code(MPI_Comm_size(MPI_COMM_WORLD, &m->size), "number of ranks"));
    WAN_TRY(wan_mpi_code(MPI_Comm_dup(MPI_COMM_WORLD, &m->pairs), "duplicate the world"));
    WAN_TRY(wan_mpi_code(MPI_Comm_set_errhandler(m->pairs, MPI_ERRORS_RETURN), "errors"));
    WAN_TRY(wan_mpi_code(MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, &most, &found), "tags"));
    if (!found || *most < MPI_GROUPS * WAN_GROUP_TAGS - 1)
        return wan_err("this MPI library has no tags above %d", found ? *most : 0);
    return 0;
}

static int start(mpi *m)
{
    char identity[WAN_WATCH_TEXT], library[MPI_MAX_LIBRARY_VERSION_STRING];
    int provided, n;
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &provided) != MPI_SUCCESS)
        return wan_err("MPI does not start");
    if (provided < MPI_THREAD_SERIALIZED)
        return wan_err("this MPI library was built without MPI_THREAD_SERIALIZED");
    WAN_TRY(look_around(m));
    WAN_TRY(wan_mpi_code(MPI_Get_library_version(library, &n), "version"));
    library[strcspn(library, ",\n")] = 0; /* the rest names the machine it was built on */
    snprintf(identity, sizeof identity, "%.128s, %.128s", wan_version(), library);
    return wan_watch_connect(m->watch, m->rank, m->size, identity, share_bytes, m);
}

/* Drives calls nobody waits for; returns when told to stop. */
static void drive(mpi *m)
{
    idle i = { 0, 0 };
    pthread_mutex_lock(&m->lock);
    while (!m->stop) {
        if (m->driven || !m->under_way || m->failed) {
            pthread_cond_wait(&m->changed, &m->lock);
            i = (idle){ 0, 0 };
            continue;
        }
        count(m, &i, turn(m));
        pthread_mutex_unlock(&m->lock);
        rest(&i);
        pthread_mutex_lock(&m->lock);
    }
    pthread_mutex_unlock(&m->lock);
}

static void *work(void *arg)
{
    mpi *m = arg;
    int rc = start(m);
    pthread_mutex_lock(&m->lock);
    if (rc < 0)
        fail(m);
    m->ready = 1;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
    if (rc < 0)
        return NULL;
    drive(m);
    if ((m->pairs != MPI_COMM_NULL && wan_mpi_code(MPI_Comm_free(&m->pairs), "give back") < 0) ||
        wan_mpi_code(MPI_Finalize(), "end") < 0)
        wan_warn("the work is done, but %s", wan_err_text());
    return NULL;
}

/* Until MPI has ended; 0 when a rank that does not come to its end keeps it. */
static int end_thread(mpi *m)
{
    char why[WAN_WATCH_TEXT];
    pthread_mutex_lock(&m->lock);
    m->stop = 1;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
    for (;;) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec++;
        if (pthread_timedjoin_np(m->thread, NULL, &until) == 0)
            return 1;
        if (wan_watch_lost(m->watch, why))
            return 0;
    }
}

static void mpi_close(wan_comm *c)
{
    mpi *m = c->impl;
    if (m->failed)
        return; /* exiting without MPI's end makes the launcher end the others */
    if (wan_group_barrier(c->world) < 0) {
        wan_warn("the ranks do not end together: %s", wan_err_text());
        return;
    }
    if (!end_thread(m))
        return;
    wan_watch_free(&m->watch);
    if (c->size > 1)
        mpi_leave(c->world);
    pthread_mutex_destroy(&m->lock);
    pthread_cond_destroy(&m->changed);
    free(m);
}

/* Until MPI runs and all ranks have found each other, or one does not come. */
static int wait_start(mpi *m)
{
    double began = wan_now();
    int rc = 0;
    pthread_mutex_lock(&m->lock);
    while (!m->ready && rc == 0) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 100000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&m->changed, &m->lock, &until);
        rc = m->ready ? 0 : wan_watch_start_check(m->watch);
        if (rc == 0 && !m->ready && wan_now() - began > m->late)
            rc =
                wan_err("MPI has not started for %.0f seconds: a rank has not come, or was stopped",
                        wan_now() - began);
    }
    if (rc == 0 && m->failed)
        rc = wan_err("%s", m->why);
    pthread_mutex_unlock(&m->lock);
    return rc;
}

int wan_comm_mpi_open(wan_comm *c, double dead, double late)
{
    static const wan_transport transport = { "mpi",     mpi_start, mpi_wait,  mpi_left, mpi_join,
                                             mpi_leave, NULL,      mpi_close, NULL,     0 };
    mpi *m = wan_calloc(1, sizeof *m, "communicator");
    if (!m)
        return -1;
    m->dead = dead;
    m->late = late;
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->changed, NULL);
    if (wan_watch_new(&m->watch, dead) < 0) {
        free(m);
        return -1;
    }
    if (pthread_create(&m->thread, NULL, work, m) != 0) {
        wan_watch_free(&m->watch);
        free(m);
        return wan_err("cannot start the communication thread");
    }
    WAN_TRY(wait_start(m)); /* the threads keep m: the process is about to end */
    c->t = &transport;
    c->impl = m;
    c->watch = m->watch;
    c->rank = m->rank;
    c->size = m->size;
    return 0;
}
