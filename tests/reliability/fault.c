/* SPDX-License-Identifier: Apache-2.0
 *
 * fault.c - preloaded into a tool: the k-th call of one kind that main makes fails.
 *
 *     FAULT=KIND      alloc, or the name of one of the calls below
 *     FAULT_AT=K      which one fails (0: none)
 *     FAULT_COUNT=F   the number of such calls is written into file F at the end
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int in_main;
static long calls, at;
static char kind[16];
static int (*real_main)(int, char **, char **);

/* Whether this call fails. */
static int fails(const char *name)
{
    return in_main && !strcmp(kind, name) && __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED) == at;
}

static void *next(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

static void finish(void)
{
    const char *path = getenv("FAULT_COUNT");
    in_main = 0;
    FILE *f = path ? fopen(path, "w") : NULL;
    if (f) {
        fprintf(f, "%ld\n", calls);
        fclose(f);
    }
}

static int our_main(int argc, char **argv, char **env)
{
    snprintf(kind, sizeof kind, "%s", getenv("FAULT") ? getenv("FAULT") : "");
    at = getenv("FAULT_AT") ? atol(getenv("FAULT_AT")) : 0;
    atexit(finish);
    in_main = 1;
    return real_main(argc, argv, env);
}

int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv, void (*init)(void),
                      void (*fini)(void), void (*rtld)(void), void *end)
{
    int (*start)(int (*)(int, char **, char **), int, char **, void (*)(void), void (*)(void),
                 void (*)(void), void *) = next("__libc_start_main");
    real_main = main;
    return start(our_main, argc, argv, init, fini, rtld, end);
}

/* ---- memory: the C library's own functions, which dlsym itself needs */

void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t),
    *__libc_memalign(size_t, size_t);

static int no_memory(void)
{
    if (!fails("alloc"))
        return 0;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t n)
{
    return no_memory() ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    return no_memory() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    return no_memory() ? NULL : __libc_realloc(p, n);
}

void *aligned_alloc(size_t align, size_t n)
{
    return no_memory() ? NULL : __libc_memalign(align, n);
}

int posix_memalign(void **p, size_t align, size_t n)
{
    if (no_memory())
        return ENOMEM;
    *p = __libc_memalign(align, n);
    return *p ? 0 : ENOMEM;
}

/* ---- files */

#define REAL(name) ((__typeof__(&name))next(#name))
#define FAIL(name, bad, error)                                                                     \
    if (fails(#name)) {                                                                            \
        errno = error;                                                                             \
        return bad;                                                                                \
    }

struct dirent *readdir(DIR *d)
{
    FAIL(readdir, NULL, EIO)
    return REAL(readdir)(d);
}

int stat(const char *path, struct stat *st)
{
    FAIL(stat, -1, EIO)
    return REAL(stat)(path, st);
}

int fstat(int fd, struct stat *st)
{
    FAIL(fstat, -1, EIO)
    return REAL(fstat)(fd, st);
}

off_t lseek(int fd, off_t to, int whence)
{
    FAIL(lseek, -1, EIO)
    return REAL(lseek)(fd, to, whence);
}

int ftruncate(int fd, off_t n)
{
    FAIL(ftruncate, -1, EIO)
    return REAL(ftruncate)(fd, n);
}

int fsync(int fd)
{
    FAIL(fsync, -1, EIO)
    return REAL(fsync)(fd);
}

int rename(const char *from, const char *to)
{
    FAIL(rename, -1, EIO)
    return REAL(rename)(from, to);
}

int open(const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    FAIL(open, -1, EIO)
    return REAL(open)(path, flags, mode);
}

FILE *fopen(const char *path, const char *how)
{
    FAIL(fopen, NULL, EIO)
    return REAL(fopen)(path, how);
}

ssize_t read(int fd, void *buf, size_t n)
{
    FAIL(read, -1, EIO)
    return REAL(read)(fd, buf, n);
}

ssize_t pread(int fd, void *buf, size_t n, off_t off)
{
    FAIL(pread, -1, EIO)
    return REAL(pread)(fd, buf, n, off);
}

void *mmap(void *p, size_t n, int prot, int flags, int fd, off_t off)
{
    FAIL(mmap, MAP_FAILED, ENOMEM)
    return REAL(mmap)(p, n, prot, flags, fd, off);
}

int mkdir(const char *path, mode_t mode)
{
    FAIL(mkdir, -1, EIO)
    return REAL(mkdir)(path, mode);
}
