/* SPDX-License-Identifier: Apache-2.0
 *
 * where.c - see where.h.  Copies for a transport go through a second handle of the device, with a
 * stream and staging memory of its own, because a handle belongs to one thread.
 */
#include "lib/dist/where.h"

#include <stdio.h>
#include <stdlib.h>

#include "lib/base/file.h"

typedef struct on_device {
    wan_where pub; /* first: a wan_where * is an on_device * */
    wan_dev *dev;  /* the caller's */
    wan_dev *copy; /* opened at the first copy; NCCL makes none */
} on_device;

static int ready(void *arg)
{
    return wan_dev_sync(((on_device *)arg)->dev);
}

static int open_copy(on_device *o)
{
    char spec[32];
    if (o->copy)
        return 0;
    snprintf(spec, sizeof spec, "%s:%d", o->dev->backend->name, o->dev->index);
    return wan_dev_open(&o->copy, spec, o->dev->flags);
}

static int copy_out(void *arg, void *host, const void *x, size_t bytes)
{
    on_device *o = arg;
    WAN_TRY(open_copy(o));
    return wan_dev_read(o->copy, host, x, bytes);
}

static int copy_in(void *arg, void *x, const void *host, size_t bytes)
{
    on_device *o = arg;
    WAN_TRY(open_copy(o));
    WAN_TRY(wan_dev_write(o->copy, x, host, bytes));
    return wan_dev_sync(o->copy);
}

static int copy(void *arg, void *to, const void *from, size_t bytes)
{
    return wan_dev_copy(((on_device *)arg)->dev, to, from, bytes);
}

int wan_where_open(wan_where **out, wan_dev *dev)
{
    *out = NULL;
    if (dev->kind == WAN_DEV_CPU)
        return 0;
    on_device *o = wan_calloc(1, sizeof *o, "device memory for communication");
    if (!o)
        return -1;
    o->pub = (wan_where){ o, ready, copy_out, copy_in, copy, dev->stream, dev->index };
    o->dev = dev;
    *out = &o->pub;
    return 0;
}

void wan_where_close(wan_where **w)
{
    on_device *o = (on_device *)(void *)*w;
    if (!o)
        return;
    wan_dev_close(&o->copy);
    free(o);
    *w = NULL;
}
