/* SPDX-License-Identifier: Apache-2.0
 *
 * comm_nccl_load.c - opening libwan-nccl.so: beside the tools, in ../lib of them, or
 * WAN_NCCL_PLUGIN.
 */
#include <dlfcn.h>

#include "lib/base/dynlib.h"
#include "lib/dist/comm_nccl.h"
#include "lib/dist/transport.h"

int wan_comm_nccl_open(wan_comm *c, wan_comm *boot)
{
    char path[WAN_DYNLIB_PATH];
    void *so = wan_dynlib_open(path, "libwan-nccl.so", "WAN_NCCL_PLUGIN", "nccl",
                               "build it with `make CUDA=1 NCCL=1`");
    if (!so)
        return -1;
    wan_comm_nccl_start_fn *start = (wan_comm_nccl_start_fn *)dlsym(so, "wan_comm_nccl_start");
    return start ? start(c, boot) : wan_err("nccl: %s: not a transport", path);
}
