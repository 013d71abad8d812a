/* SPDX-License-Identifier: Apache-2.0
 *
 * tree.c - see tree.h.
 */
#include "tests/reliability/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t add(uint64_t h, const void *data, size_t n)
{
    const unsigned char *p = data;
    for (uint64_t v = 0; n > 0; n -= n < 8 ? n : 8, p += 8) {
        v = 0;
        memcpy(&v, p, n < 8 ? n : 8);
        h = (h ^ v) * 0x9e3779b97f4a7c15u;
        h ^= h >> 29;
    }
    return h;
}

/* The bytes of a file in memory of this function, which the next call reuses; NULL: errno says why. */
static const void *bytes_of(int dir, const char *name, size_t n, size_t *have)
{
    static char *buf;
    static size_t room;
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    if (n + 1 > room && fd >= 0) {
        free(buf);
        buf = malloc(room = 2 * n + 4096);
    }
    ssize_t got = 1;
    for (*have = 0; fd >= 0 && buf && *have < n && got > 0; *have += got > 0 ? (size_t)got : 0)
        got = read(fd, buf + *have, n - *have);
    if (fd >= 0)
        close(fd);
    return fd < 0 || got < 0 ? NULL : buf;
}

/* Calls one() for every entry, sorted by name; ends with the first -1. */
static int each(int dir, int (*one)(int dir, const char *name, const struct stat *, void *),
                void *arg)
{
    struct dirent **e;
    int n = scandirat(dir, ".", &e, NULL, alphasort), rc = n < 0 ? -1 : 0;
    for (int i = 0; i < n; i++) {
        struct stat st;
        const char *name = e[i]->d_name;
        if (rc == 0 && strcmp(name, ".") && strcmp(name, ".."))
            rc = fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ? -1 : one(dir, name, &st, arg);
        free(e[i]);
    }
    if (n >= 0)
        free(e);
    return rc;
}

typedef struct sum {
    uint64_t h;
    int times;
} sum;

static int add_entry(int dir, const char *name, const struct stat *st, void *arg);

static int add_what(int dir, const char *name, const struct stat *st, sum *s)
{
    char to[4096];
    size_t n = (size_t)st->st_size;
    s->h = add(s->h, &st->st_mode, sizeof st->st_mode);
    if (S_ISLNK(st->st_mode)) {
        ssize_t len = readlinkat(dir, name, to, sizeof to);
        s->h = add(s->h, to, len < 0 ? 0 : (size_t)len);
    } else if (S_ISDIR(st->st_mode)) {
        int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;
        if (fd < 0)
            return -1;
        rc = each(fd, add_entry, s);
        s->h = add(s->h, "/", 1);
        close(fd);
        return rc;
    } else if (S_ISREG(st->st_mode)) {
        const void *data = bytes_of(dir, name, n, &n);
        if (!data)
            return -1;
        s->h = add(s->h, &st->st_size, sizeof st->st_size);
        s->h = add(s->h, data, n);
        if (s->times)
            s->h = add(s->h, &st->st_mtim, sizeof st->st_mtim);
    }
    return 0;
}

static int add_entry(int dir, const char *name, const struct stat *st, void *arg)
{
    sum *s = arg;
    s->h = add(s->h, name, strlen(name) + 1);
    return add_what(dir, name, st, s);
}

uint64_t tree_digest(const char *path, int times)
{
    sum s = { 1, times };
    struct stat st;
    return lstat(path, &st) < 0 || add_what(AT_FDCWD, path, &st, &s) < 0 ? 0 : s.h | 1;
}

/* ---- copies */

static int copy_file(int dir, const char *name, const struct stat *st, int to)
{
    size_t n = (size_t)st->st_size, done = 0;
    const char *data = bytes_of(dir, name, n, &n);
    if (!data)
        return -1;
    int fd = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, st->st_mode & 0777);
    if (fd < 0)
        return -1;
    for (ssize_t put = 1; done < n && put > 0; done += put > 0 ? (size_t)put : 0)
        put = write(fd, data + done, n - done);
    const struct timespec t[2] = { st->st_atim, st->st_mtim };
    int rc = done < n || futimens(fd, t) < 0 ? -1 : 0;
    return close(fd) < 0 ? -1 : rc;
}

static int copy_entry(int dir, const char *name, const struct stat *st, void *arg)
{
    int to = *(int *)arg, from, below, rc = -1;
    char link[4096];
    if (S_ISREG(st->st_mode))
        return copy_file(dir, name, st, to);
    if (S_ISLNK(st->st_mode)) {
        ssize_t n = readlinkat(dir, name, link, sizeof link - 1);
        link[n < 0 ? 0 : n] = 0;
        return symlinkat(link, to, name);
    }
    if (!S_ISDIR(st->st_mode))
        return 0;
    from = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (mkdirat(to, name, 0777) == 0 &&
        (below = openat(to, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) >= 0) {
        rc = from < 0 ? -1 : each(from, copy_entry, &below);
        close(below);
    }
    if (from >= 0)
        close(from);
    return rc;
}

int tree_copy(const char *from, const char *to)
{
    if (mkdir(to, 0777) < 0)
        return -1;
    int a = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int b = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = a < 0 || b < 0 ? -1 : each(a, copy_entry, &b);
    if (a >= 0)
        close(a);
    if (b >= 0)
        close(b);
    return rc;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st, (void)type, (void)where;
    return remove(path);
}

int tree_remove(const char *dir)
{
    return nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}
