/* SPDX-License-Identifier: Apache-2.0
 *
 * device_dry.c - see device_dry.h.
 */
#include "kernels/device_dry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kernels/plans.h"

#define DRY_SPACE ((size_t)1 << 44) /* addresses, not memory */
#define DRY_ALIGN ((size_t)256)

wan_dry *wan_device_dry_of(wan_dev *d)
{
    return (wan_dry *)d->impl;
}

static int dry_open(wan_dev *d, int index)
{
    wan_dry *y = (wan_dry *)calloc(1, sizeof *y);
    (void)index;
    if (!y)
        return wan_err("device dry: out of memory");
    void *p = mmap(NULL, DRY_SPACE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        free(y);
        return wan_err_errno("device dry: %zu TiB of addresses", DRY_SPACE >> 40);
    }
    y->base = (char *)p;
    d->impl = y;
    return 0;
}

static void dry_close(wan_dev *d)
{
    wan_dry *y = wan_device_dry_of(d);
    munmap(y->base, DRY_SPACE);
    if (y->rounded)
        wan_plans_clear(y->rounded);
    free(y->rounded);
    free(y);
}

static void *dry_alloc(wan_dev *d, size_t bytes)
{
    wan_dry *y = wan_device_dry_of(d);
    if (bytes > DRY_SPACE - DRY_ALIGN - y->used)
        return NULL;
    void *p = y->base + y->used;
    y->used += (bytes + DRY_ALIGN) / DRY_ALIGN * DRY_ALIGN; /* no two have one address */
    return p;
}

static void dry_free(wan_dev *d, void *p)
{
    (void)d;
    (void)p;
}

/* Bytes that are read or written once. */
static int pass(wan_dev *d, double bytes)
{
    wan_dry *y = wan_device_dry_of(d);
    double seconds = y->rates.memory > 0 ? bytes / y->rates.memory : 0;
    y->copies.calls++;
    y->copies.bytes += bytes;
    y->copies.seconds += seconds;
    y->moved += bytes;
    y->now += seconds;
    y->computing += seconds;
    return 0;
}

/* From and to the host: small, and beside the work. */
static int dry_write(wan_dev *d, void *dst, const void *host, size_t bytes)
{
    (void)d;
    (void)dst;
    (void)host;
    (void)bytes;
    return 0;
}

static int dry_read(wan_dev *d, void *host, const void *src, size_t bytes)
{
    (void)d;
    (void)src;
    if (bytes)
        memset(host, 0, bytes);
    return 0;
}

static int dry_copy(wan_dev *d, void *dst, const void *src, size_t bytes)
{
    (void)dst;
    (void)src;
    return pass(d, 2 * (double)bytes);
}

static int dry_zero(wan_dev *d, void *p, size_t bytes)
{
    (void)p;
    return pass(d, (double)bytes);
}

static int dry_sync(wan_dev *d)
{
    (void)d;
    return 0;
}

static int dry_memory(wan_dev *d, size_t *free_bytes, size_t *total_bytes)
{
    *free_bytes = DRY_SPACE - wan_device_dry_of(d)->used;
    *total_bytes = DRY_SPACE;
    return 0;
}

static int dry_describe(wan_dev *d, char *text, size_t size)
{
    (void)d;
    snprintf(text, size, "a device that computes nothing");
    return 0;
}

const wan_backend wan_device_dry = {
    .name = "dry",
    .open = dry_open,
    .close = dry_close,
    .alloc = dry_alloc,
    .free = dry_free,
    .write = dry_write,
    .read = dry_read,
    .copy = dry_copy,
    .zero = dry_zero,
    .sync = dry_sync,
    .memory = dry_memory,
    .describe = dry_describe,
};
