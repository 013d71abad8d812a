/* SPDX-License-Identifier: Apache-2.0
 *
 * snap.c - see snap.h.
 */
#include "tests/reliability/snap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/reliability/tree.h"

static struct {
    const char *from, *to;
    FILE *points;
    uint64_t *state;
    size_t n;
} snap;

int snap_begin(const char *from, const char *to)
{
    char path[4096];
    snap.from = from;
    snap.to = to;
    snprintf(path, sizeof path, "%s/points", to);
    return (snap.points = fopen(path, "w")) ? 0 : -1;
}

static size_t known(uint64_t digest)
{
    size_t i = 0;
    while (i < snap.n && snap.state[i] != digest)
        i++;
    return i;
}

/* The state in DIR, whose digest is d, gets the next number; -1. */
static int keep(const char *dir, uint64_t d)
{
    char path[4096];
    uint64_t *more = reallocarray(snap.state, snap.n + 1, sizeof *more);
    snprintf(path, sizeof path, "%s/%zu", snap.to, snap.n);
    if (!more || rename(dir, path) < 0)
        return -1;
    snap.state = more;
    snap.state[snap.n++] = d;
    return 0;
}

/* A copy in dir that nothing has changed while it was made; its digest, 0: none. */
static uint64_t copy(const char *dir)
{
    for (int i = 0; i < 1000; i++) {
        uint64_t before = tree_digest(snap.from, 1);
        if (before && tree_copy(snap.from, dir) == 0 && tree_digest(dir, 1) == before)
            return before;
        if (access(dir, F_OK) == 0 && tree_remove(dir) < 0)
            return 0;
        usleep(1000); /* another process or thread is at work */
    }
    return 0;
}

int snap_take(const char *label)
{
    char dir[4096];
    uint64_t d = tree_digest(snap.from, 1);
    size_t i = d ? known(d) : snap.n;
    snprintf(dir, sizeof dir, "%s/new", snap.to);
    if (i == snap.n) {
        if (!(d = copy(dir)))
            return -1;
        i = known(d);
        if ((i < snap.n ? tree_remove(dir) : keep(dir, d)) < 0)
            return -1;
    }
    return fprintf(snap.points, "%s %zu\n", label, i) < 0 ? -1 : 0;
}

int snap_written(const char *label, const char *file, const void *data, size_t n, int64_t at)
{
    char dir[4096], path[8192];
    snprintf(dir, sizeof dir, "%s/new", snap.to);
    snprintf(path, sizeof path, "%s/%s", dir, file);
    if (!copy(dir))
        return -1;
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    int bad = fd >= 0 && pwrite(fd, data, n, at) != (ssize_t)n;
    if (fd >= 0)
        bad |= close(fd) < 0;
    uint64_t d = tree_digest(dir, 1);
    size_t i = known(d);
    if (bad || !d || (i < snap.n ? tree_remove(dir) : keep(dir, d)) < 0)
        return -1;
    return fprintf(snap.points, "%s %zu\n", label, i) < 0 ? -1 : 0;
}

int snap_end(void)
{
    free(snap.state);
    return fclose(snap.points);
}
