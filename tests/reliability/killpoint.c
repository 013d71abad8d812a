/* SPDX-License-Identifier: Apache-2.0
 *
 * killpoint.c - preloaded into a tool: ends it before its k-th change to the file system, as a power
 * cut at that moment would.  KILL_AT=k (0: never); KILL_COUNT=FILE: the number of changes is written
 * there at the end; KILL_NO_EXCHANGE: the file system cannot exchange two names.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static long changes;

static void point(void)
{
    const char *at = getenv("KILL_AT");
    if (++changes == (at ? atol(at) : 0))
        _exit(99);
}

__attribute__((destructor)) static void count(void)
{
    const char *path = getenv("KILL_COUNT");
    FILE *f = path ? fopen(path, "w") : NULL;
    if (f) {
        fprintf(f, "%ld\n", changes);
        fclose(f);
    }
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int rename(const char *from, const char *to)
{
    point();
    return REAL(rename)(from, to);
}

int renameat2(int a, const char *from, int b, const char *to, unsigned flags)
{
    if (getenv("KILL_NO_EXCHANGE")) {
        errno = EINVAL;
        return -1;
    }
    point();
    return REAL(renameat2)(a, from, b, to, flags);
}

int unlink(const char *path)
{
    point();
    return REAL(unlink)(path);
}

int remove(const char *path)
{
    point();
    return REAL(remove)(path);
}

int rmdir(const char *path)
{
    point();
    return REAL(rmdir)(path);
}

int mkdir(const char *path, mode_t mode)
{
    point();
    return REAL(mkdir)(path, mode);
}

int fsync(int fd)
{
    point();
    return REAL(fsync)(fd);
}
