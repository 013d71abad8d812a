/* SPDX-License-Identifier: Apache-2.0
 *
 * watch.c - the watching thread, see watch.h.
 */
#include "lib/dist/watch.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/dist/watch_priv.h"

/* Seconds: that others hold back before they say the same; before the thread speaks for the caller. */
#define HOLD 2
#define MOMENT 0.3

/* ---- what this rank does */

#define SET(field, value) atomic_store_explicit(&w->note.field, value, memory_order_relaxed)
#define GET(field) atomic_load_explicit(&w->note.field, memory_order_relaxed)

void wan_watch_note(wan_watch *w, const char name[16], const char *kind, int64_t number,
                    size_t bytes, double now, int waiting)
{
    uint64_t half[2];
    memcpy(half, name, sizeof half);
    SET(name[0], half[0]);
    SET(name[1], half[1]);
    SET(kind, kind);
    SET(number, number);
    SET(bytes, bytes);
    SET(since, now);
    SET(waiting, waiting);
}

static void describe(wan_watch *w, char text[WATCH_CALL])
{
    const double since = wan_now() - GET(since);
    const uint64_t half[2] = { GET(name[0]), GET(name[1]) };
    char name[sizeof half + 1] = "";
    int n = snprintf(text, WATCH_CALL, "it has made no call yet");
    if (!GET(kind))
        return;
    memcpy(name, half, sizeof half);
    n = snprintf(text, WATCH_CALL, "its last call was %s of %zu bytes, number %lld in group %s, ",
                 GET(kind), GET(bytes), (long long)GET(number), name);
    snprintf(text + n, WATCH_CALL - (size_t)n,
             GET(waiting) ? "where it has waited for %.0f s" : "%.0f s ago", since);
}

/* ---- verdicts */

/* The first verdict stays. */
static void set_lost(wan_watch *w, const char *why, int speaker)
{
    pthread_mutex_lock(&w->lock);
    if (!w->lost) {
        snprintf(w->why, sizeof w->why, "%s", why);
        w->lost = 1;
        w->speaker = speaker;
        w->lost_at = wan_now();
        w->is_lost = 1;
    }
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

/* Rank 0 speaks for all, rank 1 where it is lost itself. */
static int speaker(int lost)
{
    return lost == 0;
}

static void tell_lost(wan_watch *w, const watch_peer *p, const char *what)
{
    watch_frame f;
    wan_watch_frame(w, &f, FRAME_LOST);
    f.about = p->rank;
    snprintf(f.text, sizeof f.text, "rank %d on %s (process %d) %s; %s", p->rank, p->host, p->pid,
             what, p->call[0] ? p->call : "it has made no call yet");
    for (int i = 0; w->rank == 0 && i < w->n_peers; i++)
        if (&w->peer[i] != p)
            wan_watch_send(&w->peer[i], &f);
    set_lost(w, f.text, speaker(p->rank));
}

int wan_watch_lost(wan_watch *w, char why[WAN_WATCH_TEXT])
{
    if (!atomic_load_explicit(&w->is_lost, memory_order_relaxed))
        return 0;
    pthread_mutex_lock(&w->lock);
    int lost = w->lost;
    if (lost)
        memcpy(why, w->why, WAN_WATCH_TEXT);
    pthread_mutex_unlock(&w->lock);
    return lost;
}

double wan_watch_noticed(wan_watch *w)
{
    pthread_mutex_lock(&w->lock);
    w->noticed = 1;
    double hold = w->lost && w->speaker != w->rank ? HOLD : 0;
    pthread_mutex_unlock(&w->lock);
    return hold;
}

void wan_watch_doom(wan_watch *w, const char *why)
{
    set_lost(w, why, w->rank);
}

void wan_watch_on_lost(wan_watch *w, wan_watch_lost_fn *fn, double grace)
{
    pthread_mutex_lock(&w->lock);
    w->on_lost = fn;
    w->grace = grace;
    pthread_mutex_unlock(&w->lock);
}

/* Calls on_lost when its time has come. */
static void call_on_lost(wan_watch *w)
{
    pthread_mutex_lock(&w->lock);
    const double passed = w->lost ? wan_now() - w->lost_at : 0;
    const int mine = w->speaker == w->rank;
    const int end = passed > w->grace + (mine ? 0 : HOLD),
              say = passed > MOMENT && mine && !w->said;
    wan_watch_lost_fn *fn = w->lost && (end || (say && !w->noticed)) ? w->on_lost : NULL;
    const char *why = w->said ? NULL : w->why;
    if (fn)
        w->said = 1;
    pthread_mutex_unlock(&w->lock);
    if (fn)
        fn(why, end);
}

/* ---- what else is looked after */

void wan_watch_tend(wan_watch *w, wan_watch_tend_fn *fn, void *arg)
{
    pthread_mutex_lock(&w->lock);
    w->tend = fn;
    w->tend_arg = arg;
    pthread_mutex_unlock(&w->lock);
}

static void look_after(wan_watch *w)
{
    char why[WAN_WATCH_TEXT] = "";
    pthread_mutex_lock(&w->lock);
    wan_watch_tend_fn *fn = w->tend;
    void *arg = w->tend_arg;
    const int lost = w->lost;
    if (lost)
        w->tend = NULL;
    pthread_mutex_unlock(&w->lock);
    if (fn && fn(arg, lost, why))
        set_lost(w, why, w->rank);
}

/* ---- questions */

/* "on HOST; ..." of any rank, where this is rank 0 */
static void tell_about(wan_watch *w, int rank, char text[WAN_WATCH_TEXT])
{
    char call[WATCH_CALL];
    if (rank == w->rank) {
        describe(w, call);
        snprintf(text, WAN_WATCH_TEXT, "on %s (process %d): %s", w->host, w->pid, call);
        return;
    }
    const watch_peer *p = &w->peer[w->rank == 0 ? rank - 1 : 0];
    snprintf(text, WAN_WATCH_TEXT, "on %s (process %d): %s", p->host, p->pid, p->call);
}

void wan_watch_ask(wan_watch *w, int rank, char text[WAN_WATCH_TEXT])
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 2;
    snprintf(text, WAN_WATCH_TEXT, "(rank 0 does not say what it does)");
    pthread_mutex_lock(&w->lock);
    w->ask = rank + 1;
    w->told = 0;
    while (!w->told && w->connected && !w->lost)
        if (pthread_cond_timedwait(&w->changed, &w->lock, &until))
            break;
    if (w->told)
        memcpy(text, w->answer, WAN_WATCH_TEXT);
    w->ask = 0;
    pthread_mutex_unlock(&w->lock);
}

static void answer(wan_watch *w, const char *text)
{
    pthread_mutex_lock(&w->lock);
    memcpy(w->answer, text, WAN_WATCH_TEXT);
    w->told = 1;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

/* Sends the question of the other thread, once, or answers it here. */
static void pass_question(wan_watch *w)
{
    char text[WAN_WATCH_TEXT];
    watch_frame f;
    pthread_mutex_lock(&w->lock);
    int about = w->ask - 1;
    w->ask = 0;
    pthread_mutex_unlock(&w->lock);
    if (about < 0)
        return;
    if (w->rank == 0 || about == 0) {
        tell_about(w, about, text);
        answer(w, text);
        return;
    }
    wan_watch_frame(w, &f, FRAME_ASK);
    f.about = about;
    wan_watch_send(&w->peer[0], &f);
}

/* ---- the thread */

static void got_frame(wan_watch *w, watch_peer *p)
{
    const watch_frame *f = &p->in;
    watch_frame out;
    p->silent = 0;
    switch (f->type) {
    case FRAME_BEAT: snprintf(p->call, sizeof p->call, "%.*s", WATCH_CALL - 1, f->text); break;
    case FRAME_BYE: p->gone = 1; break;
    case FRAME_LOST: set_lost(w, f->text, speaker(f->about)); break;
    case FRAME_TELL: answer(w, f->text); break;
    case FRAME_ASK:
        if (w->rank != 0 || f->about < 0 || f->about >= w->size)
            break;
        wan_watch_frame(w, &out, FRAME_TELL);
        tell_about(w, f->about, out.text);
        wan_watch_send(p, &out);
        break;
    default: break;
    }
}

static void hear(wan_watch *w, watch_peer *p)
{
    int rc;
    while ((rc = wan_watch_recv(p)) > 0)
        got_frame(w, p);
    if (rc == 0)
        return;
    close(p->fd);
    p->fd = -1;
    if (!p->gone && !w->leaving)
        tell_lost(w, p, "has ended: it was killed, or failed with a sentence of its own");
}

static void listen_to_all(wan_watch *w, struct pollfd *f, double seconds)
{
    int n = w->linked ? w->n_peers : 0;
    for (int i = 0; i < n; i++)
        f[i] = (struct pollfd){ w->peer[i].fd, POLLIN, 0 };
    if (poll(f, (nfds_t)n, (int)(seconds * 1000) + 1) <= 0)
        return;
    for (int i = 0; i < n; i++)
        if (f[i].revents && w->peer[i].fd >= 0)
            hear(w, &w->peer[i]);
}

static void find_silent(wan_watch *w, double passed)
{
    char what[128];
    for (int i = 0; i < w->n_peers; i++) {
        watch_peer *p = &w->peer[i];
        if (p->fd < 0 || p->gone || w->leaving)
            continue;
        p->silent += passed;
        if (p->silent <= w->dead)
            continue;
        snprintf(what, sizeof what,
                 "has not answered for %.0f seconds: it was stopped, or its machine "
                 "or the network is gone",
                 p->silent);
        close(p->fd);
        p->fd = -1;
        tell_lost(w, p, what);
    }
}

static void beat(wan_watch *w)
{
    watch_frame f;
    wan_watch_start_beat(w);
    if (!w->linked)
        return;
    wan_watch_frame(w, &f, FRAME_BEAT);
    describe(w, f.text);
    for (int i = 0; i < w->n_peers; i++)
        wan_watch_send(&w->peer[i], &f);
}

/* Says goodbye and reads on until the others have, so that no reset swallows it. */
static void leave(wan_watch *w, struct pollfd *f)
{
    watch_frame bye;
    wan_watch_frame(w, &bye, FRAME_BYE);
    w->leaving = 1;
    for (int i = 0; i < w->n_peers; i++)
        if (w->peer[i].fd >= 0) {
            wan_watch_send(&w->peer[i], &bye);
            shutdown(w->peer[i].fd, SHUT_WR);
        }
    for (double until = wan_now() + 2; wan_now() < until;) {
        int open = 0;
        listen_to_all(w, f, 0.05);
        for (int i = 0; i < w->n_peers; i++)
            open |= w->peer[i].fd >= 0;
        if (!open)
            return;
    }
}

/* Whether to go on; takes over the connections once they are there. */
static int look_up(wan_watch *w, struct pollfd **f)
{
    pthread_mutex_lock(&w->lock);
    int go = !w->stop;
    if (w->connected && !w->linked && (*f = calloc((size_t)w->n_peers + 1, sizeof **f))) {
        w->linked = 1;
        wan_watch_start_free(w);
    }
    pthread_mutex_unlock(&w->lock);
    return go;
}

static void *watch(void *arg)
{
    wan_watch *w = arg;
    struct pollfd *f = NULL;
    double last = wan_now(), next = 0;
    while (look_up(w, &f)) {
        listen_to_all(w, f, w->interval / 4);
        double now = wan_now(), passed = now - last < 0.5 ? now - last : 0.5;
        last = now;
        if (w->linked) {
            find_silent(w, passed);
            pass_question(w);
        }
        if (now >= next) {
            beat(w);
            look_after(w);
            next = now + w->interval;
        }
        call_on_lost(w);
    }
    if (w->linked)
        leave(w, f);
    free(f);
    return NULL;
}

int wan_watch_new(wan_watch **out, double dead)
{
    wan_watch *w = wan_calloc(1, sizeof *w, "watch over the ranks");
    *out = NULL;
    if (!w)
        return -1;
    w->dead = dead;
    w->interval = dead / 10 < 1 ? dead / 10 : 1;
    w->pid = (int)getpid();
    gethostname(w->host, sizeof w->host - 1);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    wan_watch_start_new(w);
    if (pthread_create(&w->thread, NULL, watch, w) != 0) {
        wan_watch_start_free(w);
        free(w);
        return wan_err("cannot start the watching thread");
    }
    *out = w;
    return 0;
}

void wan_watch_free(wan_watch **pw)
{
    wan_watch *w = *pw;
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->stop = 1;
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    wan_watch_start_free(w);
    for (int i = 0; i < w->n_peers; i++)
        if (w->peer[i].fd >= 0)
            close(w->peer[i].fd);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->changed);
    free(w->peer);
    free(w);
    *pw = NULL;
}
