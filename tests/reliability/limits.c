/* SPDX-License-Identifier: Apache-2.0
 *
 * limits.c - preloaded into a trainer: what its disk does to it, at a given moment.
 *
 *     LIMIT_STEP=.iter_0000004.tmp   from the folder of this name on,
 *     LIMIT_CALL=pwrite              at the first call of this kind (mkdir fallocate pwrite fsync rename),
 *     LIMIT_DO='mount -o remount,ro DIR'   this command is run; or errno:N: such calls fail with N,
 *     LIMIT_END=.iter_0000006.tmp    until the folder of this name, at which
 *     LIMIT_UNDO='mount -o remount,rw DIR' is run
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int near, done, failing;

static int is(const char *variable, const char *in)
{
    const char *v = getenv(variable);
    return v && *v && strstr(in, v);
}

static void command(const char *variable)
{
    const char *v = getenv(variable);
    unsetenv("LD_PRELOAD"); /* of the trainer alone: AddressSanitizer ends dd */
    if (v && *v && system(v))
        fprintf(stderr, "limits: %s failed: %s\n", variable, v);
}

/* Whether this call fails. */
static int meet(const char *call)
{
    const char *what = getenv("LIMIT_DO");
    if (!near || !what || !is("LIMIT_CALL", call))
        return 0;
    if (!strncmp(what, "errno:", 6)) {
        failing = 1;
    } else if (!done++)
        command("LIMIT_DO");
    if (failing)
        errno = atoi(what + 6);
    return failing;
}

static void pass(const char *path)
{
    if (is("LIMIT_STEP", path))
        near = 1;
    if (near && is("LIMIT_END", path)) {
        near = failing = 0;
        command("LIMIT_UNDO");
    }
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int mkdir(const char *path, mode_t mode)
{
    pass(path);
    return strstr(path, ".iter_") && meet("mkdir") ? -1 : NEXT(mkdir)(path, mode);
}

int fallocate(int fd, int mode, off_t at, off_t n)
{
    return meet("fallocate") ? -1 : NEXT(fallocate)(fd, mode, at, n);
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
    return meet("pwrite") ? -1 : NEXT(pwrite)(fd, data, n, at);
}

int fsync(int fd)
{
    return meet("fsync") ? -1 : NEXT(fsync)(fd);
}

int rename(const char *from, const char *to)
{
    return meet("rename") ? -1 : NEXT(rename)(from, to);
}
