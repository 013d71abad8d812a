/* SPDX-License-Identifier: Apache-2.0
 *
 * file.c - input, "-", folders.
 */
#include "lib/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/log.h"

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
    int rc = fstat(fileno(*out), &st) < 0 ? wan_err_errno("%s: cannot open", path)
             : S_ISDIR(st.st_mode)        ? wan_err("%s: is a directory", path)
                                          : 0;
    if (rc < 0) {
        fclose(*out);
        *out = NULL;
    }
    return rc;
}

void wan_in_close(FILE *f)
{
    if (f && f != stdin)
        fclose(f);
}

void wan_file_reserve(void)
{
    static const int how[] = { O_WRONLY, O_RDONLY, O_WRONLY }; /* not what anybody wants of them */
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", how[fd]) < 0)
            return;
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

int wan_dir_next(DIR *d, const char *path, const char **name)
{
    struct dirent *e;
    do {
        errno = 0;
        e = readdir(d);
    } while (e && (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")));
    if (!e)
        return errno ? wan_err_errno("%s: cannot be read to its end", path) : 0;
    *name = e->d_name;
    return 1;
}

int wan_exists(const char *path)
{
    return access(path, F_OK) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

int wan_exists_in(const char *dir, const char *name)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s%s%s", dir, *dir ? "/" : "", name);
    return n < 0 || n >= PATH_MAX || wan_exists(path);
}

int wan_fsync(int fd)
{
    int rc;
    while ((rc = fsync(fd)) < 0 && errno == EINTR) {}
    return rc;
}

int wan_fsync_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return wan_err_errno("%s: cannot open directory", path);
    int rc = wan_fsync(fd);
    /* some file systems cannot sync a directory and say EINVAL */
    rc = rc == 0 || errno == EINVAL ? 0 : wan_err_errno("%s: cannot sync", path);
    close(fd);
    return rc;
}

int wan_fsync_parent(const char *path)
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

/* A folder that is new is on disk when its name is. */
static int make_dir(const char *path)
{
    if (mkdir(path, 0777) == 0)
        return wan_fsync_parent(path);
    return errno == EEXIST ? 0 : wan_err_errno("%s: cannot create directory", path);
}

int wan_mkdirs(const char *path)
{
    char *p = strdup(path);
    int rc = p ? 0 : wan_err("out of memory");
    for (char *s = p; rc == 0 && *s && *++s;)
        if (*s == '/') {
            *s = '\0';
            rc = make_dir(p);
            *s = '/';
        }
    if (rc == 0)
        rc = make_dir(p);
    int there = rc == 0 ? wan_is_dir(p) : -1;
    if (there == 0) {
        errno = ENOTDIR;
        rc = wan_err_errno("%s: cannot create directory", p);
    }
    free(p);
    return there < 0 ? -1 : rc;
}

int wan_rename_dir(const char *tmp, const char *final)
{
    WAN_TRY(wan_fsync_dir(tmp));
    if (rename(tmp, final) != 0)
        return wan_err_errno("%s: cannot rename %s into place", final, tmp);
    return wan_fsync_parent(final);
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
        WAN_TRY(wan_fsync_parent(final));
        wan_remove_tree(tmp);
        return 0;
    }
    if (errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP)
        return replace_in_two(tmp, final, aside);
    return wan_err_errno("%s: cannot exchange %s with it", final, tmp);
}

static __thread int removing; /* errno of the last thing that stayed */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    if (remove(path) < 0)
        removing = errno;
    return 0;
}

int wan_remove_tree(const char *path)
{
    struct stat st;
    for (int tries = 0;; tries++) {
        if (lstat(path, &st) < 0 && errno == ENOENT)
            return 0;
        if (tries == 2)
            break;
        removing = 0;
        if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) < 0)
            removing = errno;
    }
    wan_warn("%s: cannot be removed%s%s", path, removing ? ": " : "",
             removing ? strerror(removing) : "");
    return -1;
}

int wan_remove_file(const char *path)
{
    for (int tries = 0; tries < 2; tries++)
        if (unlink(path) == 0 || errno == ENOENT)
            return 0;
    wan_warn("%s: cannot be removed: %s", path, strerror(errno));
    return -1;
}

char *wan_path_join(const char *dir, const char *name)
{
    if (!dir || name[0] == '/')
        dir = "";
    size_t n = strlen(dir) + strlen(name) + 2;
    char *p = wan_malloc(n, 1, "path");
    if (p)
        snprintf(p, n, "%s%s%s", dir, !dir[0] || dir[strlen(dir) - 1] == '/' ? "" : "/", name);
    return p;
}

/* 1 when the folder of path is one of /proc, whose links are what is open and no names; 0; -1. */
static int in_proc(const char *path)
{
    char dir[PATH_MAX], real[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash + 1 - path) : 0;
    if (n >= sizeof dir)
        return wan_err("%s: a name too long", path);
    snprintf(dir, sizeof dir, "%.*s", n ? (int)n : 1, n ? path : ".");
    if (!realpath(dir, real))
        return wan_err_errno("%s", path);
    return !strncmp(real, "/proc/", 6);
}

/* The name that the link at path leads to, malloc'ed; NULL with a sentence. */
static char *link_at(const char *path)
{
    char text[PATH_MAX];
    ssize_t n = readlink(path, text, sizeof text - 1);
    if (n < 0) {
        wan_err_errno("%s: cannot read the link", path);
        return NULL;
    }
    text[n] = 0;
    const char *slash = strrchr(path, '/');
    char *dir = strndup(path, slash ? (size_t)(slash + 1 - path) : 0);
    char *to = dir ? wan_path_join(*dir ? dir : NULL, text) : NULL;
    if (!dir)
        wan_err("%s: out of memory", path);
    free(dir);
    return to;
}

/* 1 when path is a link that leads to a name, 0 when not, -1 when that cannot be seen. */
static int leads(const char *path)
{
    struct stat s;
    if (lstat(path, &s) < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : wan_err_errno("%s", path);
    int open = S_ISLNK(s.st_mode) ? in_proc(path) : 1;
    return open < 0 ? -1 : !open;
}

char *wan_path_follow(const char *path)
{
    enum { MOST = 40 };
    char *at = strdup(path);
    int rc = at ? 0 : wan_err("%s: out of memory", path);
    for (int i = 0; rc == 0 && (rc = leads(at)) > 0; i++) {
        char *to = i < MOST ? link_at(at) : NULL;
        if (i == MOST)
            wan_err("%s: too many links", path);
        free(at);
        at = to;
        rc = at ? 0 : -1;
    }
    if (rc < 0) {
        free(at);
        at = NULL;
    }
    return at;
}
