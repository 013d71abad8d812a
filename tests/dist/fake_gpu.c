/* SPDX-License-Identifier: Apache-2.0
 *
 * fake_gpu.c - a plugin that calls the CPU a GPU, so that the choice of devices by ranks can be tested.
 *
 * FAKE_GPUS of them are seen by this process (default 0); the first has the number FAKE_FIRST.
 */
#include <stdio.h>
#include <stdlib.h>

#include "kernels/device_cpu.h"
#include "kernels/plugin.h"

static const wan_plugin_host *program;

static int number(const char *name)
{
    const char *v = getenv(name);
    return v ? atoi(v) : 0;
}

static int probe(int *devices)
{
    *devices = number("FAKE_GPUS");
    return *devices ? 0 : program->err("cuda: no fake device");
}

static void fill(wan_ops *o)
{
    *o = *wan_ops_cpu_ref();
}

static int describe(wan_dev *d, char *text, size_t size)
{
    snprintf(text, size, "fake GPU %d", number("FAKE_FIRST") + d->index);
    return 0;
}

static int open_any(wan_dev *d, int index)
{
    (void)d;
    return index < number("FAKE_GPUS") ? 0 : -1;
}

const wan_plugin *wan_cuda_backend(const wan_plugin_host *host);
const wan_plugin *wan_cuda_backend(const wan_plugin_host *host)
{
    static wan_plugin plugin;
    program = host;
    plugin = (wan_plugin){ wan_device_cpu, probe, fill };
    plugin.backend.name = "cuda";
    plugin.backend.open = open_any;
    plugin.backend.describe = describe;
    return &plugin;
}
