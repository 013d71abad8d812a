/* SPDX-License-Identifier: Apache-2.0
 *
 * refs.h - the cases of reference dumps: those in $WAN_REF, or the committed ones.
 */
#ifndef WAN_TESTS_REFS_H
#define WAN_TESTS_REFS_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REFS_SMALL "tests/data/ref"
enum { REFS_MAX = 32 };

typedef struct refs {
    int n;
    char dir[REFS_MAX][512];
} refs;

static const char *refs_root(void)
{
    const char *root = getenv("WAN_REF");
    return root && *root ? root : REFS_SMALL;
}

/* The committed set, which is small enough for the slow devices too. */
__attribute__((unused)) static int refs_small(void)
{
    return !strcmp(refs_root(), REFS_SMALL);
}

/* The device under test: $WAN_CHECK_DEVICE, or the CPU. */
__attribute__((unused)) static const char *refs_device(void)
{
    const char *d = getenv("WAN_CHECK_DEVICE");
    return d && *d ? d : "cpu";
}

static int refs_order(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Folders whose names begin with `prefix` and that hold `file`, by name. */
__attribute__((unused)) static refs refs_find(const char *prefix, const char *file)
{
    refs r = { 0 };
    DIR *d = opendir(refs_root());
    struct dirent *e;
    while (d && (e = readdir(d)) && r.n < REFS_MAX) {
        char path[1024];
        snprintf(path, sizeof path, "%s/%s/%s", refs_root(), e->d_name, file);
        FILE *f = strncmp(e->d_name, prefix, strlen(prefix)) ? NULL : fopen(path, "r");
        if (!f)
            continue;
        fclose(f);
        if (snprintf(r.dir[r.n], sizeof r.dir[0], "%s/%s", refs_root(), e->d_name) <
            (int)sizeof r.dir[0])
            r.n++;
    }
    if (d)
        closedir(d);
    qsort(r.dir, (size_t)r.n, sizeof r.dir[0], refs_order);
    return r;
}

/* The last part of a path. */
__attribute__((unused)) static const char *refs_name(const char *dir)
{
    const char *slash = strrchr(dir, '/');
    return slash ? slash + 1 : dir;
}

#endif
