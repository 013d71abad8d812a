/* SPDX-License-Identifier: Apache-2.0
 *
 * resnorm.cuh - rows that stay in registers: eight columns to a thread, so every operand is read once.
 * layernorm.cu takes the forward without a residual.
 */
#ifndef WAN_KERNELS_RESNORM_CUH
#define WAN_KERNELS_RESNORM_CUH

#include "kernels/reduce.cuh"

enum { SEAM_THREADS = ROW_THREADS, SEAM_MOST = 8 * SEAM_THREADS }; /* columns */

struct seam {
    vbuf x, y, out;         /* out = x + y gate; out.p NULL: the norm is of x */
    vbuf u, du, dx, dy;     /* dy.p NULL: there is no branch */
    vbuf gate, gain, shift; /* gate.p NULL: 1 */
    float one;              /* added to the gain */
    float *mean, *rstd;
    const int32_t *seg;   /* NULL: one row of gain and shift for all tokens */
    int64_t stride, D, S; /* S: tokens, where there is no pack */
    float eps;
};

/* 1: more columns than a block has threads for. */
int cuda_seam_forward(wan_dev *d, const char *op, const seam *a, int64_t S);
/* affine: gain and shift have one row.  pack NULL: one sample of a->S tokens. */
int cuda_seam_backward(wan_dev *d, const char *op, const seam *a, const wan_resnorm_grad *g,
                       int affine, const wan_pack *pack);

#endif
