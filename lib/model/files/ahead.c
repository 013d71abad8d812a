/* SPDX-License-Identifier: Apache-2.0
 *
 * ahead.c - see ahead.h.
 */
#include "lib/model/files/ahead.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/base/mem.h"

/* Bytes asked for at a time: asking waits for the disk when enough is under way. */
enum { AT_ONCE = 4 << 20 };

typedef struct piece {
    const char *data;
    size_t bytes;
} piece;

struct wan_ahead {
    piece *v;
    size_t n, room;
    pthread_t thread;
    int running;
    atomic_int stop;
};

int wan_ahead_new(wan_ahead **out)
{
    *out = wan_calloc(1, sizeof **out, "pieces of a file");
    return *out ? 0 : -1;
}

int wan_ahead_add(wan_ahead *a, const void *data, size_t bytes)
{
    piece *v = wan_mem_grow(a->v, a->n, &a->room, sizeof *v, "pieces of a file");
    if (!v)
        return -1;
    a->v = v;
    a->v[a->n++] = (piece){ data, bytes };
    return 0;
}

static void *ask(void *arg)
{
    wan_ahead *a = arg;
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    for (size_t i = 0; i < a->n; i++) {
        uintptr_t at = (uintptr_t)a->v[i].data / page * page;
        const uintptr_t end = (uintptr_t)a->v[i].data + a->v[i].bytes;
        for (; at < end && !atomic_load(&a->stop); at += AT_ONCE)
            (void)madvise((void *)at, end - at < AT_ONCE ? end - at : AT_ONCE, MADV_WILLNEED);
    }
    return NULL;
}

void wan_ahead_start(wan_ahead *a)
{
    sigset_t all, before; /* signals are for the others */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    a->running = pthread_create(&a->thread, NULL, ask, a) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void wan_ahead_free(wan_ahead **pa)
{
    wan_ahead *a = *pa;
    if (!a)
        return;
    atomic_store(&a->stop, 1);
    if (a->running)
        pthread_join(a->thread, NULL);
    free(a->v);
    free(a);
    *pa = NULL;
}
