/* SPDX-License-Identifier: Apache-2.0
 *
 * fault.c - preloaded into a tool: the k-th call of one kind that main makes fails.  Calls to the kernel
 * are at.c's, which this one tells when main begins.
 *
 *     FAULT=KIND      alloc, dlopen, mpi, line (the C library finds no memory for one) or match (for regexec)
 *     FAULT_BY=WHO    whose: "own", the tool's, or a library's name without its number ("libjansson.so");
 *                     of MPI which one ("MPI_Isend")
 *     FAULT_AT=K      which one of these fails (0: none)
 *     FAULT_COUNT=F   a line "KIND WHO CALLS" for each of them is added to file F at the end
 *     FAULT_SERVE=FD  main runs in a child for each call of serve.h that comes through this socket
 *
 * Whose a call is: of the first on the stack that is no run-time library of C or C++.  How often a
 * library calls depends on the machine; how often the tool does, does not.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <unwind.h>

#include "tests/reliability/serve.h"

enum kind { ALLOC, DLOPEN, MPI, LINE, MATCH, KINDS };
static const char *const names[KINDS] = { "alloc", "dlopen", "mpi", "line", "match" };
static int in_main;
static int (*real_main)(int, char **, char **);

/* ---- whose a call is */

enum { WHO = 256 }; /* what does not fit is counted with the last */
static struct who {
    const void *key; /* the library, or the name of an MPI call */
    char name[48];
    int run_time;
    long calls[KINDS];
} whos[WHO];
static int n_whos;
static char lock; /* of whos */
static enum kind kind = KINDS;
static const char *by;
static long at;

static void hold(void)
{
    while (__atomic_test_and_set(&lock, __ATOMIC_ACQUIRE)) {}
}

static void let_go(void)
{
    __atomic_clear(&lock, __ATOMIC_RELEASE);
}

static int is_run_time(const char *name)
{
    static const char *const all[] = { "libc.so",  "libstdc++.so", "libgcc_s.so", "ld-",
                                       "fault.so", "libm.so",      NULL };
    for (const char *const *a = all; *a; a++)
        if (!strncmp(name, *a, strlen(*a)))
            return 1;
    return 0;
}

/* The entry of that key, new or not; under the lock. */
static struct who *entry_of(const void *key)
{
    for (int i = 0; i < n_whos; i++)
        if (whos[i].key == key)
            return &whos[i];
    if (n_whos == WHO)
        return &whos[WHO - 1];
    whos[n_whos].key = key;
    return &whos[n_whos++];
}

/* The entry of what the address lies in; under the lock. */
static struct who *who_of(void *pc)
{
    struct dl_find_object o;
    const struct link_map *map = _dl_find_object(pc, &o) == 0 ? o.dlfo_link_map : NULL;
    struct who *w = entry_of(map);
    if (*w->name)
        return w;
    const char *path = map ? map->l_name : "unknown", *slash = strrchr(path, '/');
    const char *name = map && !*path ? "own" : slash ? slash + 1 : path;
    const char *end = strstr(name, ".so");
    snprintf(w->name, sizeof w->name, "%.*s", end ? (int)(end - name) + 3 : 40, name);
    w->run_time = is_run_time(name);
    return w;
}

static _Unwind_Reason_Code up(struct _Unwind_Context *c, void *arg)
{
    struct who **w = arg;
    *w = who_of((char *)_Unwind_GetIP(c) - 1); /* the address behind the call may be another's */
    return (*w)->run_time ? _URC_NO_REASON : _URC_NORMAL_STOP;
}

static __thread int opening; /* libraries, by dlopen: what these ask for is nobody's own */

/* Whether this call, from pc, fails. */
static int fails(enum kind k, void *pc)
{
    static __thread int looking;
    if (!in_main || looking)
        return 0;
    looking = 1; /* the unwinder may ask for memory */
    hold();
    struct who *w = who_of((char *)pc - 1);
    if (w->run_time)
        _Unwind_Backtrace(up, &w);
    if (opening && k == ALLOC) {
        w = entry_of("dlopen");
        snprintf(w->name, sizeof w->name, "dlopen");
    }
    long n = ++w->calls[k];
    let_go();
    looking = 0;
    return k == kind && n == at && !strcmp(w->name, by);
}

/* The same of an MPI call, by its name. */
static int mpi_fails(const char *name)
{
    if (!in_main)
        return 0;
    hold();
    struct who *w = entry_of(name);
    snprintf(w->name, sizeof w->name, "%s", name);
    long n = ++w->calls[MPI];
    let_go();
    return kind == MPI && n == at && !strcmp(name, by);
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
    for (int i = 0; f && i < n_whos; i++)
        for (int k = 0; k < KINDS; k++)
            if (whos[i].calls[k])
                fprintf(f, "%s %s %ld\n", names[k], whos[i].name, whos[i].calls[k]);
    if (f)
        fclose(f);
}

static void look_for(const char *which, const char *whose, long k)
{
    for (int i = 0; which && i < KINDS; i++)
        if (!strcmp(which, names[i]))
            kind = (enum kind)i;
    by = whose ? whose : "own";
    at = k;
}

/* ---- main again and again, without loading its libraries each time */

/* The child's part of a call: its folder, what it prints, and who stands between it and the kernel. */
static void prepare(int s, serve_call *c)
{
    static char whose[sizeof c->by];
    int out = open("out", O_WRONLY | O_CREAT | O_TRUNC, 0666);
    int err = open("err", O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (out < 0 || err < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0 || chdir("now") < 0)
        _exit(126);
    close(out);
    close(err);
    memcpy(whose, c->by, sizeof whose);
    look_for(c->kind, whose, c->at);
    if (c->filters) {
        struct sock_fprog p = { c->filters, c->filter };
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0); /* at.c is no parent of ours */
        int fd = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                              SECCOMP_FILTER_FLAG_NEW_LISTENER, &p);
        if (fd < 0 || serve_pass(s, fd) < 0)
            _exit(125);
        syscall(SYS_close_range, fd, fd, 0); /* close is watched */
    }
    syscall(SYS_close_range, s, s, 0);
}

/* Returns in each child. */
static void serve(int s)
{
    static serve_call c;
    unsetenv("FAULT_SERVE");
    while (recv(s, &c, sizeof c, 0) == (ssize_t)sizeof c) {
        int status = 126 << 8;
        pid_t p = fork();
        if (p == 0) {
            prepare(s, &c);
            return;
        }
        if (p > 0)
            waitpid(p, &status, 0);
        if (send(s, &status, sizeof status, 0) < 0)
            break;
    }
    _exit(0);
}

static int our_main(int argc, char **argv, char **env)
{
    const char *k = getenv("FAULT_AT"), *s = getenv("FAULT_SERVE");
    look_for(getenv("FAULT"), getenv("FAULT_BY"), k ? atol(k) : 0);
    if (s)
        serve(atoi(s));
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

#define CALLER __builtin_return_address(0)

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

static int no_memory(void *pc)
{
    if (!fails(ALLOC, pc))
        return 0;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t n)
{
    return !ready() ? early_malloc(n) : no_memory(CALLER) ? NULL : real_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    return !ready() ? early_malloc(n * size) : no_memory(CALLER) ? NULL : real_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    if (!ready() || is_early(p)) {
        void *q = malloc(n);
        return q && p ? memcpy(q, p, n) : q;
    }
    return no_memory(CALLER) ? NULL : real_realloc(p, n);
}

void free(void *p)
{
    if (!is_early(p) && ready())
        real_free(p);
}

void *aligned_alloc(size_t align, size_t n)
{
    return !ready() || no_memory(CALLER) ? NULL : real_aligned(align, n);
}

int posix_memalign(void **p, size_t align, size_t n)
{
    if (!ready() || no_memory(CALLER))
        return ENOMEM;
    *p = real_aligned(align, n);
    return *p ? 0 : ENOMEM;
}

/* ---- libraries */

void *dlopen(const char *path, int flags)
{
    void *(*real)(const char *, int) = next("dlopen");
    int no = fails(DLOPEN, CALLER);
    opening++;
    void *so = real(no ? "/no/such/library.so" : path, flags);
    opening--;
    return so;
}

/* ---- what the C library says where it has no memory */

ssize_t __getdelim(char **line, size_t *room, int end, FILE *f) /* which getline is */
{
    ssize_t (*real)(char **, size_t *, int, FILE *) = next("__getdelim");
    if (!fails(LINE, CALLER))
        return real(line, room, end, f);
    errno = ENOMEM;
    return -1;
}

int regexec(const void *re, const char *s, size_t n, void *m, int flags)
{
    enum { NO_MATCH = 1 }; /* of glibc, which says no other thing of memory */
    int (*real)(const void *, const char *, size_t, void *, int) = next("regexec");
    if (!fails(MATCH, CALLER))
        return real(re, s, n, m, flags);
    errno = ENOMEM;
    return NO_MATCH;
}

/* ---- MPI, whichever it is: its calls are looked up by name, what they take stays in its registers */

#define MPI_OTHER 16 /* MPI_ERR_OTHER of Open MPI */
#define CALL(name, params, args)                                                                   \
    int MPI_##name params;                                                                         \
    int MPI_##name params                                                                          \
    {                                                                                              \
        static const char mine[] = "MPI_" #name;                                                   \
        int(*real) params = next(mine);                                                            \
        return mpi_fails(mine) ? MPI_OTHER : real args;                                            \
    }
typedef void *p;
CALL(Init_thread, (p a, p b, int c, p d), (a, b, c, d))
CALL(Finalize, (void), ())
CALL(Comm_rank, (p a, p b), (a, b))
CALL(Comm_size, (p a, p b), (a, b))
CALL(Comm_dup, (p a, p b), (a, b))
CALL(Comm_free, (p a), (a))
CALL(Comm_set_errhandler, (p a, p b), (a, b))
CALL(Comm_get_attr, (p a, int b, p c, p d), (a, b, c, d))
CALL(Get_library_version, (p a, p b), (a, b))
CALL(Bcast, (p a, int b, p c, int d, p e), (a, b, c, d, e))
CALL(Isend, (p a, int b, p c, int d, int e, p f, p g), (a, b, c, d, e, f, g))
CALL(Irecv, (p a, int b, p c, int d, int e, p f, p g), (a, b, c, d, e, f, g))
CALL(Testall, (int a, p b, p c, p d), (a, b, c, d))
CALL(Request_get_status, (p a, p b, p c), (a, b, c))
