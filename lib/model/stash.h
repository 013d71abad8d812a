/* SPDX-License-Identifier: Apache-2.0
 *
 * stash.h - what blocks keep for their backward waits in host memory: it leaves while the next blocks run
 * forward, and comes back while later ones run backward, through three rooms (block/slots.h).
 *
 *     forward    block   0    1    2    3    4    5        backward   5    4    3    2    1    0
 *     room               a    b    c    a    b    c                   c    b    a    c    b    a
 *     to the host             0    1    2                  back       2    1    0
 *
 * Block k writes room k and the first rows of room k + 1: the one that goes into it next; so what a room held
 * before must have left when k begins, and leaves while k - 1 runs.  The last three stay.
 */
#ifndef WAN_MODEL_STASH_H
#define WAN_MODEL_STASH_H

#include "kernels/device.h"

enum { WAN_STASH_ROOMS = 3 };

/* The blocks [0, blocks), parts from `first` on, each of `bytes`, block k in room k % WAN_STASH_ROOMS. */
typedef struct wan_stash_plan {
    int first, blocks;
    int64_t bytes;
} wan_stash_plan;

typedef struct wan_stash wan_stash;

/* Bytes of host memory; 0: all stays on the device. */
int64_t wan_stash_bytes(const wan_stash_plan *p);
/* rooms: device memory [WAN_STASH_ROOMS][bytes], caller's. */
int wan_stash_new(wan_stash **out, wan_dev *d, void *rooms, const wan_stash_plan *p) WAN_MUST_CHECK;
void wan_stash_free(wan_stash **s); /* NULL-safe */
/* A part runs next; s may be NULL. */
int wan_stash_forward(wan_stash *s, int part) WAN_MUST_CHECK;
int wan_stash_backward(wan_stash *s, int part) WAN_MUST_CHECK;

#endif
