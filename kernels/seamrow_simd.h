/* SPDX-License-Identifier: Apache-2.0
 *
 * seamrow_simd.h - rows of a gated residual and the LayerNorm behind it (resnorm.h), or of one of the two.
 */
#ifndef WAN_KERNELS_SEAMROW_SIMD_H
#define WAN_KERNELS_SEAMROW_SIMD_H

#include "kernels/real.h"

/* Forward: out = x + y gate, where there is y (else out is x and not written); mean, rstd and u = xhat
 * (one + gain) + shift, where there is u.  Backward: dx gets LayerNorm's share, where there is du (else it is not written);
 * dy = dx gate, where there is dy; sums of gain, shift and gate are added to. */
typedef struct wan_seamrow {
    int64_t D, at;                    /* at: first element of the row in all that has rows */
    const float *gate, *gain, *shift; /* gate NULL: 1 */
    float one;
    float *out, *dx;
    const float *x;
    wan_buf y, u, dy, du;
    float *mean, *rstd; /* of the row */
    float eps;
    float *sum; /* of gradients: gain, shift, gate [3, D] */
    float *tmp; /* [2, D] */
} wan_seamrow;

void wan_seamrow_forward(const wan_seamrow *r);
/* That row and those behind it, n in all, of one sample. */
void wan_seamrow_backward(const wan_seamrow *r, int64_t n);

#endif
