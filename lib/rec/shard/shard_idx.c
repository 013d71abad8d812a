/* SPDX-License-Identifier: Apache-2.0
 *
 * shard_idx.c - the file of offsets beside a shard: its name, and whether it is still that of the shard.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/file.h"
#include "lib/rec/shard/shard.h"

char *wan_shard_idx(const char *tar)
{
    size_t n = strlen(tar) + 5;
    char *path = wan_malloc(n, 1, "file name");
    if (path)
        snprintf(path, n, "%s.idx", tar);
    return path;
}

static int later(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

/* A file that was moved or copied here with its own time of writing has the time of that as its time of change. */
static int newer(const struct stat *a, const struct stat *b)
{
    return later(&a->st_mtim, &b->st_mtim) && later(&a->st_ctim, &b->st_ctim);
}

int wan_shard_idx_fresh(const char *tar, const void *data, size_t n)
{
    struct stat shard, idx;
    char *path = wan_shard_idx(tar), *text = NULL;
    size_t size;
    int fresh = path && stat(tar, &shard) == 0 && stat(path, &idx) == 0 && newer(&idx, &shard) &&
                wan_slurp(&text, &size, path, n + 8) == 0 && size == n && !memcmp(text, data, n);
    free(text);
    free(path);
    return fresh;
}
