/* SPDX-License-Identifier: Apache-2.0
 *
 * where.h - in which memory a buffer of a call lies: NULL is host memory, else the memory of a device.
 *
 *     wan_where *w;
 *     WAN_TRY(wan_where_open(&w, dev));        // NULL where dev computes in host memory
 *     WAN_TRY(wan_group_all_reduce(g, w, x, n, WAN_F32, WAN_SUM));
 *     wan_where_close(&w);
 */
#ifndef WAN_DIST_WHERE_H
#define WAN_DIST_WHERE_H

#include <stddef.h>

#include "kernels/device.h"

/* A transport without access to the device copies in pieces through host memory; such copies may be
 * made by a thread of its own while the caller uses the device.  All return 0 or -1 with a sentence. */
typedef struct wan_where {
    void *arg;
    /* By the caller's thread at the start of a call: returns when the work that makes the buffers
     * is done. */
    int (*ready)(void *arg);
    /* By any thread, one at a time; done on return. */
    int (*read)(void *arg, void *host, const void *x, size_t bytes);
    int (*write)(void *arg, void *x, const void *host, size_t bytes);
    /* By the caller's thread, in the order of its own work: what a group of one does. */
    int (*copy)(void *arg, void *to, const void *from, size_t bytes);
    void *stream; /* cudaStream_t of the caller's work, for transports that run on the device */
    int index;    /* its device */
} wan_where;

/* *out NULL for a device of host memory.  dev must outlive *out. */
int wan_where_open(wan_where **out, wan_dev *dev) WAN_MUST_CHECK;
void wan_where_close(wan_where **w); /* NULL-safe; no call may be under way */

#endif
