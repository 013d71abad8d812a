/* SPDX-License-Identifier: Apache-2.0
 *
 * shard_set.c - see shard_set.h.
 */
#include "lib/rec/shard/shard_set.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/file.h"
#include "lib/base/sha256.h"
#include "lib/rec/shard/shard.h"

/* 1, 0: one of them is not there; -1: nobody can say. */
static int identify(uint8_t out[32], const wan_shard_set *s, const char *dir)
{
    wan_sha256 h;
    int there = 1;
    wan_sha256_init(&h);
    for (size_t i = 0; i < s->n && there > 0; i++) {
        struct stat st;
        char *path = wan_path_join(dir, s->name[i]);
        there = !path                  ? -1
                : stat(path, &st) == 0 ? 1
                : errno == ENOENT      ? 0
                                       : wan_err_errno("%s", path);
        free(path);
        if (there > 0) {
            wan_sha256_add(&h, &st.st_ino, sizeof st.st_ino);
            wan_sha256_add(&h, &st.st_size, sizeof st.st_size);
            wan_sha256_add(&h, &st.st_mtim, sizeof st.st_mtim);
        }
    }
    wan_sha256_bytes(&h, out);
    return there;
}

static int same_names(const wan_shard_set *s, char **name, size_t n)
{
    size_t i = 0;
    while (i < n && i < s->n && !strcmp(s->name[i], name[i]))
        i++;
    return n == s->n && i == n;
}

/* 1: the list is that of before, and all are there; else it is the new one. */
static int again(wan_shard_set *s, const char *dir)
{
    static const char *const ends[] = { ".tar", ".tgz", ".tar.gz", NULL };
    char **name;
    size_t n;
    WAN_TRY(wan_shard_list_as(&name, &n, dir, ends));
    int same = same_names(s, name, n);
    wan_shard_set_clear(s);
    s->name = name;
    s->n = n;
    return same ? identify(s->files, s, dir) : 0;
}

int wan_shard_set_list(wan_shard_set *s, const char *dir)
{
    enum { TRIES = 100 };
    int rc = 0;
    *s = (wan_shard_set){ 0 };
    WAN_TRY(wan_shard_list(&s->name, &s->n, dir));
    for (int i = 0; rc == 0 && i < TRIES; i++)
        rc = again(s, dir);
    if (rc == 0)
        rc = wan_err("%s: its shards change all the time", dir);
    if (rc < 0)
        wan_shard_set_clear(s);
    return rc < 0 ? -1 : 0;
}

int wan_shard_set_still(const wan_shard_set *s, const char *dir)
{
    uint8_t files[32];
    int there = identify(files, s, dir);
    WAN_TRY(there);
    return there && !memcmp(files, s->files, sizeof files)
               ? 0
               : wan_err("%s: its shards were replaced while they were read; read them again", dir);
}

void wan_shard_set_clear(wan_shard_set *s)
{
    wan_shard_list_free(s->name, s->n);
    *s = (wan_shard_set){ 0 };
}
