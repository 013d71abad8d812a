/* SPDX-License-Identifier: Apache-2.0
 *
 * noise.h - a clean latent to what a model is given and what it should answer, in one pass.
 *
 *   rows   = patches of  in[0] x0 + in[1] eps         in in_order
 *   target = patches of  target[0] x0 + target[1] eps   in target_order (embed.h says how patches lie)
 *
 * x0 [C, T, h, w] WAN_REAL, h and w even; eps the same shape, or NULL: element i of the latent is
 * element i of `stream`, as the randn op draws it.  rows [T*(h/2)*(w/2), 4*C] of any type; target
 * the same shape in WAN_REAL, or NULL.  Nothing overlaps.
 */
#ifndef WAN_KERNELS_NOISE_H
#define WAN_KERNELS_NOISE_H

#include "kernels/embed.h"
#include "lib/base/rng.h"

typedef struct wan_noise {
    int64_t C, T, h, w;
    double in[2], target[2]; /* factors of x0 and eps */
    enum wan_patch_order in_order, target_order;
} wan_noise;

typedef int wan_noise_patch_fn(wan_dev *d, const wan_noise *a, wan_buf rows, wan_real *target,
                               const wan_real *x0, const wan_real *eps, const wan_rng *stream)
    WAN_MUST_CHECK;

wan_noise_patch_fn wan_noise_patch_c, wan_noise_patch_cuda;

#endif
