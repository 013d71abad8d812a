/* SPDX-License-Identifier: Apache-2.0
 *
 * at.c - runs a command and stands between it and the kernel (seccomp's user notification), so that
 * everything is seen: the C library's own calls, libarchive's, SQLite's, libav's.
 *
 *     at [-x] [-r ROOT] [-c COUNT] kill K [half] -- COMMAND... ends it before its K-th change below ROOT
 *     at [-n] [-p PRELOAD] [-r ROOT] [-t TOP] [-c COUNT] fail KIND NAME K HOW -- COMMAND...
 *                                          its K-th call of a kind that has to do with NAME fails
 *     at -s FD [-r ROOT] [-t TOP] fail KIND NAME K HOW         the same of the command that serves at FD (serve.h)
 *     at [-r ROOT] log FILE -- COMMAND...                      writes down every change, for power.c
 *     at [-x] [-r ROOT] [-c COUNT] snap DIR -- COMMAND...      copies ROOT before and half-way each change (snap.h)
 *
 * K = 0: never.  COUNT gets the number of changes; of fail a line "KIND NAME CALLS" for each (KIND "all").  NAME is a
 * path below ROOT, or below TOP with TOP/ before it; "-" is everything else: how often a library looks at the
 * machine, or asks for memory, is that machine's.  A change is a write, a new size or name, a
 * sync, a close of what was written, and at last the end itself, below ROOT (the working directory).
 * -x: the file system cannot exchange two names.  half: where it is a write, half of it is done first; else the status is 98.  HOW: an errno by name, or
 * "short".  A preload (fault.c) says when main begins: what fails in the loader is not ours; -n: there is none.
 * The status is the command's, 137 when it was killed, 125 when this program cannot work here.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/reliability/serve.h"
#include "tests/reliability/snap.h"

#define ARMED "/wan-at-main" /* fault.c asks to remove it when main begins */

/* Where a call's descriptor, path, second path and the folders that these begin in are: the number of
 * the argument; -1: there is none, CWD: the working directory. */
enum { NO = -1, CWD = -2 };
enum { EXCHANGE = 2 }; /* of renameat2, which linux/fs.h has too */
typedef struct call {
    int nr;
    const char *kind;
    int fd, dir, path, dir2, path2;
    int looks; /* it changes nothing, and can only fail */
} call;

static const call calls[] = {
    { SYS_write, "write", 0, NO, NO, NO, NO, 0 },
    { SYS_writev, "write", 0, NO, NO, NO, NO, 0 },
    { SYS_pwrite64, "pwrite", 0, NO, NO, NO, NO, 0 },
    { SYS_pwritev, "pwrite", 0, NO, NO, NO, NO, 0 },
    { SYS_copy_file_range, "copy", 2, NO, NO, NO, NO, 0 },
    { SYS_sendfile, "copy", 0, NO, NO, NO, NO, 0 },
    { SYS_fsync, "fsync", 0, NO, NO, NO, NO, 0 },
    { SYS_fdatasync, "fsync", 0, NO, NO, NO, NO, 0 },
    { SYS_syncfs, "sync", 0, NO, NO, NO, NO, 0 },
    { SYS_ftruncate, "ftruncate", 0, NO, NO, NO, NO, 0 },
    { SYS_fallocate, "fallocate", 0, NO, NO, NO, NO, 0 },
    { SYS_close, "close", 0, NO, NO, NO, NO, 0 },
    { SYS_openat, "open", NO, 0, 1, NO, NO, 0 },
    { SYS_renameat2, "rename", NO, 0, 1, 2, 3, 0 },
    { SYS_renameat, "rename", NO, 0, 1, 2, 3, 0 },
    { SYS_mkdirat, "mkdir", NO, 0, 1, NO, NO, 0 },
    { SYS_unlinkat, "unlink", NO, 0, 1, NO, NO, 0 },
    { SYS_truncate, "ftruncate", NO, CWD, 0, NO, NO, 0 },
#ifdef SYS_open
    { SYS_open, "open", NO, CWD, 0, NO, NO, 0 },
    { SYS_creat, "open", NO, CWD, 0, NO, NO, 0 },
    { SYS_rename, "rename", NO, CWD, 0, CWD, 1, 0 },
    { SYS_mkdir, "mkdir", NO, CWD, 0, NO, NO, 0 },
    { SYS_unlink, "unlink", NO, CWD, 0, NO, NO, 0 },
    { SYS_rmdir, "unlink", NO, CWD, 0, NO, NO, 0 },
    { SYS_link, "link", NO, CWD, 0, CWD, 1, 0 },
    { SYS_symlink, "link", NO, CWD, 1, NO, NO, 0 },
    { SYS_stat, "stat", NO, CWD, 0, NO, NO, 1 },
    { SYS_lstat, "stat", NO, CWD, 0, NO, NO, 1 },
    { SYS_access, "access", NO, CWD, 0, NO, NO, 1 },
    { SYS_getdents, "readdir", 0, NO, NO, NO, NO, 1 },
    { SYS_fork, "thread", NO, NO, NO, NO, NO, 1 },
    { SYS_pipe, "pipe", NO, NO, NO, NO, NO, 1 },
    { SYS_dup2, "dup", 0, NO, NO, NO, NO, 1 },
#endif
    { SYS_linkat, "link", NO, 0, 1, 2, 3, 0 },
    { SYS_symlinkat, "link", NO, 1, 2, NO, NO, 0 },
    { SYS_exit_group, "exit", NO, NO, NO, NO, NO, 0 },
    { SYS_read, "read", 0, NO, NO, NO, NO, 1 },
    { SYS_readv, "read", 0, NO, NO, NO, NO, 1 },
    { SYS_pread64, "pread", 0, NO, NO, NO, NO, 1 },
    { SYS_preadv, "pread", 0, NO, NO, NO, NO, 1 },
    { SYS_mmap, "mmap", 4, NO, NO, NO, NO, 1 },
    { SYS_getdents64, "readdir", 0, NO, NO, NO, NO, 1 },
    { SYS_newfstatat, "stat", NO, 0, 1, NO, NO, 1 },
    { SYS_fstat, "stat", 0, NO, NO, NO, NO, 1 },
    { SYS_statx, "stat", NO, 0, 1, NO, NO, 1 },
    { SYS_statfs, "stat", NO, CWD, 0, NO, NO, 1 },
    { SYS_faccessat, "access", NO, 0, 1, NO, NO, 1 },
    { SYS_faccessat2, "access", NO, 0, 1, NO, NO, 1 },
    { SYS_lseek, "lseek", 0, NO, NO, NO, NO, 1 },
    { SYS_clone, "thread", NO, NO, NO, NO, NO, 1 },
    { SYS_clone3, "thread", NO, NO, NO, NO, NO, 1 },
    { SYS_pipe2, "pipe", NO, NO, NO, NO, NO, 1 },
    { SYS_dup, "dup", 0, NO, NO, NO, NO, 1 },
    { SYS_dup3, "dup", 0, NO, NO, NO, NO, 1 },
    { SYS_flock, "flock", 0, NO, NO, NO, NO, 1 },
    { SYS_fcntl, "fcntl", 0, NO, NO, NO, NO, 1 },
};
enum { CALLS = sizeof calls / sizeof *calls };

static struct {
    enum { KILL, FAIL, LOG, SNAP } mode;
    const char *kind, *name, *root, *top, *count, *preload;
    long k, seen;
    int error, halve, armed, plain, at_once;
    FILE *log;
    pid_t child;
    int listener, server;
} at = { .armed = 1, .server = -1 };

static int watched(const call *c)
{
    if (at.mode == FAIL)
        return !strcmp(at.kind, "all") || !strcmp(c->kind, at.kind) || !strcmp(c->kind, "unlink");
    return !c->looks;
}

static void die(const char *what)
{
    fprintf(stderr, "at: %s: %s\n", what, strerror(errno));
    exit(125);
}

/* ---- what the command's call says */

static const char *proc(char *buf, size_t n, pid_t pid, const char *what, int fd)
{
    snprintf(buf, n, fd >= 0 ? "/proc/%d/%s/%d" : "/proc/%d/%s", (int)pid, what, fd);
    return buf;
}

static int peek(pid_t pid, uint64_t from, void *to, size_t n)
{
    struct iovec l = { to, n }, r = { (void *)(uintptr_t)from, n };
    return process_vm_readv(pid, &l, 1, &r, 1, 0) == (ssize_t)n ? 0 : -1;
}

static void text(pid_t pid, uint64_t from, char *to, size_t n)
{
    size_t have = 0;
    while (have < n) {
        size_t page = 4096 - (from + have) % 4096, more = page < n - have ? page : n - have;
        if (peek(pid, from + have, to + have, more) < 0)
            break;
        if (memchr(to + have, 0, more))
            return;
        have += more;
    }
    to[have < n ? have : n - 1] = 0;
}

/* Without "//", "/." and "/..". */
static void normal(char *path)
{
    char *out = path, *in = path;
    while (*in) {
        size_t n = 1 + strcspn(in + 1, "/");
        if (n == 3 && !strncmp(in, "/..", 3)) {
            while (out > path && *--out != '/') {}
        } else if (n > 1 && !(n == 2 && in[1] == '.')) {
            memmove(out, in, n);
            out += n;
        }
        in += n;
    }
    *out = 0;
}

static void link_of(pid_t pid, const char *what, int fd, char *to, size_t n)
{
    char buf[64];
    ssize_t len = readlink(proc(buf, sizeof buf, pid, what, fd), to, n - 1);
    to[len < 0 ? 0 : len] = 0;
}

static void full_path(const struct seccomp_notif *q, int dir, int path, char *to, size_t n)
{
    char rest[4096];
    text((pid_t)q->pid, q->data.args[path], rest, sizeof rest);
    int fd = dir == CWD ? AT_FDCWD : (int)q->data.args[dir];
    *to = 0;
    if (rest[0] != '/')
        link_of((pid_t)q->pid, fd == AT_FDCWD ? "cwd" : "fd", fd == AT_FDCWD ? -1 : fd, to, n);
    size_t len = strlen(to);
    snprintf(to + len, n - len, "%s%s", rest[0] == '/' ? "" : "/", rest);
    normal(to);
}

/* The rest of a path below a folder, "." for the folder; NULL: it is not there. */
static const char *rest_of(const char *path, const char *folder)
{
    size_t n = strlen(folder);
    if (strncmp(path, folder, n) || (path[n] && path[n] != '/'))
        return NULL;
    return path[n] ? path + n + 1 : ".";
}

static const char *below(const char *path)
{
    return rest_of(path, at.root);
}

/* The line of a file in /proc/PID/fdinfo, as a number. */
static long long fdinfo(pid_t pid, int fd, const char *key, int base)
{
    char buf[64], line[128];
    FILE *f = fopen(proc(buf, sizeof buf, pid, "fdinfo", fd), "r");
    long long v = 0;
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, key, strlen(key)))
            v = strtoll(line + strlen(key), NULL, base);
    if (f)
        fclose(f);
    return v;
}

/* The process of a thread. */
static pid_t process(pid_t thread)
{
    char buf[64], line[128];
    FILE *f = fopen(proc(buf, sizeof buf, thread, "status", -1), "r");
    pid_t pid = thread;
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, "Tgid:", 5))
            pid = atoi(line + 5);
    if (f)
        fclose(f);
    return pid;
}

typedef struct change {
    char a[8192], b[8192]; /* below ROOT */
    struct stat st;
    int fd;
} change;

static int is(const call *c, const char *kind)
{
    return !strcmp(c->kind, kind);
}

/* Whether it makes or empties the file. */
static int opens(const struct seccomp_notif *q, const char *path)
{
    uint64_t flags = q->data.nr == SYS_openat ? q->data.args[2] : q->data.args[1];
    struct stat st;
#ifdef SYS_creat
    if (q->data.nr == SYS_creat)
        flags = O_CREAT | O_TRUNC | O_WRONLY;
#endif
    int there = stat(path, &st) == 0;
    return (flags & O_CREAT && !there) || (flags & O_TRUNC && there && st.st_size > 0);
}

/* Whether the call changes something below ROOT, and what. */
static int changes(const call *c, const struct seccomp_notif *q, change *h)
{
    char full[8192], buf[64];
    const char *in;
    if (is(c, "exit"))
        return process((pid_t)q->pid) == at.child;
    if (c->fd != NO) {
        h->fd = (int)q->data.args[c->fd];
        link_of((pid_t)q->pid, "fd", h->fd, full, sizeof full);
        if (!(in = below(full)) || stat(proc(buf, sizeof buf, (pid_t)q->pid, "fd", h->fd), &h->st))
            return 0;
        snprintf(h->a, sizeof h->a, "%s", in);
        if (is(c, "close"))
            return S_ISREG(h->st.st_mode) &&
                   (fdinfo((pid_t)q->pid, h->fd, "flags:", 8) & O_ACCMODE) != O_RDONLY;
        return S_ISREG(h->st.st_mode) || is(c, "fsync") || is(c, "sync");
    }
    full_path(q, c->dir, c->path, full, sizeof full);
    if (!(in = below(full)))
        return 0;
    snprintf(h->a, sizeof h->a, "%s", in);
    int there = lstat(full, &h->st) == 0;
    if (is(c, "open"))
        return opens(q, full);
    if (is(c, "mkdir"))
        return !there;
    if (c->path2 != NO) {
        full_path(q, c->dir2, c->path2, full, sizeof full);
        in = below(full);
        snprintf(h->b, sizeof h->b, "%s", in ? in : "?");
    }
    return there;
}

/* ---- what is done about it */

static void answer(const struct seccomp_notif *q, int64_t val, int error, uint32_t flags)
{
    struct seccomp_notif_resp r = { .id = q->id, .val = val, .error = -error, .flags = flags };
    ioctl(at.listener, SECCOMP_IOCTL_NOTIF_SEND, &r);
}

static void go_on(const struct seccomp_notif *q)
{
    answer(q, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
}

/* The data of a write, at most max of them; *all: how many there are. */
static char *data_of(const struct seccomp_notif *q, size_t *all)
{
    const __typeof__(q->data.args[0]) *a = q->data.args;
    int vector = q->data.nr == SYS_writev || q->data.nr == SYS_pwritev;
    struct iovec v[1024] = { { (void *)(uintptr_t)a[1], a[2] } };
    size_t n = vector ? (a[2] < 1024 ? a[2] : 1024) : 1, len = 0;
    if (vector && peek((pid_t)q->pid, a[1], v, n * sizeof *v) < 0)
        n = 0;
    for (size_t i = 0; i < n; i++)
        len += v[i].iov_len;
    char *data = malloc(len + 1);
    *all = 0;
    for (size_t i = 0; data && i < n; i++)
        if (v[i].iov_len &&
            peek((pid_t)q->pid, (uint64_t)(uintptr_t)v[i].iov_base, data + *all, v[i].iov_len) == 0)
            *all += v[i].iov_len;
    return data;
}

static int64_t offset_of(const struct seccomp_notif *q, const change *h)
{
    if (q->data.nr == SYS_pwrite64 || q->data.nr == SYS_pwritev)
        return (int64_t)q->data.args[3];
    if (fdinfo((pid_t)q->pid, h->fd, "flags:", 8) & O_APPEND)
        return h->st.st_size;
    return fdinfo((pid_t)q->pid, h->fd, "pos:", 10);
}

/* Reads into the command's memory. */
static ssize_t read_into(const struct seccomp_notif *q, int own, size_t n)
{
    char *data = malloc(n + 1);
    ssize_t done = !data                       ? -1
                   : q->data.nr == SYS_pread64 ? pread(own, data, n, (off_t)q->data.args[3])
                                               : read(own, data, n);
    struct iovec l = { data, done > 0 ? (size_t)done : 0 };
    struct iovec r = { (void *)(uintptr_t)q->data.args[1], l.iov_len };
    if (done > 0 && process_vm_writev((pid_t)q->pid, &l, 1, &r, 1, 0) != done)
        done = -1;
    free(data);
    return done;
}

static ssize_t write_half(const struct seccomp_notif *q, int own)
{
    size_t n;
    char *data = data_of(q, &n);
    ssize_t done = -1;
    if (data && n > 1)
        done = q->data.nr == SYS_pwrite64 || q->data.nr == SYS_pwritev
                   ? pwrite(own, data, n / 2, (off_t)q->data.args[3])
                   : write(own, data, n / 2);
    free(data);
    return done;
}

/* The first half of a read or write, through the command's own descriptor: bytes, -1: not that. */
static ssize_t half(const call *c, const struct seccomp_notif *q)
{
    int reads = is(c, "read") || is(c, "pread");
    if ((!reads && !is(c, "write") && !is(c, "pwrite")) || (reads && q->data.args[2] < 2) ||
        (reads && (q->data.nr == SYS_readv || q->data.nr == SYS_preadv)))
        return -1;
    int pid = (int)syscall(SYS_pidfd_open, process((pid_t)q->pid), 0);
    int own = pid < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pid, (int)q->data.args[0], 0);
    ssize_t done = own < 0 ? -1
                   : reads ? read_into(q, own, q->data.args[2] / 2)
                           : write_half(q, own);
    if (own >= 0)
        close(own);
    if (pid >= 0)
        close(pid);
    return done;
}

static void kill_it(const call *c, const struct seccomp_notif *q)
{
    ssize_t done = at.halve ? half(c, q) : 0;
    kill(at.child, SIGKILL);
    if (done < 0) {
        waitpid(at.child, NULL, 0);
        exit(98);
    }
}

/* What is there if the process ends before this call, or half-way. */
static void snap_it(const call *c, const struct seccomp_notif *q, const change *h)
{
    char label[64];
    size_t n = 0;
    snprintf(label, sizeof label, "%ld", at.seen);
    int rc = snap_take(label);
    char *data = is(c, "write") || is(c, "pwrite") ? data_of(q, &n) : NULL;
    snprintf(label, sizeof label, "%ld-half", at.seen);
    if (rc == 0 && n > 1)
        rc = snap_written(label, h->a, data, n / 2, offset_of(q, h));
    free(data);
    if (rc < 0) {
        kill(at.child, SIGKILL);
        die("a copy of the folder");
    }
}

static void log_it(const call *c, const struct seccomp_notif *q, const change *h)
{
    const __typeof__(q->data.args[0]) *a = q->data.args;
    if (is(c, "write") || is(c, "pwrite")) {
        size_t n;
        char *data = data_of(q, &n);
        fprintf(at.log, "write %s\t%" PRId64 "\t%zu\n", h->a, offset_of(q, h), n);
        fwrite(data, 1, n, at.log);
        fputc('\n', at.log);
        free(data);
    } else if (is(c, "open")) {
        fprintf(at.log, "open %s\t0\n", h->a); /* made, or emptied */
    } else if (is(c, "ftruncate")) {
        fprintf(at.log, "size %s\t%" PRId64 "\n", h->a, (int64_t)a[1]);
    } else if (is(c, "fallocate")) {
        if (!(a[1] & 1) && (int64_t)(a[2] + a[3]) > h->st.st_size)
            fprintf(at.log, "size %s\t%" PRId64 "\n", h->a, (int64_t)(a[2] + a[3]));
    } else if (is(c, "rename")) {
        int exchange = q->data.nr == SYS_renameat2 && a[4] & EXCHANGE;
        fprintf(at.log, "%s %s\t%s\n", exchange ? "exchange" : "rename", h->a, h->b);
    } else if (!is(c, "close") && !is(c, "exit")) {
        fprintf(at.log, "%s %s\n", c->kind, h->a);
    }
}

/* ---- what has been called */

static struct named {
    const char *kind;
    char name[1024];
    long calls;
} * named;
static size_t n_named;

/* What the call has to do with, in one word. */
static void name_of(const call *c, const struct seccomp_notif *q, char *name, size_t n)
{
    char full[8192] = "";
    const char *in, *in_top = NULL;
    if (c->fd != NO && (int)q->data.args[c->fd] >= 0)
        link_of((pid_t)q->pid, "fd", (int)q->data.args[c->fd], full, sizeof full);
    else if (c->path != NO)
        full_path(q, c->dir, c->path, full, sizeof full);
    in = below(full);
    if (!in && at.top)
        in_top = rest_of(full, at.top);
    snprintf(name, n, "%s%s", in_top ? "TOP/" : "", in ? in : in_top ? in_top : "-");
    for (char *p = name; *p; p++)
        if (*p == ' ' || *p == '\n')
            *p = '_';
}

/* Counts the call; whether it is of those that K counts. */
static int counted(const call *c, const struct seccomp_notif *q)
{
    char name[1024];
    size_t i = 0;
    name_of(c, q, name, sizeof name);
    while (i < n_named && (strcmp(named[i].kind, c->kind) || strcmp(named[i].name, name)))
        i++;
    if (i == n_named) {
        if (!(named = realloc(named, ++n_named * sizeof *named)))
            die("memory");
        named[i].kind = c->kind;
        named[i].calls = 0;
        snprintf(named[i].name, sizeof named[i].name, "%s", name);
    }
    named[i].calls++;
    return is(c, at.kind) && !strcmp(name, at.name);
}

/* A call is asked about: it goes on, fails, or is the last. */
static void asked(const struct seccomp_notif *q)
{
    static change h;
    const call *c = calls;
    while (c->nr != q->data.nr)
        c++;
    h.a[0] = h.b[0] = 0;
    if (!at.armed || at.mode == FAIL) {
        char path[32] = "";
        if (is(c, "unlink"))
            text((pid_t)q->pid, q->data.args[c->path], path, sizeof path);
        if (!strcmp(path, ARMED)) {
            at.armed = 1;
            answer(q, 0, 0, 0);
            return;
        }
    }
    if (at.plain && q->data.nr == SYS_renameat2 && q->data.args[4] & EXCHANGE) {
        answer(q, 0, EINVAL, 0);
        return;
    }
    int counts = at.armed && (at.mode == FAIL ? counted(c, q) : changes(c, q, &h));
    if (counts && ++at.seen == at.k) {
        if (at.mode == KILL) {
            kill_it(c, q);
            return;
        }
        ssize_t done = at.halve ? half(c, q) : -1;
        if (!at.halve || done >= 0) {
            answer(q, done >= 0 ? done : 0, done >= 0 ? 0 : at.error, 0);
            return;
        }
    }
    if (counts && at.mode == LOG)
        log_it(c, q, &h);
    if (counts && at.mode == SNAP)
        snap_it(c, q, &h);
    go_on(q);
}

/* ---- the command */

static unsigned short filter(struct sock_filter *f)
{
    unsigned short n = 0, w = 0;
    for (int i = 0; i < CALLS; i++)
        w += (unsigned short)watched(&calls[i]);
    f[n++] =
        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int i = 0, left = w; i < CALLS; i++)
        if (watched(&calls[i]))
            f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)calls[i].nr,
                                                  (uint8_t)left--, 0);
    f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
    return n;
}

static int install(void)
{
    struct sock_filter f[CALLS + 4];
    struct sock_fprog p = { filter(f), f };
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &p);
}

/* The command that serves begins once more. */
static void start_served(void)
{
    static serve_call c;
    _Static_assert(CALLS + 4 <= sizeof c.filter / sizeof *c.filter, "the filter has room");
    c.filters = filter(c.filter);
    if (send(at.server, &c, sizeof c, 0) < 0 || (at.listener = serve_pass(at.server, -1)) < 0)
        die("the command that serves");
}

static void start(char **command)
{
    int s[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) < 0)
        die("socketpair");
    fflush(NULL);
    at.child = fork();
    if (at.child == 0) {
        int own = dup2(s[1], 1000), fd;
        if ((fd = install()) < 0 || serve_pass(own, fd) < 0)
            _exit(125);
        syscall(SYS_close_range, fd, fd, 0); /* close is watched, and nobody looks yet */
        syscall(SYS_close_range, 1000, 1000, 0);
        if (at.preload)
            setenv("LD_PRELOAD", at.preload, 1);
        execvp(command[0], command);
        _exit(127);
    }
    close(s[1]);
    at.listener = at.child < 0 ? -1 : serve_pass(s[0], -1);
    if (at.listener < 0)
        die("no seccomp notification");
}

static int watch(void)
{
    int end = at.server >= 0 ? at.server : (int)syscall(SYS_pidfd_open, at.child, 0), status = 0;
    struct pollfd p[2] = { { at.listener, POLLIN, 0 }, { end, POLLIN, 0 } };
    while (poll(p, 2, -1) >= 0 || errno == EINTR) {
        struct seccomp_notif q = { 0 };
        if (p[0].revents & POLLIN && ioctl(at.listener, SECCOMP_IOCTL_NOTIF_RECV, &q) == 0)
            asked(&q);
        else if (p[1].revents & POLLIN)
            break;
        if (p[0].revents & POLLHUP)
            p[0].fd = -1;
    }
    if (at.server >= 0 ? recv(at.server, &status, sizeof status, 0) != (ssize_t)sizeof status
                       : waitpid(at.child, &status, 0) < 0)
        die("the command's end");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static const struct {
    const char *name;
    int value;
} errors[] = { { "EIO", EIO },       { "ENOSPC", ENOSPC }, { "ENOMEM", ENOMEM }, { "EINTR", EINTR },
               { "EAGAIN", EAGAIN }, { "EMFILE", EMFILE }, { "EACCES", EACCES }, { "EROFS", EROFS },
               { "ESTALE", ESTALE }, { "EDQUOT", EDQUOT } };

static void how(const char *name)
{
    at.halve = !strcmp(name, "short");
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (!strcmp(errors[i].name, name))
            at.error = errors[i].value;
    if (!at.halve && !at.error) {
        errno = EINVAL;
        die(name);
    }
}

/* The mode and what belongs to it; the number of words, 0: none of ours. */
static int understand(char **a)
{
    if (!strcmp(a[0], "kill")) {
        at.k = atol(a[1]);
        at.halve = a[2] && !strcmp(a[2], "half");
        return 2 + at.halve;
    }
    if (!strcmp(a[0], "fail") && a[2] && a[3] && a[4]) {
        at.mode = FAIL;
        at.kind = a[1];
        at.name = a[2];
        at.k = atol(a[3]);
        how(a[4]);
        at.armed = at.at_once;
        return 5;
    }
    at.mode = !strcmp(a[0], "log") ? LOG : SNAP;
    if (at.mode == SNAP && strcmp(a[0], "snap"))
        return 0;
    if (at.mode == LOG ? !(at.log = fopen(a[1], "w")) : snap_begin(at.root, a[1]) < 0)
        die(a[1]);
    return 2;
}

static void tell(void)
{
    FILE *f = at.count ? fopen(at.count, at.mode == FAIL ? "a" : "w") : NULL;
    if (f && at.mode != FAIL)
        fprintf(f, "%ld\n", at.seen);
    for (size_t i = 0; f && i < n_named; i++)
        fprintf(f, "%s %s %ld\n", named[i].kind, named[i].name, named[i].calls);
    if ((f && fclose(f)) || (at.log && fclose(at.log)) || (at.mode == SNAP && snap_end() < 0))
        die("cannot write");
}

int main(int argc, char **argv)
{
    static char cwd[4096];
    int o;
    at.root = getcwd(cwd, sizeof cwd);
    while ((o = getopt(argc, argv, "+xns:p:r:t:c:")) > 0)
        if (o == 'x')
            at.plain = 1;
        else if (o == 'n')
            at.at_once = 1;
        else if (o == 's')
            at.server = atoi(optarg);
        else
            *(o == 'r'   ? &at.root
              : o == 't' ? &at.top
              : o == 'p' ? &at.preload
                         : &at.count) = optarg;
    char **a = argv + optind;
    if (!a[0] || !a[1])
        return 125;
    a += understand(a);
    if (at.server < 0 ? !*a || strcmp(*a, "--") || !a[1] : at.mode != FAIL || *a)
        return 125;
    signal(SIGINT, SIG_IGN);
    if (at.server >= 0)
        start_served();
    else
        start(a + 1);
    int rc = watch();
    tell();
    return rc;
}
