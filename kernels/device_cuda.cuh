/* SPDX-License-Identifier: Apache-2.0
 *
 * device_cuda.cuh - the CUDA backend, for plugin.cu.
 */
#ifndef WAN_KERNELS_DEVICE_CUDA_CUH
#define WAN_KERNELS_DEVICE_CUDA_CUH

#include "kernels/cuda_util.cuh"

extern const wan_backend wan_device_cuda;

#endif
