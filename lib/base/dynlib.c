/* SPDX-License-Identifier: Apache-2.0
 *
 * dynlib.c - finding and opening a plugin, or libraries of the system.
 */
#include "lib/base/dynlib.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Candidate i for the path; 0 when there are no more. */
static int candidate(char path[WAN_DYNLIB_PATH], int i, const char *file, const char *named)
{
    char exe[4096];
    if (named)
        return i == 0 && snprintf(path, WAN_DYNLIB_PATH, "%s", named) < WAN_DYNLIB_PATH;
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n <= 0 || i > 1)
        return 0;
    exe[n] = 0;
    char *slash = strrchr(exe, '/');
    if (slash)
        *slash = 0;
    return snprintf(path, WAN_DYNLIB_PATH, i ? "%s/../lib/%s" : "%s/%s", exe, file) <
           WAN_DYNLIB_PATH;
}

void *wan_dynlib_open(char path[WAN_DYNLIB_PATH], const char *file, const char *env,
                      const char *what, const char *hint)
{
    const char *named = getenv(env);
    named = named && *named ? named : NULL;
    for (int i = 0; candidate(path, i, file, named); i++) {
        if (access(path, R_OK) != 0)
            continue;
        void *so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (!so)
            wan_err("%s: %s: %s", what, path, dlerror());
        return so;
    }
    wan_err("%s: %s%s not found: %s", what, named ? named : file,
            named ? "" : " (beside the tools or in ../lib)", hint);
    return NULL;
}

int wan_dynlib_system(void *so[], const char *const file[], int n, const char *what)
{
    for (int i = 0; i < n; i++) {
        so[i] = dlopen(file[i], RTLD_LAZY | RTLD_LOCAL);
        if (!so[i])
            return wan_err("%s: %s", what, dlerror());
    }
    return 0;
}

void *wan_dynlib_find(void *const so[], int n, const char *name)
{
    void *p = NULL;
    for (int i = 0; i < n && !p; i++)
        p = dlsym(so[i], name);
    return p;
}
