/* SPDX-License-Identifier: Apache-2.0
 *
 * device_open.c - opening a device: its name, its op table, the CUDA plugin.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/device_cpu.h"
#include "kernels/device_dry.h"
#include "kernels/device_in.h"
#include "kernels/plugin.h"
#include "lib/base/dynlib.h"
#include "lib/base/log.h"

/* ---- plugin */

static const wan_plugin_host plugin_host = {
    .abi = WAN_PLUGIN_ABI,
    .ops_bytes = sizeof(wan_ops),
    .err = wan_err,
    .scratch = wan_dev_scratch,
    .aside = wan_dev_aside,
    .warn = wan_warn,
    .ways_find = wan_ways_find,
    .ways_note = wan_ways_note,
};

/* The plugin, opened once per process and never closed (CUDA does not survive dlclose). */
static const wan_plugin *plugin_load(void)
{
    static const wan_plugin *loaded;
    char path[WAN_DYNLIB_PATH];
    if (loaded)
        return loaded;
    void *so = wan_dynlib_open(path, "libwan-cuda.so", "WAN_CUDA_PLUGIN", "cuda",
                               "build the plugin with `make CUDA=1`");
    if (!so)
        return NULL;
    wan_plugin_entry_fn *entry = (wan_plugin_entry_fn *)dlsym(so, WAN_PLUGIN_SYMBOL);
    loaded = entry ? entry(&plugin_host) : NULL;
    if (!loaded)
        wan_err("cuda: %s: built for another version of the tools; run make again", path);
    return loaded;
}

static int plugin_open(wan_dev *d, int index)
{
    static wan_ops ops;
    int devices = 0;
    const wan_plugin *p = plugin_load();
    if (!p || p->probe(&devices) < 0)
        return -1;
    if (index >= devices)
        return wan_err("cuda:%d: this machine has %d CUDA device%s", index, devices,
                       devices == 1 ? "" : "s");
    p->fill(&ops);
#define X(name)                                                                                    \
    if (!ops.name)                                                                                 \
        return wan_err("cuda: the plugin has no kernel for " #name);
    WAN_OPS(X)
#undef X
    d->kind = WAN_DEV_CUDA;
    d->ops = &ops;
    d->backend = &p->backend;
    return p->backend.open(d, index);
}

/* ---- open and close */

static int cpu_device(wan_dev *d, const wan_ops *ops, int index)
{
    d->kind = WAN_DEV_CPU;
    d->ops = ops;
    d->backend = &wan_device_cpu;
    return wan_device_cpu.open(d, index);
}

/* "name" or "name:index" -> name length and index; -1 when the index is not a number. */
static int spec_split(const char *spec, size_t *len, int *index)
{
    char *end = NULL;
    *len = strcspn(spec, ":");
    *index = 0;
    if (!spec[*len])
        return 0;
    long v = strtol(spec + *len + 1, &end, 10);
    if (end == spec + *len + 1 || *end || v < 0 || v > 1023)
        return wan_err("device %s: the part behind ':' must be a number from 0", spec);
    *index = (int)v;
    return 0;
}

static int open_spec(wan_dev *d, const char *spec)
{
    size_t len;
    WAN_TRY(spec_split(spec, &len, &d->index));
#define IS(s) (len == sizeof s - 1 && memcmp(spec, s, len) == 0)
    if (IS("ref"))
        return cpu_device(d, wan_ops_cpu_ref(), d->index);
    if (IS("cpu"))
        return cpu_device(d, wan_ops_cpu_best(), d->index);
    if (IS("cuda"))
        return plugin_open(d, d->index);
    if (IS("dry")) {
        d->kind = WAN_DEV_DRY;
        d->ops = wan_ops_dry();
        d->backend = &wan_device_dry;
        return d->backend->open(d, d->index);
    }
    if (IS("auto")) {
        if (plugin_open(d, d->index) == 0)
            return 0;
        if (access("/dev/nvidiactl", F_OK) == 0 && d->flags & WAN_DEV_STRICT)
            return -1;
        if (access("/dev/nvidiactl", F_OK) == 0)
            wan_warn("device auto: this machine has an NVIDIA driver, but %s; the CPU is used",
                     wan_err_text());
        wan_err_clear();
        return cpu_device(d, wan_ops_cpu_best(), 0);
    }
#undef IS
    return wan_err("device %s: unknown; one of auto, cpu, ref, cuda, cuda:N", spec);
}

int wan_dev_open(wan_dev **out, const char *spec, int flags)
{
    *out = NULL;
    wan_dev *d = wan_dev_new(flags);
    if (!d)
        return wan_err("device %s: out of memory", spec);
    if (open_spec(d, spec) < 0) {
        wan_dev_drop(d);
        return -1;
    }
    *out = d;
    return 0;
}
