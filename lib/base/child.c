/* SPDX-License-Identifier: Apache-2.0
 *
 * child.c - a process for one file: what it keeps, its limits, its end.
 */
#include "lib/base/child.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/seccomp.h"

enum { NOTE = 4096, SENTENCE = 2048, REASON = 200, LINE = 3 /* the pipe, in the child */ };

/* In front of the room, seen by both. */
typedef struct note {
    _Atomic uint64_t beats;
    _Atomic int done;   /* fn has returned */
    int failed;         /* it returned -1 */
    volatile int tried; /* a system call that is not allowed; -1 none */
    char why[SENTENCE];
    char unfiltered[REASON];
} note;

struct wan_child {
    note *note; /* NOTE bytes, then the room */
    size_t room;
    char *path;
    wan_child_limits limits;
    pid_t pid; /* 0: none */
    int line;  /* the read end of a pipe that it holds open as long as it lives */
    int sends; /* its work is done */
    int speaks;
    int status, hung;
    uint64_t beats; /* as last seen, */
    double seen;    /* at that time */
};

/* ---- the child's side */

static note *mine;
static struct iovec sent[6];
static size_t n_sent;

void wan_child_beat(void)
{
    if (mine)
        atomic_fetch_add_explicit(&mine->beats, 1, memory_order_relaxed);
}

void wan_child_send(const void *data, size_t n)
{
    if (n_sent == sizeof sent / sizeof *sent)
        WAN_BUG("more than %zu parts to send", n_sent);
    sent[n_sent++] = (struct iovec){ (void *)(uintptr_t)data, n };
}

/* No more than what the pipe holds has not been read. */
int wan_child_stream(const void *data, size_t n)
{
    enum { SMALL = 4096 };
    for (size_t at = 0; at < n;) {
        struct iovec v = { (char *)(uintptr_t)data + at, n - at };
        ssize_t k = n < SMALL ? -1 : vmsplice(LINE, &v, 1, 0);
        if (k < 0 && (n < SMALL || errno != EINTR))
            k = write(LINE, v.iov_base, v.iov_len);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return wan_err_errno("pipe to the parent process");
        at += (size_t)k;
    }
    return 0;
}

/* The pages themselves go into the pipe, nothing is copied on this side; and what was sent is given
 * back, so that the parent's memory can be the same: new memory is what costs most. */
static void send_part(struct iovec part)
{
    enum { PIECE = 8 << 20, PAGE = 2 << 20 };
    uintptr_t at = (uintptr_t)part.iov_base, end = at + part.iov_len,
              back = (at + PAGE - 1) / PAGE * PAGE;
    while (at < end) {
        struct iovec v = { (void *)at, end - at < PIECE ? end - at : PIECE };
        ssize_t n = vmsplice(LINE, &v, 1, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            n = write(LINE, v.iov_base, v.iov_len);
        if (n <= 0)
            _exit(1);
        at += (size_t)n;
        uintptr_t done = at / PAGE * PAGE;
        if (done > back && madvise((void *)back, done - back, MADV_DONTNEED) == 0)
            back = done;
    }
}

/* Lowers a limit, never raises one. */
static void limit(int what, int64_t soft, int64_t hard)
{
    struct rlimit r;
    if (getrlimit(what, &r) < 0)
        return;
    if (r.rlim_max > (rlim_t)hard)
        r.rlim_max = (rlim_t)hard;
    if (r.rlim_cur > (rlim_t)soft)
        r.rlim_cur = (rlim_t)soft;
    (void)setrlimit(what, &r);
}

static void close_from(int first)
{
#ifdef SYS_close_range
    if (syscall(SYS_close_range, first, ~0U, 0) == 0)
        return;
#endif
    long most = sysconf(_SC_OPEN_MAX);
    for (int i = first; i < (most > 0 && most < 65536 ? (int)most : 65536); i++)
        close(i);
}

/* Signals as a program begins with them: what is ignored, SIGHUP under nohup say, stays so. */
static void forget_signals(void)
{
    sigset_t none;
    sigemptyset(&none);
    for (int s = 1; s < NSIG; s++)
        if (signal(s, SIG_DFL) == SIG_IGN)
            (void)signal(s, SIG_IGN);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static void set_limits(const wan_child_limits *l)
{
    limit(RLIMIT_CORE, 0, 0);
    limit(RLIMIT_NOFILE, 4, 4); /* all of them taken: no descriptor can be had any more */
    if (l->seconds > 0)
        limit(RLIMIT_CPU, l->seconds, l->seconds + 1); /* a signal that says why; then the end */
#ifndef __SANITIZE_ADDRESS__                           /* whose shadow is larger than any limit */
    if (l->memory > 0)
        limit(RLIMIT_DATA, l->memory, l->memory);
#endif
}

/* The file as descriptor 0, the pipe as 3; what libraries print goes nowhere, or to standard error. */
static int keep_file(const char *path, int line)
{
    int file = open(path, O_RDONLY), nowhere = open("/dev/null", O_WRONLY);
    if (file < 0)
        return wan_err_errno("%s", path);
    line =
        fcntl(line, F_DUPFD, LINE + 1); /* 0 to 2 may be free, where the parent has closed them */
    file = fcntl(file, F_DUPFD, LINE + 1);
    nowhere = fcntl(nowhere, F_DUPFD, LINE + 1);
    if (line < 0 || file < 0 || nowhere < 0 || dup2(file, 0) < 0 || dup2(nowhere, 1) < 0 ||
        dup2(line, LINE) < 0)
        return wan_err_errno("%s", path);
    close_from(LINE + 1);
    return 0;
}

static int live(wan_child *c, int line, wan_child_fn *fn, void *arg)
{
    note *n = mine = c->note;
    WAN_TRY(keep_file(c->path, line));
    set_limits(&c->limits);
    if (c->limits.filter != WAN_FILTER_OFF && wan_seccomp_seal(&n->tried) < 0) {
        if (c->limits.filter == WAN_FILTER_REQUIRE)
            return wan_err_prefix("%s", c->path);
        strncpy(n->unfiltered, wan_err_text(), sizeof n->unfiltered - 1);
    }
    return fn(arg, (char *)n + NOTE);
}

static void begin(wan_child *c, int line, pid_t parent, wan_child_fn *fn, void *arg)
{
    forget_signals();
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    if (live(c, line, fn, arg) < 0) {
        c->note->failed = 1;
        strncpy(c->note->why, wan_err_text(), sizeof c->note->why - 1);
    }
    int failed = c->note->failed;
    atomic_store(&c->note->done, 1);
    for (size_t i = 0; i < n_sent && !failed; i++)
        send_part(sent[i]);
    _exit(0);
}

/* ---- the parent's side */

int wan_child_open(wan_child **out, size_t room)
{
    wan_child *c = *out = wan_calloc(1, sizeof *c, "child process");
    if (!c)
        return -1;
    c->line = -1;
    c->room = room;
    void *p = mmap(NULL, NOTE + room, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        wan_err_errno("memory of %zu bytes for a child process", room);
        wan_child_close(out);
        return -1;
    }
    c->note = p;
    return 0;
}

void *wan_child_room(wan_child *c)
{
    return (char *)c->note + NOTE;
}

int wan_child_start(wan_child *c, const wan_child_limits *l, const char *path, wan_child_fn *fn,
                    void *arg)
{
    int line[2];
    char *copy = strdup(path);
    if (!copy)
        return wan_err("%s: out of memory", path);
    free(c->path);
    c->path = copy;
    c->limits = *l;
    c->status = c->hung = c->sends = c->speaks = 0;
    memset(c->note, 0, sizeof *c->note);
    c->note->tried = -1;
    if (pipe2(line, O_CLOEXEC) < 0)
        return wan_err_errno("pipe to a child process");
    pid_t parent = getpid();
    c->pid = fork();
    if (c->pid == 0)
        begin(c, line[1], parent, fn, arg);
    int e = errno;
    close(line[1]);
    if (c->pid < 0) {
        close(line[0]);
        c->pid = 0;
        errno = e;
        return wan_err_errno("cannot start a child process");
    }
    c->line = line[0];
    (void)fcntl(c->line, F_SETPIPE_SZ,
                WAN_CHILD_BEHIND); /* fewer turns; as it is where that is forbidden */
    c->beats = 0;
    c->seen = wan_now();
    return 0;
}

int wan_child_runs(const wan_child *c)
{
    return c && c->pid > 0 && !c->sends;
}

int wan_child_speaks(const wan_child *c)
{
    return wan_child_runs(c) && c->speaks;
}

/* It has ended, or is about to. */
static void reap(wan_child *c)
{
    while (waitpid(c->pid, &c->status, 0) < 0 && errno == EINTR)
        ;
    close(c->line);
    c->line = -1;
    c->pid = 0;
}

/* Ends one that does not go on. */
static void watch(wan_child *c)
{
    uint64_t beats = atomic_load(&c->note->beats);
    double now = wan_now();
    if (beats != c->beats) {
        c->beats = beats;
        c->seen = now;
    } else if (c->limits.patience > 0 && now - c->seen > c->limits.patience) {
        c->hung = 1;
        kill(c->pid, SIGKILL);
    }
}

/* Whether it is done, as what poll tells of its pipe says. */
static int meet(wan_child *c, int events)
{
    c->speaks = 0;
    if (events & POLLIN) {
        c->sends = atomic_load(&c->note->done);
        c->speaks = !c->sends;
        c->seen = wan_now();
    } else if (events)
        reap(c);
    else
        watch(c);
    return events != 0;
}

int wan_child_wait(wan_child *const *c, size_t n, double seconds)
{
    enum { MOST = 1024, TICK = 200 /* milliseconds */ };
    struct pollfd at[MOST];
    double until = wan_now() + seconds;
    for (int ended = 0;;) {
        nfds_t lines = 0;
        for (size_t i = 0; i < n && lines < MOST; i++)
            if (wan_child_runs(c[i]))
                at[lines++] = (struct pollfd){ c[i]->line, POLLIN, 0 };
        double left = seconds < 0 ? 1 : until - wan_now();
        if (!lines)
            return 0;
        (void)poll(at, lines, left <= 0 ? 0 : left < TICK / 1e3 ? (int)(left * 1e3) + 1 : TICK);
        for (size_t i = 0, k = 0; i < n && k < lines; i++)
            if (wan_child_runs(c[i]))
                ended |= meet(c[i], at[k++].revents);
        if (ended || left <= 0)
            return ended;
    }
}

/* Why a child that did not come to its end has ended. */
static int how(const wan_child *c)
{
    int s = c->status, tried = c->note->tried;
    if (c->hung)
        return wan_err("%s: nothing came of it for %g seconds", c->path, c->limits.patience);
    if (tried >= 0)
        return wan_err("%s: its decoder tried to %s (system call %d)", c->path,
                       wan_seccomp_call(tried), tried);
    if (WIFSIGNALED(s) && WTERMSIG(s) == SIGSYS)
        return wan_err("%s: its decoder tried to make a forbidden system call", c->path);
    if (WIFSIGNALED(s) && WTERMSIG(s) == SIGXCPU)
        return wan_err("%s: it took more than %lld seconds of CPU time", c->path,
                       (long long)c->limits.seconds);
    if (WIFSIGNALED(s))
        return wan_err("%s: its decoder ended by signal %d (%s)", c->path, WTERMSIG(s),
                       strsignal(WTERMSIG(s)));
    return wan_err("%s: its decoder ended early, with status %d", c->path, WEXITSTATUS(s));
}

int wan_child_result(wan_child *c)
{
    note *n = c->note;
    if (c->status || c->hung || !atomic_load(&n->done))
        return how(c);
    n->why[sizeof n->why - 1] = 0;
    return n->failed ? wan_err("%s", n->why) : 0;
}

/* Something to read comes within its patience: 1. */
static int comes(const wan_child *c)
{
    struct pollfd p = { c->line, POLLIN, 0 };
    double ms = c->limits.patience > 0 ? c->limits.patience * 1e3 : -1;
    int rc;
    while ((rc = poll(&p, 1, ms < INT_MAX ? (int)ms : INT_MAX)) < 0 && errno == EINTR)
        ;
    return rc == 1;
}

int wan_child_receive(wan_child *c, void *data, size_t n)
{
    for (size_t got = 0; got < n;) {
        int there = c->pid > 0 && comes(c);
        ssize_t k = there ? read(c->line, (char *)data + got, n - got) : -1;
        if (there && k < 0 && errno == EINTR)
            continue;
        if (k <= 0) {
            wan_child_stop(c);
            if (k == 0 && !atomic_load(&c->note->done))
                return how(c);
            return wan_err("%s: its decoder sends less than it said", c->path);
        }
        got += (size_t)k;
    }
    return 0;
}

void wan_child_stop(wan_child *c)
{
    if (c->pid > 0) {
        kill(c->pid, SIGKILL);
        reap(c);
    }
}

const char *wan_child_unfiltered(const wan_child *c)
{
    c->note->unfiltered[REASON - 1] = 0;
    return c->note->unfiltered[0] ? c->note->unfiltered : NULL;
}

void wan_child_close(wan_child **out)
{
    wan_child *c = *out;
    if (!c)
        return;
    *out = NULL;
    wan_child_stop(c);
    if (c->note)
        munmap(c->note, NOTE + c->room);
    free(c->path);
    free(c);
}
