/* SPDX-License-Identifier: Apache-2.0
 *
 * attention_wide.cuh - attention_forward for heads of any width, by matrix products (attention.cu
 * takes it where a head has more than 256 columns).  Scores of some queries lie in scratch memory.
 */
#ifndef WAN_KERNELS_ATTENTION_WIDE_CUH
#define WAN_KERNELS_ATTENTION_WIDE_CUH

#include "kernels/cuda_util.cuh"

int cuda_wide_forward(wan_dev *d, const wan_attn *a, wan_buf o, float *lse, wan_buf q, wan_buf k,
                      wan_buf v);

#endif
