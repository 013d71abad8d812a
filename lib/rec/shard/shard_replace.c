/* SPDX-License-Identifier: Apache-2.0
 *
 * shard_replace.c - see shard_replace.h.
 */
#include "lib/rec/shard/shard_replace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/rec/shard/shard.h"

static const char begun[] = ".switch", emptied[] = ".switched";

int64_t wan_shard_replace_number(int rank, const char *name, const char **end)
{
    char prefix[32], *rest;
    int n = snprintf(prefix, sizeof prefix, "shard-rank%02d-", rank);
    if (strncmp(name, prefix, (size_t)n) != 0 || name[n] < '0' || name[n] > '9')
        return -1;
    long long v = strtoll(name + n, &rest, 10);
    *end = rest;
    return strncmp(rest, ".tar", 4) ? -1 : v;
}

static char *marker(const char *dir, int rank, const char *what)
{
    char name[40];
    snprintf(name, sizeof name, ".shard-rank%02d%s", rank, what);
    return wan_path_join(dir, name);
}

static int drop_file(const char *path)
{
    return unlink(path) < 0 && errno != ENOENT ? wan_err_errno("%s: cannot remove", path) : 0;
}

/* A whole shard that goes, and its index in front of it. */
static int drop_old(const char *path, const char *end)
{
    if (strcmp(end, ".tar") != 0)
        return 0;
    char *idx = wan_shard_idx(path);
    int rc = idx ? drop_file(idx) : -1;
    free(idx);
    return rc < 0 ? -1 : drop_file(path);
}

static int take_new(const char *path, const char *end)
{
    if (strcmp(end, ".tar.new") != 0)
        return 0;
    char *to = strndup(path, strlen(path) - strlen(".new"));
    int rc = !to                    ? wan_err("out of memory (path)")
             : rename(path, to) < 0 ? wan_err_errno("%s: cannot rename into place", to)
                                    : 0;
    free(to);
    return rc;
}

/* New ones that nobody will take, and what a killed writer left unfinished. */
static int drop_new(const char *path, const char *end)
{
    return strncmp(end, ".tar.new", 8) && strcmp(end, ".tar.tmp") ? 0 : drop_file(path);
}

/* Paths of the rank's shards. */
struct paths {
    char **v;
    size_t n, cap;
};

/* Takes path. */
static int add(struct paths *l, char *path)
{
    char **more = path ? wan_mem_grow(l->v, l->n, &l->cap, sizeof *more, "shard names") : NULL;
    if (!more) {
        free(path);
        return -1;
    }
    l->v = more;
    l->v[l->n++] = path;
    return 0;
}

static int list(struct paths *l, const char *dir, int rank)
{
    DIR *d = opendir(dir);
    const char *name, *end;
    int rc = d ? 1 : wan_err_errno("%s", dir);
    while (rc > 0 && (rc = wan_dir_next(d, dir, &name)) > 0)
        if (wan_shard_replace_number(rank, name, &end) >= 0 && add(l, wan_path_join(dir, name)) < 0)
            rc = -1;
    if (d)
        closedir(d);
    return rc;
}

/* Calls fn for every file with a name of the rank's shards; the folder is on disk afterwards.  All are listed first:
 * a folder that changes while it is read leaves entries out on some file systems (NFS). */
static int each(const char *dir, int rank, int (*fn)(const char *path, const char *end))
{
    struct paths l = { 0 };
    int rc = list(&l, dir, rank);
    for (size_t i = 0; i < l.n; i++) {
        const char *end;
        (void)wan_shard_replace_number(rank, strrchr(l.v[i], '/') + 1, &end);
        if (rc == 0)
            rc = fn(l.v[i], end);
        free(l.v[i]);
    }
    free(l.v);
    return rc < 0 ? -1 : wan_fsync_dir(dir);
}

/* 1, 0, or -1: what cannot be seen must not decide that shards go. */
static int is_there(const char *path)
{
    struct stat st;
    if (lstat(path, &st) == 0)
        return 1;
    return errno == ENOENT ? 0 : wan_err_errno("%s", path);
}

static int settle(const char *dir, int rank, const char *first, const char *second)
{
    int is_begun = is_there(first);
    WAN_TRY(is_begun);
    if (is_begun) {
        WAN_TRY(each(dir, rank, drop_old));
        if (rename(first, second) < 0)
            return wan_err_errno("%s: cannot rename into place", second);
        WAN_TRY(wan_fsync_dir(dir));
    }
    int is_emptied = is_there(second);
    WAN_TRY(is_emptied);
    if (is_emptied) {
        WAN_TRY(each(dir, rank, take_new));
        WAN_TRY(drop_file(second));
    }
    return each(dir, rank, drop_new);
}

int wan_shard_replace_settle(const char *dir, int rank)
{
    char *first = marker(dir, rank, begun), *second = marker(dir, rank, emptied);
    int rc = first && second ? settle(dir, rank, first, second) : -1;
    free(first);
    free(second);
    return rc;
}

int wan_shard_replace_commit(const char *dir, int rank)
{
    char *first = marker(dir, rank, begun);
    int rc = first ? wan_spew(first, "", 0) : -1;
    if (rc == 0) {
        rc = wan_shard_replace_settle(dir, rank);
        if (rc <
            0) /* an error that does not last; of one that does the marker tells the next run */
            rc = wan_shard_replace_settle(dir, rank);
    } else {
        char *why = strdup(wan_err_text());
        if ((!first || wan_remove_file(first) == 0) && wan_shard_replace_settle(dir, rank) == 0)
            wan_err_clear(); /* the old ones stay, no new one does */
        wan_err("%s", why ? why : "out of memory");
        free(why);
    }
    free(first);
    return rc;
}

int wan_shard_replace_lock(wan_out **lock, const char *dir, int rank)
{
    char *path = marker(dir, rank, "");
    int rc = path ? wan_out_open(lock, path) : -1;
    free(path);
    return rc;
}

/* Of "shard-rankNN-..." or ".shard-rankNN...", -1 of any other name. */
static int rank_of(const char *name)
{
    static const char prefix[] = "shard-rank";
    name += *name == '.';
    const char *p = name + sizeof prefix - 1;
    return !strncmp(name, prefix, sizeof prefix - 1) && p[0] >= '0' && p[0] <= '9' && p[1] >= '0' &&
                   p[1] <= '9'
               ? 10 * (p[0] - '0') + p[1] - '0'
               : -1;
}

int wan_shard_replace_end(wan_shard_marks *m, const char *dir)
{
    int rc = 0;
    for (int rank = 0; rc == 0 && rank < 100; rank++) {
        wan_out *lock = NULL;
        if (!m->stage[rank])
            continue;
        rc = wan_shard_replace_lock(&lock, dir, rank);
        if (rc == 0 && (rc = wan_shard_replace_settle(dir, rank)) < 0)
            rc = wan_shard_replace_settle(dir, rank); /* an error that does not last */
        wan_out_discard(&lock);
        m->stage[rank] = 0;
    }
    return rc;
}

int wan_shard_replace_look(wan_shard_marks *m, const char *dir)
{
    DIR *d = opendir(dir);
    const char *name;
    int rc = d ? 1 : wan_err_errno("%s", dir);
    *m = (wan_shard_marks){ { 0 } };
    while (rc > 0 && (rc = wan_dir_next(d, dir, &name)) > 0) {
        int rank = *name == '.' ? rank_of(name) : -1;
        const char *rest = rank < 0 ? "" : name + strlen(".shard-rankNN");
        if (!strcmp(rest, begun))
            m->stage[rank] = 1;
        else if (!strcmp(rest, emptied))
            m->stage[rank] = 2;
    }
    if (d)
        closedir(d);
    return rc;
}

int wan_shard_replace_stands(const wan_shard_marks *m, const char *name)
{
    const char *end;
    int rank = *name == '.' ? -1 : rank_of(name);
    if (rank < 0 || !m->stage[rank] || wan_shard_replace_number(rank, name, &end) < 0)
        return 0;
    return !strcmp(end, ".tar.new") ? 1 : !strcmp(end, ".tar") && m->stage[rank] == 1 ? -1 : 0;
}
