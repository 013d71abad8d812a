/* SPDX-License-Identifier: Apache-2.0
 *
 * sdpa.cuh - attention by cuDNN's graph API, as attention.cu uses it.
 *
 * Both return 0 done, -1 failed (error recorded), 1 not for cuDNN: the caller then takes its own
 * kernel.  Whether cuDNN has an engine for a shape is found out at the shape's first use.
 */
#ifndef WAN_KERNELS_SDPA_CUH
#define WAN_KERNELS_SDPA_CUH

#include "kernels/cuda_util.cuh"

int cuda_sdpa_forward(wan_dev *d, const wan_attn *a, wan_buf o, float *lse, wan_buf q, wan_buf k,
                      wan_buf v);
int cuda_sdpa_backward(wan_dev *d, const wan_attn *a, wan_buf dq, wan_buf dk, wan_buf dv,
                       wan_buf dout, wan_buf o, const float *lse, wan_buf q, wan_buf k, wan_buf v);
size_t cuda_sdpa_version(void); /* of cuDNN; 0: built without */
void cuda_sdpa_close(wan_dev *d);

#endif
