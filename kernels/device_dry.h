/* SPDX-License-Identifier: Apache-2.0
 *
 * device_dry.h - a device that computes nothing: it hands out addresses that no memory stands behind,
 * counts the FLOPs and bytes of every op, and lets a clock run as long as a machine of given rates would
 * take.  What is read from it is zero.  A training step on it is the rehearsal from which the planner
 * knows memory, work and time of a machine that is not there (lib/train/planner).
 *
 *     wan_dev_open(&d, "dry", 0);
 *     wan_dry *y = wan_device_dry_of(d);
 *     y->rates = rates;  y->now = 0;
 *     ... ops ...
 *     y->products, y->now
 *
 * An op takes the longer of its FLOPs at the rate of its class and its bytes, each operand once and what is a
 * pass of its own in the CUDA kernels, at the rate of the memory.  tests/gpu/check_bytes.c holds that against the
 * loads and stores of those kernels.
 */
#ifndef WAN_KERNELS_DEVICE_DRY_H
#define WAN_KERNELS_DEVICE_DRY_H

#include "kernels/device.h"

/* FLOP/s and bytes/s; 0: takes no time. */
typedef struct wan_dry_rates {
    double products, attention, attention_back, memory;
    double products8; /* in eight bits; 0: as the others */
} wan_dry_rates;

/* All calls of one op. */
typedef struct wan_dry_op {
    const char *name;
    int64_t calls;
    double flops, bytes, seconds;
} wan_dry_op;
enum { WAN_DRY_OPS = 64 };

typedef struct wan_dry {
    wan_dry_rates rates;
    double now;                                 /* seconds */
    double products, attention, attention_back; /* FLOPs */
    double moved;                               /* bytes that ops read and write */
    double computing;                           /* seconds of all ops */
    wan_dry_op copies;                          /* copies and clears beside ops */
    int64_t ops;
    wan_dry_op op[WAN_DRY_OPS]; /* those that were called */
    int kinds;
    struct wan_plans *rounded; /* weights that are kept in eight bits while they are still */
    /* address space */
    char *base;
    size_t used;
} wan_dry;

extern const wan_backend wan_device_dry;
const struct wan_ops *wan_ops_dry(void);
wan_dry *wan_device_dry_of(wan_dev *d);

#endif
