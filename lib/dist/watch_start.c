/* SPDX-License-Identifier: Apache-2.0
 *
 * watch_start.c - before MPI has started: which processes of this machine have come, and beat.
 *
 * The launcher says how many it starts here (Open MPI's and Slurm's variables) and names the run; the
 * beats are in a file that all of them map.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/base/log.h"
#include "lib/dist/watch_priv.h"

enum { LOCAL_MAX = 4096 };

typedef struct beat {
    atomic_int count; /* 0: not come */
    int rank;         /* of the world, or -1 */
} beat;

struct watch_start {
    int local, n, size; /* mine, and how many on this machine; in the run, or 0 */
    beat *shared;       /* [n] */
    struct {
        int count;
        double silent;
    } seen[LOCAL_MAX];
    double last;
    char path[256];
};

static int number(const char *name, int otherwise)
{
    const char *v = getenv(name);
    return v && *v ? atoi(v) : otherwise;
}

/* Entry `node` of Slurm's list "4(x2),3". */
static int slurm_tasks(const char *list, int node)
{
    while (list && *list) {
        int tasks, times = 1, used = 0;
        if (sscanf(list, "%d%n", &tasks, &used) != 1)
            return 0;
        list += used;
        if (sscanf(list, "(x%d)%n", &times, &used) == 1)
            list += used;
        if (node < times)
            return tasks;
        node -= times;
        list += *list == ',';
    }
    return 0;
}

/* Who I am on this machine; -1 where the launcher does not say. */
static int place(struct watch_start *s, int *rank)
{
    s->local = number("OMPI_COMM_WORLD_LOCAL_RANK", number("SLURM_LOCALID", -1));
    s->n = number("OMPI_COMM_WORLD_LOCAL_SIZE", 0);
    if (!s->n)
        s->n = slurm_tasks(getenv("SLURM_STEP_TASKS_PER_NODE"), number("SLURM_NODEID", 0));
    s->size = number("OMPI_COMM_WORLD_SIZE", number("SLURM_STEP_NUM_TASKS", 0));
    *rank = number("PMIX_RANK", number("OMPI_COMM_WORLD_RANK", -1));
    return s->local >= 0 && s->local < s->n && s->n <= LOCAL_MAX ? 0 : -1;
}

/* The file, in the launcher's folder for this run or in shared memory. */
static int open_file(struct watch_start *s)
{
    const char *run = getenv("PMIX_NAMESPACE"), *dir = getenv("PMIX_SERVER_TMPDIR");
    if (!run || strchr(run, '/'))
        return -1;
    snprintf(s->path, sizeof s->path, "%s/wan-start.%s", dir ? dir : "", run);
    int fd = dir ? open(s->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
    if (fd >= 0)
        return fd;
    snprintf(s->path, sizeof s->path, "/dev/shm/wan-start.%ld.%s", (long)getuid(), run);
    return open(s->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
}

int wan_watch_start_new(wan_watch *w)
{
    struct watch_start *s = calloc(1, sizeof *s);
    int rank, fd = -1;
    if (!s)
        return -1;
    if (place(s, &rank) < 0 || (fd = open_file(s)) < 0)
        goto fail;
    size_t bytes = (size_t)s->n * sizeof *s->shared;
    if (ftruncate(fd, (off_t)bytes) < 0)
        goto fail;
    s->shared = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (s->shared == MAP_FAILED)
        goto fail;
    close(fd);
    s->shared[s->local].rank = rank;
    s->last = wan_now();
    w->start = s;
    wan_watch_start_beat(w);
    return 0;
fail:
    if (fd >= 0)
        close(fd);
    free(s);
    return -1;
}

void wan_watch_start_beat(wan_watch *w)
{
    struct watch_start *s = w->start;
    if (s && atomic_fetch_add(&s->shared[s->local].count, 1) == -1)
        atomic_store(&s->shared[s->local].count, 1); /* 0 is "not come" */
}

static int missing(const wan_watch *w, int i)
{
    const struct watch_start *s = w->start;
    int came = s->seen[i].count != 0, rank = came ? s->shared[i].rank : s->n == s->size ? i : -1;
    char who[64];
    snprintf(who, sizeof who, rank < 0 ? "the process with local number %d" : "rank %d",
             rank < 0 ? i : rank);
    if (!came)
        return wan_err(
            "%s on %s has not come to the start for %.0f seconds: it was stopped, or runs "
            "something else",
            who, w->host, w->dead);
    return wan_err("%s on %s has given no sign of life for %.0f seconds while MPI starts: it was "
                   "stopped or killed",
                   who, w->host, w->dead);
}

static int check(wan_watch *w, struct watch_start *s)
{
    double now = wan_now(), passed = now - s->last < 0.5 ? now - s->last : 0.5;
    s->last = now;
    for (int i = 0; i < s->n; i++) {
        int count = atomic_load(&s->shared[i].count);
        s->seen[i].silent = count == s->seen[i].count ? s->seen[i].silent + passed : 0;
        s->seen[i].count = count;
        if (s->seen[i].silent > w->dead)
            return missing(w, i);
    }
    return 0;
}

int wan_watch_start_check(wan_watch *w)
{
    pthread_mutex_lock(&w->lock);
    int rc = w->start ? check(w, w->start) : 0;
    pthread_mutex_unlock(&w->lock);
    return rc;
}

void wan_watch_start_free(wan_watch *w)
{
    struct watch_start *s = w->start;
    if (!s)
        return;
    munmap(s->shared, (size_t)s->n * sizeof *s->shared);
    if (s->local == 0)
        unlink(s->path);
    free(s);
    w->start = NULL;
}
