/* SPDX-License-Identifier: Apache-2.0
 *
 * comm_nccl_load.c - opening libwan-nccl.so: beside the tools, in ../lib of them, or
 * WAN_NCCL_PLUGIN.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/dist/comm_nccl.h"

/* Path candidate i; 0 when there are no more. */
static int candidate(int i, char *path, size_t size)
{
    const char *env = getenv("WAN_NCCL_PLUGIN");
    char exe[4096];
    if (env && *env)
        return i == 0 && snprintf(path, size, "%s", env) < (int)size;
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n <= 0 || i > 1)
        return 0;
    exe[n] = 0;
    char *slash = strrchr(exe, '/');
    if (slash)
        *slash = 0;
    return snprintf(path, size, i ? "%s/../lib/libwan-nccl.so" : "%s/libwan-nccl.so", exe) <
           (int)size;
}

int wan_comm_nccl_open(wan_comm *c, wan_comm *boot)
{
    char path[4200];
    for (int i = 0; candidate(i, path, sizeof path); i++) {
        if (access(path, R_OK) != 0)
            continue;
        void *so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (!so)
            return wan_err("nccl: %s: %s", path, dlerror());
        wan_comm_nccl_start_fn *start =
            (wan_comm_nccl_start_fn *)dlsym(so, "wan_comm_nccl_start");
        return start ? start(c, boot) : wan_err("nccl: %s: not a transport", path);
    }
    return wan_err("nccl: libwan-nccl.so not found beside the tools or in ../lib: build it with "
                   "`make CUDA=1 NCCL=1`");
}
