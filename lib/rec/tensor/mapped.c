/* SPDX-License-Identifier: Apache-2.0
 *
 * mapped.c - see mapped.h.
 */
#include "lib/rec/tensor/mapped.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int wan_mapped(const uint8_t **map, size_t *size, const char *path, const char *format,
               size_t least)
{
    struct stat s;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &s) < 0) {
        int rc = wan_err_errno("%s", path);
        if (fd >= 0)
            close(fd);
        return rc;
    }
    if (!S_ISREG(s.st_mode) || (size_t)s.st_size < least) {
        close(fd);
        if (!S_ISREG(s.st_mode))
            return wan_err("%s: not a %s file: not a regular file", path, format);
        return wan_err("%s: not a %s file: shorter than %zu bytes", path, format, least);
    }
    void *p = mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        wan_err_errno("%s: cannot map", path);
    close(fd);
    if (p == MAP_FAILED)
        return -1;
    *map = p;
    *size = (size_t)s.st_size;
    return 0;
}
