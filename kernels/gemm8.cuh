/* SPDX-License-Identifier: Apache-2.0
 *
 * gemm8.cuh - what linear8.cu shares with linear.cu and device.cu.
 */
#ifndef WAN_KERNELS_GEMM8_CUH
#define WAN_KERNELS_GEMM8_CUH

#include "kernels/cuda_util.cuh"

/* db [N] += the columns of dy [M, N] (linear.cu). */
int cuda_bias_grad(wan_dev *d, const char *op, float *db, wan_buf dy, int64_t M, int64_t N);

/* Called when the device closes (linear8.cu). */
void cuda_eight_close(wan_dev *d);
extern const wan_keeper cuda_keeper;

#endif
