/* SPDX-License-Identifier: Apache-2.0
 *
 * device_cuda.cuh - the CUDA backend, for plugin.cu.
 */
#ifndef WAN_KERNELS_DEVICE_CUDA_CUH
#define WAN_KERNELS_DEVICE_CUDA_CUH

#include "kernels/cuda_util.cuh"

extern const wan_backend wan_device_cuda;
extern const wan_bus cuda_bus; /* bus.cu */
void cuda_bus_close(wan_cuda *c);
extern const wan_recorder cuda_tape; /* tape.cu */

#endif
