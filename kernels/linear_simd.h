/* SPDX-License-Identifier: Apache-2.0
 *
 * linear_simd.h - what the CPU providers of the dense layer share.
 */
#ifndef WAN_KERNELS_LINEAR_SIMD_H
#define WAN_KERNELS_LINEAR_SIMD_H

#include "kernels/linear.h"

/* How a product C [M, N] = A B over K is cut for so many threads: tasks of rows x columns of C (fewer at the
 * edges), B in chunks of columns, packed in pieces of depth x pack columns.  No sum depends on it but by `depth`, which does not depend
 * on the threads. */
typedef struct wan_linear_cut {
    int64_t rows, columns, depth, chunk, pack;
} wan_linear_cut;
wan_linear_cut wan_linear_cut_for(int64_t M, int64_t N, int64_t K, int threads);

/* db[n] (+)= sum_m dy[m, n], by blocks of columns so that the order is that of the rows. */
void wan_linear_bias_grad(float *db, wan_buf dy, int64_t M, int64_t N, int accumulate);

/* y [n] = act(x [n]); y may equal x (act_simd.c); fine: 0 where bf16 follows.  What an element becomes does not
 * depend on n or on its place. */
void wan_act_values(float *y, const float *x, int64_t n, enum wan_act act, int fine);
/* g [n] *= act'(x [n]) */
void wan_act_times_slope(float *g, wan_buf x, int64_t n, enum wan_act act, int fine);

/* Weights in blocks by products of bytes: whether they are used (WAN_CPU_INT8=0 in the environment: never), and
 * y [M, N] = act(x [M, K] w^T [N, K] + b), x bf16, in tasks of that cut. */
int wan_linear_int8(void);
int wan_linear_int8_forward(wan_dev *d, wan_linear_cut cut, wan_buf y, wan_buf x, wan_buf w,
                            const wan_real *b, int64_t M, int64_t N, int64_t K, enum wan_act act)
    WAN_MUST_CHECK;

wan_linear_forward_fn wan_linear_forward_simd;
wan_linear_dgrad_fn wan_linear_dgrad_simd;
wan_linear_dgrad_act_fn wan_linear_dgrad_act_simd;
wan_linear_wgrad_fn wan_linear_wgrad_simd;

#endif
