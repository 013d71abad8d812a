/* SPDX-License-Identifier: Apache-2.0
 *
 * out.c - finished-or-absent output files.
 */
#include "lib/base/out.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/crc32c.h"
#include "lib/base/file.h"

struct wan_out {
    FILE *f;
    char *path, *tmp; /* both NULL: stdout; tmp NULL: a device or pipe, written in place */
    int lock;         /* of tmp, held until it is renamed; -1: none */
    uint64_t bytes;   /* put, and their CRC32C */
    uint32_t crc;
    int summed; /* wan_out_put was called */
};

/* Temporary files to remove when the program ends early.  Fixed slots, because a signal handler
 * may only read memory and call unlink. */
enum { PENDING_MAX = 64 };
static char *volatile pending[PENDING_MAX];

void wan_out_remove_all(void)
{
    for (int i = 0; i < PENDING_MAX; i++)
        if (pending[i])
            unlink(pending[i]);
}

static int pending_add(char *tmp)
{
    static int registered;
    if (!registered)
        registered = atexit(wan_out_remove_all) == 0;
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

/* Whether fd is (still) the file of that name: 1, 0, -1: neither of two looks says so. */
static int is_named(int fd, const char *path)
{
    struct stat ours, named;
    for (int looks = 0; looks < 2; looks++) {
        if (fstat(fd, &ours) < 0)
            continue;
        if (stat(path, &named) == 0)
            return ours.st_ino == named.st_ino && ours.st_dev == named.st_dev;
        if (errno == ENOENT)
            return 0;
    }
    return -1;
}

/* Opens tmp for writing alone.  File systems without locks are taken as they are. */
static int open_locked(const char *tmp)
{
    for (;;) {
        int fd = open(tmp, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (fd < 0)
            return wan_err_errno("%s: cannot create", tmp);
        if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
            close(fd);
            wan_err("%s: another process is writing it", tmp);
            errno = EWOULDBLOCK;
            return -1;
        }
        /* who had it before may have renamed it: then it is not ours to empty */
        int named = is_named(fd, tmp);
        if (named > 0 && ftruncate(fd, 0) == 0)
            return fd;
        if (named) {
            wan_err_errno("%s: cannot create", tmp);
            if (named > 0)
                wan_remove_file(tmp);
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
    char *tmp = wan_malloc(n, 1, "file name");
    if (!tmp || !(o->path = strdup(path))) {
        free(tmp);
        return wan_err("%s: out of memory", path);
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

/* A device or pipe: a rename would replace it. */
static int out_direct(wan_out *o, const char *path)
{
    o->path = strdup(path);
    o->f = o->path ? fopen(path, "wb") : NULL;
    return o->f ? 0 : wan_err_errno("%s: cannot open", path);
}

/* A link stays: the file that it leads to is the one that is written. */
static int out_follow(wan_out *o, const char *path)
{
    struct stat s;
    char *at = wan_path_follow(path);
    if (!at)
        return -1;
    int in_proc = lstat(at, &s) == 0 && S_ISLNK(s.st_mode);
    int rc = in_proc ? out_direct(o, path) : out_create_quietly(o, at);
    free(at);
    return rc;
}

/* The file that standard output is already: another one would take its place. */
static int is_stdout(const struct stat *s)
{
    struct stat out;
    return fstat(STDOUT_FILENO, &out) == 0 && out.st_ino == s->st_ino && out.st_dev == s->st_dev;
}

static int out_open(wan_out *o, const char *path)
{
    struct stat s;
    if (stat(path, &s) < 0)
        return errno == ENOENT ? out_follow(o, path) : wan_err_errno("%s: cannot create", path);
    if (S_ISDIR(s.st_mode))
        return wan_err("%s: is a directory", path);
    if (!S_ISREG(s.st_mode))
        return out_direct(o, path);
    o->f = is_stdout(&s) ? stdout : NULL;
    return o->f ? 0 : out_follow(o, path);
}

int wan_out_open(wan_out **out, const char *path)
{
    wan_out *o = wan_calloc(1, sizeof *o, "output file");
    *out = NULL;
    if (!o)
        return -1;
    o->lock = -1;
    if (!strcmp(path, "-")) {
        o->f = stdout;
    } else if (out_open(o, path) < 0) {
        int why = errno;
        wan_out_discard(&o);
        errno = why;
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

int wan_out_put(wan_out *o, const void *data, size_t n)
{
    o->summed = 1;
    if (n && fwrite(data, 1, n, o->f) != n)
        return wan_err_errno("%s: cannot write", wan_out_name(o));
    o->crc = wan_crc32c(o->crc, data, n);
    o->bytes += n;
    return 0;
}

const char *wan_out_flushed(wan_out *o)
{
    if (!ferror(o->f) && fflush(o->f) == 0)
        return o->tmp ? o->tmp : "";
    wan_err_errno("%s: cannot write", wan_out_name(o));
    return NULL;
}

/* Is the file what was put? */
static int read_back(const wan_out *o)
{
    enum { CHUNK = 1 << 20 };
    uint64_t at = 0;
    uint32_t crc = 0;
    uint8_t *buf = wan_malloc(CHUNK, 1, "reading back");
    if (!buf)
        return -1;
    for (ssize_t n = 1; n;) {
        n = pread(o->lock, buf, CHUNK, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            free(buf);
            return wan_err_errno("%s: cannot read it back", wan_out_name(o));
        }
        crc = wan_crc32c(crc, buf, (size_t)n);
        at += (uint64_t)n;
    }
    free(buf);
    if (at != o->bytes || crc != o->crc)
        return wan_err("%s: %" PRIu64 " bytes were written, what is there differs (%" PRIu64
                       " bytes)",
                       wan_out_name(o), o->bytes, at);
    return 0;
}

static int close_checked(FILE *f, const char *name, int sync)
{
    int bad = ferror(f) || fflush(f) != 0;
    while (!bad && sync && fsync(fileno(f)) != 0) {
        if (errno == EINVAL || errno == EROFS) /* nothing that could be synced */
            break;
        bad = errno != EINTR;
    }
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
    if (rc == 0 && o->tmp && o->summed)
        rc = read_back(o);
    if (rc == 0 && o->tmp && rename(o->tmp, o->path) != 0)
        rc = wan_err_errno("%s: cannot rename into place", o->path);
    if (rc < 0 && o->tmp)
        wan_remove_file(o->tmp);
    if (rc == 0 && o->tmp)
        rc = wan_fsync_parent(o->path);
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
        wan_remove_file(o->tmp);
    out_free(o);
}

int wan_out_close_stdout(void)
{
    const int lost = ferror(stdout); /* fclose tells of its own write alone */
    if (fclose(stdout) != 0)
        return wan_err_errno("<stdout>: cannot write");
    return lost ? wan_err("<stdout>: some of it could not be written") : 0;
}

int wan_spew(const char *path, const void *data, size_t size)
{
    wan_out *o;
    WAN_TRY(wan_out_open(&o, path));
    if (wan_out_put(o, data, size) < 0) {
        wan_out_discard(&o);
        return -1;
    }
    return wan_out_finish(&o);
}
