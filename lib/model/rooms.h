/* SPDX-License-Identifier: Apache-2.0
 *
 * rooms.h - vectors that lie in host memory (wan_dev_alloc_far) pass through the device piece by piece: while one
 * piece is worked on, the next is on its way, and the one before on its way back.
 *
 *     const wan_rooms_vector v[] = { { master, 1 }, { exp_avg, 1 } };
 *     WAN_TRY(wan_rooms_pass(rooms, v, 2, n, update, arg));    // update(arg, x, at, m): x[i] are v[i].x + at
 */
#ifndef WAN_MODEL_ROOMS_H
#define WAN_MODEL_ROOMS_H

#include "kernels/device.h"

enum { WAN_ROOMS_VECTORS = 3 };

typedef struct wan_rooms wan_rooms;
typedef struct wan_rooms_vector {
    wan_real *x; /* in host memory, or on the device, which is worked on where it is */
    int changes; /* brought back */
} wan_rooms_vector;
/* Elements [at, at + n) of the vectors, on the device. */
typedef int wan_rooms_fn(void *arg, wan_real *const x[], int64_t at, int64_t n);

int wan_rooms_new(wan_rooms **out, wan_dev *d) WAN_MUST_CHECK;
void wan_rooms_free(wan_rooms **r); /* NULL-safe */
int64_t wan_rooms_bytes(void);      /* on the device */
/* Vectors of n elements.  r NULL: none is in host memory, and fn is called once. */
int wan_rooms_pass(wan_rooms *r, const wan_rooms_vector *v, int vectors, int64_t n,
                   wan_rooms_fn *fn, void *arg) WAN_MUST_CHECK;

#endif
