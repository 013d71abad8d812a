/* SPDX-License-Identifier: Apache-2.0
 *
 * file.c - finished-or-absent output files, "-", folders, signals, checked allocation.
 */
#include "lib/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct wan_out {
    FILE *f;
    char *path, *tmp; /* both NULL: stdout; tmp NULL: a device or pipe, written in place */
    int lock;         /* of tmp, held until it is renamed; -1: none */
};

/* Temporary files to remove when the program ends early.  Fixed slots, because a signal handler
 * may only read memory and call unlink. */
enum { PENDING_MAX = 64 };
static char *volatile pending[PENDING_MAX];

static void pending_remove(void)
{
    for (int i = 0; i < PENDING_MAX; i++)
        if (pending[i])
            unlink(pending[i]);
}

static int pending_add(char *tmp)
{
    static int registered;
    if (!registered)
        registered = atexit(pending_remove) == 0;
    for (int i = 0; i < PENDING_MAX; i++)
        if (!pending[i]) {
            pending[i] = tmp;
            return 0;
        }
    return wan_err("%s: more than %d files being written", tmp, PENDING_MAX);
}

static void pending_drop(const char *tmp)
{
    for (int i = 0; i < PENDING_MAX; i++)
        if (pending[i] == tmp)
            pending[i] = NULL;
}

static void out_free(wan_out *o)
{
    if (o->tmp)
        pending_drop(o->tmp);
    if (o->lock >= 0)
        close(o->lock);
    free(o->path);
    free(o->tmp);
    free(o);
}

/* Opens tmp for writing alone.  File systems without locks are taken as they are. */
static int open_locked(const char *tmp)
{
    for (;;) {
        struct stat ours, named;
        int fd = open(tmp, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
        if (fd < 0)
            return wan_err_errno("%s: cannot create", tmp);
        if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
            close(fd);
            return wan_err("%s: another process is writing it", tmp);
        }
        /* who had it before may have renamed it: then it is not ours to empty */
        if (fstat(fd, &ours) == 0 && stat(tmp, &named) == 0 && ours.st_ino == named.st_ino &&
            ours.st_dev == named.st_dev) {
            if (ftruncate(fd, 0) == 0)
                return fd;
            wan_err_errno("%s: cannot create", tmp);
            close(fd);
            return -1;
        }
        close(fd);
    }
}

/* The name is fixed (path.tmp), so a leftover of a killed run is overwritten, not collected.
 * o->tmp is set when the file is ours to remove. */
static int out_create(wan_out *o, const char *path)
{
    size_t n = strlen(path) + 5;
    struct stat s;
    if (stat(path, &s) == 0 && S_ISDIR(s.st_mode))
        return wan_err("%s: is a directory", path);
    o->path = strdup(path);
    char *tmp = wan_malloc(n, 1, "file name");
    if (!o->path || !tmp) {
        free(tmp);
        return -1;
    }
    snprintf(tmp, n, "%s.tmp", path);
    o->lock = open_locked(tmp);
    if (o->lock < 0) {
        free(tmp);
        return -1;
    }
    o->tmp = tmp;
    int fd = dup(o->lock);
    o->f = fd < 0 ? NULL : fdopen(fd, "wb");
    if (!o->f) {
        if (fd >= 0)
            close(fd);
        return wan_err_errno("%s: cannot create", tmp);
    }
    return pending_add(tmp);
}

/* No signal between making the file and noting that it must go. */
static int out_create_quietly(wan_out *o, const char *path)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = out_create(o, path);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

/* A rename would replace the device or pipe itself. */
static int is_special(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && !S_ISREG(s.st_mode) && !S_ISDIR(s.st_mode);
}

static int out_direct(wan_out *o, const char *path)
{
    o->path = strdup(path);
    o->f = fopen(path, "wb");
    if (!o->path || !o->f)
        return wan_err_errno("%s: cannot open", path);
    return 0;
}

int wan_out_open(wan_out **out, const char *path)
{
    wan_out *o = wan_calloc(1, sizeof *o, "output file");
    *out = NULL;
    if (!o)
        return -1;
    o->lock = -1;
    if (!strcmp(path, "-"))
        o->f = stdout;
    else if (is_special(path) ? out_direct(o, path) < 0 : out_create_quietly(o, path) < 0) {
        wan_out_discard(&o);
        return -1;
    }
    *out = o;
    return 0;
}

int wan_out_probe(const char *path)
{
    wan_out *o;
    WAN_TRY(wan_out_open(&o, path));
    wan_out_discard(&o);
    return 0;
}

FILE *wan_out_file(wan_out *o)
{
    return o->f;
}

const char *wan_out_name(const wan_out *o)
{
    return o->path ? o->path : "<stdout>";
}

static int parent_fsync(const char *path)
{
    char *dir = strdup(path);
    if (!dir)
        return wan_err("out of memory");
    char *slash = strrchr(dir, '/');
    if (slash == dir)
        slash[1] = '\0';
    else if (slash)
        *slash = '\0';
    int rc = wan_fsync_dir(slash ? dir : ".");
    free(dir);
    return rc;
}

static int close_checked(FILE *f, const char *name, int sync)
{
    int bad = ferror(f) || fflush(f) != 0;
    if (!bad && sync)
        bad = fsync(fileno(f)) != 0 && errno != EINVAL && errno != EROFS;
    int e = errno;
    if (fclose(f) != 0 && !bad) {
        bad = 1;
        e = errno;
    }
    errno = e;
    return bad ? wan_err_errno("%s: cannot write", name) : 0;
}

int wan_out_finish(wan_out **out)
{
    wan_out *o = *out;
    *out = NULL;
    int rc = close_checked(o->f, wan_out_name(o), o->tmp != NULL);
    o->f = NULL;
    if (rc == 0 && o->tmp && rename(o->tmp, o->path) != 0)
        rc = wan_err_errno("%s: cannot rename into place", o->path);
    if (rc == 0 && o->tmp)
        rc = parent_fsync(o->path);
    if (rc < 0 && o->tmp)
        unlink(o->tmp);
    out_free(o);
    return rc;
}

void wan_out_discard(wan_out **out)
{
    wan_out *o = *out;
    if (!o)
        return;
    *out = NULL;
    if (o->f && o->path)
        fclose(o->f);
    if (o->tmp)
        unlink(o->tmp);
    out_free(o);
}

int wan_in_open(FILE **out, const char *path, const char **name)
{
    if (!strcmp(path, "-")) {
        *out = stdin;
        *name = "<stdin>";
        return 0;
    }
    *name = path;
    *out = fopen(path, "rb");
    if (!*out)
        return wan_err_errno("%s: cannot open", path);
    struct stat st;
    if (fstat(fileno(*out), &st) == 0 && S_ISDIR(st.st_mode)) {
        fclose(*out);
        *out = NULL;
        return wan_err("%s: is a directory", path);
    }
    return 0;
}

void wan_in_close(FILE *f)
{
    if (f && f != stdin)
        fclose(f);
}

int wan_refuse_terminal(int fd, int force)
{
    if (!force && isatty(fd))
        return wan_err("refusing to %s binary data %s a terminal (use -f to force)",
                       fd == STDIN_FILENO ? "read" : "write", fd == STDIN_FILENO ? "from" : "to");
    return 0;
}

int wan_slurp(char **data, size_t *size, const char *path, size_t cap)
{
    FILE *f;
    const char *name;
    size_t n = 0, room = 65536;
    char *buf = NULL;
    *data = NULL;
    WAN_TRY(wan_in_open(&f, path, &name));
    for (;;) {
        char *more = realloc(buf, room + 1);
        if (!more) {
            wan_err("%s: out of memory", name);
            goto fail;
        }
        buf = more;
        n += fread(buf + n, 1, room - n, f);
        if (n < room)
            break;
        if (n > cap)
            break;
        room *= 2;
    }
    if (ferror(f)) {
        wan_err_errno("%s: cannot read", name);
        goto fail;
    }
    if (n > cap) {
        wan_err("%s: larger than %zu bytes", name, cap);
        goto fail;
    }
    wan_in_close(f);
    buf[n] = '\0';
    *data = buf;
    if (size)
        *size = n;
    return 0;
fail:
    wan_in_close(f);
    free(buf);
    return -1;
}

int wan_spew(const char *path, const void *data, size_t size)
{
    wan_out *o;
    WAN_TRY(wan_out_open(&o, path));
    if (fwrite(data, 1, size, wan_out_file(o)) != size) {
        wan_err_errno("%s: cannot write", path);
        wan_out_discard(&o);
        return -1;
    }
    return wan_out_finish(&o);
}

int wan_mkdirs(const char *path)
{
    char *p = strdup(path);
    if (!p)
        return wan_err("out of memory");
    for (char *s = p + 1; *s; s++)
        if (*s == '/') {
            *s = '\0';
            if (mkdir(p, 0777) != 0 && errno != EEXIST)
                goto fail;
            *s = '/';
        }
    if (mkdir(p, 0777) != 0 && errno != EEXIST)
        goto fail;
    struct stat st;
    if (stat(p, &st) != 0 || !S_ISDIR(st.st_mode)) {
        errno = ENOTDIR;
        goto fail;
    }
    free(p);
    return 0;
fail:
    wan_err_errno("%s: cannot create directory", p);
    free(p);
    return -1;
}

int wan_fsync_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return wan_err_errno("%s: cannot open directory", path);
    /* some file systems cannot sync a directory and say EINVAL */
    int rc = fsync(fd) == 0 || errno == EINVAL ? 0 : wan_err_errno("%s: cannot sync", path);
    close(fd);
    return rc;
}

int wan_rename_dir(const char *tmp, const char *final)
{
    WAN_TRY(wan_fsync_dir(tmp));
    if (rename(tmp, final) != 0)
        return wan_err_errno("%s: cannot rename %s into place", final, tmp);
    return parent_fsync(final);
}

int wan_is_dir(const char *path)
{
    struct stat st;
    if (stat(path, &st) == 0)
        return S_ISDIR(st.st_mode) != 0;
    return errno == ENOENT || errno == ENOTDIR ? 0 : wan_err_errno("%s", path);
}

static int replace_in_two(const char *tmp, const char *final, const char *aside)
{
    if (rename(final, aside) != 0)
        return wan_err_errno("%s: cannot rename to %s", final, aside);
    if (wan_rename_dir(tmp, final) == 0) {
        wan_remove_tree(aside);
        return 0;
    }
    if (wan_is_dir(final) == 0 && rename(aside, final) != 0)
        return wan_err_prefix("%s is %s now", final, aside);
    return -1;
}

int wan_replace_dir(const char *tmp, const char *final, const char *aside)
{
    int there = wan_is_dir(final);
    if (there <= 0)
        return there < 0 ? -1 : wan_rename_dir(tmp, final);
    WAN_TRY(wan_fsync_dir(tmp));
    if (renameat2(AT_FDCWD, tmp, AT_FDCWD, final, RENAME_EXCHANGE) == 0) {
        WAN_TRY(parent_fsync(final));
        wan_remove_tree(tmp);
        return 0;
    }
    if (errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP)
        return replace_in_two(tmp, final, aside);
    return wan_err_errno("%s: cannot exchange %s with it", final, tmp);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    remove(path);
    return 0;
}

int wan_remove_tree(const char *path)
{
    return nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

char *wan_path_join(const char *dir, const char *name)
{
    if (!dir || name[0] == '/')
        return strdup(name);
    size_t n = strlen(dir) + strlen(name) + 2;
    char *p = wan_malloc(n, 1, "path");
    if (p)
        snprintf(p, n, "%s%s%s", dir, dir[0] && dir[strlen(dir) - 1] == '/' ? "" : "/", name);
    return p;
}

/* ---- signals ---- */

static volatile sig_atomic_t stop_flag;

static void die_by_signal(int sig)
{
    pending_remove();
    signal(sig, SIG_DFL);
    raise(sig);
}

static void ask_stop(int sig)
{
    stop_flag = 1;
    if (sig == SIGINT)
        signal(SIGINT, SIG_DFL); /* whoever presses Ctrl-C again means it */
}

static void on_signal(int sig, void (*handler)(int))
{
    struct sigaction sa = { .sa_handler = handler, .sa_flags = SA_RESTART };
    sigemptyset(&sa.sa_mask);
    sigaction(sig, &sa, NULL);
}

void wan_signals_filter(void)
{
    on_signal(SIGPIPE, die_by_signal); /* dies quietly, but leaves no temporary file */
    on_signal(SIGINT, die_by_signal);
    on_signal(SIGTERM, die_by_signal);
    on_signal(SIGHUP, die_by_signal);
}

void wan_signals_trainer(void)
{
    on_signal(SIGPIPE, SIG_IGN);
    on_signal(SIGINT, ask_stop);
    on_signal(SIGTERM, ask_stop);
    on_signal(SIGUSR1, ask_stop);
}

int wan_stop_requested(void)
{
    return stop_flag;
}

/* ---- memory ---- */

static int too_big(size_t *bytes, size_t count, size_t size, const char *what)
{
    if (__builtin_mul_overflow(count, size, bytes)) {
        wan_err("%s: size overflows (%zu x %zu bytes)", what, count, size);
        return 1;
    }
    return 0;
}

void *wan_malloc(size_t count, size_t size, const char *what)
{
    size_t bytes;
    if (too_big(&bytes, count, size, what))
        return NULL;
    void *p = malloc(bytes ? bytes : 1);
    if (!p)
        wan_err("out of memory (%zu bytes for %s)", bytes, what);
    return p;
}

void *wan_calloc(size_t count, size_t size, const char *what)
{
    size_t bytes;
    if (too_big(&bytes, count, size, what))
        return NULL;
    void *p = calloc(1, bytes ? bytes : 1);
    if (!p)
        wan_err("out of memory (%zu bytes for %s)", bytes, what);
    return p;
}
