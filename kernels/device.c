/* SPDX-License-Identifier: Apache-2.0
 *
 * device.c - opening a device, its memory, its packs; loading the CUDA plugin.
 */
#include "kernels/device.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/device_cpu.h"
#include "kernels/plugin.h"
#include "lib/base/dynlib.h"
#include "lib/base/log.h"

/* What the public struct does not show: who owns which bytes. */
typedef struct host_dev {
    wan_dev pub; /* first: a wan_dev * is a host_dev * */
    struct block {
        void *p;
        size_t bytes;
    } * blocks;
    size_t n, cap;
    wan_ops ops; /* of a plugin device */
} host_dev;

/* ---- plugin */

static const wan_plugin_host plugin_host = {
    .abi = WAN_PLUGIN_ABI,
    .ops_bytes = sizeof(wan_ops),
    .err = wan_err,
    .scratch = wan_dev_scratch,
    .warn = wan_warn,
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

static int plugin_open(host_dev *h, int index)
{
    int devices = 0;
    const wan_plugin *p = plugin_load();
    if (!p || p->probe(&devices) < 0)
        return -1;
    if (index >= devices)
        return wan_err("cuda:%d: this machine has %d CUDA device%s", index, devices,
                       devices == 1 ? "" : "s");
    p->fill(&h->ops);
#define X(name)                                                                                    \
    if (!h->ops.name)                                                                              \
        return wan_err("cuda: the plugin has no kernel for " #name);
    WAN_OPS(X)
#undef X
    h->pub.kind = WAN_DEV_CUDA;
    h->pub.ops = &h->ops;
    h->pub.backend = &p->backend;
    return p->backend.open(&h->pub, index);
}

/* ---- open and close */

static int cpu_device(host_dev *h, const wan_ops *ops, int index)
{
    h->pub.kind = WAN_DEV_CPU;
    h->pub.ops = ops;
    h->pub.backend = &wan_device_cpu;
    return wan_device_cpu.open(&h->pub, index);
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

static int open_spec(host_dev *h, const char *spec)
{
    size_t len;
    WAN_TRY(spec_split(spec, &len, &h->pub.index));
#define IS(s) (len == sizeof s - 1 && memcmp(spec, s, len) == 0)
    if (IS("ref"))
        return cpu_device(h, wan_ops_cpu_ref(), h->pub.index);
    if (IS("cpu"))
        return cpu_device(h, wan_ops_cpu_best(), h->pub.index);
    if (IS("cuda"))
        return plugin_open(h, h->pub.index);
    if (IS("auto")) {
        if (plugin_open(h, h->pub.index) == 0)
            return 0;
        if (access("/dev/nvidiactl", F_OK) == 0 && h->pub.flags & WAN_DEV_STRICT)
            return -1;
        if (access("/dev/nvidiactl", F_OK) == 0)
            wan_warn("device auto: this machine has an NVIDIA driver, but %s; the CPU is used",
                     wan_err_text());
        wan_err_clear();
        return cpu_device(h, wan_ops_cpu_best(), 0);
    }
#undef IS
    return wan_err("device %s: unknown; one of auto, cpu, ref, cuda, cuda:N", spec);
}

int wan_dev_open(wan_dev **out, const char *spec, int flags)
{
    *out = NULL;
    host_dev *h = (host_dev *)calloc(1, sizeof *h);
    if (!h)
        return wan_err("device %s: out of memory", spec);
    h->pub.flags = flags;
    if (open_spec(h, spec) < 0) {
        free(h);
        return -1;
    }
    *out = &h->pub;
    return 0;
}

void wan_dev_close(wan_dev **d)
{
    if (!d || !*d)
        return;
    host_dev *h = (host_dev *)*d;
    for (size_t i = 0; i < h->n; i++)
        h->pub.backend->free(&h->pub, h->blocks[i].p);
    h->pub.backend->close(&h->pub);
    free(h->blocks);
    free(h);
    *d = NULL;
}

/* ---- memory */

/* Remembers a block; -1: out of host memory. */
static int block_add(host_dev *h, void *p, size_t bytes)
{
    if (h->n == h->cap) {
        size_t cap = h->cap ? 2 * h->cap : 64;
        struct block *b = (struct block *)realloc(h->blocks, cap * sizeof *b);
        if (!b)
            return -1;
        h->blocks = b;
        h->cap = cap;
    }
    h->blocks[h->n++] = (struct block){ p, bytes };
    h->pub.allocated += bytes;
    if (h->pub.allocated > h->pub.peak)
        h->pub.peak = h->pub.allocated;
    return 0;
}

void *wan_dev_alloc(wan_dev *d, size_t bytes, const char *what)
{
    void *p = d->backend->alloc(d, bytes);
    if (p && block_add((host_dev *)d, p, bytes) == 0)
        return p;
    if (p)
        d->backend->free(d, p);
    else if (d->backend->sync(d) < 0) /* a kernel failed before: that is the reason */
        return NULL;
    wan_err("%s: out of %s memory: %.1f MB wanted, %.1f MB in use", what, d->backend->name,
            (double)bytes / 1e6, (double)d->allocated / 1e6);
    return NULL;
}

void wan_dev_free(wan_dev *d, void *p)
{
    host_dev *h = (host_dev *)d;
    if (!p)
        return;
    for (size_t i = h->n; i-- > 0;) /* the newest first: most frees undo a recent alloc */
        if (h->blocks[i].p == p) {
            d->allocated -= h->blocks[i].bytes;
            h->blocks[i] = h->blocks[--h->n];
            d->backend->free(d, p);
            return;
        }
    WAN_BUG("wan_dev_free: not a block of this device");
}

int wan_dev_write(wan_dev *d, void *dst, const void *host, size_t bytes)
{
    return d->backend->write(d, dst, host, bytes);
}

int wan_dev_read(wan_dev *d, void *host, const void *src, size_t bytes)
{
    return d->backend->read(d, host, src, bytes);
}

int wan_dev_copy(wan_dev *d, void *dst, const void *src, size_t bytes)
{
    return d->backend->copy(d, dst, src, bytes);
}

int wan_dev_zero(wan_dev *d, void *p, size_t bytes)
{
    return d->backend->zero(d, p, bytes);
}

int wan_dev_sync(wan_dev *d)
{
    return d->backend->sync(d);
}

void *wan_dev_scratch(wan_dev *d, size_t bytes)
{
    if (bytes <= d->scratch_bytes)
        return d->scratch;
    if (d->backend->sync(d) < 0) /* the op before may still use the old one */
        return NULL;
    wan_dev_free(d, d->scratch);
    d->scratch_bytes = 0;
    d->scratch = wan_dev_alloc(d, bytes, "kernel workspace");
    if (d->scratch)
        d->scratch_bytes = bytes;
    return d->scratch;
}

/* ---- packs */

static int pack_lengths(const int64_t *len, int n, int64_t *S)
{
    *S = 0;
    if (n < 1)
        return wan_err("pack: %d samples", n);
    for (int i = 0; i < n; i++) {
        if (len[i] < 1)
            return wan_err("pack: sample %d has %lld tokens", i, (long long)len[i]);
        if (len[i] > INT32_MAX - *S)
            return wan_err("pack: more than %d tokens up to sample %d", INT32_MAX, i);
        *S += len[i];
    }
    return 0;
}

int wan_pack_new(wan_dev *d, wan_pack *p, const int64_t *len, int n)
{
    int64_t S;
    memset(p, 0, sizeof *p);
    WAN_TRY(pack_lengths(len, n, &S));
    size_t words = (size_t)n + 1 + (size_t)S;
    int32_t *host = (int32_t *)malloc(words * sizeof *host);
    int32_t *dev = (int32_t *)wan_dev_alloc(d, words * sizeof *dev, "pack");
    if (!host || !dev)
        goto fail;
    int32_t *seg = host + n + 1;
    host[0] = 0;
    for (int i = 0; i < n; i++) {
        host[i + 1] = host[i] + (int32_t)len[i];
        for (int32_t s = host[i]; s < host[i + 1]; s++)
            seg[s] = i;
        if (len[i] > p->max_len)
            p->max_len = len[i];
    }
    WAN_GOTO(wan_dev_write(d, dev, host, words * sizeof *dev), fail);
    WAN_GOTO(wan_dev_sync(d), fail);
    p->n = n;
    p->S = S;
    p->cu = dev;
    p->seg = dev + n + 1;
    p->cu_host = host;
    return 0;
fail:
    if (!host)
        wan_err("pack: out of memory");
    wan_dev_free(d, dev);
    free(host);
    memset(p, 0, sizeof *p);
    return -1;
}

void wan_pack_free(wan_dev *d, wan_pack *p)
{
    wan_dev_free(d, (void *)(uintptr_t)p->cu);
    free((void *)(uintptr_t)p->cu_host);
    memset(p, 0, sizeof *p);
}
