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

static int newer(const struct stat *a, const struct stat *b)
{
    return a->st_mtim.tv_sec != b->st_mtim.tv_sec ? a->st_mtim.tv_sec > b->st_mtim.tv_sec
                                                  : a->st_mtim.tv_nsec > b->st_mtim.tv_nsec;
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
