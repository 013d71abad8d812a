/* SPDX-License-Identifier: Apache-2.0
 *
 * stuck.c - preloaded into a tool: what its other threads write by pwrite waits until the file STUCK is
 * there, and fails when that says "full".
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);

/* 1: it says "full". */
static int wait_for(const char *path)
{
    char text[4] = "";
    int fd;
    while ((fd = open(path, O_RDONLY)) < 0)
        usleep(20000);
    ssize_t n = read(fd, text, sizeof text);
    close(fd);
    return n == 4 && text[0] == 'f';
}

ssize_t pwrite(int fd, const void *x, size_t n, off_t at)
{
    const char *path = getenv("STUCK");
    if (!real_pwrite)
        real_pwrite = (__typeof__(real_pwrite))dlsym(RTLD_NEXT, "pwrite");
    if (path && syscall(SYS_gettid) != getpid() && wait_for(path)) {
        errno = ENOSPC;
        return -1;
    }
    return real_pwrite(fd, x, n, at);
}
