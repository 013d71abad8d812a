/* SPDX-License-Identifier: Apache-2.0
 *
 * gemm.cuh - one matrix product on cuBLASLt, shared by linear.cu and conv.cu.
 *
 *   row-major  d [rows, cols] = (accumulate ? d : 0) + op(a) op(b) + bias [cols]
 *   op(a) is [rows, k]: a stored so (ta 0) or as [k, rows] (ta 1); op(b) is [k, cols]: b stored so
 *   (tb 0) or as [cols, k] (tb 1).  All stored matrices are dense.
 */
#ifndef WAN_KERNELS_GEMM_CUH
#define WAN_KERNELS_GEMM_CUH

#include "kernels/cuda_util.cuh"

struct cuda_gemm {
    wan_buf d, a, b;
    const float *bias; /* device memory, or NULL */
    int64_t rows, cols, k;
    int ta, tb, accumulate;
};

/* Bytes of temporary memory it may need (operands or result of other types than the product's). */
size_t cuda_gemm_need(const cuda_gemm *g);
/* tmp: cuda_gemm_need bytes, 256-byte aligned. */
int cuda_gemm_run(wan_dev *d, const char *op, const cuda_gemm *g, void *tmp);

#endif
