/* SPDX-License-Identifier: Apache-2.0
 *
 * fault.c - preloaded into a tool: the k-th call of one kind that main makes fails.  Calls to the kernel
 * are at.c's, which this one tells when main begins.
 *
 *     FAULT=KIND      alloc, dlopen, thread or mpi
 *     FAULT_AT=K      which one fails (0: none)
 *     FAULT_COUNT=F   a line "KIND CALLS" for each kind is added to file F at the end
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum kind { ALLOC, DLOPEN, THREAD, MPI, KINDS };
static const char *const names[KINDS] = { "alloc", "dlopen", "thread", "mpi" };
static int in_main;
static long calls[KINDS], at;
static enum kind kind = KINDS;
static int (*real_main)(int, char **, char **);

/* Whether this call fails. */
static int fails(enum kind k)
{
    return in_main && __atomic_add_fetch(&calls[k], 1, __ATOMIC_RELAXED) == at && k == kind;
}

static void *next(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

static void finish(void)
{
    const char *path = getenv("FAULT_COUNT");
    in_main = 0;
    FILE *f = path ? fopen(path, "a") : NULL;
    for (int k = 0; f && k < KINDS; k++)
        fprintf(f, "%s %ld\n", names[k], calls[k]);
    if (f)
        fclose(f);
}

static int our_main(int argc, char **argv, char **env)
{
    const char *which = getenv("FAULT");
    for (int k = 0; which && k < KINDS; k++)
        if (!strcmp(which, names[k]))
            kind = (enum kind)k;
    at = getenv("FAULT_AT") ? atol(getenv("FAULT_AT")) : 0;
    atexit(finish);
    in_main = 1;
    syscall(SYS_unlinkat, AT_FDCWD, "/wan-at-main", 0); /* ARMED of at.c; there is no such file */
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

/* ---- memory: of the next library; while that is looked up, ours */

static char early[1 << 16];
static size_t early_used;
static void *(*real_malloc)(size_t), *(*real_calloc)(size_t, size_t),
    *(*real_realloc)(void *, size_t), *(*real_aligned)(size_t, size_t);
static void (*real_free)(void *);

static int is_early(const void *p)
{
    return (const char *)p >= early && (const char *)p < early + sizeof early;
}

static int ready(void)
{
    static int looking;
    if (real_free)
        return 1;
    if (looking)
        return 0;
    looking = 1;
    real_malloc = next("malloc");
    real_calloc = next("calloc");
    real_realloc = next("realloc");
    real_aligned = next("memalign");
    real_free = next("free");
    return 1;
}

static void *early_malloc(size_t n)
{
    size_t from = early_used;
    early_used += (n + 15) & ~(size_t)15;
    return early_used <= sizeof early ? early + from : NULL;
}

static int no_memory(void)
{
    if (!fails(ALLOC))
        return 0;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t n)
{
    return !ready() ? early_malloc(n) : no_memory() ? NULL : real_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    return !ready() ? early_malloc(n * size) : no_memory() ? NULL : real_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    if (!ready() || is_early(p)) {
        void *q = malloc(n);
        return q && p ? memcpy(q, p, n) : q;
    }
    return no_memory() ? NULL : real_realloc(p, n);
}

void free(void *p)
{
    if (!is_early(p) && ready())
        real_free(p);
}

void *aligned_alloc(size_t align, size_t n)
{
    return !ready() || no_memory() ? NULL : real_aligned(align, n);
}

int posix_memalign(void **p, size_t align, size_t n)
{
    if (!ready() || no_memory())
        return ENOMEM;
    *p = real_aligned(align, n);
    return *p ? 0 : ENOMEM;
}

/* ---- libraries, threads */

void *dlopen(const char *path, int flags)
{
    void *(*real)(const char *, int) = next("dlopen");
    return fails(DLOPEN) ? real("/no/such/library.so", flags) : real(path, flags);
}

int pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*f)(void *), void *arg)
{
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) =
        next("pthread_create");
    return fails(THREAD) ? EAGAIN : real(t, a, f, arg);
}

/* ---- MPI, whichever it is: its calls are looked up by name, what they take stays in its registers */

#define MPI_OTHER 16 /* MPI_ERR_OTHER of Open MPI */
#define CALL(name, params, args)                                                                   \
    int MPI_##name params;                                                                         \
    int MPI_##name params                                                                          \
    {                                                                                              \
        int(*real) params = next("MPI_" #name);                                                    \
        return fails(MPI) ? MPI_OTHER : real args;                                                 \
    }
typedef void *p;
CALL(Init_thread, (p a, p b, int c, p d), (a, b, c, d))
CALL(Comm_rank, (p a, p b), (a, b))
CALL(Comm_size, (p a, p b), (a, b))
CALL(Comm_dup, (p a, p b), (a, b))
CALL(Comm_set_errhandler, (p a, p b), (a, b))
CALL(Comm_get_attr, (p a, int b, p c, p d), (a, b, c, d))
CALL(Bcast, (p a, int b, p c, int d, p e), (a, b, c, d, e))
CALL(Isend, (p a, int b, p c, int d, int e, p f, p g), (a, b, c, d, e, f, g))
CALL(Irecv, (p a, int b, p c, int d, int e, p f, p g), (a, b, c, d, e, f, g))
CALL(Testall, (int a, p b, p c, p d), (a, b, c, d))
